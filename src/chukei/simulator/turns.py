"""One answer of the Responses API: its request, its events, and the response that they build up."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.answers import TOKENS_PER_CALL, Answer, ToolCall
from chukei.simulator.calls import Call, StreamOptions
from chukei.simulator.exchanges import Close, Event, Kind
from chukei.simulator.media import MOST_PARTIAL_IMAGES, png
from chukei.simulator.prompts import Prompt
from chukei.simulator.prose import thoughts
from chukei.simulator.stored import Kept
from chukei.simulator.tokens import split

# What a WebSocket gets once it has been open for an hour: the last event, and the close frame.
LIMIT = (
    b'{"type":"error","error":{"type":"invalid_request_error","code":"websocket_connection_limit_reached","message":'
    b'"Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue."},'
    b'"status":400}',
    Close(1000, "websocket_connection_limit_reached"),
)
SEALED_REASONING = "reasoning.encrypted_content"  # of ``include``


class ResponsesRequest(msgspec.Struct):
    """The body of a Responses request. Other fields are accepted and ignored."""

    input: str | list[dict[str, Any]] | None = None
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    background: bool | None = None
    include: list[str] | None = None
    service_tier: str | None = None
    user: str | None = None
    generate: bool | None = None  # in the WebSocket mode: false only prepares the next turn


def blank_response(call: Call, request: ResponsesRequest) -> dict[str, Any]:
    """Return the initial response object."""
    blank = azure.shape("response", id=call.hex_id("resp_"), created_at=call.created, model=call.model)
    reasoning = request.reasoning or {}
    for name in ("instructions", "max_output_tokens", "previous_response_id", "user"):
        blank[name] = getattr(request, name)
    for name in ("parallel_tool_calls", "store"):
        blank[name] = getattr(request, name) is not False
    for name in ("temperature", "top_p"):
        blank[name] = 1 if getattr(request, name) is None else getattr(request, name)
    for name in ("tool_choice", "tools", "metadata"):
        blank[name] = getattr(request, name) or blank[name]
    blank["text"] |= request.text or {}
    blank["background"] = bool(request.background)
    blank["service_tier"] = request.service_tier or "auto"
    if request.conversation is not None:
        named = request.conversation
        blank["conversation"] = {"id": named.get("id") if isinstance(named, dict) else named}
    blank["reasoning"] = {
        "effort": reasoning.get("effort", "medium" if call.reasoning else "none"),
        "summary": reasoning.get("summary"),
    }
    return blank


def _named_event(body: dict[str, Any]) -> bytes:
    return b"event: " + str(body["type"]).encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


class Turn:
    """One answer: ``events`` yields its events and meanwhile builds ``response``, which it stores at the end."""

    def __init__(
        self, call: Call, prompt: Prompt, answer: Answer, blank: dict[str, Any], request: ResponsesRequest
    ) -> None:
        self._call = call
        self.prompt = prompt
        self.answer = answer
        self._status = "incomplete" if answer.finish_reason in ("length", "content_filter") else "completed"
        self._obfuscation = (request.stream_options or StreamOptions()).include_obfuscation is not False
        self._summary = call.reasoning and blank["reasoning"]["summary"] is not None
        self._sealed = call.reasoning and SEALED_REASONING in (request.include or ())
        self._image = next((tool for tool in request.tools or () if tool.get("type") == "image_generation"), None)
        self._background = bool(request.background)
        self._store = request.store is not False
        self._silent = request.generate is False
        self._sequence = 0
        self.response = blank
        self.kept = Kept(blank)
        self.talk: Kept | None = None
        self.given: list[dict[str, Any]] = []

    def events(self) -> Iterator[Event]:
        """Yield the events, with consecutive numbers."""
        pace = self._call.pace
        if self._background:
            yield self._event("response.created", response={**self.response, "status": "queued"})
            yield self._event("response.queued", response={**self.response, "status": "queued"})
            yield self._event("response.in_progress", pace.prompt(), response=self.response)
        else:
            yield self._event("response.created", pace.prompt(), response=self.response)
            yield self._event("response.in_progress", response=self.response)
        if not self._silent:
            yield from self._output()
        yield self._end()

    def _output(self) -> Iterator[Event]:
        if self._call.reasoning:
            yield from self._thought()
        if self._image is not None:
            yield from self._drawn(self._image)
        for made in self.answer.calls:
            yield from self._function_call(made)
        if not self.answer.calls:
            yield from self._message()

    def unfinished(self) -> dict[str, Any]:
        """Return the response without what its end brings."""
        nothing: dict[str, Any] = {
            "output": [],
            "usage": None,
            "completed_at": None,
            "content_filters": None,
            "error": None,
        }
        return {**self.response, **nothing, "incomplete_details": None}

    def failed(self, events: list[Event]) -> list[Event]:
        """Return the events of a job that fails in the middle of its answer."""
        kept = events[: max(len(events) // 2, 3)]
        self.response |= {**self.unfinished(), "status": "failed", "error": azure.shape("failed-response")["error"]}
        self._sequence = len(kept)
        return [*kept, self._event("response.failed", kind="done", response=self.response)]

    def keep_items(self) -> None:
        """Store the items of the answer, in the conversation too if there is one."""
        said = tuple(self.response["output"])
        self.kept.said = said
        self._call.stored.keep_items((*self.kept.items, *said))
        if self.talk is not None:
            for item in (*self.given, *said):
                self.talk.parts("item").put(Kept(item))

    def _event(self, type_: str, wait: float = 0.0, kind: Kind = "other", tokens: int = 0, **fields: Any) -> Event:
        body = {"type": type_, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return Event(_named_event(body), wait, kind, tokens)

    def _deltas(self, type_: str, pieces: tuple[str, ...], **where: Any) -> Iterator[Event]:
        pace = self._call.pace
        for at, piece in enumerate(pieces):
            fields: dict[str, Any] = {**where, "delta": piece}
            if type_ == "response.output_text.delta":
                fields["logprobs"] = []
            if self._obfuscation:
                fields["obfuscation"] = self._call.obfuscated(len(piece))
            wait = pace.first() if at == 0 else pace.token()
            yield self._event(type_, wait, "token", 1, **fields)

    def _added(self, item: dict[str, Any], kind: Kind, tokens: int) -> tuple[Event, dict[str, Any]]:
        """Return the event that adds an item to the output, and the fields with which its parts refer to it."""
        at = len(self.response["output"])
        event = self._event("response.output_item.added", kind=kind, tokens=tokens, output_index=at, item=item)
        return event, {"item_id": item["id"], "output_index": at}

    def _item_done(self, item: dict[str, Any], kind: Kind) -> Event:
        at = len(self.response["output"])
        event = self._event("response.output_item.done", kind=kind, output_index=at, item=item)
        self.response["output"].append(item)
        return event

    def _thought(self) -> Iterator[Event]:
        item: dict[str, Any] = {"id": self._call.hex_id("rs_"), "type": "reasoning", "summary": []}
        if self._sealed:
            item["encrypted_content"] = self._call.stored.seal(f"{self.answer.reasoning_tokens} {item['id']}")
        event, where = self._added(item, "other", self.answer.reasoning_tokens)
        yield event
        if self._summary:
            where["summary_index"] = 0
            part = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **where, part=part)
            pieces = tuple(split(thoughts(self.prompt, self._call.voice(self.prompt, fixed=False))))
            for event in self._deltas("response.reasoning_summary_text.delta", pieces, **where):
                yield replace(event, tokens=0)
            text = "".join(pieces)
            part = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_text.done", **where, text=text)
            yield self._event("response.reasoning_summary_part.done", **where, part=part)
            item = {**item, "summary": [part]}
        yield self._item_done(item, "other")

    def _message(self) -> Iterator[Event]:
        id_, text = self._call.hex_id("msg_"), self.answer.text
        item = {"id": id_, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
        event, where = self._added(item, "role", 0)
        yield event
        where["content_index"] = 0
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        yield self._event("response.content_part.added", **where, part=part)
        yield from self._deltas("response.output_text.delta", self.answer.pieces, **where)
        part = {**part, "text": text}
        yield self._event("response.output_text.done", **where, text=text, logprobs=[])
        yield self._event("response.content_part.done", **where, part=part)
        yield self._item_done({**item, "status": self._status, "content": [part]}, "finish")

    def _function_call(self, made: ToolCall) -> Iterator[Event]:
        item = {
            "id": self._call.hex_id("fc_"),
            "type": "function_call",
            "status": "in_progress",
            "arguments": "",
            "call_id": self._call.id("call_", 24),
            "name": made.name,
        }
        event, where = self._added(item, "role", TOKENS_PER_CALL)
        yield event
        yield from self._deltas("response.function_call_arguments.delta", made.pieces, **where)
        yield self._event("response.function_call_arguments.done", **where, arguments=made.arguments)
        yield self._item_done({**item, "status": self._status, "arguments": made.arguments}, "finish")

    def _drawn(self, tool: dict[str, Any]) -> Iterator[Event]:
        """Draw an image: as many partial ones as the tool asks for, then the whole."""
        pace, look = self._call.pace, {"background": "opaque", "output_format": "png", "quality": "medium"}
        item: dict[str, Any] = {
            "id": self._call.hex_id("ig_"),
            "type": "image_generation_call",
            "status": "in_progress",
        }
        event, where = self._added(item, "other", 0)
        yield event
        where = {"output_index": where["output_index"], "item_id": where["item_id"]}
        yield self._event("response.image_generation_call.in_progress", **where)
        yield self._event("response.image_generation_call.generating", pace.first(), **where)
        size, partial = tool.get("size") or "1024x1024", int(tool.get("partial_images") or 0)
        for at in range(min(partial, MOST_PARTIAL_IMAGES)):
            drawn = base64.b64encode(png(f"{self._call.seed}:{at}:{self.prompt.text}")).decode()
            fields: dict[str, Any] = {"partial_image_index": at, "partial_image_b64": drawn, "size": size, **look}
            yield self._event("response.image_generation_call.partial_image", pace.first(), **where, **fields)
        result = base64.b64encode(png(f"{self._call.seed}:{self.prompt.text}")).decode()
        end = {"status": "completed", **look, "result": result, "revised_prompt": self.prompt.text, "size": size}
        yield self._item_done({**item, **end}, "other")

    def _end(self) -> Event:
        answer = self.answer
        self.response |= {
            "status": self._status,
            "completed_at": self._call.created if self._status == "completed" else None,
            "content_filters": _content_filters(self.prompt.text, answer),
            "service_tier": _served_tier(self.response["service_tier"]),
            "usage": azure.shape(
                "response-usage",
                input_tokens=self.prompt.tokens,
                output_tokens=answer.tokens,
                output_tokens_details={"reasoning_tokens": answer.reasoning_tokens},
                total_tokens=self.prompt.tokens + answer.tokens,
            ),
        }
        if self._status == "incomplete":
            reason = "content_filter" if answer.finish_reason == "content_filter" else "max_output_tokens"
            self.response["incomplete_details"] = {"reason": reason}
        if self._store and not self._background:
            self._call.stored["response"].put(self.kept)
            self.keep_items()
        if self._call.memory is not None:
            self.kept.said = tuple(self.response["output"])
            self._call.memory[self.response["id"]] = self.kept
        return self._event(f"response.{self._status}", kind="done", response=self.response)


def _served_tier(asked: str) -> str:
    return "default" if asked == "auto" else asked


def _content_filters(prompt: str, answer: Answer) -> list[dict[str, Any]]:
    blocked = answer.finish_reason == "content_filter"
    rows = (
        ("prompt", False, azure.RESPONSE_PROMPT, len(prompt)),
        ("completion", blocked, azure.RESPONSE_BLOCKED if blocked else azure.RESPONSE_COMPLETION, len(answer.text)),
    )
    return [
        {
            "blocked": is_blocked,
            "source_type": source,
            "content_filter_raw": None,
            "content_filter_results": results,
            "content_filter_offsets": {"start_offset": 0, "end_offset": length, "check_offset": 0},
        }
        for source, is_blocked, results, length in rows
    ]


def error_event(events: int) -> bytes:
    """Return an error in a Responses stream: two events, as recorded, with numbers that follow the sent events."""
    failed = azure.shape("failed-response")
    nested = {"type": "server_error", **failed["error"], "param": None}
    error = {"type": "error", "sequence_number": events, "error": nested}
    end = {"type": "response.failed", "sequence_number": events + 1, "response": failed}
    return _named_event(error) + _named_event(end)
