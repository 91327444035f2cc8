"""What a client may say in a realtime session, and what the policy changes in it. Pure.

Only known events pass: what the relay does not know might cost something that it cannot count. The sound of a client
passes as it came. Events that configure a session or make a response are read and written anew, so that what the relay
has checked is what the service reads.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from chukei.azure import ANY_OUTPUT_LIMIT
from chukei.errors import CallerError
from chukei.ids import new_id
from chukei.model import Model
from chukei.ports import Audit
from chukei.request.fields import check_case
from chukei.usage import DECODE_ERRORS

PASSED = frozenset(
    {
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "output_audio_buffer.clear",
        "conversation.item.create",
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "response.cancel",
    }
)
"""Events that pass unchanged: none of them makes a response. A transcription of sound is charged when it is done."""

CONFIGURES = frozenset({"session.update", "transcription_session.update"})
CREATES = "response.create"
APPENDS = "input_audio_buffer.append"

MOST_OUTPUT = 4096
"""Output tokens of a response at most, for a limit of ``"inf"`` (OpenAI, "Realtime" reference)."""

AUDIO_BYTES = 6400
"""Base64 bytes of sound for one token: a token is ``TOKEN_MS`` of input, at 48,000 bytes a second."""

TOKEN_MS = 100
"""Milliseconds of the client's sound for one token."""

TEXT_BYTES = 4
"""Bytes of any other event for one token."""

_SOUND = re.compile(rb'("audio"\s*+:\s*+)"(?:[^"\\]++|\\.)*+"', re.DOTALL)  # of an item
_APPENDS = re.compile(
    rb'\s{0,8}\{\s{0,8}(?:"event_id"\s{0,8}:\s{0,8}"[^"\\]{0,128}"\s{0,8},\s{0,8})?'
    rb'"type"\s{0,8}:\s{0,8}"input_audio_buffer\.append"'
)
_TYPE = b'"type"'
_NULL = msgspec.Raw(b"null")
_LIMITS = ("max_output_tokens", "max_response_output_tokens")
_READ = frozenset({"type", "event_id", "model", *_LIMITS, "audio", "input_audio_transcription"})
_EXACT = _READ | {"session", "response", "input", "transcription"}

Names = Callable[[str], str]
"""Returns the deployment of a model for transcriptions. It raises a CallerError for one that may not be used."""


class ClientEvent(NamedTuple):
    """An event of a client: its type, what to send, and the output limit that it sets, if any.

    ``tokens`` is an estimate of the input that it adds. ``event_id`` is the client's name for it.
    """

    type: str
    message: bytes
    tokens: int = 0
    limit: int | None = None
    event_id: str | None = None


class Said:
    """What a client has said since its last response, without sound, for the audit.

    At most one byte more than ``most`` is kept, and no more than the audit has memory for.
    """

    def __init__(self, most: int = 0, audit: Audit | None = None) -> None:
        self._most = most if audit is not None else 0
        self._audit = audit
        self._room = self._most
        self._events: list[bytes] = []

    def add(self, event: ClientEvent, message: bytes) -> None:
        """Keep an event as the client has sent it."""
        if self._audit is None or self._room < 0 or event.type == APPENDS or not self._most:
            return
        kept = _SOUND.sub(rb'\1""', message)[: self._room + 1]
        given = self._audit.take(len(kept) + 1)
        if given <= len(kept):
            self._audit.release(given)
            self._room = -1
            return
        self._events.append(kept)
        self._room -= given

    def taken(self) -> bytes:
        """Return the events as a list in JSON, which is cut if they were too many, and forget them."""
        events, self._events, self._room = self._events, [], self._most
        return b"[" + b",".join(events) + b"]" if events else b""

    def release(self, taken: bytes) -> None:
        """Return the memory of what was ``taken``, when it was recorded."""
        if self._audit is not None and taken:
            self._audit.release(len(taken) - 1)  # each event was reserved with what stands before it


