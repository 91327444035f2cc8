"""Chat completions: the request, and the answer as one object or as a stream of chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.answers import TOKENS_PER_CALL, Answer, Limits, ToolCall, compose
from chukei.simulator.calls import JSON_OBJECT, Call, StreamOptions, usage
from chukei.simulator.chat_audio import spoken_aloud
from chukei.simulator.exchanges import DONE, Event, Kind, Reply, data_event, sorted_json, stream, whole
from chukei.simulator.kept_chat import keep
from chukei.simulator.prompts import Prompt, conversation, fields_of, read_choice, read_tools, text_of

# Older versions refuse stream_options and max_completion_tokens (Azure OpenAI API version lifecycle).
STREAM_OPTIONS_SINCE = "2024-09-01"
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
BOUNDS = (  # of the API's own, of numbers
    ("n", 1, 128),
    ("max_tokens", 1, 1_000_000),
    ("max_completion_tokens", 1, 1_000_000),
    ("temperature", 0, 2),
    ("top_p", 0, 1),
)


class Message(msgspec.Struct):
    """One message, with only the fields that the simulator reads."""

    role: str
    content: str | list[Any] | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None


class ChatRequest(msgspec.Struct):
    """The body of a chat request. Other fields are accepted and ignored."""

    messages: list[Message]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None


def chat(call: Call) -> Reply:
    """Answer a chat request."""
    request = call.read(ChatRequest)
    _check(call, request)
    asked = call.object() if request.store else {}
    prompt = _prompt(request)
    limits = Limits(request.max_completion_tokens or request.max_tokens, request.stop)
    voice = call.voice(prompt, fixed=request.seed is not None or request.temperature == 0)
    answers = [compose(call, prompt, limits, voice) for _ in range(request.n or 1)]
    spoken = sum(answer.tokens for answer in answers)
    used = usage(prompt.tokens, spoken, sum(answer.reasoning_tokens for answer in answers))
    head = call.completion("chatcmpl-", "chat.completion")
    if request.service_tier is not None:
        head["service_tier"] = "default" if request.service_tier == "auto" else request.service_tier
    if "audio" in (request.modalities or ()):
        return spoken_aloud(call, head, request.audio, bool(request.stream), answers[0], prompt.tokens)
    choices = [_choice(call, index, answer) for index, answer in enumerate(answers)]
    body = {**head, "choices": choices, "prompt_filter_results": azure.PROMPT_FILTER, "usage": used}
    if request.stream:
        options = request.stream_options or StreamOptions()
        events = _ChatStream(call, options, used, answers, head).events()
        return stream(
            _then(events, lambda: keep(call, asked, body)) if request.store else events, prompt_tokens=prompt.tokens
        )
    if request.store:
        keep(call, asked, body)
    return whole(
        sorted_json(body),
        wait=call.pace.total(max(answer.tokens for answer in answers)),
        tokens=spoken,
        prompt_tokens=prompt.tokens,
    )


def _then(events: Iterator[Event], what: Callable[[], None]) -> Iterator[Event]:
    """Yield the events, and do something before the last."""
    for event in events:
        if event.kind == "done":
            what()
        yield event


def _check(call: Call, request: ChatRequest) -> None:
    _check_messages(request)
    old = call.older_than(STREAM_OPTIONS_SINCE)
    if request.stream_options is not None:
        if old:
            raise azure.unknown_parameter("stream_options")
        if not request.stream:
            what = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise azure.invalid_value(what, "stream_options")
    if request.max_completion_tokens is not None and old:
        raise azure.model_error(400, "Unrecognized request argument supplied: max_completion_tokens")
    if call.reasoning and request.max_tokens is not None:
        what = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        raise azure.model_error(400, f"Unsupported parameter: {what}", param="max_tokens", code="unsupported_parameter")
    for name, low, high in BOUNDS:
        value = getattr(request, name)
        if value is not None and not low <= value <= high:
            raise azure.out_of_range(name, value, low, high)
    if isinstance(request.stop, list) and len(request.stop) > 4:
        what = "Invalid 'stop': array too long. Expected at most 4 items."
        raise azure.invalid_value(what, "stop", "array_above_max_length")


def _check_messages(request: ChatRequest) -> None:
    if not request.messages:
        raise azure.invalid_value("[] is too short - 'messages'", "messages", "empty_array")
    for at, message in enumerate(request.messages):
        if message.role not in ROLES:
            what = f"Invalid value: '{message.role}'. Supported values are: {', '.join(sorted(ROLES))}."
            raise azure.invalid_value(what, f"messages[{at}].role")
        if message.content is None and message.role not in ("assistant", "function"):
            where = f"messages[{at}].content"
            raise azure.invalid_value(
                f"Invalid value for '{where}': expected a string, got null.", where, "invalid_type"
            )


def _prompt(request: ChatRequest) -> Prompt:
    prompt = conversation((message.role, message.content) for message in request.messages)
    functions = [fields_of(tool.get("function")) for tool in request.tools or []]
    tools = read_tools(functions, "tools[{}].function.name")
    choice, named = read_choice(request.tool_choice, tools)
    return replace(
        prompt,
        tools=tools,
        tool_choice=choice,
        tool_named=named,
        parallel=request.parallel_tool_calls is not False,
        schema=_schema(request),
    )


def _schema(request: ChatRequest) -> dict[str, Any] | None:
    wanted = request.response_format or {}
    match wanted.get("type"):
        case None | "text":
            return None
        case "json_object":
            if not any("json" in text_of(message.content).lower() for message in request.messages):
                what = "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
                raise azure.invalid_value(f"{what} 'json_object'.", "messages")
            return JSON_OBJECT
        case "json_schema":
            schema = fields_of(wanted.get("json_schema")).get("schema")
            if not isinstance(schema, dict):
                raise azure.missing_parameter("response_format.json_schema.schema")
            return schema
        case other:
            raise azure.invalid_value(f"Invalid value: '{other}'.", "response_format.type")


def _tool_call(call: Call, made: ToolCall, arguments: str) -> dict[str, Any]:
    return {"function": {"arguments": arguments, "name": made.name}, "id": call.id("call_", 24), "type": "function"}


def _choice(call: Call, index: int, answer: Answer) -> dict[str, Any]:
    content = None if answer.calls else answer.text
    message: dict[str, Any] = {"annotations": [], "content": content, "refusal": None, "role": "assistant"}
    if answer.calls:
        message["tool_calls"] = [_tool_call(call, made, made.arguments) for made in answer.calls]
    blocked = answer.finish_reason == "content_filter"
    return {
        "content_filter_results": {} if answer.calls else azure.BLOCKED if blocked else azure.FULL_RESULTS,
        "finish_reason": answer.finish_reason,
        "index": index,
        "logprobs": None,
        "message": message,
    }


@dataclass(frozen=True, slots=True)
class _Delta:
    """A change of one choice, from which a chunk is made."""

    delta: dict[str, Any]
    kind: Kind
    tokens: int = 0
    length: int = 0  # characters of text, which the obfuscation pads


class _ChatStream:
    """The events of a stream in Azure's order: filter, role, content, finish, usage, ``[DONE]``."""

    def __init__(
        self, call: Call, options: StreamOptions, used: dict[str, Any], answers: list[Answer], head: dict[str, Any]
    ) -> None:
        self._call = call
        self._answers = answers
        self._used = used
        self._with_usage = bool(options.include_usage)
        self._obfuscation = options.include_obfuscation is not False
        self._asynchronous = call.filter is not None and call.filter.how == "asynchronous"
        # Recorded streams have six categories, four, or one; one stream keeps to its own.
        one = {"protected_material_text": azure.UNDETECTED}
        self._results = call.dice.choice((azure.FULL_RESULTS, azure.FULL_RESULTS, azure.CATEGORIES, one))
        self._head = {**head, "object": "chat.completion.chunk"}

    def events(self) -> Iterator[Event]:
        """Yield the events of the stream."""
        pace = self._call.pace
        yield Event(azure.FILTER_EVENT, pace.prompt(), "filter")
        for said, (index, part) in enumerate(self._interleaved()):
            wait = pace.first() if said == 0 else pace.token() if part.kind == "token" else 0.0
            yield self._event(index, part, wait)
            if self._asynchronous and part.kind == "finish":
                yield self._annotation(index, len(self._answers[index].text))
        if self._with_usage:
            chunk = {**self._head, "choices": [], "usage": self._used}
            yield Event(data_event(self._padded(chunk, 0)), 0.0, "usage")
        yield Event(DONE, 0.0, "done")

    def _interleaved(self) -> Iterator[tuple[int, _Delta]]:
        """Yield the deltas of all choices interleaved at random; those of each choice stay in order."""
        rows = {index: iter(self._parts(answer)) for index, answer in enumerate(self._answers)}
        while rows:
            index = self._call.dice.choice(sorted(rows)) if len(rows) > 1 else next(iter(rows))
            part = next(rows[index], None)
            if part is None:
                del rows[index]
            else:
                yield index, part

    def _parts(self, answer: Answer) -> Iterator[_Delta]:
        opening: dict[str, Any] = {"content": "", "refusal": None, "role": "assistant"}
        for at, made in enumerate(answer.calls):
            entry = {"tool_calls": [{**_tool_call(self._call, made, ""), "index": at}]}
            if at == 0:
                opening |= {"content": None, **entry}
                yield _Delta(opening, "role", TOKENS_PER_CALL + answer.reasoning_tokens)
            else:
                yield _Delta(entry, "token", TOKENS_PER_CALL)
            for piece in made.pieces:
                change = {"function": {"arguments": piece}, "index": at}
                yield _Delta({"tool_calls": [change]}, "token", 1, len(piece))
        if not answer.calls:
            yield _Delta(opening, "role", answer.reasoning_tokens)
        for piece in answer.pieces:
            yield _Delta({"content": piece}, "token", 1, len(piece))
        yield _Delta({}, "finish")

    def _event(self, index: int, part: _Delta, wait: float) -> Event:
        reason = self._answers[index].finish_reason if part.kind == "finish" else None
        choice = {"delta": part.delta, "finish_reason": reason, "index": index, "logprobs": None}
        if not self._asynchronous:
            choice["content_filter_results"] = self._judged(part, reason)
        chunk = self._padded({**self._head, "choices": [choice]}, part.length)
        return Event(data_event(chunk), wait, part.kind, part.tokens)

    def _judged(self, part: _Delta, reason: str | None) -> dict[str, Any]:
        if reason == "content_filter":
            return azure.BLOCKED
        if "content" in part.delta and part.kind == "token":
            return self._results
        return azure.FULL_RESULTS if reason == "stop" and self._results is azure.FULL_RESULTS else {}

    def _padded(self, chunk: dict[str, Any], length: int) -> dict[str, Any]:
        if self._obfuscation:
            chunk["obfuscation"] = self._call.obfuscated(length)
        if self._with_usage:
            chunk.setdefault("usage", None)
        return chunk

    def _annotation(self, index: int, length: int) -> Event:
        """Return an annotation chunk of the asynchronous filter. It has no delta, and its other fields are empty."""
        choice = {
            "content_filter_offsets": {"check_offset": length, "end_offset": length, "start_offset": 0},
            "content_filter_results": azure.CATEGORIES,
            "finish_reason": None,
            "index": index,
            "logprobs": None,
        }
        chunk = {"choices": [choice], "created": 0, "id": "", "model": "", "object": ""}
        return Event(data_event(chunk), self._call.pace.token(), "annotation")


def error_event(_events: int) -> bytes:
    """Return an error event of a chat stream."""
    return b"data: " + azure.recorded_error("500").body + b"\n\n"
