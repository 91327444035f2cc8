"""The answers of a realtime session: what they see of the conversation, and the events that they consist of."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.answers import TOKENS_PER_CALL, Limits, ToolCall, compose
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Close, Event, Kind, Reply, stream
from chukei.simulator.prompts import Prompt, conversation, fields_of, read_choice, read_tools
from chukei.simulator.realtime_audio import MODEL_TOKEN_MS, USER_TOKEN_MS, speech_tokens
from chukei.simulator.realtime_session import Session
from chukei.simulator.tokens import count

CACHE_STEP = 64  # cached tokens are a multiple of it
# What a socket gets once it has been open for an hour: the last event, and the close frame.
_EXPIRED = "Your session hit the maximum duration of 60 minutes."
LIMIT = (
    b'{"type":"error","event_id":"event_expired","error":{"type":"invalid_request_error","code":"session_expired",'
    b'"message":"%b","param":null,"event_id":null}}' % _EXPIRED.encode(),
    Close(1001, _EXPIRED),
)


@dataclass(slots=True)
class Conversation:
    """The items of a session in order, and what they cost as a prompt."""

    id: str
    items: list[dict[str, Any]] = field(default_factory=list)
    audio_tokens: dict[str, int] = field(default_factory=dict)  # by the item's id
    cached: tuple[int, int] = (0, 0)  # tokens of text and audio that the last answer has read

    def find(self, id_: Any) -> int | None:
        """Return the place of an item; None if there is none with this id."""
        return next((at for at, item in enumerate(self.items) if item["id"] == id_), None)

    def add(self, item: dict[str, Any], after: str | None = None) -> str | None:
        """Insert an item after another one, or at the end (None); return the id of the one before it."""
        at = len(self.items) if after is None else 0 if after == "root" else (self.find(after) or 0) + 1
        self.items.insert(at, item)
        return self.items[at - 1]["id"] if at else None

    def hear(self, item: str, milliseconds: float) -> int:
        """Note that an item has so much audio of the user's; return its tokens."""
        tokens = self.audio_tokens[item] = math.ceil(milliseconds / USER_TOKEN_MS)
        return tokens


def _said(item: dict[str, Any]) -> tuple[str, Any]:
    """Return an item as a message of chat."""
    match item.get("type"):
        case "message":
            parts = item.get("content") or []
            texts = [str(part.get("text") or part.get("transcript") or "") for part in map(fields_of, parts)]
            return str(item.get("role", "user")), "".join(texts)
        case "function_call_output":
            return "tool", str(item.get("output", ""))
        case _:
            return "assistant", item.get("arguments")


@dataclass(slots=True)
class Turn:
    """One answer. Its events are made as they are sent, so that ``cancel`` ends it after the next one."""

    session: Session
    conversation: Conversation
    given: dict[str, Any]  # of the client's response.create
    response: dict[str, Any] = field(default_factory=dict)
    cancelled: str | None = None

    def cancel(self, reason: str) -> None:
        """End the answer early."""
        self.cancelled = self.cancelled or reason

    def operate(self, call: Call) -> Reply:
        """Answer."""
        in_conversation = self.given.get("conversation") != "none"
        id_ = self.conversation.id if in_conversation else None
        self.response = self.session.response(call.id("resp_", 21), self.given, id_)
        items = self.given.get("input")
        items = self.conversation.items if items is None else list(map(fields_of, items))
        answer = _Answering(call, self, items, in_conversation)
        reply = stream(answer.events(), prompt_tokens=answer.prompt.tokens + answer.audio_in)
        reply.failure = answer.failure
        return reply


