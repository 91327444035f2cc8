"""A resource that does not serve the WebSocket gets requests by HTTP; what only prepares one is refused."""

import json

import pytest
from tests.fakes import FakeAnswer
from tests.gateway.socket_fakes import FakeSocket, FakeSocketUpstream

from chukei.errors import UpstreamError
from chukei.gateway.sockets.links import Links
from chukei.model import End
from chukei.ports import SocketLimits

pytestmark = pytest.mark.anyio

LIMITS = SocketLimits(2**20, 2**20, 20.0, 20.0, 60.0, 1.0)
ENDPOINT = "https://one.openai.azure.com"
REFUSED = UpstreamError("upstream_404", "No.", end=End.UPSTREAM_STATUS, status=404)
BLOCKED = UpstreamError("upstream_timeout", "No answer.", end=End.CONNECT_ERROR)
CREATE = {"type": "response.create", "stream_id": "a", "model": "gpt-4o", "input": "Hello"}


def links() -> Links:
    return Links(LIMITS, lambda message: None)


async def send(links: Links, upstream: FakeSocketUpstream, event: object) -> object:
    body = json.dumps(event).encode()
    return await links.through(upstream, "a").request("POST", ENDPOINT, "/openai/v1/responses", [], body, lambda: None)


@pytest.mark.parametrize("refusal", [REFUSED, BLOCKED])
async def test_requests_go_by_http_and_the_handshake_is_tried_once(refusal: UpstreamError) -> None:
    first, second = FakeAnswer([]), FakeAnswer([])
    upstream, session = FakeSocketUpstream(first, second, sockets=[refusal]), links()
    assert await send(session, upstream, {**CREATE, "generate": True}) is first
    assert await send(session, upstream, CREATE) is second
    assert len(upstream.opened) == 1
    assert json.loads(upstream.requests[0][3]) == {"model": "gpt-4o", "input": "Hello", "stream": True}


async def test_what_only_prepares_a_request_is_not_sent_by_http() -> None:
    upstream = FakeSocketUpstream(sockets=[REFUSED])
    with pytest.raises(UpstreamError) as refused:
        await send(links(), upstream, {**CREATE, "generate": False})
    assert refused.value is REFUSED
    assert not upstream.requests


async def test_a_refusal_for_another_reason_is_a_failure() -> None:
    busy = UpstreamError("upstream_429", "Busy.", end=End.UPSTREAM_STATUS, status=429)
    upstream = FakeSocketUpstream(FakeAnswer([]), sockets=[busy])
    with pytest.raises(UpstreamError):
        await send(links(), upstream, CREATE)
    assert not upstream.requests


async def test_a_socket_that_is_closed_is_replaced_for_the_next_request() -> None:
    first, second = FakeSocket(), FakeSocket()
    upstream, session = FakeSocketUpstream(sockets=[first, second]), links()
    first.put({"type": "response.created", "stream_id": "a"})
    await send(session, upstream, CREATE)
    first.leave()
    second.put({"type": "response.created", "stream_id": "a"})
    await send(session, upstream, CREATE)
    assert len(upstream.opened) == 2
    await session.close()


async def test_a_message_that_is_too_large_for_the_upstream_goes_by_http() -> None:
    answer, socket, another = FakeAnswer([]), FakeSocket(), FakeSocket()
    upstream, session = FakeSocketUpstream(answer, sockets=[socket, another]), links()
    socket.leave(1009)
    assert await send(session, upstream, CREATE) is answer
    assert json.loads(upstream.requests[0][3]) == {"model": "gpt-4o", "input": "Hello", "stream": True}
    another.put({"type": "response.created", "stream_id": "a"})
    await send(session, upstream, CREATE)
    assert len(upstream.opened) == 2
    await session.close()
