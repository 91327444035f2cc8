"""WebSockets: the simulator's side of a connection.

The protocol is that of the library ``websockets`` without I/O. This module is imported with the first handshake.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from chukei.simulator.exchanges import Ending, Exchange, Head, Reply
from chukei.simulator.settings import SimulatorSettings

MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # the service takes audio events of up to 15 MiB
MOST_WAITING = 64  # messages that are read ahead; then the client has to wait
CLOSE_SECONDS = 5.0  # for the client to answer a close frame

_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})


class Socket:
    """The simulator's side of a WebSocket."""

    def __init__(
        self, transport: asyncio.Transport, writable: asyncio.Event, exchange: Exchange, settings: SimulatorSettings
    ) -> None:
        self.transport = transport
        self.writable = writable
        self.exchange = exchange
        self.settings = settings
        self.faulted = False  # whether a fault ends it
        # A parser of frames: the request of the handshake is parsed already.
        self._protocol = ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        self._heard: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._partial = bytearray()
        self._muted = False
        self._deaf = False

    def accept(self, head: Head, reply: Reply) -> bool:
        """Answer the handshake; return False if it is invalid, in which case the connection is closed."""
        handshake = ServerProtocol(select_subprotocol=_subprotocol)
        response = handshake.accept(Request(head.path, Headers(head.headers), "GET", "HTTP/1.1"))
        for name, value in reply.headers.items():
            if name not in ("content-type", "date"):
                response.headers[name] = value
        self.exchange.status = response.status_code
        self.transport.write(response.serialize())
        if response.status_code != 101:
            self.transport.close()
            return False
        return True

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close it."""
        return self._protocol.state is State.OPEN

    def feed(self, data: bytes) -> None:
        """Take received bytes. Pings and close frames are answered at once, unless the socket is mute."""
        if self._muted or not data:
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()
        if not self.is_open:
            self._news.set()

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in _DATA:
            return
        self._partial += frame.data
        if not frame.fin:
            return
        message = bytes(self._partial)
        self._partial.clear()
        if self.settings.record_sent:
            self.exchange.messages.append(message)
        self._heard.append(message)
        self._news.set()
        if len(self._heard) >= MOST_WAITING:
            self.transport.pause_reading()

    async def receive(self) -> bytes | None:
        """Return the client's next message; None once the socket is closing."""
        while not self._heard:
            if not self.is_open:
                return None
            self._news.clear()
            await self._news.wait()
        message = self._heard.popleft()
        if not self._heard and not self._deaf:
            self.transport.resume_reading()
        return message

    async def send(self, message: bytes, whole: bool = True) -> None:
        """Send a text message, or its first part; wait while the client reads too slowly."""
        if self.is_open and not self._muted:
            self._protocol.send_text(message, fin=whole)
            self._flush()
            await self.writable.wait()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame. The connection is aborted if the client does not answer it."""
        if self.is_open and not self._muted:
            self._protocol.send_close(code, reason)
            self._flush()
            self._news.set()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.transport.abort)

    def mute(self) -> None:
        """Send nothing from here on, and ignore what comes."""
        self._muted = self.faulted = True

    def deafen(self, seconds: float | None) -> None:
        """Read nothing, for some seconds or for ever."""
        self._deaf = True
        self.transport.pause_reading()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._listen)

    def _listen(self) -> None:
        self._deaf = False
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def lost(self, ending: Ending) -> None:
        """Note the end of the connection; ``ending`` is the reason if there was no close frame and no fault."""
        self._protocol.receive_eof()
        self.exchange.close_code = self._protocol.close_code
        if self._protocol.close_rcvd is not None and ending != "stopped":
            ending = "completed"
        self.exchange.settle("fault" if self.faulted else ending)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:  # the end of the protocol
                self.transport.close()


def _subprotocol(_protocol: ServerProtocol, offered: Any) -> Subprotocol | None:
    """Choose ``realtime`` if it is offered; the other names that browsers offer are credentials and versions."""
    return Subprotocol("realtime") if "realtime" in offered else None
