"""Stands for Azure OpenAI, as cheaply as Python can: ``python -m benchmarks.upstream PORT``.

A request's prompt says what it wants: ``bench:STREAM:EVENTS:MICROSECONDS``, a number of content events and the time
between two of them (0: as fast as they are taken). EVENTS 0 asks for a short answer that is no stream. Every event
is a chunk of its own and a write of its own, as Azure sends them; a flood's streams take turns.
"""

import asyncio
import os
import re
import socket
import sys
import time
from typing import cast

from benchmarks import events
from benchmarks.pacer import Pacer
from benchmarks.process import new_loop

_WANTED = re.compile(rb"bench:(\d+):(\d+):(\d+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
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
        self._received = b""
        self._pacer = pacer
        self._writable = True
        self._paused = False
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Collect a request and answer it."""
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        self._received = b""
        wanted = _WANTED.search(body)
        assert wanted is not None, body[:200]
        self._stream, self._events, microseconds = (int(text) for text in wanted.groups())
        self._answer(microseconds / 1e6)

    def _answer(self, gap: float) -> None:
        self._number = 0
        if self._events == 0:
            self._transport.write(_ANSWER)
            return
        for part in _BEGINNING:
            self._transport.write(part)
        if gap:
            self._socket = cast(socket.socket, self._transport.get_extra_info("socket")).fileno()
            self._pacer.add(gap, self._tick)
        else:
            self._flood()

    def _tick(self) -> bool:
        """Send the next event, on the pacer's thread; return whether there are more. The loop writes nothing then."""
        if self._gone:
            return False
        event = self._next()
        if os.write(self._socket, event) < len(event):
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
        self._transport.write(self._next())
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
            self._transport.write(part)

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


async def main(port: int) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    pacer = Pacer()
    server = await loop.create_server(lambda: Server(loop, pacer), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(int(sys.argv[1])))