def read(message: bytes, model: Model, deployment: str, names: Names, *, transcribes: bool = False) -> ClientEvent:
    """Read an event of a client, with the policy applied. ``deployment`` is what the session's model is called there.

    In a session that only ``transcribes``, the model does so if an event names no other.

    Raises:
        CallerError: it is not an event, or one that the client may not send.
    """
    if (found := _APPENDS.match(message)) and message.find(_TYPE, found.end()) < 0 and b"\\" not in message:
        return ClientEvent(APPENDS, message, len(message) // AUDIO_BYTES + 1)
    event = _object(message)
    check_case(event, _EXACT)
    kind, name = event.get("type"), event.get("event_id")
    if not isinstance(kind, str):
        raise CallerError(400, "invalid_event", "An event is a JSON object with a 'type'.", param="type")
    name = name if isinstance(name, str) else None
    limit = None
    if kind in CONFIGURES or kind == CREATES:
        part = "session" if kind in CONFIGURES else "response"
        if event.get(part, _NULL) != _NULL:
            inner = event[part] = _object(bytes(event[part]), part)
            limit = configure(inner, model, deployment, names, part, transcribes=transcribes)
        if kind == CREATES:
            name = event["event_id"] = name or f"event_{new_id()}"  # an error for it names this
    elif kind not in PASSED:
        raise CallerError(400, "unknown_event", f"There is no event {kind[:80]!r} for clients.", param="type")
    sound = kind == APPENDS
    tokens = len(message) // (AUDIO_BYTES if sound else TEXT_BYTES) + 1
    return ClientEvent(kind, msgspec.json.encode(event), tokens, limit, name)


def _object(raw: bytes, part: str | None = None) -> dict[str, Any]:
    """Decode an object, and of its members those that are read; the others stay as they came.

    Raises:
        CallerError: 400, it is not one.
    """
    try:
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        return {name: msgspec.json.decode(value) if name in _READ else value for name, value in members.items()}
    except msgspec.ValidationError:
        if part is None:
            raise CallerError(400, "invalid_event", "An event is a JSON object with a 'type'.", param="type") from None
        raise CallerError(400, "invalid_type", f"'{part}' must be an object.", param=part) from None
    except DECODE_ERRORS:
        raise CallerError(400, "invalid_json", "The event is not valid JSON.") from None


def configure(
    session: dict[str, Any],
    model: Model,
    deployment: str,
    names: Names,
    part: str = "session",
    *,
    transcribes: bool = False,
) -> int | None:
    """Apply the policy to a session's or a response's configuration; return its output limit, if it sets one.

    The model cannot change. Its name becomes the deployment's, as do those of models that transcribe. Output limits
    are lowered to the cap.

    Raises:
        CallerError: another model, or one that the caller may not use; or a name that some readers take for another.
    """
    _check_levels(session)
    asked = session.get("model")
    if asked is not None:
        if asked not in (model.name, deployment):
            message = f"The model of a session cannot change: it is {model.name!r}."
            raise CallerError(400, "model_not_changeable", message, param=f"{part}.model")
        session["model"] = deployment
    for holder in transcriptions(session):
        name = holder.get("model")
        if name is None and transcribes:
            name = model.name
        if isinstance(name, str):
            holder["model"] = names(name)
    most = cap_of(model)
    limit = None
    for name in _LIMITS:
        value = session.get(name)
        if value is None:
            continue
        number = MOST_OUTPUT if isinstance(value, str) else value
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise CallerError(400, "invalid_type", f"'{name}' must be a number or \"inf\".", param=f"{part}.{name}")
        if most is not None and number > most:
            session[name] = number = most
        limit = min(math.ceil(number), MOST_OUTPUT)
    return limit


def _check_levels(session: Mapping[str, Any]) -> None:
    audio = session.get("audio")
    incoming = audio.get("input") if isinstance(audio, dict) else None
    for each in (session, audio, incoming, *transcriptions(session)):
        if isinstance(each, dict):
            check_case(each, _EXACT)


def transcriptions(session: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that name a model for transcriptions, in the GA form and in that of the preview."""
    audio = session.get("audio")
    incoming = audio.get("input") if isinstance(audio, dict) else None
    found = [session.get("input_audio_transcription")]
    found.append(incoming.get("transcription") if isinstance(incoming, dict) else None)
    return [each for each in found if isinstance(each, dict)]


def cap_of(model: Model) -> int | None:
    """Return the lowest cap of the output, if any."""
    caps = [math.ceil(cap) for name, cap in (model.caps or {}).items() if name in ANY_OUTPUT_LIMIT]
    return min(caps, default=None)


def first_update(model: Model, *, preview: bool) -> bytes | None:
    """Return the event that gives a new session the model's system message, output limit and parameters, if any."""
    session: dict[str, Any] = {
        name: value for name, value in (model.parameters or {}).items() if name not in ANY_OUTPUT_LIMIT
    }
    limits = [value for name, value in (model.parameters or {}).items() if name in ANY_OUTPUT_LIMIT]
    numbers = [math.ceil(value) for value in [*limits, cap_of(model)] if isinstance(value, int | float)]
    if numbers:
        session["max_response_output_tokens" if preview else "max_output_tokens"] = min(numbers)
    if model.system is not None:
        session["instructions"] = model.system
    if not session:
        return None
    if not preview:
        session["type"] = "realtime"
    return msgspec.json.encode({"type": "session.update", "session": session})
