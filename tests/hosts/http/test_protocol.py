"""A client's connection, read by read and second by second, on a scripted transport and clock.

Neither gateway nor upstream matters here: an application does what a test says. test_cycle.py has the real sockets.
"""

import asyncio
import gc
import re
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from tests.adapters.websocket.sides import HANDSHAKE, LIMITS
from tests.hosts.scripted import LIMIT, Handler, Scripted, configured, echo, fields, get, post
from tests.live.relays import eventually
from tests.rows import rows

from chukei.hosts.http.cycle import Cycle
from chukei.hosts.http.protocol import LINGER_SECONDS, PIPELINED, StrictProtocol
from chukei.hosts.http.states import TRANSITIONS, Event, State
from chukei.ports import ClientGone, Incoming, Reply

pytestmark = pytest.mark.anyio


class Clocked:
    """The running loop with a clock that only ``advance`` moves."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.create_task = loop.create_task
        self.create_future = loop.create_future
        self._now = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        self._timers.remove(timer)

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, (), self)  # type: ignore[arg-type]
        self._timers.append(timer)
        return timer

    def call_later(self, delay: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback)

    @property
    def waiting(self) -> int:
        """How many timers are set."""
        return len(self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass, and fire what is due in order."""
        until = self._now + seconds
        while self.waiting:
            timer = min(self._timers, key=asyncio.TimerHandle.when)
            if timer.when() > until:
                break
            self._timers.remove(timer)
            self._now = max(self._now, timer.when())
            timer._run()
        self._now = until


class Peer:
    """Has the options of a socket."""

    def setsockopt(self, *_: int) -> None:
        return None


class Wire(asyncio.Transport):
    """A transport whose other end is the test. ``unsent`` is what the client has not read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.reading = True
        self.ended = False
        self.closed = False
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return Peer() if name == "socket" else ("127.0.0.1", 1)

    def write(self, data: Any) -> None:
        assert not self.ended, "a write behind the end"
        if not self.is_closing():
            self.written += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        return None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.written)]


class Played:
    """One connection on a Wire."""

    def __init__(self, handler: Handler) -> None:
        self.application = Scripted(handler)
        self.state = self.application.state
        self.clock = Clocked()
        self.wire = Wire()
        self.protocol = StrictProtocol(
            configured(self.application),
            self.state,
            None,
            self.clock,  # type: ignore[arg-type]
        )
        self.protocol.connection_made(self.wire)

    async def take(self, data: bytes) -> None:
        """Let one read come, and everything happen that comes of it."""
        self.protocol.data_received(data)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def lose(self) -> None:
        self.protocol.connection_lost(None)
        await self.settle()


async def early(incoming: Incoming, reply: Reply) -> None:
    """Answer without reading the body."""
    await reply.start(401, fields(4))
    await reply.finish(b"none")


class Gate:
    """Answers the first request, or accepts it as a socket, when it is opened, and the others at once."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, incoming: Incoming, reply: Reply) -> None:
        if incoming.raw_path == "/gate" or incoming.upgrades:
            await self.opened.wait()
        if incoming.upgrades:
            await (await reply.upgrade(None, [], LIMITS)).receive()
        else:
            await echo(incoming, reply)


# The table.

WAYS = {
    State.NEW: b"",
    State.ANSWERING: get("/gate"),
    State.IDLE: get("/a"),
    State.UPGRADED: HANDSHAKE,
    State.LINGERING: b"\x00 garbage\r\n\r\n",
}


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
async def test_every_row_of_the_table_is_a_way_that_is_gone(state: State, event: Event) -> None:
    gate = Gate()
    handler: Handler = early if (state, event) == (State.ANSWERING, Event.REFUSED) else gate
    played = Played(handler)
    if handler is early:  # answered before the end of the request's body, the last answer here
        played.protocol.data_received(post("/a", b"", b"Connection: close", length=5))
    elif way := HANDSHAKE if event is Event.UPGRADED else WAYS[state]:
        if state is State.UPGRADED:
            gate.opened.set()
        await played.take(way)
    assert repr(played.protocol) == f"<StrictProtocol {state}, 0 in line, 0 bytes held>"
    match event:
        case Event.REQUEST:
            await played.take(get("/gate"))
        case Event.ANSWERED | Event.UPGRADED:
            gate.opened.set()
        case Event.REFUSED if handler is gate:
            await played.take(WAYS[State.LINGERING])
        case Event.LOST:
            await played.lose()
    await played.settle()
    assert played.protocol.state is TRANSITIONS[state, event]


