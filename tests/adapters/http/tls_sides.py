"""Both sides of a TLS connection: a server whose records a test makes, and the protocol above the client's TLS."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import trustme
from tests.adapters.conftest import server_context

TEXT = b"".join(b"event %d\n" % number for number in range(6000))
"""Longer than five records."""


def serving(authority: trustme.CA, version: ssl.TLSVersion | None = None, name: str = "localhost") -> ssl.SSLContext:
    """Return a server's context with a certificate for a name."""
    context = server_context(authority.issue_cert(name))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Ends(NamedTuple):
    """The contexts of the relay, as ``upstream.ca_file`` makes it, and of a server that it trusts."""

    client: ssl.SSLContext
    server: ssl.SSLContext


class Above(asyncio.Protocol):
    """Notes what it is told. ``on_data`` is called with each piece."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.calls: list[str] = []
        self.writing: list[str] = []
        self.news = asyncio.Event()
        self.lost = asyncio.Event()
        self.error: Exception | None = None
        self.on_data: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.parts.append(data)
        self.news.set()
        self.on_data(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return False

    def pause_writing(self) -> None:
        self.writing.append("paused")

    def resume_writing(self) -> None:
        self.writing.append("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.error = exc
        self.lost.set()
        self.news.set()

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    async def until(self, count: int) -> None:
        """Wait for so many bytes."""
        async with asyncio.timeout(60):
            while sum(map(len, self.parts)) < count:
                self.news.clear()
                await self.news.wait()

    async def over(self) -> None:
        async with asyncio.timeout(60):
            await self.lost.wait()


class Records:
    """A server's TLS in memory: what it takes is the client's, what it returns is to be sent to the client."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)

    def take(self, data: bytes) -> None:
        self._in.write(data)

    def shake(self) -> tuple[bytes, bool]:
        """Go on with the handshake; return the next flight, and whether it is the last: of TLS 1.3 only tickets."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._out.read(), False
        return self._out.read(), True

    def record(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._out.read()

    def goodbye(self) -> bytes:
        """Make a close_notify."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._out.read()

    def read(self) -> bytes:
        """Decrypt what has been taken.

        Raises:
            ssl.SSLError: an alert of the client (ssl.SSLZeroReturnError: its goodbye).
        """
        data = b""
        with suppress(ssl.SSLWantReadError):
            while True:
                data += self._tls.read(65536)
        return data
