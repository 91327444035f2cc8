"""What all sessions have in common: the client's messages, and how a session ends."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from chukei.config import Settings
from chukei.errors import RelayError
from chukei.gateway.exchange import Exchange
from chukei.model import End
from chukei.ports import Frame, Socket, SocketLimits

CLOSE_SECONDS = 2.0
"""How long a peer may take to answer a close."""

TEXT, BINARY = 1, 2
NORMAL, GOING_AWAY, UNSUPPORTED, REFUSED, FAILED = 1000, 1001, 1003, 1008, 1011
"""Close codes (RFC 6455 §7.4.1)."""

WELL = frozenset({NORMAL, GOING_AWAY, 1005})
"""Codes of a peer that ends its session properly; 1005 stands for a close without a code."""


class Ending(NamedTuple):
    """Why the relay ends a session: the last event for the client, if any, and the close code and reason."""

    end: End
    code: int
    reason: str
    event: bytes | None = None


def limits_of(settings: Settings) -> SocketLimits:
    """Return the limits of a session's sockets, on both sides."""
    sockets = settings.sockets
    return SocketLimits(
        sockets.message_bytes,
        sockets.message_bytes,
        sockets.ping_seconds,
        sockets.pong_seconds,
        settings.stream.write_seconds,
        CLOSE_SECONDS,
    )


def error_event(status: int, error: Mapping[str, object], **more: object) -> bytes:
    """Return an error event as the Responses API sends it in WebSocket mode."""
    return msgspec.json.encode({"type": "error", "status": status, "error": error, **more})


async def next_message(socket: Socket) -> tuple[int, bytes] | None:
    """Return the opcode and the data of the next message, whose frames are joined; None once the socket is closed."""
    first = await socket.receive()
    if first is None or first.final:
        return (first.opcode, first.data) if first is not None else None
    data = bytearray(first.data)  # a list of frames would grow with empty ones too, which no limit of sizes ends
    while (frame := await socket.receive()) is not None:
        data += frame.data
        if frame.final:
            return first.opcode, bytes(data)
    return None


class Session:
    """One client's open WebSocket. ``busy`` says whether a response is being made."""

    def __init__(self, exchange: Exchange, socket: Socket, settings: Settings) -> None:
        self.exchange = exchange
        self.socket = socket
        self._ending: Ending | None = None
        self._closing: asyncio.Task[None] | None = None
        lifetime = settings.sockets.lifetime_seconds
        self._timer = asyncio.get_running_loop().call_later(lifetime, self._expire, lifetime)

    @property
    def busy(self) -> bool:
        """Whether a response is being made for the client."""
        raise NotImplementedError

    async def run(self) -> None:
        """Serve the session to its end."""
        raise NotImplementedError

    def error(self, error: RelayError) -> bytes:
        """Return an error as an event of the session's protocol."""
        return error_event(error.status, error.error)

    def drain(self) -> None:
        """End the session as soon as no response is being made: the relay shuts down."""
        self.end(Ending(End.SERVER_SHUTDOWN, GOING_AWAY, "The relay is shutting down."))

    def _expire(self, seconds: float) -> None:
        message = f"This connection has reached its limit of {seconds / 60:g} minutes. Open a new one to continue."
        error = RelayError(
            400, "websocket_connection_limit_reached", message, type="invalid_request_error", end=End.COMPLETED
        )
        self.end(Ending(End.COMPLETED, NORMAL, "The time limit of connections is reached.", self.error(error)))

    def end(self, ending: Ending, *, now: bool = False) -> None:
        """End the session: at once if ``now``, else when no response is being made. The first reason counts."""
        if self._ending is None:
            self._ending = ending
        if self._closing is None and (now or not self.busy):
            self._closing = asyncio.ensure_future(self._close(self._ending))

    def rested(self) -> None:
        """Note that a response has ended: a session that shall end may do so now."""
        if self._ending is not None:
            self.end(self._ending)

    async def _close(self, ending: Ending) -> None:
        if ending.event is not None:
            await self.socket.send(Frame(TEXT, ending.event))
        await self.socket.close(ending.code, ending.reason)

    async def stopped(self) -> None:
        """Close a session whose task was stopped, with the reason of that."""
        self.exchange.resume()
        if self.exchange.stopped is End.REFUSED:
            self.end(Ending(End.REFUSED, REFUSED, "The credential is no longer valid."), now=True)
        else:
            self.end(Ending(End.SERVER_SHUTDOWN, GOING_AWAY, "The relay is shutting down."), now=True)
        await self.over()

    async def over(self) -> None:
        """Wait until the socket is closed, and record how the session has ended."""
        self._timer.cancel()
        if self._closing is not None:
            await asyncio.wait({self._closing}, timeout=2 * CLOSE_SECONDS)
            self._closing.cancel()
        record, code = self.exchange.record, self.socket.code
        if self._ending is not None:
            record.end = self._ending.end
        else:
            record.end = End.COMPLETED if code in WELL else End.CLIENT_ABORTED
        self.socket.abort()
