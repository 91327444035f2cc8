"""What could not be sent at once keeps its place, also when more arrives, or all breaks, before anyone has woken."""

import asyncio
import time

import pytest
from tests.fakes import FakeReply, SinkTransport
from tests.live.fault_scripts import LAST_CHUNK, chunk, head
from tests.live.recordings import DONE, delta

from chukei.adapters.http.connection import Connection
from chukei.config import StreamSettings
from chukei.errors import UpstreamError
from chukei.gateway.delivery import Delivery
from chukei.gateway.exchange import Exchange
from chukei.model import Dialect
from chukei.record import RequestRecord
from chukei.stream.stream import Stream
from chukei.upstream.connect import Opened

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = delta("one"), delta(" two"), delta(" three")


@pytest.mark.parametrize("breaks", [False, True])
async def test_order_is_kept(breaks: bool) -> None:
    connection = Connection(lambda _: None, lambda _: None)
    connection.connection_made(SinkTransport())
    answer = connection.send(b"POST / HTTP/1.1\r\n\r\n", b"")
    connection.data_received(head())
    stream, reply = Stream(Dialect.CHAT, strip_usage=False, cap=1 << 20), FakeReply()
    exchange = Exchange(RequestRecord("1", "POST", "/"), time.monotonic)
    await reply.start(200, [])
    delivery = Delivery(exchange, Opened(answer, stream, b""), stream, reply, StreamSettings(), simple=False)
    running = asyncio.create_task(delivery.run(stream.feed(FIRST)))
    await reply.until(lambda body: body == FIRST)
    await asyncio.sleep(0)  # it waits for more now
    connection.data_received(chunk(SECOND))
    if breaks:
        connection.connection_lost(ConnectionResetError())
        with pytest.raises(UpstreamError):
            await running
        assert reply.body == FIRST + SECOND
    else:
        connection.data_received(chunk(THIRD + DONE) + LAST_CHUNK)
        await running
        assert reply.body == FIRST + SECOND + THIRD + DONE
