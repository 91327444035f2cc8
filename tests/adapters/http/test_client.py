"""The pool of connections, on real sockets."""

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from tests.adapters.servers import LocalServer, Peer, answers
from tests.live.relays import eventually
from tests.rows import rows

from chukei.adapters.http.answer import HttpAnswer
from chukei.adapters.http.client import HttpClient
from chukei.config import UpstreamSettings
from chukei.errors import UpstreamError
from chukei.metrics.definitions import UPSTREAM_CONNECTIONS
from chukei.model import End

pytestmark = pytest.mark.anyio

DESCRIPTORS = Path("/proc/self/fd")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def client(**settings: float) -> HttpClient:
    return HttpClient(UpstreamSettings(**settings))  # type: ignore[arg-type]


async def post(http: HttpClient, server: LocalServer, body: bytes = b"{}") -> HttpAnswer:
    async with asyncio.timeout(60):
        return await http.request("POST", server.url, "/path", [(b"api-key", b"k")], body, lambda: None)


async def whole(answer: HttpAnswer) -> bytes:
    parts = []
    async with asyncio.timeout(60):
        while (data := await answer.read()) != b"":
            parts.append(data or b"")  # None: something came, but nothing of the body
    answer.finish()
    return b"".join(parts)


async def test_a_request_is_written_as_given() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handle(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        sent: list[bool] = []
        answer = await http.request(
            "POST", server.url, "/a?b=c", [(b"api-key", b"k")], b'{"x":1}', lambda: sent.append(True)
        )
        assert (answer.status, await whole(answer)) == (200, b"hi")
        await http.close()
    [(head, body)] = seen
    assert head.split(b"\r\n") == [
        b"POST /a?b=c HTTP/1.1",
        b"host: localhost:%d" % server.port,
        b"api-key: k",
        b"accept-encoding: identity",
        b"content-length: 7",
        b"",
        b"",
    ]
    assert body == b'{"x":1}'
    assert sent == [True]


async def test_a_connection_is_used_again() -> None:
    async with LocalServer(answers(OK)) as server:
        http = client()
        for _ in range(5):
            assert await whole(await post(http, server)) == b"hi"
        assert len(server.peers) == 1
        assert repr(http) == "<HttpClient 1 open, 1 idle>"
        await http.close()
        assert http.open_connections == 0


async def test_connections_are_counted_by_endpoint_busy_and_idle() -> None:
    async with LocalServer(answers(OK)) as one, LocalServer(answers(OK)) as other:
        http = client()
        await whole(await post(http, one))
        running = await post(http, other)
        assert list(http.readings()) == [
            (UPSTREAM_CONNECTIONS, (one.url, "busy"), 0),
            (UPSTREAM_CONNECTIONS, (one.url, "idle"), 1),
            (UPSTREAM_CONNECTIONS, (other.url, "busy"), 1),
            (UPSTREAM_CONNECTIONS, (other.url, "idle"), 0),
        ]
        running.abort()
        await http.close()
        assert {value for _, _, value in http.readings()} == {0}


async def test_the_connection_used_last_is_used_first() -> None:
    async def handle(peer: Peer) -> None:
        while True:
            await peer.request()
            port = b"%d" % peer.writer.get_extra_info("peername")[1]
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(port) + port)

    async with LocalServer(handle) as server:
        http = client()
        answers_ = await asyncio.gather(*(post(http, server) for _ in range(3)))
        ports = [await whole(answer) for answer in answers_]
        assert len(set(ports)) == 3
        assert await whole(await post(http, server)) == ports[-1]
        assert await whole(await post(http, server)) == ports[-1]
        await http.close()


async def test_idle_connections_expire() -> None:
    async with LocalServer(answers(OK)) as server:
        http = client(keepalive_seconds=0.05)
        await whole(await post(http, server))
        assert http.open_connections == 1
        async with asyncio.timeout(60):
            await server.peers[0].closed.wait()
        assert http.open_connections == 0
        await whole(await post(http, server))
        assert len(server.peers) == 2
        await http.close()


class Blocking:
    """A server that the test itself plays, so that what it does lies between two turns of the client's loop.

    It reads no more than it is told to, and takes little in by itself: what is large stays with its sender.
    """

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    async def accept(self) -> socket.socket:
        connection: socket.socket = await asyncio.to_thread(self._accept)
        return connection

    def _accept(self) -> socket.socket:
        self._listener.settimeout(60)
        connection, _ = self._listener.accept()
        connection.settimeout(60)
        return connection

    async def head(self, connection: socket.socket) -> bytes:
        """Read one byte after the other up to the end of a head."""

        def read() -> bytes:
            found = b""
            while not found.endswith(b"\r\n\r\n"):
                found += connection.recv(1)
            return found

        self.heads += 1
        return await asyncio.to_thread(read)

    async def body(self, connection: socket.socket, size: int) -> None:
        def read() -> None:
            left = size
            while left:
                left -= len(connection.recv(left))

        await asyncio.to_thread(read)