async def test_requests_in_line_are_shown_and_a_second_answer_is_refused() -> None:
    gate = Gate()
    played = Played(gate)
    await played.take(get("/gate") + get("/b") + get("/c"))
    assert repr(played.protocol) == "<StrictProtocol answering, 2 in line, 0 bytes held>"
    answered = played.protocol._cycle
    assert answered is not None
    gate.opened.set()
    await played.settle()
    assert played.protocol.state is State.IDLE
    with pytest.raises(KeyError):
        played.protocol.answered(answered)


# Pipelined requests.


async def test_requests_in_one_read_are_answered_in_order() -> None:
    played = Played(echo)
    await played.take(get("/a") + post("/b", b"-body") + get("/c"))
    assert re.findall(rb"\r\n\r\n(/[^H]*)", played.wire.written) == [b"/a", b"/b-body", b"/c"]


async def test_a_body_arrives_behind_an_answer_that_is_due() -> None:
    gate = Gate()
    played = Played(gate)
    await played.take(get("/gate") + post("/b", b"-bo", length=5))
    meanwhile = (played.wire.reading, played.application.paths[1:])
    gate.opened.set()
    await played.settle()
    assert meanwhile == (False, [])
    assert (played.wire.reading, played.application.paths[1:]) == (True, ["/b"])
    await played.take(b"dy")
    assert played.wire.written.endswith(b"/b-body")


async def test_no_more_is_read_while_requests_wait_in_line() -> None:
    """Each answer would else let one more read in, with thousands of requests: the line would grow for ever."""
    turns = asyncio.Semaphore(0)

    async def one_by_one(incoming: Incoming, reply: Reply) -> None:
        await turns.acquire()
        await echo(incoming, reply)

    played = Played(one_by_one)
    await played.take(get("/a") + get("/b") + get("/c"))
    reading = []
    for _ in "abc":
        turns.release()
        await played.settle()
        reading.append(played.wire.reading)
    assert reading == [False, True, True]
    assert played.wire.statuses == [200, 200, 200]


async def test_a_bad_request_behind_one_that_is_being_answered_cuts() -> None:
    gate = Gate()
    played = Played(gate)
    await played.take(get("/gate") + b"\x00 garbage\r\n\r\n" + get("/b"))
    assert played.wire.aborted
    assert played.wire.written == b""
    assert played.application.paths == ["/gate"]


async def test_a_bad_request_behind_an_answer_is_refused() -> None:
    played = Played(echo)
    await played.take(get("/a"))
    await played.take(b"\x00 garbage\r\n\r\n" + get("/b"))
    assert played.wire.statuses == [200, 400]
    assert played.application.paths == ["/a"]


async def test_requests_behind_one_that_closes_are_not_served() -> None:
    played = Played(echo)
    await played.take(get("/a", b"Connection: close") + get("/b"))
    assert played.wire.closed
    assert played.application.paths == ["/a"]


@rows("count", [1, 3000])
async def test_offers_to_upgrade_in_one_read(count: int) -> None:
    """Each stops the parser; however many there are, none is nested in another."""
    played = Played(echo)
    await played.take(get("/u", b"Connection: Upgrade", b"Upgrade: h2c") * count + get("/last"))
    await eventually(lambda: played.wire.statuses == [200] * (count + 1))
    assert not played.wire.is_closing()


# Time.


async def test_the_first_head_has_its_time_from_the_connection_on() -> None:
    played = Played(echo)
    played.clock.advance(9)
    await played.take(b"GET / HT")
    played.clock.advance(0.9)
    assert played.wire.written == b""
    played.clock.advance(0.2)
    assert played.wire.statuses == [408]


