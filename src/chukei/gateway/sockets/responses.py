"""A session of the Responses API in WebSocket mode: each ``response.create`` is a request like any other.

Requests of one lane (``stream_id``, or none) are answered one after another, those of different lanes side by side.
"""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

from chukei.config import Settings
from chukei.errors import CallerError, RelayError
from chukei.gateway.exchange import Exchange, Turn
from chukei.gateway.sockets.links import Links
from chukei.gateway.sockets.session import (
    NORMAL,
    TEXT,
    UNSUPPORTED,
    Ending,
    Session,
    limits_of,
    next_message,
)
from chukei.gateway.sockets.turns import TurnIncoming, TurnReply
from chukei.model import Caller, End
from chukei.ports import Frame, Incoming, Reply, Socket, Upstream
from chukei.request.fields import Fields

MOST_WAITING = 8
"""Requests that were read and are not answered yet. Further ones are not read, so TCP slows the client. Neither are
they while those that wait exceed the size of one message."""

PASSED = frozenset({"response.processed"})
"""Further events of clients, which are taken and dropped: Codex reports with it that it has worked off a response."""

LOOK_SECONDS = 1.0
"""How often the relay looks whether a client from which it does not read has left."""

STOP_SECONDS = 5.0
"""How long requests may take to end once their session has ended."""

LONGEST_LANE = 64

_LIMIT = b"websocket_connection_limit_reached"
_CREATES = re.compile(rb'\s{0,8}\{\s{0,8}"type"\s{0,8}:\s{0,8}"response\.create"')

Serve = Callable[[Incoming, Reply, Turn], Awaitable[None]]
"""Serves one request of the session, as the gateway serves all."""


class ResponsesSession(Session):
    """One client's session. ``upstream`` returns the upstream that opens its sockets."""

    def __init__(
        self,
        exchange: Exchange,
        socket: Socket,
        settings: Settings,
        *,
        handshake: Incoming,
        caller: Caller,
        query: str,
        serve: Serve,
        upstream: Callable[[], Upstream],
    ) -> None:
        super().__init__(exchange, socket, settings)
        self._handshake = handshake
        self._caller = caller
        self._query = query
        self._serve = serve
        self._upstream = upstream
        self._links = Links(limits_of(settings), self._stray)
        self._numbers = itertools.count(1)
        self._most_bytes = settings.sockets.message_bytes
        self._waiting = 0  # bytes of the requests that are not answered yet
        self._room = asyncio.Event()
        self._last: dict[str | None, asyncio.Task[None]] = {}
        self._turns: dict[asyncio.Task[None], TurnIncoming] = {}

    @property
    def busy(self) -> bool:
        """See Session."""
        return bool(self._turns)

    async def run(self) -> None:
        """Serve the session to its end."""
        try:
            while (message := await next_message(self.socket)) is not None:
                await self._heed(*message)
            await self._end_turns()
        except asyncio.CancelledError:
            self.exchange.resume()
            await self._end_turns(leave=self.exchange.stopped is None)  # else they were stopped with it
            await self.stopped()
            raise
        finally:
            await self._links.close()
            await self.over()

    async def _heed(self, opcode: int, message: bytes) -> None:
        """Act on one message of the client."""
        if opcode != TEXT:
            error = CallerError(400, "invalid_message", "Send events as text messages, not binary ones.")
            self.end(Ending(End.REFUSED, UNSUPPORTED, "Binary messages are not served.", self.error(error)), now=True)
            return
        try:
            lane = _lane_of(message)
        except RelayError as error:
            await self.socket.send(Frame(TEXT, self.error(error)))
            return
        if lane is not _DROPPED and self._ending is None:
            self._begin(message, lane if isinstance(lane, str) else None)
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """Wait until few enough requests are unanswered, or the client has left: meanwhile nothing is read from it."""
        while self.socket.code is None and (len(self._turns) >= MOST_WAITING or self._waiting > self._most_bytes):
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._room.wait()

    def _begin(self, message: bytes, lane: str | None) -> None:
        made = f"{self.exchange.record.request_id[:100]}-{next(self._numbers)}"
        incoming = TurnIncoming(self._handshake, message, made, self._query)
        task = asyncio.create_task(self._turn(incoming, lane, self._last.get(lane)))
        self._turns[task] = incoming
        self._waiting += len(message)
        self._last[lane] = task
        task.add_done_callback(lambda task: self._done(task, lane, len(message)))

    async def _turn(self, incoming: TurnIncoming, lane: str | None, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        if self.socket.code is not None:
            return
        turn = Turn(self._caller, self._links.through(self._upstream(), lane))
        await self._serve(incoming, TurnReply(self.socket, lane), turn)

    def _done(self, task: asyncio.Task[None], lane: str | None, size: int) -> None:
        del self._turns[task]
        if self._last.get(lane) is task:
            del self._last[lane]
        self._waiting -= size
        self._room.set()
        self.rested()

    async def _end_turns(self, *, leave: bool = True) -> None:
        """Wait until the requests have ended. With ``leave`` they are stopped, since the client has left."""
        turns = dict(self._turns)
        if leave:
            for incoming in turns.values():
                incoming.left()
        if turns:
            await asyncio.wait(turns, timeout=STOP_SECONDS)
            for task in turns:
                task.cancel()

    def _stray(self, message: bytes) -> None:
        """Pass on what an upstream says between the requests: that its connection has reached its limit."""
        if _LIMIT in message:
            reason = "The upstream's time limit of connections is reached."
            self.end(Ending(End.COMPLETED, NORMAL, reason, message))


_DROPPED = object()


def _lane_of(message: bytes) -> object:
    """Return the lane of the request that a message makes, None without one, or ``_DROPPED`` if it makes none.

    Raises:
        CallerError: 400 for what is no event that clients may send.
    """
    if _CREATES.match(message) and b"stream_id" not in message and b"\\u" not in message:
        return None  # its JSON is checked when the request is read
    fields = Fields(message)
    kind = fields.text("type")
    if kind in PASSED:
        return _DROPPED
    if kind != "response.create":
        text = f"There is no event {str(kind)[:80]!r}; send 'response.create' to make a response."
        raise CallerError(400, "unknown_event", text, param="type")
    lane = fields.text("stream_id")
    if lane is not None and not 0 < len(lane) <= LONGEST_LANE:
        raise CallerError(400, "invalid_value", f"'stream_id' has 1 to {LONGEST_LANE} characters.", param="stream_id")
    return lane
