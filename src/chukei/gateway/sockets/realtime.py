"""A realtime session: frames pass in both directions as they come, and each response is reserved and charged.

The type of an event is read from the beginning of its first frame, where every known service has it, or else from the
whole message. So sound, which is most of the traffic, is never decoded.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

import msgspec

from chukei.config import Settings
from chukei.errors import CallerError, RelayError
from chukei.gateway.exchange import Exchange
from chukei.gateway.sockets import events
from chukei.gateway.sockets.meter import Meter
from chukei.gateway.sockets.session import (
    BINARY,
    FAILED,
    REFUSED,
    TEXT,
    UNSUPPORTED,
    WELL,
    Ending,
    Session,
    next_message,
)
from chukei.ids import new_id
from chukei.model import End, Model
from chukei.ports import Frame, Socket
from chukei.usage import DECODE_ERRORS

_STARTS = re.compile(
    rb'\s{0,8}\{\s{0,8}(?:"event_id"\s{0,8}:\s{0,8}"[^"\\]{0,128}"\s{0,8},\s{0,8})?'
    rb'"type"\s{0,8}:\s{0,8}"([^"\\]{1,128})"'
)
CREATED, DONE, ERROR = b"response.created", b"response.done", b"error"
COMMITTED = b"input_audio_buffer.committed"
TRANSCRIBED = frozenset(b"conversation.item.input_audio_transcription." + end for end in (b"completed", b"failed"))
CONFIGURED = frozenset(
    b"%bsession.%b" % (kind, what) for kind in (b"", b"transcription_") for what in (b"created", b"updated")
)
_COUNTED = frozenset({CREATED, DONE, ERROR, COMMITTED, *TRANSCRIBED, *CONFIGURED})
USAGE_SECONDS = 2.0
"""How long the service may take to say what a response has used, once its client has left."""

_PASSED_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


class _Typed(msgspec.Struct):
    type: str = ""


def type_of(message: bytes) -> bytes:
    """Return the type of a server's event; empty if it has none. It may be the beginning of one."""
    found = _STARTS.match(message)
    if found is not None:
        return found[1]
    try:
        return msgspec.json.decode(message, type=_Typed).type.encode()
    except DECODE_ERRORS:
        return b""


