"""Answers as they arrive: every framing, every break, and flow control."""

import asyncio

import pytest
from tests.adapters.http.test_client import OK, client, post, whole
from tests.adapters.servers import LocalServer, Peer, answers
from tests.fakes import SinkTransport, bytewise
from tests.live.relays import eventually
from tests.rows import rows

from chukei.adapters.http.answer import HIGH_WATER, MAX_HEADER_BYTES
from chukei.adapters.http.connection import TRANSITIONS, Connection, Event, State
from chukei.errors import UpstreamError
from chukei.model import End

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

GOOD = [
    pytest.param(OK, b"hi", True, id="length"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n3\r\n yo\r\n0\r\n\r\n", b"hi yo", True, id="chunked"),
    pytest.param(CHUNKED + b"2;ext=1\r\nhi\r\n0\r\nX-Trailer: t\r\n\r\n", b"hi", True, id="chunked with a trailer"),
    pytest.param(HEAD + b"\r\nuntil the end", b"until the end", False, id="until the connection closes"),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, id="no content"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"hi", True, id="interim"),
    pytest.param(
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + OK, b"hi", True, id="two interim"
    ),
    pytest.param(HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", b"hi", False, id="close announced"),
    pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi", False, id="HTTP/1.0"),
    pytest.param(HEAD + b"content-length: 0\r\n\r\n", b"", True, id="empty"),
]


WAYS: dict[State, list[Event]] = {
    State.NEW: [],
    State.ASKING: [Event.REQUEST],
    State.READING: [Event.REQUEST, Event.HEAD],
    State.IDLE: [Event.REQUEST, Event.HEAD, Event.RELEASE],
    State.CLOSED: [Event.CLOSE],
}


def happen(event: Event, connection: Connection) -> None:
    match event:
        case Event.REQUEST:
            connection.send(b"", b"")
        case Event.HEAD:
            connection.data_received(OK)
        case Event.RELEASE:
            connection.release()
        case Event.CLOSE:
            connection.abort()


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
async def test_every_row_of_the_table_is_a_way_that_is_gone(state: State, event: Event) -> None:
    idle: list[Connection] = []
    connection = Connection(idle.append, lambda _: None)
    connection.connection_made(SinkTransport())
    for before in WAYS[state]:
        happen(before, connection)
    assert repr(connection) == f"<Connection {state}>"
    happen(event, connection)
    assert connection.state is TRANSITIONS[state, event]
    assert (connection in idle) is (State.IDLE in (state, connection.state))


async def test_a_connection_whose_answer_has_not_come_cannot_be_kept() -> None:
    connection = Connection(lambda _: None, lambda _: None)
    connection.connection_made(SinkTransport())
    connection.send(b"", b"")
    connection.pause_writing()
    assert repr(connection) == "<Connection asking, a part of the request has not left>"
    connection.resume_writing()
    connection._keep_alive = True
    with pytest.raises(KeyError):
        connection.release()


@rows(("raw", "body", "kept"), GOOD)
@rows("by_byte", [False, True], ids=["whole", "bytewise"])
async def test_framings(raw: bytes, body: bytes, kept: bool, by_byte: bool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        for part in bytewise(raw) if by_byte else [raw]:
            await peer.send(part)
            if by_byte:
                await asyncio.sleep(0)
        if not kept:
            return
        await peer.request()
        await peer.send(OK)

    async with LocalServer(handle) as server:
        http = client()
        answer = await post(http, server)
        assert answer.status in (200, 204)
        assert b"link" not in dict(answer.headers)
        assert await whole(answer) == body
        await eventually(lambda: http.open_connections == kept)
        if kept:
            assert await whole(await post(http, server)) == b"hi"
            assert len(server.peers) == 1
        await http.close()


async def test_names_are_lower_case_and_trailers_dropped() -> None:
    raw = CHUNKED.replace(b"\r\n\r\n", b"\r\nX-Ratelimit-Remaining: 5\r\n\r\n") + b"0\r\nSecret: x\r\n\r\n"
    async with LocalServer(answers(raw)) as server:
        http = client()
        answer = await post(http, server)
        await whole(answer)
        assert (b"x-ratelimit-remaining", b"5") in answer.headers
        assert b"secret" not in dict(answer.headers)
        await http.close()


BROKEN = [
    pytest.param(b"", b"", End.UPSTREAM_LOST, id="nothing"),
    pytest.param(b"HTTP/1.1 200", b"", End.UPSTREAM_LOST, id="half a head"),
    pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", b"", End.UNEXPECTED_ANSWER, id="another protocol"),
    pytest.param(b"HTTP/1.1 abc\r\n\r\n", b"", End.UNEXPECTED_ANSWER, id="no status"),
    pytest.param(b"HTTP/3.7 200 OK\r\n\r\n", b"", End.UNEXPECTED_ANSWER, id="another version"),
    pytest.param(
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", b"", End.UNEXPECTED_ANSWER, id="upgrade"
    ),
    pytest.param(HEAD + b"a b: c\r\n\r\n", b"", End.UNEXPECTED_ANSWER, id="a bad field"),
    pytest.param(
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", b"", End.UNEXPECTED_ANSWER, id="two lengths"
    ),
    pytest.param(
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", b"", End.UNEXPECTED_ANSWER, id="lengths differ"
    ),
    pytest.param(HEAD + b"content-length: 10\r\n\r\nhal", b"hal", End.UPSTREAM_LOST, id="short of its length"),
    pytest.param(CHUNKED + b"5\r\nhal", b"hal", End.UPSTREAM_LOST, id="inside a chunk"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n", b"hi", End.UPSTREAM_LOST, id="between chunks"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n0\r\n", b"hi", End.UPSTREAM_LOST, id="before the last line"),
    pytest.param(CHUNKED + b"2\r\nhi\r\nzz\r\n", b"hi", End.UPSTREAM_LOST, id="a bad chunk"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n-1\r\n", b"hi", End.UPSTREAM_LOST, id="a negative chunk"),
    pytest.param(CHUNKED + b"2\r\nhixx0\r\n\r\n", b"hi", End.UPSTREAM_LOST, id="no line end after a chunk"),
]


@rows(("raw", "before", "end"), BROKEN)
async def test_breaks_come_after_what_arrived_and_the_connection_is_not_kept(
    raw: bytes, before: bytes, end: End
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)

    got: list[bytes] = []

    async def read() -> None:
        answer = await post(http, server)
        async with asyncio.timeout(60):
            while (data := await answer.read()) != b"":
                got.append(data or b"")

    async with LocalServer(handle) as server:
        http = client()
        with pytest.raises(UpstreamError) as caught:
            await read()
        assert b"".join(got) == before
        assert caught.value.end is end
        assert caught.value.message.isprintable()
        await http.close()
        assert http.open_connections == 0


@rows("extra", [b"X", b"HTTP/1.1 200 OK\r\n\r\n", OK, b"\x00"])
@rows("later", [False, True], ids=["in the same read", "later"])
async def test_bytes_after_an_answer_cost_the_connection(extra: bytes, later: bool) -> None:
    """Otherwise they would be the next client's answer."""

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + (b"" if later else extra))
        if later:
            await go.wait()
            await peer.send(extra)
        await peer.eof()

    go = asyncio.Event()
    async with LocalServer(handle) as server:
        http = client()
        answer = await post(http, server)
        assert await whole(answer) == b"hi"
        go.set()
        async with asyncio.timeout(60):
            await server.peers[0].closed.wait()
        assert http.open_connections == 0


async def test_an_endless_head_is_given_up() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for index in range(200):
            await peer.send(b"x-%d: " % index + b"y" * 1024 + b"\r\n")
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        with pytest.raises(UpstreamError) as caught:
            await post(http, server)
        assert caught.value.end in (End.UNEXPECTED_ANSWER, End.UPSTREAM_LOST)
        assert MAX_HEADER_BYTES < 200 * 1024
        assert http.open_connections == 0


class Swallowing(asyncio.Transport):
    """A transport that swallows what is written, and tells whether it was cut."""

    aborted = False

    def write(self, data: object) -> None:
        return None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@rows("body", [0, MAX_HEADER_BYTES])
@rows("over", [False, True])
async def test_a_head_that_comes_whole_in_one_read_is_bounded_without_its_body(body: int, over: bool) -> None:
    connection, transport = Connection(lambda _: None, lambda _: None), Swallowing()
    connection.connection_made(transport)
    answer = connection.send(b"GET / HTTP/1.1\r\n\r\n", b"")
    field = b"x-field: " + b"v" * (MAX_HEADER_BYTES // 4) + b"\r\n"
    length = b"content-length: %d\r\n\r\n" % body
    connection.data_received(b"HTTP/1.1 200 OK\r\n" + field * (4 if over else 3) + length + b"b" * body)
    assert transport.aborted is over
    if over:
        with pytest.raises(UpstreamError, match="too many headers"):
            await answer.head()
    else:
        await answer.head()
        assert (answer.status, await answer.read()) == (200, b"b" * body)


async def test_a_reader_that_waits_stops_the_socket_and_loses_nothing() -> None:
    total = 32 << 20
    written = 0

    async def handle(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        await peer.send(HEAD + b"content-length: %d\r\n\r\n" % total)
        while written < total:
            await peer.send(b"%07d\n" % (written // 8) * 8192)
            written += 65536
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        answer = await post(http, server)
        before = -1
        while before != written:  # until nothing moves any more
            before = written
            await asyncio.sleep(0.05)
        assert written < total / 2
        assert answer._size < HIGH_WATER + 512 * 1024
        body = await whole(answer)
        assert len(body) == total
        assert body[-8:] == b"%07d\n" % ((total - 65536) // 8)
        await http.close()


async def test_a_waiting_reader_can_be_woken() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        answer = await post(http, server)
        reading = asyncio.create_task(answer.read())
        await asyncio.sleep(0)
        answer.wake()
        assert await reading is None
        answer.wake()  # nobody waits: nothing happens
        assert "arriving" in repr(answer)
        answer.abort()
        answer.abort()
        async with asyncio.timeout(60):
            await server.peers[0].closed.wait()
        assert http.open_connections == 0


async def lingering(rest: bytes) -> tuple[int, int]:
    """Finish an answer before its end, send the rest, and return how many connections there are and were."""
    asked, told = asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"4\r\ndone\r\n")
        await asked.wait()
        await peer.send(rest)
        told.set()
        if rest.endswith(b"0\r\n\r\n"):
            await peer.request()
            await peer.send(OK)
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        answer = await post(http, server)
        assert await answer.read() == b"done"
        answer.finish()
        answer.finish()
        asked.set()
        await told.wait()
        if rest.endswith(b"0\r\n\r\n"):
            async with asyncio.timeout(60):
                while "1 idle" not in repr(http):
                    await asyncio.sleep(0.001)
            await whole(await post(http, server))
        else:
            async with asyncio.timeout(60):
                await server.peers[0].closed.wait()
        found = http.open_connections, len(server.peers)
        await http.close()
        return found


async def test_an_answer_finished_early_keeps_its_connection_if_only_its_end_was_missing() -> None:
    assert await lingering(b"0\r\n\r\n") == (1, 1)


@rows("rest", [b"4\r\nmore\r\n", b"zz\r\n", b""], ids=["more body", "bad framing", "silence"])
async def test_an_answer_finished_early_costs_its_connection_otherwise(rest: bytes) -> None:
    assert await lingering(rest) == (0, 1)
