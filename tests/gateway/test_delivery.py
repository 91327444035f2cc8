"""Delivery over a real connection object: reads that come faster than the waiting task runs keep their order."""

import asyncio
from typing import cast

import pytest
from tests.fakes import FakeReply
from tests.rows import rows

from chukei.adapters.http.answer import HttpAnswer
from chukei.adapters.http.connection import Connection
from chukei.config import StreamSettings
from chukei.gateway.delivery import Delivery
from chukei.gateway.exchange import Exchange
from chukei.metrics.definitions import SECONDS
from chukei.model import Dialect
from chukei.record import RequestRecord
from chukei.stream.stream import Stream
from chukei.upstream.connect import Opened

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class FakeTransport:
    """A socket that swallows what is written."""

    def __init__(self) -> None:
        self.aborted = False

    def write(self, data: bytes) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class BusyReply(FakeReply):
    """A client to which some parts can be sent at once and others only by waiting. ``at_once`` lists which."""

    def __init__(self, at_once: list[bool]) -> None:
        super().__init__()
        self.started = True
        self._at_once = at_once

    def send_now(self, data: bytes, begin: int) -> bool:
        if not (self._at_once.pop(0) if self._at_once else True):
            return False
        self.sent.append(data[begin:-2] if begin else data)
        return True


def event(number: int) -> bytes:
    return b'data: {"choices":[{"delta":{"content":"%d "},"index":0}]}\n\n' % number


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def turn() -> None:
    """Let every task that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


class Case:
    """A stream under way over a connection, whose task waits for more."""

    def __init__(self, at_once: list[bool]) -> None:
        self.connection = Connection(lambda _: None, lambda _: None)
        self.connection.connection_made(cast(asyncio.Transport, FakeTransport()))
        self.reply = BusyReply(list(at_once))
        self.exchange = Exchange(RequestRecord("r", "POST", "/"), asyncio.get_running_loop().time)

    async def start(self, dialect: Dialect = Dialect.CHAT) -> asyncio.Task[None]:
        answer: HttpAnswer = self.connection.send(b"POST / HTTP/1.1\r\n\r\n", b"")
        self.connection.data_received(HEAD + chunk(event(0)))
        stream = Stream(dialect, strip_usage=False, cap=1 << 20)
        first = stream.feed(await answer.read() or b"")
        opened = Opened(answer, stream, first)
        delivery = Delivery(self.exchange, opened, stream, self.reply, StreamSettings(), simple=False)
        running = asyncio.create_task(delivery.run(first))
        await turn()
        return running


@rows("at_once", [[True] * 9, [False] * 9, [False, True] * 9, [True, False, False] * 9])
@rows("together", [1, 2, 3, 7])
async def test_reads_that_arrive_before_the_task_runs_keep_their_order(at_once: list[bool], together: int) -> None:
    case = Case(at_once)
    running = await case.start()
    events = [event(number) for number in range(1, 22)]
    for start in range(0, len(events), together):
        for each in events[start : start + together]:  # several reads in one turn of the loop
            case.connection.data_received(chunk(each))
        await turn()
    case.connection.data_received(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    await running
    assert case.reply.body == event(0) + b"".join(events) + b"data: [DONE]\n\n"
    assert case.exchange.record.answer_bytes == len(case.reply.body)


@rows("at_once", [[True] * 9, [False] * 9])
async def test_each_read_is_a_gap_whoever_takes_it(at_once: list[bool]) -> None:
    case = Case(at_once)
    case.exchange.record.gaps = gaps = [0] * (len(SECONDS) + 1)
    running = await case.start()
    for number in range(1, 8):
        case.connection.data_received(chunk(event(number)))
        await turn()
    case.connection.data_received(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    await running
    assert sum(gaps) == 8
    assert case.exchange.record.gap_seconds > 0


@rows("dialect", [Dialect.CHAT, Dialect.OPEN])
@rows("then", ["more", "a break", "nothing"])
async def test_nothing_counts_behind_an_error_event_however_soon_it_comes(dialect: Dialect, then: str) -> None:
    case = Case([])
    running = await case.start(dialect)
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    case.connection.data_received(chunk(error))
    if then == "more":
        case.connection.data_received(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    elif then == "a break":
        case.connection.connection_lost(ConnectionResetError())
    await running
    assert case.reply.body == event(0) + error