class _Answering:
    def __init__(self, call: Call, turn: Turn, items: list[dict[str, Any]], in_conversation: bool) -> None:
        self._call = call
        self._turn = turn
        self._in_conversation = in_conversation
        session = turn.session
        heard = turn.conversation.audio_tokens
        self.audio_in = sum(heard.get(item.get("id", ""), 0) for item in items)
        self.prompt = self._prompt(items)
        self._spoken = "audio" in turn.response["output_modalities" if not session.beta else "modalities"]
        limit = turn.response["max_output_tokens"]
        self._limit = limit if isinstance(limit, int) else None
        voice = call.voice(self.prompt, fixed=False)
        self._answer = compose(call, self.prompt, Limits(None if self._spoken else self._limit), voice)
        self._reason = self._answer.finish_reason
        self._text_out = self._audio_out = 0

    def _prompt(self, items: list[dict[str, Any]]) -> Prompt:
        given, fields = self._turn.given, self._turn.session.fields
        instructions = given.get("instructions", fields.get("instructions"))
        messages = [_said(item) for item in items]
        prompt = conversation([("system", instructions), *messages] if instructions else messages)
        functions = [tool for tool in given.get("tools") or fields.get("tools") or [] if tool.get("type") == "function"]
        tools = read_tools(functions, "response.tools[{}].name")
        wanted = given.get("tool_choice", fields.get("tool_choice"))
        choice, named = read_choice(wanted, tools) if tools else ("none", None)
        return replace(prompt, tools=tools, tool_choice=choice, tool_named=named)

    def _event(self, type_: str, wait: float = 0.0, kind: Kind = "other", tokens: int = 0, **fields: Any) -> Event:
        name = self._turn.session.name(type_)
        if not name:
            return Event(b"", events=0)
        body = {"type": name, "event_id": self._call.id("event_", 21), **fields}
        return Event(b"data: " + msgspec.json.encode(body) + b"\n\n", wait, kind, tokens)

    def _about(self, type_: str, wait: float = 0.0, kind: Kind = "other", tokens: int = 0, **fields: Any) -> Event:
        """Return an event that names the response."""
        return self._event(type_, wait, kind, tokens, response_id=self._turn.response["id"], **fields)

    def events(self) -> Iterator[Event]:
        """Yield the events."""
        response = self._turn.response
        yield self._event("response.created", self._call.pace.prompt(), response=response)
        yield self._event("rate_limits.updated", rate_limits=self._rate_limits())
        for made in self._answer.calls:
            if self._turn.cancelled is None:
                yield from self._function_call(made)
        if not self._answer.calls:
            yield from self._message()
        yield self._end()

    def _rate_limits(self) -> list[dict[str, Any]]:
        left = max(azure.TOKENS_PER_MINUTE - self.prompt.tokens - self.audio_in, 0)
        return [
            {"name": "requests", "limit": 120, "remaining": 119, "reset_seconds": 0.5},
            {"name": "tokens", "limit": azure.TOKENS_PER_MINUTE, "remaining": left, "reset_seconds": 0.5},
        ]

    def _item(self, item: dict[str, Any], tokens: int) -> Iterator[Event]:
        """Yield the events that add an item to the output and to the conversation."""
        at = len(self._turn.response["output"])
        self._text_out += tokens
        yield self._about("response.output_item.added", kind="role", tokens=tokens, output_index=at, item=item)
        if self._in_conversation:
            before = self._turn.conversation.add(item)
            yield self._event("conversation.item.added", previous_item_id=before, item=item)

    def _item_done(self, item: dict[str, Any]) -> Iterator[Event]:
        output = self._turn.response["output"]
        if self._in_conversation:
            kept = self._turn.conversation
            at = kept.find(item["id"])
            if at is not None:
                kept.items[at] = item
            before = kept.items[at - 1]["id"] if at else None
            yield self._event("conversation.item.done", previous_item_id=before, item=item)
        yield self._about("response.output_item.done", kind="finish", output_index=len(output), item=item)
        output.append(item)

    @property
    def _status(self) -> str:
        """The status of an item that ends now."""
        return "incomplete" if self._turn.cancelled or self._reason in ("length", "content_filter") else "completed"

    def _message(self) -> Iterator[Event]:
        id_ = self._call.id("item_", 21)
        item = {"id": id_, "object": "realtime.item", "type": "message", "status": "in_progress", "role": "assistant"}
        yield from self._item({**item, "content": []}, 0)
        where: dict[str, Any] = {"item_id": id_, "output_index": 0, "content_index": 0}
        kind, text_field = ("audio", "transcript") if self._spoken else ("text", "text")
        yield self._about("response.content_part.added", **where, part={"type": kind, text_field: ""})
        said: list[str] = []
        yield from self._deltas(where, said)
        text = "".join(said)
        if self._spoken:
            self._turn.conversation.audio_tokens[id_] = self._audio_out
            yield self._about("response.output_audio.done", **where)
            yield self._about("response.output_audio_transcript.done", **where, transcript=text)
        else:
            yield self._about("response.output_text.done", **where, text=text)
        yield self._about("response.content_part.done", **where, part={"type": kind, text_field: text})
        content = [{"type": self._turn.session.part(kind), text_field: text}]
        yield from self._item_done({**item, "status": self._status, "content": content})

    def _deltas(self, where: dict[str, Any], said: list[str]) -> Iterator[Event]:
        """Yield the pieces of the text, spoken or not, and append them to ``said``."""
        pace = self._call.pace
        name = "response.output_audio_transcript.delta" if self._spoken else "response.output_text.delta"
        for at, piece in enumerate(self._answer.pieces):
            audio = speech_tokens(piece) if self._spoken else 0
            spent = self._text_out + self._audio_out + 1 + audio
            if self._spoken and self._limit is not None and spent > self._limit:
                self._reason = "length"
            if self._turn.cancelled is not None or (self._spoken and self._reason == "length"):
                return
            said.append(piece)
            self._text_out += 1
            yield self._about(name, pace.token() if at else pace.first(), "token", 1, **where, delta=piece)
            if audio:
                yield self._about("response.output_audio.delta", 0.0, "other", audio, **where, delta=self._sound(audio))
                self._audio_out += audio

    def _sound(self, tokens: int) -> str:
        voice = str(self._turn.response.get("voice") or self._turn.session.fields.get("audio"))
        at = self._audio_out * MODEL_TOKEN_MS
        return base64.b64encode(self._turn.session.output_format.tone(voice, at, tokens * MODEL_TOKEN_MS)).decode()

    def _function_call(self, made: ToolCall) -> Iterator[Event]:
        at = len(self._turn.response["output"])
        item = {"id": self._call.id("item_", 21), "object": "realtime.item", "type": "function_call"}
        item |= {"status": "in_progress", "name": made.name, "call_id": self._call.id("call_", 16), "arguments": ""}
        yield from self._item(item, TOKENS_PER_CALL)
        where: dict[str, Any] = {"item_id": item["id"], "output_index": at, "call_id": item["call_id"]}
        pace, said = self._call.pace, ""
        for number, piece in enumerate(made.pieces):
            if self._turn.cancelled is not None:
                break
            said += piece
            self._text_out += 1
            wait = pace.token() if number else pace.first()
            yield self._about("response.function_call_arguments.delta", wait, "token", 1, **where, delta=piece)
        yield self._about("response.function_call_arguments.done", **where, name=made.name, arguments=said)
        yield from self._item_done({**item, "status": self._status, "arguments": said})

    def _end(self) -> Event:
        response, reasons = self._turn.response, {"length": "max_output_tokens", "content_filter": "content_filter"}
        if self._turn.cancelled is not None:
            response["status"] = "cancelled"
            response["status_details"] = {"type": "cancelled", "reason": self._turn.cancelled}
        elif self._reason in reasons:
            response["status"] = "incomplete"
            response["status_details"] = {"type": "incomplete", "reason": reasons[self._reason]}
        else:
            response["status"] = "completed"
        response["usage"] = self._usage()
        return self._event("response.done", kind="done", response=response)

    def _usage(self) -> dict[str, Any]:
        text_in, audio_in = self.prompt.tokens, self.audio_in
        known = self._turn.conversation.cached
        cached_text, cached_audio = (
            min(now, before) // CACHE_STEP * CACHE_STEP for now, before in zip((text_in, audio_in), known, strict=True)
        )
        if self._in_conversation:
            self._turn.conversation.cached = (text_in, audio_in)
        used = azure.shape(
            "realtime-usage",
            total_tokens=text_in + audio_in + self._text_out + self._audio_out,
            input_tokens=text_in + audio_in,
            output_tokens=self._text_out + self._audio_out,
        )
        used["input_token_details"] |= {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "cached_tokens": cached_text + cached_audio,
            "cached_tokens_details": {"text_tokens": cached_text, "audio_tokens": cached_audio, "image_tokens": 0},
        }
        used["output_token_details"] |= {"text_tokens": self._text_out, "audio_tokens": self._audio_out}
        return used

    def failure(self, _events: int) -> bytes:
        """Return an error of the server's in the middle of the answer, and the failed answer."""
        failed = azure.shape("failed-response")["error"]
        error = {"type": "server_error", "code": failed["code"], "message": failed["message"]}
        response = self._turn.response | {"status": "failed", "status_details": {"type": "failed", "error": error}}
        event = self._event("error", error={**error, "param": None, "event_id": None})
        return event.data + self._event("response.done", response=response).data