async def test_a_later_head_has_its_time_from_its_first_byte_on() -> None:
    played = Played(echo)
    await played.take(get("/a"))
    played.clock.advance(74)
    await played.take(b"GET / HT")
    played.clock.advance(9)
    await played.take(b"TP/1.1\r\n")
    assert played.wire.statuses == [200]
    played.clock.advance(1.1)
    assert played.wire.statuses == [200, 408]


async def test_so_has_one_that_begins_behind_another_request() -> None:
    played = Played(echo)
    await played.take(get("/a") + get("/b")[:-2])
    played.clock.advance(9.9)
    assert played.wire.statuses == [200]
    played.clock.advance(0.2)
    assert played.wire.statuses == [200, 408]


async def test_nothing_is_served_behind_a_408() -> None:
    """It was refused: the rest of the head comes too late, and its answer would be the second to one request."""
    played = Played(echo)
    await played.take(get("/late")[:-2])
    played.clock.advance(10)
    assert played.wire.statuses == [408]
    await played.take(b"\r\n" + get("/b"))
    assert played.application.paths == []
    played.clock.advance(LINGER_SECONDS)
    assert played.wire.closed


async def test_an_idle_connection_closes_in_its_time() -> None:
    played = Played(echo)
    await played.take(get("/a"))
    played.clock.advance(74.9)
    assert not played.wire.closed
    played.clock.advance(0.2)
    assert played.wire.closed


async def test_many_requests_leave_one_timer() -> None:
    played = Played(echo)
    for _ in range(50):
        await played.take(get("/a"))
        played.clock.advance(5)
    assert played.clock.waiting == 1
    played.clock.advance(69)
    assert not played.wire.closed
    played.clock.advance(2)
    assert played.wire.closed


async def test_no_time_limit_meets_an_answer_that_is_due() -> None:
    """Not even when half a request stands behind it: that one's time begins when it can be served."""
    gate = Gate()
    played = Played(gate)
    await played.take(get("/gate"))
    await played.take(b"\r\nGET / HT")
    played.clock.advance(1000)
    assert not played.wire.is_closing()
    gate.opened.set()
    await played.settle()
    assert played.wire.statuses == [200]
    played.clock.advance(9)
    assert played.wire.statuses == [200]
    played.clock.advance(1.1)
    assert played.wire.statuses == [200, 408]


async def test_a_body_is_not_hurried_by_the_timer_of_heads() -> None:
    played = Played(echo)
    await played.take(post("/a", b"x", length=2))
    played.clock.advance(1000)
    await played.take(b"y")
    assert played.wire.written.endswith(b"/axy")


async def test_thousands_of_requests_in_one_read_wait_as_bytes() -> None:
    """As objects they would take a hundred times the memory."""
    gate = Gate()
    played = Played(gate)
    paths = [f"/{number}" for number in range(1500)]
    before = cycles()
    await played.take(get("/gate") + b"".join(map(get, paths)))
    assert played.application.paths == ["/gate"]
    assert cycles() - before <= 2 * PIPELINED + 1
    assert not played.wire.reading
    gate.opened.set()
    while len(played.application.paths) <= len(paths):
        served = len(played.application.paths)
        await played.settle()
        assert len(played.application.paths) > served
    await played.settle()
    assert played.application.paths == ["/gate", *paths]
    assert re.findall(rb"\r\n\r\n(/[0-9]+)", played.wire.written) == [path.encode() for path in paths]
    assert played.wire.reading


def cycles() -> int:
    gc.collect()
    return sum(type(each) is Cycle for each in gc.get_objects())


async def test_chunks_full_of_empty_lines_are_no_requests() -> None:
    played = Played(echo)
    body = b"\r\n\r\n" * 5000
    await played.take(get("/a", b"Transfer-Encoding: chunked").replace(b"GET", b"POST") + b"%x\r\n" % len(body) + body)
    await played.take(b"\r\n0\r\n\r\n" + get("/b"))
    assert played.wire.written.count(body) == 1
    assert played.application.paths == ["/a", "/b"]


