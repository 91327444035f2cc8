"""Servers and proxies on real sockets; a test controls every byte."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Handler = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection that a server accepted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.closed = asyncio.Event()

    async def head(self) -> bytes:
        """Read a request's head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> tuple[bytes, bytes]:
        """Read a request: its head and its body."""
        head = await self.head()
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        """Write and wait until the socket took it."""
        self.writer.write(data)
        await self.writer.drain()

    async def eof(self) -> None:
        """Wait until the other side closes."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Close without a goodbye."""
        self.writer.transport.abort()


class LocalServer:
    """Runs a handler for each connection. ``peers`` holds all that ever connected."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.failures: list[BaseException] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    @property
    def open(self) -> int:
        """How many connections have not ended."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handler(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            writer.close()
            self._tasks.discard(task)
            peer.closed.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for peer in self.peers:
            peer.reset()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        assert self.failures == []


def answers(*parts: bytes) -> Handler:
    """Answer every request on every connection with the same bytes."""

    async def handle(peer: Peer) -> None:
        while True:
            await peer.request()
            for part in parts:
                await peer.send(part)

    return handle


class Proxy(LocalServer):
    """An HTTP proxy. Every name leads to ``upstream``, as a company's own resolver would have it."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__(self._serve)
        self._upstream_port = upstream_port
        self.heads: list[bytes] = []

    async def _serve(self, peer: Peer) -> None:
        head = await peer.head()
        self.heads.append(head)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        try:
            if head.startswith(b"CONNECT "):
                await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                writer.write(head)
            await asyncio.gather(_pump(peer.reader, writer), _pump(reader, peer.writer))
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
