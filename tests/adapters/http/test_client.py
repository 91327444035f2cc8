"""The pool of connections, on real sockets."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from tests.adapters.servers import LocalServer, Peer, answers
from tests.live.relays import eventually

from chukei.adapters.http.answer import HttpAnswer
from chukei.adapters.http.client import HttpClient
from chukei.config import UpstreamSettings
from chukei.errors import UpstreamError
from chukei.model import End

pytestmark = pytest.mark.anyio

DESCRIPTORS = Path("/proc/self/fd")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def client(**settings: float) -> HttpClient:
    return HttpClient(UpstreamSettings(**settings))  # type: ignore[arg-type]


async def post(http: HttpClient, server: LocalServer, body: bytes = b"{}") -> HttpAnswer:
    async with asyncio.timeout(60):
        return await http.post(server.url, "/path", [(b"api-key", b"k")], body, lambda: None)


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
        answer = await http.post(server.url, "/a?b=c", [(b"api-key", b"k")], b'{"x":1}', lambda: sent.append(True))
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


async def test_a_stale_connection_is_replaced_once() -> None:
    """A server that closes at the very moment of reuse: the request goes out again on a new connection."""
    seen = 0

    async def handle(peer: Peer) -> None:
        nonlocal seen
        await peer.request()
        seen += 1
        await peer.send(OK)
        await peer.request()  # the second request on this connection is dropped unanswered
        seen += 1
        peer.reset()

    async with LocalServer(handle) as server:
        http = client()
        assert await whole(await post(http, server)) == b"hi"
        assert await whole(await post(http, server)) == b"hi"
        assert seen == 3
        assert len(server.peers) == 2
        await http.close()


async def test_a_request_that_kills_its_server_is_sent_twice_at_most() -> None:
    seen = 0

    async def handle(peer: Peer) -> None:
        nonlocal seen
        while True:
            _, body = await peer.request()
            seen += body == b"poison"
            if body == b"poison":
                peer.reset()
                return
            await peer.send(OK)

    async with LocalServer(handle) as server:
        http = client()
        for answer in await asyncio.gather(*(post(http, server) for _ in range(4))):
            await whole(answer)
        assert http.open_connections == 4
        with pytest.raises(UpstreamError) as caught:
            await post(http, server, b"poison")
        assert caught.value.end is End.UPSTREAM_LOST
        assert seen == 2
        await http.close()


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
        await client().post(f"http://127.0.0.1:{port}", "/", [], b"", lambda: None)
    assert (caught.value.status, caught.value.code, caught.value.end) == (502, "connect_error", End.CONNECT_ERROR)


@pytest.mark.parametrize("host", ["contoso..openai.example", "a" * 70 + ".example", "no-such-host.invalid"])
async def test_a_name_that_leads_nowhere(host: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        await client().post(f"http://{host}", "/", [], b"", lambda: None)
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
            await http.post(url, "/", [], b"", lambda: None)
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
        task = asyncio.create_task(http.post(url, "/", [], b"", lambda: None))
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
            answer = await http.get(server.url, "/keys?x=1", [(b"accept", b"application/json")])
        assert await whole(answer) == b"hi"
        await http.close()
    head, body = seen[0]
    assert head.startswith(b"GET /keys?x=1 HTTP/1.1\r\nhost: localhost:")
    assert b"\r\naccept: application/json\r\n" in head
    assert head.endswith(b"\r\naccept-encoding: identity\r\n\r\n")
    assert (b"content-length" in head, body) == (False, b"")
