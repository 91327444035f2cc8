"""Bodies that are sent in parts, on real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.adapters.servers import LocalServer, Peer
from tests.live.relays import eventually
from tests.rows import rows

from chukei.adapters.http.client import HttpClient
from chukei.config import UpstreamSettings
from chukei.errors import UpstreamError
from chukei.ports import ClientGone

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
LARGE = 64 * 1024


class Parts:
    """A body in parts, which counts those that were taken and notes that it was closed."""

    def __init__(self, count: int, size: int = 1000, failure: BaseException | None = None) -> None:
        self._count, self._size, self._failure = count, size, failure
        self.taken = 0
        self.closed = False

    async def parts(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self._count):
                self.taken += 1
                yield b"x" * self._size
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed = True


@rows(("length", "framing"), [(3000, b"content-length: 3000"), (None, b"transfer-encoding: chunked")])
async def test_parts_are_framed_by_what_is_known_of_their_length(length: int | None, framing: bytes) -> None:
    seen: list[bytes] = []

    async def handle(peer: Peer) -> None:
        seen.append(await peer.head())
        body = b""
        while body.count(b"x") < 3000 or (length is None and not body.endswith(b"0\r\n\r\n")):
            body += await peer.reader.read(LARGE)
        seen.append(body)
        await peer.send(OK)
        await peer.eof()

    async with LocalServer(handle) as server:
        http, parts = HttpClient(UpstreamSettings()), Parts(3)
        answer = await http.request("POST", server.url, "/files", [], parts.parts(), lambda: None, length)
        assert (answer.status, await answer.read()) == (200, b"hi")
        answer.finish()
        await http.close()
    head, body = seen
    assert framing in head.split(b"\r\n")
    chunk = b"x" * 1000 if length else b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    assert body == chunk * 3 + (b"" if length else b"0\r\n\r\n")
    assert parts.closed


async def test_an_early_answer_ends_the_upload_and_its_connection() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await peer.eof()

    async with LocalServer(handle) as server:
        http, parts = HttpClient(UpstreamSettings()), Parts(1000, LARGE)
        answer = await http.request("POST", server.url, "/files", [], parts.parts(), lambda: None, 1000 * LARGE)
        assert (answer.status, await answer.read()) == (413, b"no")
        answer.finish()
        assert parts.closed
        assert parts.taken < 1000
        await eventually(lambda: http.open_connections == 0)
        await http.close()


async def test_parts_wait_for_an_upstream_that_does_not_read() -> None:
    release = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await release.wait()
        left = 500 * LARGE
        while left:
            left -= len(await peer.reader.read(LARGE))
        await peer.send(OK)
        await peer.eof()

    async with LocalServer(handle) as server:
        http, parts = HttpClient(UpstreamSettings()), Parts(500, LARGE)
        asking = asyncio.create_task(
            http.request("POST", server.url, "/files", [], parts.parts(), lambda: None, 500 * LARGE)
        )
        taken = -1
        while taken != parts.taken:  # until the sockets are full
            taken = parts.taken
            await asyncio.sleep(0.2)
        assert 0 < taken < 500
        release.set()
        async with asyncio.timeout(60):
            answer = await asking
        assert (answer.status, parts.taken) == (200, 500)
        answer.abort()
        await http.close()


async def test_a_client_that_leaves_aborts_the_upload() -> None:
    lost = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        while await peer.reader.read(LARGE):
            pass
        lost.set()

    async with LocalServer(handle) as server:
        http, parts = HttpClient(UpstreamSettings()), Parts(2, failure=ClientGone())
        with pytest.raises(ClientGone):
            await http.request("POST", server.url, "/files", [], parts.parts(), lambda: None, 9000)
        async with asyncio.timeout(60):
            await lost.wait()
        assert http.open_connections == 0
        await http.close()


async def test_an_upstream_that_breaks_off_is_told() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with LocalServer(handle) as server:
        http, parts = HttpClient(UpstreamSettings()), Parts(10_000, LARGE)
        with pytest.raises(UpstreamError):
            await http.request("POST", server.url, "/files", [], parts.parts(), lambda: None)
        assert parts.closed
        await http.close()


async def test_other_methods_have_no_body() -> None:
    seen: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while head := await peer.head():
            seen.append(head)
            await peer.send(OK)

    async with LocalServer(handle) as server:
        http = HttpClient(UpstreamSettings())
        for method in ("GET", "DELETE"):
            answer = await http.request(method, server.url, "/files/1?a=b", [], b"", lambda: None)
            assert await answer.read() == b"hi"
            answer.finish()
        await http.close()
    assert [head.partition(b"\r\n")[0] for head in seen] == [
        b"GET /files/1?a=b HTTP/1.1",
        b"DELETE /files/1?a=b HTTP/1.1",
    ]
    assert [b"content-length: 0" in head for head in seen] == [False, True]