def cut(connection: socket.socket, *, reset: bool) -> None:
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


LARGE = b"x" * 8_000_000
"""More than the sockets on both sides take in."""

SPEECHLESS = [pytest.param(True, id="reset"), pytest.param(False, id="closed")]


@rows("reset", SPEECHLESS)
async def test_a_connection_that_is_found_closed_is_not_used(reset: bool) -> None:
    """It ended while it was idle, and the loop has not told so yet."""
    with Blocking() as server:
        http = client()
        for number in (1, 2):
            asking = asyncio.create_task(http.request("POST", server.url, "/", [], b"{}", lambda: None))
            connection = await server.accept()
            await server.head(connection)
            await server.body(connection, 2)
            connection.sendall(OK)
            assert await whole(await asking) == b"hi"
            assert server.heads == number
            cut(connection, reset=reset)
        await http.close()


@rows("reset", SPEECHLESS)
async def test_a_request_that_was_sent_is_not_sent_again(reset: bool) -> None:
    """It may have been worked on before the connection broke, and would be paid twice."""
    generations = 0

    async def handle(peer: Peer) -> None:
        nonlocal generations
        await peer.request()
        generations += 1
        await peer.send(OK)
        await peer.request()
        generations += 1
        if reset:
            peer.reset()

    async with LocalServer(handle) as server:
        http = client()
        assert await whole(await post(http, server)) == b"hi"
        with pytest.raises(UpstreamError) as caught:
            await post(http, server)
        assert (caught.value.end, caught.value.fresh) == (End.UPSTREAM_LOST, False)
        assert generations == 2
        assert len(server.peers) == 1
        assert http.open_connections == 0
        await http.close()


async def used(http: HttpClient, server: Blocking) -> socket.socket:
    """Return the server's side of a connection that has carried one request, and is idle."""
    asking = asyncio.create_task(http.request("POST", server.url, "/", [], b"", lambda: None))
    connection = await server.accept()
    await server.head(connection)
    connection.sendall(OK)
    await whole(await asking)
    return connection


@rows("reset", SPEECHLESS)
async def test_a_request_that_had_not_left_is_sent_on_a_new_connection_once(reset: bool) -> None:
    with Blocking() as server:
        http = client()
        connection = await used(http, server)
        asking = asyncio.create_task(http.request("POST", server.url, "/", [], LARGE, lambda: None))
        await server.head(connection)
        cut(connection, reset=reset)
        connection = await server.accept()
        await server.head(connection)
        cut(connection, reset=reset)
        with pytest.raises(UpstreamError) as caught:
            async with asyncio.timeout(60):
                await asking
        assert caught.value.end is End.UPSTREAM_LOST
        assert server.heads == 3
        assert http.open_connections == 0


@rows("reused", [True, False])
async def test_a_refusal_in_the_midst_of_a_request_is_the_answer(reused: bool) -> None:
    """The server has seen enough, says so and breaks off, with much of the body unread."""
    refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno"
    with Blocking() as server:
        http = client()
        idle = await used(http, server) if reused else None
        asking = asyncio.create_task(http.request("POST", server.url, "/", [], LARGE, lambda: None))
        connection = idle or await server.accept()
        await server.head(connection)
        connection.sendall(refusal)
        connection.close()  # with unread bytes, so this is a reset
        async with asyncio.timeout(60):
            answer = await asking
        assert (answer.status, await whole(answer)) == (413, b"no")
        assert http.open_connections == 0


async def test_a_connection_with_a_rest_of_a_request_is_not_used_again() -> None:
    with Blocking() as server:
        http = client()
        asking = asyncio.create_task(http.request("POST", server.url, "/", [], LARGE, lambda: None))
        connection = await server.accept()
        await server.head(connection)
        connection.sendall(OK)
        assert await whole(await asking) == b"hi"
        await eventually(lambda: http.open_connections == 0)
        connection.close()


async def test_a_break_after_one_byte_is_not_tried_again() -> None:
    seen = 0

    async def handle(peer: Peer) -> None:
        nonlocal seen
        await peer.request()
        await peer.send(OK)
        await peer.request()
        seen += 1
        await peer.send(b"H")
        peer.reset()

    async with LocalServer(handle) as server:
        http = client()
        await whole(await post(http, server))
        with pytest.raises(UpstreamError) as caught:
            await post(http, server)
        assert not caught.value.fresh
        assert seen == 1
        assert http.open_connections == 0
        await http.close()


