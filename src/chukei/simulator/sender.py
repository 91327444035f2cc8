"""Carrying out the steps of a reply on a connection: pace, framing, backpressure, and the breaks that faults want."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus

from chukei.simulator.exchanges import Exchange
from chukei.simulator.heads import Head
from chukei.simulator.steps import Break, Event, Raw, Reply, Stall

EVENTS_PER_TURN = 8  # when sending as fast as possible: how many before other connections get a turn
DRAINED_EVERY_SECONDS = 0.002

_NO_LINE_ENDS = dict.fromkeys(range(32), " ")
_LINGER_NOT = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST instead of FIN


def phrase(status: int) -> bytes:
    """Return the reason phrase of a status, if it has one."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Status"


class Sender:
    """Sends one reply."""

    def __init__(self, transport: asyncio.Transport, writable: asyncio.Event, exchange: Exchange, record: bool) -> None:
        self._transport = transport
        self._writable = writable
        self._exchange = exchange
        self._record = record
        self._chunked = False
        self._due = 0.0
        self._hurried = 0

    async def send(self, reply: Reply, head: Head) -> bool:
        """Send it all, and return True; False if one of the steps broke the connection.

        Cancelled when the client leaves.
        """
        if reply.hold != 0:
            await self._stall(reply.hold)
        self._chunked = reply.length is None and head.http_1_1
        if reply.length is None and not head.http_1_1:
            head.keep_alive = False  # HTTP/1.0 knows no chunks: the body ends with the connection
        self._due = asyncio.get_running_loop().time()
        pending = b"" if reply.headless else self._head(reply, head)
        for step in reply.steps:
            if isinstance(step, Event):
                await self._wait(step.wait)
            if pending:
                self._transport.write(pending)
                pending = b""
            match step:
                case Event():
                    await self._event(step)
                case Stall(seconds):
                    await self._stall(seconds)
                case Raw(data):
                    await self._write(data)
                case Break(how):
                    await self._break(how)
                    return False
        self._transport.write(pending + (b"0\r\n\r\n" if self._chunked else b""))
        return True

    def _head(self, reply: Reply, head: Head) -> bytes:
        lines = [b"HTTP/1.1 %d %s" % (reply.status, phrase(reply.status))]
        # A deployment's name may hold anything; a header must not.
        fields = (f"{name}: {value}".translate(_NO_LINE_ENDS) for name, value in reply.headers.items())
        lines += [field.encode("latin-1", "replace") for field in fields]
        if reply.length is not None:
            lines.append(b"content-length: %d" % reply.length)
        elif self._chunked:
            lines.append(b"transfer-encoding: chunked")
        if not head.keep_alive:
            lines.append(b"connection: close")
        return b"\r\n".join((*lines, b"", b""))

    async def _event(self, event: Event) -> None:
        if not event.data:
            return  # an empty chunk would end the body
        framed = b"%x\r\n%b\r\n" % (len(event.data), event.data) if self._chunked else event.data
        if self._record:
            self._exchange.sent += event.data
        self._exchange.events += event.events
        self._exchange.completion_tokens += event.tokens
        await self._write(framed)

    async def _write(self, data: bytes) -> None:
        if self._transport.is_closing():
            await self._stall(None)  # the client has gone, and this is about to be cancelled
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    async def _wait(self, seconds: float) -> None:
        """Wait until the step is due. Due times add up, so that the work of sending does not slow the model down."""
        self._due += seconds
        left = self._due - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
            return
        self._hurried += 1
        if self._hurried % EVENTS_PER_TURN == 0:
            await asyncio.sleep(0)

    async def _stall(self, seconds: float | None) -> None:
        await (asyncio.Event().wait() if seconds is None else asyncio.sleep(seconds))
        self._due = asyncio.get_running_loop().time()

    async def _break(self, how: str) -> None:
        if how == "fin":
            self._transport.close()
            return
        # abort() throws away what is still buffered here, so let that go first; nothing tells when it is empty.
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(DRAINED_EVERY_SECONDS)
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._transport.abort()
