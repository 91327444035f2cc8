"""Sending the steps of a reply on a connection: pace, framing, backpressure, and the faults that cut it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable

from chukei.simulator.exchanges import Break, Event, Exchange, Head, Raw, Reply, Stall, Step, head_bytes

EVENTS_PER_TURN = 8  # when sending as fast as possible: how many before other connections get a turn
DRAINED_EVERY_SECONDS = 0.002

_LINGER_NOT = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST instead of FIN


class Sender:
    """Sends the steps of one reply on a connection."""

    def __init__(self, transport: asyncio.Transport, writable: asyncio.Event, exchange: Exchange, record: bool) -> None:
        self._transport = transport
        self._writable = writable
        self._exchange = exchange
        self._record = record
        self._chunked = False
        self._pending = b""  # the head, which is sent with the first step
        self._due = 0.0
        self._hurried = 0

    async def send(self, reply: Reply, head: Head) -> bool:
        """Send the whole reply and return True; False if a step ended the connection.

        It is cancelled when the client disconnects.
        """
        if reply.hold != 0:
            await self._stall(reply.hold)
        self._chunked = reply.length is None and head.http_1_1
        if reply.length is None and not head.http_1_1:
            head.keep_alive = False  # HTTP/1.0 knows no chunks: the body ends with the connection
        if not reply.headless:
            self._pending = head_bytes(reply, chunked=self._chunked, keep_alive=head.keep_alive)
        if not await self.play(reply.steps):
            return False
        self._transport.write(self._pending + (b"0\r\n\r\n" if self._chunked else b""))
        return True

    async def play(self, steps: Iterable[Step]) -> bool:
        """Do the steps and return True; False if one ended the connection."""
        self._due = asyncio.get_running_loop().time()
        for step in steps:
            if isinstance(step, Event):
                await self._wait(step.wait)
            if self._pending:
                self._transport.write(self._pending)
                self._pending = b""
            if not await self._do(step):
                return False
        return True

    async def _do(self, step: Step) -> bool:
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
            case _:
                pass  # it is for a WebSocket
        return True

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
        await self._writable.wait()

    async def _wait(self, seconds: float) -> None:
        """Wait until the step is due. Each due time follows from the previous one, so that sending adds no delay."""
        self._due += seconds
        left = self._due - asyncio.get_running_loop().time()
        self._hurried += left <= 0
        if left > 0 or self._hurried % EVENTS_PER_TURN == 0:
            await asyncio.sleep(max(left, 0))

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
