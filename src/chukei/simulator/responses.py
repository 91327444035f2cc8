"""The Responses API: the request, and the answer as a stream of named, numbered events or as one object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.answers import TOKENS_PER_CALL, Answer, Limits, ToolCall, compose
from chukei.simulator.calls import (
    JSON_OBJECT,
    Call,
    Prompt,
    StreamOptions,
    conversation,
    fields_of,
    read_choice,
    read_tools,
)
from chukei.simulator.exchanges import Event, Kind, Reply, stream, whole
from chukei.simulator.prose import phrases

SINCE = "2025-03-01"  # Azure answers older dated versions with a hint
LEAST_OUTPUT_TOKENS = 16  # the API refuses less


class ResponsesRequest(msgspec.Struct):
    """The body of a Responses request. Other fields are accepted and ignored."""

    input: str | list[dict[str, Any]]
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
    user: str | None = None


def responses(call: Call) -> Reply:
    """Answer a Responses request."""
    if call.older_than(SINCE):
        message = "Azure OpenAI Responses API is enabled only for api-version 2025-03-01-preview and later"
        raise azure.gateway_error(400, message, "BadRequest")
    request = call.read(ResponsesRequest)
    if request.max_output_tokens is not None and request.max_output_tokens < LEAST_OUTPUT_TOKENS:
        message = (
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT_TOKENS},"
            f" but got {request.max_output_tokens} instead."
        )
        raise azure.invalid_value(message, "max_output_tokens", "integer_below_min_value")
    _check_state(call, request)
    prompt = _prompt(request)
    voice = call.voice(prompt.text, fixed=request.temperature == 0)
    answer = compose(call, prompt, Limits(request.max_output_tokens), voice)
    turn = _Turn(call, prompt, answer, _blank(call, request), request.stream_options or StreamOptions())
    if request.store is not False:
        call.stored.keep(turn.response["id"], call.deployment)
    if request.stream:
        return stream(turn.events(), prompt_tokens=prompt.tokens)
    for _ in turn.events():
        pass  # what the events would have built up is the answer
    return whole(
        msgspec.json.encode(turn.response),
        wait=call.pace.total(answer.tokens),
        tokens=answer.tokens,
        prompt_tokens=prompt.tokens,
    )


def _check_state(call: Call, request: ResponsesRequest) -> None:
    """Refuse an unknown previous response or conversation. The error for a conversation has no code."""
    previous, named = request.previous_response_id, request.conversation
    conversation = str(named.get("id", "")) if isinstance(named, dict) else named
    if previous is not None and not call.stored.has_response(previous, call.deployment):
        what = f"Previous response with id '{previous}' not found."
        raise azure.model_error(400, what, param="previous_response_id", code="previous_response_not_found")
    if conversation is not None and not call.stored.has_conversation(conversation):
        raise azure.model_error(404, f"Conversation with id '{conversation}' not found.")


def _prompt(request: ResponsesRequest) -> Prompt:
    items: list[tuple[str, Any]] = [("system", request.instructions)] if request.instructions else []
    if isinstance(request.input, str):
        items.append(("user", request.input))
    else:
        items += [_message(at, item) for at, item in enumerate(request.input)]
    functions = [tool for tool in request.tools or [] if tool.get("type") == "function"]
    tools = read_tools(functions, "tools[0].name")
    choice, named = read_choice(request.tool_choice, tools) if tools else ("none", None)
    return replace(
        conversation(items),
        tools=tools,
        tool_choice=choice,
        tool_named=named,
        parallel=request.parallel_tool_calls is not False,
        schema=_schema(request),
    )


def _message(at: int, item: dict[str, Any]) -> tuple[str, Any]:
    match item.get("type", "message"):
        case "message":
            for name in ("role", "content"):
                if name not in item:
                    raise azure.missing_parameter(f"input[{at}].{name}")
            return str(item["role"]), item["content"]
        case "function_call_output":
            return "tool", item.get("output")
        case _:
            return "assistant", None


def _schema(request: ResponsesRequest) -> dict[str, Any] | None:
    wanted = fields_of((request.text or {}).get("format"))
    if wanted.get("type") == "json_object":
        return JSON_OBJECT
    if wanted.get("type") != "json_schema":
        return None
    schema = wanted.get("schema")
    if not isinstance(schema, dict):
        raise azure.missing_parameter("text.format.schema")
    return schema


def _blank(call: Call, request: ResponsesRequest) -> dict[str, Any]:
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
    blank["reasoning"] = {
        "effort": reasoning.get("effort", "medium" if call.reasoning else "none"),
        "summary": reasoning.get("summary"),
    }
    return blank


def _named_event(body: dict[str, Any]) -> bytes:
    return b"event: " + str(body["type"]).encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


class _Turn:
    """One answer: ``events`` yields its events and meanwhile builds ``response``."""

    def __init__(
        self, call: Call, prompt: Prompt, answer: Answer, blank: dict[str, Any], options: StreamOptions
    ) -> None:
        self._call = call
        self._prompt = prompt
        self._answer = answer
        self._status = "incomplete" if answer.finish_reason in ("length", "content_filter") else "completed"
        self._obfuscation = options.include_obfuscation is not False
        self._summary = call.reasoning and blank["reasoning"]["summary"] is not None
        self._sequence = 0
        self.response = blank

    def events(self) -> Iterator[Event]:
        """Yield the events, with consecutive numbers."""
        yield self._event("response.created", self._call.pace.prompt(), response=self.response)
        yield self._event("response.in_progress", response=self.response)
        if self._call.reasoning:
            yield from self._thought()
        for made in self._answer.calls:
            yield from self._function_call(made)
        if not self._answer.calls:
            yield from self._message()
        yield self._end()

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
        event, where = self._added(item, "other", self._answer.reasoning_tokens)
        yield event
        if self._summary:
            where["summary_index"] = 0
            part = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **where, part=part)
            pieces = tuple(word + " " for word in phrases()["thoughts"].split(" "))
            for event in self._deltas("response.reasoning_summary_text.delta", pieces, **where):
                yield replace(event, tokens=0)
            text = "".join(pieces)
            part = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_text.done", **where, text=text)
            yield self._event("response.reasoning_summary_part.done", **where, part=part)
            item = {**item, "summary": [part]}
        yield self._item_done(item, "other")

    def _message(self) -> Iterator[Event]:
        id_, text = self._call.hex_id("msg_"), self._answer.text
        item = {"id": id_, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
        event, where = self._added(item, "role", 0)
        yield event
        where["content_index"] = 0
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        yield self._event("response.content_part.added", **where, part=part)
        yield from self._deltas("response.output_text.delta", self._answer.pieces, **where)
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

    def _end(self) -> Event:
        answer = self._answer
        self.response |= {
            "status": self._status,
            "completed_at": self._call.created if self._status == "completed" else None,
            "content_filters": _content_filters(self._prompt.text, answer),
            "service_tier": "default",
            "usage": azure.shape(
                "response-usage",
                input_tokens=self._prompt.tokens,
                output_tokens=answer.tokens,
                output_tokens_details={"reasoning_tokens": answer.reasoning_tokens},
                total_tokens=self._prompt.tokens + answer.tokens,
            ),
        }
        if self._status == "incomplete":
            reason = "content_filter" if answer.finish_reason == "content_filter" else "max_output_tokens"
            self.response["incomplete_details"] = {"reason": reason}
        return self._event(f"response.{self._status}", kind="done", response=self.response)


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