async def test_the_next_request_waits_until_the_client_reads() -> None:
    def unread(incoming: Incoming, reply: Reply) -> Awaitable[None]:
        played.wire.unsent = 100_000
        played.protocol.pause_writing()
        return echo(incoming, reply)

    played = Played(echo)
    played.application._handler = unread
    await played.take(get("/a"))
    played.protocol.resume_writing()
    await played.take(get("/b") + get("/c"))
    assert (played.application.paths, played.wire.reading) == (["/a", "/b"], False)
    played.protocol.resume_writing()
    await played.settle()
    assert played.application.paths == ["/a", "/b", "/c"]


@rows("keeps", [True, False], ids=["kept", "closing"])
async def test_a_client_that_has_not_read_its_last_answer_is_cut(keeps: bool) -> None:
    played = Played(echo)
    played.wire.unsent = 100
    await played.take(get("/a", *([] if keeps else [b"Connection: close"])))
    assert (played.wire.closed, played.wire.aborted) == (not keeps, False)
    played.clock.advance(0.11)
    assert played.wire.aborted


async def test_a_slow_client_has_its_time_anew_with_whatever_it_reads() -> None:
    played = Played(echo)
    played.wire.unsent = 100
    await played.take(get("/a"))
    for left in (80, 60, 0):
        played.wire.unsent = left
        played.clock.advance(0.11)
    assert not played.wire.aborted
    played.clock.advance(74)
    await played.take(get("/b"))
    assert played.wire.statuses == [200, 200]