class Counting:
    """Finds the events of a server that are counted, and gives them to the meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._joined: bytearray | None = None  # an event that is counted and comes in several frames

    def passes(self, frame: Frame) -> bool:
        """Whether a frame need not be looked at."""
        return self._joined is None and (frame.opcode != TEXT or not _is_counted(frame))

    async def look(self, frame: Frame) -> None:
        """Count an event, once its last frame has come.

        Raises:
            RelayError: a limit of the caller is reached.
        """
        if frame.opcode == TEXT:
            self._joined = bytearray(frame.data) if _is_counted(frame) else None
        elif self._joined is not None:
            self._joined += frame.data
        if self._joined is None or not frame.final:
            return
        message, self._joined = bytes(self._joined), None
        kind = type_of(message)
        if kind == CREATED:
            await self._meter.began(message)
        elif kind == DONE:
            self._meter.done(message)
        elif kind == COMMITTED:
            await self._meter.committed(message)
        elif kind in TRANSCRIBED:
            self._meter.transcribed(message)
        elif kind in CONFIGURED:
            self._meter.configured(message)
        elif kind == ERROR:
            self._meter.refused(message)


def _is_counted(frame: Frame) -> bool:
    found = _STARTS.match(frame.data)
    if found is not None:
        return found[1] in _COUNTED
    return not frame.final or type_of(frame.data) in _COUNTED


class RealtimeSession(Session):
    """One client's session, and the socket to its deployment, whose lease ``release`` ends.

    ``names`` finds a model that transcribes, and ``name_there`` returns its name at the deployment's resource.
    ``transcribes`` says that the session's own model is one, and makes no responses.
    """

    def __init__(
        self,
        exchange: Exchange,
        socket: Socket,
        settings: Settings,
        *,
        upstream: Socket,
        model: Model,
        deployment: str,
        meter: Meter,
        names: Callable[[str], Model],
        name_there: Callable[[Model], str],
        release: Callable[[], None],
        transcribes: bool = False,
    ) -> None:
        super().__init__(exchange, socket, settings)
        self._upstream = upstream
        self._model = model
        self._deployment = deployment
        self._meter = meter
        self._find = names
        self._name_there = name_there
        self._release = release
        self._transcribes = transcribes
        self._counting = Counting(meter)
        self._cancelled: set[str] = set()

    @property
    def busy(self) -> bool:
        """See Session."""
        return self._meter.busy

    def error(self, error: RelayError, event_id: str | None = None) -> bytes:
        """See Session. The realtime API's errors name the client's event."""
        told = {**error.error, "event_id": event_id}
        return msgspec.json.encode({"type": "error", "event_id": f"event_{new_id()}", "error": told})

    async def run(self) -> None:
        """Serve the session to its end."""
        up, down = asyncio.create_task(self._up()), asyncio.create_task(self._down())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if down.done() and not up.done():
                self._mirror()
        except asyncio.CancelledError:
            await self.stopped()
            raise
        finally:
            await self._finish(up, down)

    async def _finish(self, *pumps: asyncio.Task[None]) -> None:
        self._upstream.divert(None)
        await self.over()
        for pump in pumps:
            pump.cancel()
        results = await asyncio.gather(*pumps, return_exceptions=True)
        end = self.exchange.record.end or End.CLIENT_ABORTED
        if end is End.COMPLETED:  # the session, but not what is being made
            end = End.CLIENT_ABORTED if self._upstream.code is None else End.UPSTREAM_LOST
        try:
            await self._read_usage()
        finally:
            self._meter.close(end)
            self._meter.said.release(self._meter.said.taken())
            await self._upstream.close(1000)
            self._upstream.abort()
            self._release()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _read_usage(self) -> None:
        """Cancel what is being made, and read what it has used: a client must not avoid that by leaving."""
        with suppress(TimeoutError):
            async with asyncio.timeout(USAGE_SECONDS):
                while self._meter.busy and self._upstream.code is None:
                    await self._cancel()
                    if (frame := await self._upstream.receive()) is not None:
                        with suppress(RelayError):  # it is over already
                            await self._counting.look(frame)

    async def _cancel(self) -> None:
        """Cancel the responses that are being made, by their ids: without one only the conversation's own is."""
        for name in self._meter.running - self._cancelled:
            self._cancelled.add(name)
            cancel = {"type": "response.cancel", "response_id": name}
            await self._upstream.send(Frame(TEXT, msgspec.json.encode(cancel)))

    def _mirror(self) -> None:
        """End the session as the upstream has ended it."""
        code, reason = self._upstream.code, self._upstream.reason
        if code is not None and code in _PASSED_CODES:
            end = End.COMPLETED if code in WELL else End.UPSTREAM_LOST
            self.end(Ending(end, code, reason), now=True)
        elif code == 1005:
            self.end(Ending(End.COMPLETED, 1000, reason), now=True)
        else:
            self.end(Ending(End.UPSTREAM_LOST, FAILED, "The upstream broke off."), now=True)

    # From the client.

    async def _up(self) -> None:
        while (message := await next_message(self.socket)) is not None:
            opcode, data = message
            if opcode == BINARY:
                refusal = CallerError(400, "invalid_message", "Send events as text messages, not binary ones.")
                last = Ending(End.REFUSED, UNSUPPORTED, "Binary messages are not served.", self.error(refusal))
                self.end(last, now=True)
                return
            await self._heed(data)

    async def _heed(self, data: bytes) -> None:
        if self._closing is not None:
            return
        record = self.exchange.record
        record.request_bytes += len(data)
        try:
            event = events.read(data, self._model, self._deployment, self._transcriber, transcribes=self._transcribes)
        except RelayError as error:
            await self.socket.send(Frame(TEXT, self.error(error)))
            return
        self._meter.fed += event.tokens
        self._meter.sound += len(data) if event.type == events.APPENDS else 0
        self._meter.said.add(event, data)
        if event.type == events.CREATES and self._ending is not None:
            refusal = CallerError(400, "session_ending", "This session is about to end; open a new one.")
            await self.socket.send(Frame(TEXT, self.error(refusal, event.event_id)))
            return
        if event.type == events.CREATES:
            try:
                await self._meter.ask(event.limit, event.event_id)
            except RelayError as error:
                self._limited(error, event.event_id)
                return
        elif event.limit is not None:
            self._meter.limit = event.limit
        await self._upstream.send(Frame(TEXT, event.message))

    def _transcriber(self, name: str) -> str:
        """Return what a model that transcribes is called at this deployment's resource."""
        model = self._find(name)
        there = self._name_there(model)
        self._meter.transcribes = model
        return there

    def _limited(self, error: RelayError, event_id: str | None = None) -> None:
        self.exchange.record.code, self.exchange.record.rule = error.code, error.rule
        last = Ending(End.REFUSED, REFUSED, f"{error.code}: see the error event.", self.error(error, event_id))
        self.end(last, now=True)

    # From the upstream.

    async def _down(self) -> None:
        self._upstream.divert(self._pass_now)
        while (frame := await self._upstream.receive()) is not None:
            try:
                await self._counting.look(frame)
            except RelayError as error:
                await self._cancel()
                self._limited(error)
                return
            self.exchange.record.answer_bytes += len(frame.data)
            await self.socket.send(frame)
            self.rested()

    def _pass_now(self, frame: Frame) -> bool:
        """Pass a frame on without waking a task, unless it may be counted."""
        if not self._counting.passes(frame) or not self.socket.send_now(frame):
            return False
        self.exchange.record.answer_bytes += len(frame.data)
        return True
