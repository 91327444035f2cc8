"""The realtime API: the client's events on a WebSocket, and what the service says to them."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from chukei.simulator.azure import ApiError, invalid_value, missing_parameter, model_error
from chukei.simulator.prompts import fields_of
from chukei.simulator.prose import phrases
from chukei.simulator.realtime_audio import Buffer
from chukei.simulator.realtime_fields import Item, ResponseFields, check
from chukei.simulator.realtime_session import Session
from chukei.simulator.realtime_turns import LIMIT, Conversation, Turn, transcribe
from chukei.simulator.socket_turns import Talk, Turns, event_of
from chukei.simulator.sockets import Socket

LEAST_COMMIT_MS = 100  # the service refuses to commit less audio
_LETTERS = string.ascii_letters + string.digits


class Realtime(Talk):
    """A realtime session on one connection."""

    limit = LIMIT

    def __init__(self, simulator: Turns, socket: Socket, session: Session) -> None:
        super().__init__(simulator, socket)
        self._dice = random.Random(f"{simulator.settings.seed}:{session.fields['id']}")  # noqa: S311
        self._session = session
        self._conversation = Conversation(self._id("conv_"))
        self._buffer = Buffer()
        self._spoken_item = ""  # the id that the item of the audio in the buffer will have
        self._turn: Turn | None = None
        self._methods: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "session.update": self._update_session,
            "transcription_session.update": self._update_session,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "conversation.item.delete": self._delete_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
            "output_audio_buffer.clear": self._nothing,
        }

    def _id(self, prefix: str) -> str:
        return prefix + "".join(self._dice.choices(_LETTERS, k=21))

    async def _say(self, type_: str, **fields: Any) -> None:
        name = self._session.name(type_)
        if name:
            event = {"type": name, "event_id": self._id("event_"), **fields}
            await self.socket.send(msgspec.json.encode(event))

    async def begin(self) -> None:
        """Send the session."""
        await self._say(self._about_session("created"), session=self._session.fields)

    def _about_session(self, what: str) -> str:
        prefix = "transcription_" if self._session.beta and self._session.transcribes else ""
        return f"{prefix}session.{what}"

    async def hear(self, message: bytes) -> None:
        """Handle an event; an invalid one is answered with an error, and the session goes on."""
        event = event_of(message)
        client_id = (event or {}).get("event_id")
        try:
            if event is None:
                what = "The message could not be parsed: the API expects a JSON object."
                raise model_error(400, what, code="invalid_json")
            method = self._methods.get(str(event.get("type")))
            if method is None:
                known = ", ".join(f"'{name}'" for name in self._methods)
                raise invalid_value(f"Invalid value: '{event.get('type')}'. Supported values are: {known}.", "type")
            await method(event)
        except ApiError as error:
            await self._refuse(error, client_id)

    async def _refuse(self, error: ApiError, client_id: Any) -> None:
        details = fields_of((event_of(error.body) or {}).get("error"))
        body = {name: details.get(name) for name in ("code", "message", "param")}
        kind = details.get("type") or "invalid_request_error"
        await self._say("error", error={"type": kind, **body, "event_id": client_id})

    async def _nothing(self, _event: dict[str, Any]) -> None:
        """Ignore an event that is for WebRTC only."""

    async def _update_session(self, event: dict[str, Any]) -> None:
        self._session.update(event.get("session"))
        await self._say(self._about_session("updated"), session=self._session.fields)

    # Audio.

    async def _append(self, event: dict[str, Any]) -> None:
        given = event.get("audio")
        if not isinstance(given, str):
            raise missing_parameter("audio")
        try:
            audio = base64.b64decode(given, validate=True)
        except ValueError:  # characters that are not ASCII, or not base64
            what = "Invalid 'audio'. Expected base64-encoded audio bytes."
            raise invalid_value(what, "audio", "invalid_value") from None
        self._buffer.append(audio)
        detection = self._session.turn_detection
        if not detection:
            return
        silence = float(detection.get("silence_duration_ms") or 500)
        for what, at in self._buffer.detect(self._session.input_format, silence):
            await (self._start_speech(detection, at) if what == "started" else self._stop_speech(detection, at))

    async def _start_speech(self, detection: dict[str, Any], at: float) -> None:
        self._spoken_item = self._id("item_")
        start = max(int(at - float(detection.get("prefix_padding_ms") or 0)), 0)
        await self._say("input_audio_buffer.speech_started", audio_start_ms=start, item_id=self._spoken_item)
        if self._turn is not None and detection.get("interrupt_response") is not False:
            self._turn.cancel("turn_detected")

    async def _stop_speech(self, detection: dict[str, Any], at: float) -> None:
        await self._say("input_audio_buffer.speech_stopped", audio_end_ms=int(at), item_id=self._spoken_item)
        event = await self._take_audio()
        if detection.get("create_response") is not False and not self._session.transcribes:
            self._respond({}, event)

    async def _commit(self, event: dict[str, Any]) -> None:
        milliseconds = self._session.input_format.milliseconds(len(self._buffer.data))
        if milliseconds < LEAST_COMMIT_MS:
            what = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer"
                f" only has {milliseconds:.2f}ms of audio."
            )
            raise model_error(400, what, code="input_audio_buffer_commit_empty")
        await self._take_audio()

    async def _take_audio(self) -> bytes:
        """Make an item of the audio in the buffer, and have it transcribed; return the event that says so."""
        audio, id_ = self._buffer.take(), self._spoken_item or self._id("item_")
        self._spoken_item = ""
        milliseconds = self._session.input_format.milliseconds(len(audio))
        tokens = self._conversation.hear(id_, milliseconds)
        part: dict[str, Any] = {"type": "input_audio", "transcript": None}
        item: dict[str, Any] = {"id": id_, "object": "realtime.item", "type": "message", "status": "completed"}
        item |= {"role": "user", "content": [part]}
        before = self._conversation.add(item)
        await self._say("input_audio_buffer.committed", previous_item_id=before, item_id=id_)
        await self._tell_of(item, before)
        if self._session.transcription:
            text = phrases()["transcript"].format(name="audio", bytes=f"{len(audio):,}")
            part["transcript"] = text
            body = msgspec.json.encode({"type": "input_audio_buffer.commit", "item_id": id_})
            operate = transcribe(self._session, id_, text, tokens, milliseconds)
            exchange, reply = self.simulator.turn(self.socket.exchange, "realtime/transcription", body, operate)
            self.start(self._play_quietly(exchange, reply))
        return msgspec.json.encode({"type": "response.create"})

    async def _play_quietly(self, exchange: Any, reply: Any) -> None:
        await self.play(exchange, reply)

    async def _clear(self, _event: dict[str, Any]) -> None:
        self._buffer.take()
        await self._say("input_audio_buffer.cleared")

    # Items.

    async def _tell_of(self, item: dict[str, Any], before: str | None) -> None:
        for event in ("conversation.item.added", "conversation.item.done"):
            await self._say(event, previous_item_id=before, item=item)

    async def _create_item(self, event: dict[str, Any]) -> None:
        if "item" not in event:
            raise missing_parameter("item")
        given = check(event["item"], Item, "item")
        after = event.get("previous_item_id")
        if after not in (None, "root") and self._conversation.find(after) is None:
            raise _no_item("previous_item_id", after, "item_create_invalid_previous_item_id")
        item = {**given, "object": "realtime.item", "status": "completed"}
        item["id"] = given.get("id") or self._id("item_")
        self._take_sound(item)
        await self._tell_of(item, self._conversation.add(item, after))

    def _take_sound(self, item: dict[str, Any]) -> None:
        """Count the audio in an item, and take it out: events do not show it."""
        size = 0
        for part in map(fields_of, item.get("content") or ()):
            audio = part.pop("audio", None)
            size += len(audio) * 3 // 4 if isinstance(audio, str) else 0
        if size:
            self._conversation.hear(item["id"], self._session.input_format.milliseconds(size))

    def _item(self, event: dict[str, Any], verb: str) -> int:
        at = self._conversation.find(event.get("item_id"))
        if at is None:
            raise _no_item("item_id", event.get("item_id"), f"item_{verb}_invalid_item_id")
        return at

    async def _retrieve_item(self, event: dict[str, Any]) -> None:
        await self._say("conversation.item.retrieved", item=self._conversation.items[self._item(event, "retrieve")])

    async def _truncate_item(self, event: dict[str, Any]) -> None:
        self._item(event, "truncate")
        shown = {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")}
        await self._say("conversation.item.truncated", **shown)

    async def _delete_item(self, event: dict[str, Any]) -> None:
        at = self._item(event, "delete")
        del self._conversation.items[at]
        await self._say("conversation.item.deleted", item_id=event["item_id"])

    # Answers.

    async def _create_response(self, event: dict[str, Any]) -> None:
        if self._session.transcribes:
            raise invalid_value("A transcription session does not support 'response.create'.", "type")
        if self._turn is not None:
            what = (
                f"Conversation already has an active response in progress: {self._turn.response.get('id')}. Wait until"
                " the response is finished before creating a new one."
            )
            raise model_error(400, what, code="conversation_already_has_active_response")
        given = check(event.get("response") or {}, ResponseFields, "response")
        self._respond(given, msgspec.json.encode(event))

    def _respond(self, given: dict[str, Any], body: bytes) -> None:
        before = self._turn
        if before is not None:
            before.cancel("turn_detected")
        turn = self._turn = Turn(self._session, self._conversation, given)
        self.start(self._run(turn, body))

    async def _run(self, turn: Turn, body: bytes) -> None:
        exchange, reply = self.simulator.turn(self.socket.exchange, "realtime", body, turn.operate)
        try:
            if reply.streamed:
                await self.play(exchange, reply)
                return
            error = ApiError(reply.status, b"".join(getattr(step, "data", b"") for step in reply.steps))
            exchange.settle("completed")
            self.simulator.finished()
            await self._refuse(error, msgspec.json.decode(body).get("event_id"))
        finally:
            if self._turn is turn:
                self._turn = None

    async def _cancel_response(self, _event: dict[str, Any]) -> None:
        if self._turn is None:
            raise model_error(400, "Cancellation failed: no active response found", code="response_cancel_not_active")
        self._turn.cancel("client_cancelled")


def _no_item(param: str, id_: Any, code: str) -> ApiError:
    return model_error(400, f"The item with id '{id_}' does not exist.", param=param, code=code)