ODD_HEADS = {
    "another transfer coding": (get("/a", b"Transfer-Encoding: gzip"), 400),
    "one before chunks": (get("/a", b"Transfer-Encoding: gzip, chunked"), 400),
    "chunks twice": (get("/a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "an offer of h2c": (
        get("/a", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"),
        200,
    ),
    "a WebSocket": (get("/a", b"Connection: Upgrade", b"Upgrade: websocket"), 200),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4", 400),
    "TLS": (b"\x16\x03\x01\x02\0\x01\0\1\xfc\3\3", 400),
    "a tunnel": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400),
    "an expectation nobody knows": (get("/a", b"Expect: a miracle"), 200),
}


@rows("upgrade", [(), (b"Connection: upgrade", b"Upgrade: x")], ids=["", "with an upgrade"])
@rows("split", [False, True], ids=["whole", "byte by byte"])
@rows("odd", ODD_HEADS)
async def test_an_odd_head_gets_one_answer(odd: str, split: bool, upgrade: tuple[bytes, ...]) -> None:
    head, status = ODD_HEADS[odd]
    head = head.replace(b"Host: a\r\n", b"\r\n".join((b"Host: a", *upgrade, b"")))
    played = Played(echo)
    for part in (head[place : place + 1] for place in range(len(head))) if split else (head,):
        played.protocol.data_received(part)
    await played.settle()
    assert played.wire.statuses == [status]


async def test_a_client_that_reads_nothing_holds_no_page_for_ever() -> None:
    played = Played(echo)
    played.protocol.pause_writing()
    await played.take(get("/a"))
    assert played.wire.written == b""
    played.clock.advance(0.19)
    assert not played.wire.aborted
    played.clock.advance(0.02)
    assert played.wire.aborted


async def test_a_client_that_reads_on_in_time_is_not_cut() -> None:
    played = Played(echo)
    played.protocol.pause_writing()
    await played.take(get("/a"))
    played.protocol.resume_writing()
    await played.settle()
    played.clock.advance(1)
    assert played.wire.statuses == [200]
    assert not played.wire.is_closing()


# Answers before the end of the request.


async def test_the_rest_of_an_answered_request_is_read_for_a_moment() -> None:
    played = Played(early)
    await played.take(post("/a", b"x", length=100_000))
    assert played.wire.statuses == [401]
    played.clock.advance(LINGER_SECONDS - 0.1)
    assert not played.wire.is_closing()
    played.clock.advance(0.2)
    assert played.wire.closed


async def test_once_the_rest_has_come_the_connection_goes_on() -> None:
    played = Played(early)
    await played.take(post("/a", b"x", length=3))
    await played.take(b"yz" + get("/b"))
    assert played.wire.statuses == [401, 401]
    played.clock.advance(LINGER_SECONDS + 1)
    assert not played.wire.is_closing()


@rows("closing", ["1.0", "close"])
async def test_an_answer_to_half_a_request_is_not_reset(closing: str) -> None:
    """RFC 9112 §9.6, also where the connection ends with this answer: nginx speaks HTTP/1.0 to its upstreams."""
    played = Played(early)
    version = b"1.0" if closing == "1.0" else b"1.1"
    await played.take(post("/a", b"x", b"Connection: close", length=100_000, version=version))
    assert played.wire.statuses == [401]
    assert played.wire.ended
    assert not played.wire.is_closing()
    await played.take(b"x" * 99_999 + get("/b"))
    assert played.application.paths == ["/a"]
    played.clock.advance(LINGER_SECONDS)
    assert played.wire.closed


async def test_a_broken_rest_of_an_answered_request_gets_no_second_answer() -> None:
    played = Played(early)
    head = get("/a", b"Transfer-Encoding: chunked").replace(b"GET", b"POST", 1)
    await played.take(head + b"3\r\nabc\r\n")
    await played.take(b"zz\r\n" + get("/b"))
    assert played.wire.statuses == [401]
    assert played.application.paths == ["/a"]
    played.clock.advance(LINGER_SECONDS)
    assert played.wire.closed


# Disconnects.


async def test_who_leaves_behind_a_large_body_is_noticed() -> None:
    """It came with one read, before it was asked for; reading must go on all the same."""
    left = asyncio.Event()
    read = asyncio.Event()

    async def wait(incoming: Incoming, reply: Reply) -> None:
        await incoming.body(LIMIT, 5)
        incoming.watch(left.set)
        read.set()
        await left.wait()

    played = Played(wait)
    await played.take(post("/a", b"x" * 200_000))
    assert read.is_set()
    assert played.wire.reading
    played.protocol.eof_received()
    assert played.wire.aborted
    await played.lose()
    assert left.is_set()


async def test_who_leaves_in_the_line_is_never_served() -> None:
    gate = Gate()
    played = Played(gate)
    await played.take(get("/gate") + get("/b"))
    await played.lose()
    gate.opened.set()
    await played.settle()
    assert played.application.paths == ["/gate"]
    assert played.wire.written == b""


async def test_who_leaves_before_the_end_of_the_body() -> None:
    ends: list[type[BaseException]] = []

    async def note(incoming: Incoming, reply: Reply) -> None:
        try:
            await incoming.body(LIMIT, 5)
        except ClientGone as gone:
            ends.append(type(gone))

    played = Played(note)
    await played.take(post("/a", b"x", length=2))
    await played.lose()
    assert ends == [ClientGone]
    assert played.clock.waiting == 0


async def test_a_connection_leaves_nothing_to_collect() -> None:
    """What a connection held is gone with it, and does not wait for the garbage collector."""
    played = Played(echo)
    await played.take(post("/a", b"x" * 100) + b"GET /hal")
    kept = weakref.ref(played.protocol)
    gc.collect()
    gc.disable()
    try:
        await played.lose()
        del played
        assert kept() is None
    finally:
        gc.enable()


# Shutdown.


async def test_shutdown_closes_what_is_idle_and_tells_what_is_busy() -> None:
    gate = Gate()
    played = Played(gate)
    await played.take(get("/gate"))
    played.protocol.shutdown()
    meanwhile = played.wire.closed
    gate.opened.set()
    await played.settle()
    assert not meanwhile
    assert b"connection: close\r\n" in played.wire.written
    assert played.wire.closed
    idle = Played(echo)
    await idle.take(get("/a"))
    idle.protocol.shutdown()
    assert idle.wire.closed


async def test_a_cancelled_answer_closes() -> None:
    played = Played(Gate())
    await played.take(get("/gate"))
    for task in list(played.state.tasks):
        task.cancel()
    await played.settle()
    assert played.wire.closed
