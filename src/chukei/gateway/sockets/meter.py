"""What the responses of one realtime session use: reserved, settled and recorded one by one.

A response is reserved before it is made, if the client asks for it; else when the service says that it has begun. Its
usage comes in ``response.done``, and that of a transcription in its own event. A transcription is reserved when the
service takes the sound. What ends unseen is charged as reserved.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import msgspec

from chukei.accounts.admission import Admission, Reservation
from chukei.accounts.estimate import USUAL_OUTPUT
from chukei.accounts.limits import Subject
from chukei.accounts.policy import Policy
from chukei.azure import REALTIME, TRANSCRIPTION_IN_SESSION
from chukei.errors import RelayError
from chukei.gateway.sockets.events import AUDIO_BYTES, TOKEN_MS, Said
from chukei.model import End, Model
from chukei.ports import Clock
from chukei.record import Attempt, RequestRecord
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.usage import DECODE_ERRORS, Usage, reported

SHORT_TRANSCRIPT = 16
"""Tokens that a transcript is expected to have at least. Beyond that half of the sound's: a second of sound is ten
tokens, and of quick speech about five."""

_ENDS = {"completed": End.COMPLETED, "cancelled": End.COMPLETED, "failed": End.UPSTREAM_ERROR}
_REASONS = {"max_output_tokens": End.LENGTH, "content_filter": End.CONTENT_FILTER}


class _Details(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    status_details: _Details | None = None
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: str | None = None


class _Error(msgspec.Struct):
    event_id: str | None = None


class _Transcription(msgspec.Struct):
    model: str | None = None


class _Input(msgspec.Struct):
    transcription: _Transcription | None = None


class _Audio(msgspec.Struct):
    input: _Input | None = None


class _Session(msgspec.Struct):
    """What a session says of its transcriptions: in the GA form, or in that of the preview."""

    audio: _Audio | None = None
    input_audio_transcription: _Transcription | None = None

    @property
    def transcription(self) -> _Transcription | None:
        """How the client's sound is transcribed; None if it is not."""
        incoming = self.audio.input if self.audio is not None else None
        return incoming.transcription if incoming is not None else self.input_audio_transcription


class _Event(msgspec.Struct):
    type: str = ""
    item_id: str | None = None
    session: _Session | None = None
    response: _Response | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None


class _Turn(NamedTuple):
    """A response that is being made, what the client has ``asked``, and its name for the event that asked for it."""

    record: RequestRecord
    reservation: Reservation
    began: float
    event_id: str | None = None
    asked: bytes = b""


def _read(message: bytes) -> _Event:
    try:
        return msgspec.json.decode(message, type=_Event)
    except DECODE_ERRORS:
        return _Event()