async def test_a_new_connection_that_breaks_is_not_tried_again() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with LocalServer(handle) as server:
        http = client()
        with pytest.raises(UpstreamError) as caught:
            await post(http, server)
        assert caught.value.end is End.UPSTREAM_LOST
        assert len(server.peers) == 1
        await http.close()


async def test_a_refused_connection() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(UpstreamError) as caught:
        await client().request("POST", f"http://127.0.0.1:{port}", "/", [], b"", lambda: None)
    assert (caught.value.status, caught.value.code, caught.value.end) == (502, "connect_error", End.CONNECT_ERROR)


@rows("host", ["contoso..openai.example", "a" * 70 + ".example", "no-such-host.invalid"])
async def test_a_name_that_leads_nowhere(host: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        await client().request("POST", f"http://{host}", "/", [], b"", lambda: None)
    assert (caught.value.status, caught.value.code) == (502, "connect_error")


class FullServer:
    """Listens and accepts nobody: connecting to it hangs."""

    def __enter__(self) -> str:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        for opened in (self._listener, *self._fillers):
            opened.close()


async def test_a_server_that_does_not_accept_is_a_timeout() -> None:
    with FullServer() as url:
        http = client(connect_seconds=0.1)
        with pytest.raises(UpstreamError) as caught:
            await http.request("POST", url, "/", [], b"", lambda: None)
        assert (caught.value.status, caught.value.code, caught.value.end) == (504, "connect_timeout", End.CONNECT_ERROR)
        assert http.open_connections == 0


def sockets() -> int:
    """Count open sockets; the loops keep other descriptors of their own."""
    links = []
    for entry in DESCRIPTORS.iterdir():
        with suppress(OSError):
            links.append(str(entry.readlink()))
    return sum(link.startswith("socket:") for link in links)


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counts descriptors by /proc")
async def test_cancelling_while_connecting_leaves_no_descriptor() -> None:
    with FullServer() as url:
        http = client()
        await asyncio.sleep(0)
        before = sockets()
        task = asyncio.create_task(http.request("POST", url, "/", [], b"", lambda: None))
        await eventually(lambda: sockets() > before)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: sockets() == before)
        assert http.open_connections == 0


async def test_cancelling_while_waiting_for_the_head_closes_the_connection() -> None:
    asked = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        task = asyncio.create_task(post(http, server))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            await server.peers[0].closed.wait()
        assert http.open_connections == 0


async def test_closing_ends_idle_and_busy_connections() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal")
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        answer = await post(http, server)
        await http.close()
        with pytest.raises(UpstreamError):
            await whole(answer)
        async with asyncio.timeout(60):
            await server.peers[0].closed.wait()
        assert http.open_connections == 0


async def test_a_request_during_closing_gets_no_connection_that_stays() -> None:
    accepted = asyncio.Event()

    async def handle(peer: Peer) -> None:
        accepted.set()
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        task = asyncio.create_task(post(http, server))
        await asyncio.sleep(0)
        await http.close()
        with pytest.raises(UpstreamError):
            await task
        await eventually(lambda: http.open_connections == 0)


async def test_a_document_is_fetched_without_a_body() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handle(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)
        await peer.eof()

    async with LocalServer(handle) as server:
        http = client()
        async with asyncio.timeout(60):
            answer = await http.request(
                "GET", server.url, "/keys?x=1", [(b"accept", b"application/json")], b"", lambda: None
            )
        assert await whole(answer) == b"hi"
        await http.close()
    head, body = seen[0]
    assert head.startswith(b"GET /keys?x=1 HTTP/1.1\r\nhost: localhost:")
    assert b"\r\naccept: application/json\r\n" in head
    assert head.endswith(b"\r\naccept-encoding: identity\r\n\r\n")
    assert (b"content-length" in head, body) == (False, b"")


async def test_the_readings_of_a_client_and_its_successor_are_of_both() -> None:
    async with LocalServer(answers(OK)) as server:
        old = client()
        new = old.renewed(UpstreamSettings())
        assert await whole(await post(old, server)) == b"hi"
        assert await whole(await post(new, server)) == b"hi"
        for each in (old, new):
            idle = [count for _, labels, count in each.readings() if labels == (server.url, "idle")]
            assert idle == [1, 1]
        await old.close()
        assert [count for _, _, count in old.readings()] == [0, 1], "whoever reads the old one reads the new one"
        await new.close()