def transcribe(session: Session, item: str, text: str, heard: int, milliseconds: float) -> Callable[[Call], Reply]:
    """Return the operation that transcribes an item of the user's, whose audio is so many tokens."""

    def operate(call: Call) -> Reply:
        return stream(_transcript(call, session, item, text, heard, milliseconds), prompt_tokens=heard)

    return operate


def _transcript(call: Call, session: Session, item: str, text: str, heard: int, milliseconds: float) -> Iterator[Event]:
    model = str(fields_of(session.transcription).get("model", ""))
    tokens = count(text)
    usage: dict[str, Any] = {"type": "tokens", "total_tokens": heard + tokens, "input_tokens": heard}
    usage |= {"input_token_details": {"text_tokens": 0, "audio_tokens": heard}, "output_tokens": tokens}
    if model.startswith("whisper"):
        usage = {"type": "duration", "seconds": round(milliseconds / 1000, 2)}
    stem = "conversation.item.input_audio_transcription"
    for type_, fields in (("delta", {"delta": text}), ("completed", {"transcript": text, "usage": usage})):
        body = {"type": f"{stem}.{type_}", "event_id": call.id("event_", 21), "item_id": item, "content_index": 0}
        kind: Kind = "token" if type_ == "delta" else "done"
        wait = call.pace.total(tokens) if type_ == "delta" else 0.0
        data = b"data: " + msgspec.json.encode(body | fields) + b"\n\n"
        yield Event(data, wait, kind, tokens if type_ == "delta" else 0)