class Meter:
    """Counts for one session. ``session`` is its record, and ``account`` gets the record of each response.

    It also gets what the client has ``said`` before, and the service's last event about it. ``fed`` is an estimate of
    the input tokens since the last response, ``sound`` the Base64 bytes of sound since the last commit, ``limit`` the
    output limit of a response. ``counts`` is false for a session that is counted elsewhere. ``model_there`` returns the
    model of a deployment by its name at the session's resource.
    """

    def __init__(
        self,
        admission: Admission,
        session: RequestRecord,
        model: Model,
        policy: Policy,
        clock: Clock,
        account: Callable[[RequestRecord, bytes, bytes], None],
        model_there: Callable[[str], Model | None] = lambda name: None,
    ) -> None:
        self._admission = admission
        self._session = session
        self._model = model
        self._policy = policy
        self._clock = clock
        self._account = account
        self._numbers = itertools.count(1)
        self._asked: list[_Turn] = []  # by the client, and not begun yet
        self._running: dict[str, _Turn] = {}
        self._heard: dict[str, _Turn] = {}  # sound that is being transcribed, by its item
        self._model_there = model_there
        self._transcribed_policy = replace(policy, subjects=tuple(_beside(policy.subjects)))
        self._transcribing = False
        self._context = self.fed = self.sound = 0
        self._fed_before = 0  # of ``fed``, what has gone to transcriptions
        self.limit: int | None = None
        self.transcribes: Model | None = None
        self.counts = True
        self.said = Said()

    @property
    def busy(self) -> bool:
        """Whether a response or a transcription is being made."""
        return bool(self._asked or self._running or self._heard)

    @property
    def running(self) -> frozenset[str]:
        """The ids of the responses that are being made."""
        return frozenset(self._running)

    def configured(self, message: bytes) -> None:
        """Note how a session transcribes, as the service says it."""
        session = _read(message).session
        transcription = session.transcription if session is not None else None
        self._transcribing = transcription is not None
        if transcription is not None and transcription.model is not None:
            self.transcribes = self._model_there(transcription.model) or self.transcribes

    async def committed(self, message: bytes) -> None:
        """Reserve the transcription of sound that the service has taken.

        It takes no slot of ``concurrent`` and is no further request, since it belongs to the turn of the response.

        Raises:
            RelayError: a limit of the caller is reached. The transcription is charged nevertheless.
        """
        name, heard, self.sound = _read(message).item_id, self.sound * TOKEN_MS // AUDIO_BYTES, 0
        if not (self.counts and self._transcribing) or name is None:
            return
        model = self.transcribes or self._model
        given = max(self.fed - self._fed_before, 0)
        call = msgspec.structs.replace(self._call(given // 2 + SHORT_TRANSCRIPT, model, given), heard_ms=heard)
        self._fed_before = self.fed
        reservation, refused = None, None
        try:
            reservation = await self._admission.admit(call, model, self._transcribed_policy, self._session.caller or "")
        except RelayError as error:
            refused = error
        turn = self._heard[name] = self._turn(reservation, model, call)
        turn.record.operation = TRANSCRIPTION_IN_SESSION
        if refused is not None:
            raise refused

    async def ask(self, limit: int | None, event_id: str | None) -> None:
        """Reserve a response that the client asks for. ``limit`` is its own output limit.

        Raises:
            RelayError: a limit of the caller is reached.
        """
        if self.counts:
            self._asked.append((await self._reserve(limit))._replace(event_id=event_id))

    async def began(self, message: bytes) -> None:
        """Note a ``response.created``. If the client did not ask for the response, it is reserved now.

        Raises:
            RelayError: a limit of the caller is reached. The response is charged nevertheless.
        """
        if not self.counts:
            return
        response = _read(message).response
        name = (response.id if response is not None else None) or ""
        if self._asked:
            self._running[name] = self._asked.pop(0)
        else:
            try:
                self._running[name] = await self._reserve(None)
            except Exception:
                self._running[name] = self._turn(None)
                raise

    def done(self, message: bytes) -> None:
        """Settle a ``response.done``."""
        if not self.counts:
            return
        response = _read(message).response or _Response()
        name = response.id or ""
        turn = self._running.pop(name, None) or (self._asked.pop(0) if self._asked else self._turn(None))
        record, usage = turn.record, reported(response.usage)
        if usage is not None:
            self._context = usage.input + usage.output
            record.usage = usage
        record.service_tier = response.service_tier
        reason = response.status_details.reason if response.status_details is not None else None
        record.end = _REASONS.get(reason or "", _ENDS.get(response.status or "", End.COMPLETED))
        record.finish_reasons = {0: reason or response.status or "completed"}
        if usage is None and response.status == "failed":
            record.usage = Usage()
            self._attempt(record).usage = None
        self._settle(turn, message)

    def refused(self, message: bytes) -> None:
        """Note an error event: the response that the client asked for with the event that it names will not begin."""
        error = _read(message).error
        name = error.event_id if error is not None else None
        for turn in [each for each in self._asked if each.event_id == name]:
            self._asked.remove(turn)
            self._attempt(turn.record).usage = None
            turn.record.end, turn.record.code = End.UPSTREAM_ERROR, "response_refused"
            self._settle(turn, message)

    def transcribed(self, message: bytes) -> None:
        """Charge a transcription of the client's sound, which is done. One that has failed costs nothing."""
        event = _read(message)
        usage, turn = reported(event.usage), self._heard.pop(event.item_id or "", None)
        if not self.counts or (usage is None and turn is None):
            return
        turn = turn or self._turn(None, self.transcribes)
        turn.record.usage, turn.record.end = usage, End.COMPLETED
        turn.record.operation = TRANSCRIPTION_IN_SESSION
        if event.type.endswith(".failed"):
            turn.record.end, turn.record.code = End.UPSTREAM_ERROR, "transcription_failed"
            self._attempt(turn.record).usage = None
        self._settle(turn, message)

    def close(self, end: End) -> None:
        """Charge what is open when the session ends, as reserved."""
        for turn in (*self._running.values(), *self._asked, *self._heard.values()):
            turn.record.end = end
            self._settle(turn)
        self._running.clear()
        self._heard.clear()
        self._asked.clear()

    def _settle(self, turn: _Turn, message: bytes = b"") -> None:
        turn.record.duration = self._clock() - turn.began
        turn.reservation.settle(turn.record)
        self._account(turn.record, turn.asked, message)
        self.said.release(turn.asked)

    async def _reserve(self, limit: int | None) -> _Turn:
        call = self._call(limit or self.limit or USUAL_OUTPUT, self._model, self._context + self.fed)
        reservation = await self._admission.admit(call, self._model, self._policy, self._session.caller or "")
        self.fed = self._fed_before = 0
        return self._turn(reservation, call=call)._replace(asked=self.said.taken())

    def _turn(self, reservation: Reservation | None, model: Model | None = None, call: Call | None = None) -> _Turn:
        session, model = self._session, model or self._model
        call = call or self._call(self.limit or USUAL_OUTPUT, model, self._context + self.fed)
        attempt = Attempt(session.deployment or "", usage=Usage(estimated=True))
        record = replace(
            session,
            request_id=f"{session.request_id[:100]}-{next(self._numbers)}",
            model=model.name,
            stream=True,
            status=200,
            end=None,
            code=None,
            usage=None,
            finish_reasons={},
            tries=[attempt],
            answering=attempt,
            operation=REALTIME.name,
            arrived=self._clock(),
            received=None,
            first_token=None,
        )
        kept = reservation or Reservation(self._admission, call, model, None, session.caller or "")
        return _Turn(record, kept, self._clock())

    def _attempt(self, record: RequestRecord) -> Attempt:
        assert record.answering is not None
        return record.answering

    def _call(self, most: int, model: Model, given: int) -> Call:
        """Return a call that is estimated with so many tokens of input, and ``most`` of output."""
        raw = b'{"audio":true,"max_output_tokens":%d}' % most
        call = Call(REALTIME, model.name, True, False, None, [], Fields(raw), len(raw), raw)
        call.prompt.append((0, given))
        return call


def _beside(subjects: Iterable[Subject]) -> Iterable[Subject]:
    """Yield the accounts of what is no request of its own: with their limits of tokens and money."""
    for subject in subjects:
        limits = replace(subject.limits, requests_per_minute=None, concurrent=None)
        if limits:
            yield Subject(subject.name, limits)
