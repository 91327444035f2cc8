"""Stands for Azure OpenAI, as cheaply as Python can: ``python -m benchmarks.upstream PORT [TLS_PORT CERTIFICATE]``.

A request's prompt says what it wants: ``bench:STREAM:EVENTS:MICROSECONDS``, a number of content events and the time
between two of them (0: as fast as they are taken). EVENTS 0 asks for a short answer that is no stream. Every event
is a chunk of its own and a write of its own, as Azure sends them; a flood's streams take turns.
"""

import asyncio
import os
import re
import socket
import ssl
import sys
import threading
import time
from typing import cast

from benchmarks import events
from benchmarks.pacer import Pacer
from benchmarks.process import new_loop

_WANTED = re.compile(rb"bench:(\d+):(\d+):(\d+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_READ = 65536
_COMMON = b"apim-request-id: 0f0e0d0c-0b0a-0908-0706-050403020100\r\nx-ms-region: Sweden Central\r\n\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n" + _COMMON
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(events.ANSWER)
    + _COMMON
    + events.ANSWER
)
_BEGINNING = _STREAM_HEAD, *(events.chunk(event) for event in events.PREAMBLE)
_ENDING = (*(events.chunk(event) for event in events.ENDING), b"0\r\n\r\n")


class Server(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pacer: Pacer) -> None:
        self._loop = loop
        self._received = bytearray()
        self._needed = 0
        self._pacer = pacer
        self._writable = True
        self._paused = False
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._socket = cast(socket.socket, transport.get_extra_info("socket")).fileno()

    def data_received(self, data: bytes) -> None:
        """Collect a request and answer it."""
        self._received += data
        if not self._needed:
            end = self._received.find(b"\r\n\r\n")
            length = _LENGTH.search(self._received, 0, end) if end >= 0 else None
            if length is None:
                return
            self._needed = end + 4 + int(length[1])
        if len(self._received) < self._needed:
            return
        wanted = _WANTED.search(self._received, self._received.rfind(b"bench:"))
        assert wanted is not None, self._received[:200]
        self._stream, self._events, microseconds = (int(text) for text in wanted.groups())
        self._received.clear()
        self._needed = 0
        self._answer(microseconds / 1e6)

    def write(self, data: bytes) -> None:
        """Send from the loop."""
        self._transport.write(data)

    def write_now(self, data: bytes) -> bool:
        """Send at once, on any thread, while nothing is on its way; return whether the socket took it all."""
        try:
            return os.write(self._socket, data) == len(data)
        except OSError:  # it is full, or the other side has gone
            return False

    def _answer(self, gap: float) -> None:
        self._number = 0
        if self._events == 0:
            self.write(_ANSWER)
            return
        send = self.write_now if gap else self.write  # a transport may keep what it is given while the pacer overtakes
        for part in _BEGINNING:
            send(part)
        if gap:
            self._pacer.add(gap, self._tick)
        else:
            self._flood()

    def _tick(self) -> bool:
        """Send the next event, on the pacer's thread; return whether there are more. The loop writes nothing then."""
        if self._gone:
            return False
        if not self.write_now(self._next()):
            self._loop.call_soon_threadsafe(self._transport.abort)  # a relay that takes nothing loses this stream
            return False
        if self._number < self._events:
            return True
        self._loop.call_soon_threadsafe(self._finish)
        return False

    def _flood(self) -> None:
        """Send one event in this turn of the loop and the next one in the next."""
        if not self._writable:
            self._paused = True
            return
        self.write(self._next())
        if self._number == self._events:
            self._finish()
        else:
            self._loop.call_soon(self._flood)

    def _next(self) -> bytes:
        event = events.content(self._stream, self._number, time.monotonic_ns())
        self._number += 1
        return events.chunk(event)

    def _finish(self) -> None:
        for part in _ENDING:
            self.write(part)

    def pause_writing(self) -> None:
        """Wait with a flood."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on with it."""
        self._writable = True
        if self._paused:
            self._paused = False
            self._flood()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop sending."""
        self._writable = False
        self._gone = True


class TlsServer(Server):
    """The same with TLS. It encrypts for itself, so that the pacer's thread can: one record and one write an event."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pacer: Pacer, context: ssl.SSLContext) -> None:
        super().__init__(loop, pacer)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._greeted = False
        self._one_at_a_time = threading.Lock()  # OpenSSL allows one thread in a connection

    def data_received(self, data: bytes) -> None:
        """Decrypt."""
        plain, ended = bytearray(), False
        with self._one_at_a_time:
            self._in.write(data)
            try:
                if not self._greeted:
                    self._tls.do_handshake()
                    self._greeted = True
                while part := self._tls.read(_READ):
                    plain += part
                ended = True  # the client has said goodbye
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                ended = True
            if self._out.pending:  # what the handshake has to say
                super().write_now(self._out.read())
        if plain:
            super().data_received(bytes(plain))
        elif ended:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Encrypt and send from the loop."""
        with self._one_at_a_time:
            self._tls.write(data)
            super().write(self._out.read())

    def write_now(self, data: bytes) -> bool:
        """Encrypt and send at once, on any thread."""
        with self._one_at_a_time:
            self._tls.write(data)
            return super().write_now(self._out.read())


async def main(port: int, tls_port: int | None = None, certificate: str | None = None) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    pacer = Pacer()
    if tls_port is not None and certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        await loop.create_server(lambda: TlsServer(loop, pacer, context), "127.0.0.1", tls_port, backlog=4096)
    server = await loop.create_server(lambda: Server(loop, pacer), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def _run(port: str, tls_port: str | None = None, certificate: str | None = None) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(int(port), int(tls_port) if tls_port else None, certificate))


if __name__ == "__main__":
    _run(*sys.argv[1:])
