"""Anthropic's Messages API, as Azure serves Claude with it: the request, and the answer whole or as named events."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from chukei.simulator.answers import TOKENS_PER_CALL, Answer, Limits, ToolCall, compose
from chukei.simulator.azure import missing_parameter, model_error, shape
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Event, Kind, Reply, stream, whole
from chukei.simulator.prompts import Prompt, ToolChoice, conversation, find_tool, read_tools
from chukei.simulator.prose import thoughts
from chukei.simulator.tokens import split

SIGNATURE_BYTES = 96
_ERROR = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_CHOICES: dict[str, ToolChoice] = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}


class Message(msgspec.Struct):
    """One message; its content is a text or a list of blocks."""

    role: str
    content: str | list[dict[str, Any]]


class MessagesRequest(msgspec.Struct):
    """The body of a request. Other fields are accepted and ignored."""

    messages: list[Message]
    model: str | None = None
    max_tokens: int | None = None
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    thinking: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None


def messages(call: Call) -> Reply:
    """Answer a request."""
    request = _read(call)
    if request.max_tokens is None:
        raise missing_parameter("max_tokens")
    prompt = _prompt(request)
    voice = call.voice(prompt, fixed=request.temperature == 0)
    answer, stopped_by = _stopped(compose(call, prompt, Limits(request.max_tokens), voice), request.stop_sequences)
    thinks = (request.thinking or {}).get("type") in ("enabled", "adaptive")
    turn = _Turn(call, prompt, answer, stopped_by, thinks=thinks)
    if request.stream:
        return stream(turn.events(), prompt_tokens=prompt.tokens)
    tokens = sum(event.tokens for event in turn.events())
    body = msgspec.json.encode(turn.message)
    return whole(body, wait=call.pace.total(tokens), tokens=tokens, prompt_tokens=prompt.tokens)


def count_tokens(call: Call) -> Reply:
    """Answer with the tokens of a prompt."""
    return whole(msgspec.json.encode({"input_tokens": _prompt(_read(call)).tokens}))


def error_event(_events: int) -> bytes:
    """Return an error in a stream of messages."""
    return b"event: error\ndata: " + _ERROR + b"\n\n"


def _read(call: Call) -> MessagesRequest:
    if "anthropic-version" not in call.headers:
        raise model_error(400, "anthropic-version: header is required")
    return call.read(MessagesRequest)


def _prompt(request: MessagesRequest) -> Prompt:
    said: list[tuple[str, Any]] = [("system", request.system)] if request.system else []
    for message in request.messages:
        said += _said(message)
    own = [tool for tool in request.tools or [] if tool.get("type", "custom") == "custom"]
    tools = read_tools([{**tool, "parameters": tool.get("input_schema")} for tool in own], "tools.{}.name")
    choice = request.tool_choice or {}
    named = choice.get("name") if choice.get("type") == "tool" else None
    if named is not None and find_tool(tools, named) is None:
        raise model_error(400, f"Tool '{named}' not found in provided tools")
    return replace(
        conversation(said),
        tools=tools,
        tool_choice=_CHOICES.get(str(choice.get("type", "auto")), "auto"),
        tool_named=named,
        parallel=choice.get("disable_parallel_tool_use") is not True,
    )


def _said(message: Message) -> Iterator[tuple[str, Any]]:
    """Yield a message in the roles of chat: results of tools are messages of their own."""
    if isinstance(message.content, str):
        yield message.role, message.content
        return
    rest: list[dict[str, Any]] = []
    for block in message.content:
        if block.get("type") == "tool_result":
            yield "tool", block.get("content")
        else:
            rest.append(block)
    if rest:
        yield message.role, rest


def _stopped(answer: Answer, stops: list[str] | None) -> tuple[Answer, str | None]:
    """Cut the answer before the first stop sequence in it, and return that."""
    found = [(answer.text.find(stop), stop) for stop in stops or () if stop and stop in answer.text]
    if not found:
        return answer, None
    at, stop = min(found)
    return replace(answer, pieces=tuple(split(answer.text[:at])), finish_reason="stop"), stop


class _Turn:
    """One answer: ``events`` yields its events and meanwhile builds ``message``."""

    def __init__(self, call: Call, prompt: Prompt, answer: Answer, stopped_by: str | None, *, thinks: bool) -> None:
        self._call = call
        self._prompt = prompt
        self._answer = answer
        self._thinks = thinks
        self._tokens = 0
        self._stop = {"stop_reason": _STOP_REASONS[answer.finish_reason], "stop_sequence": stopped_by}
        if stopped_by is not None:
            self._stop["stop_reason"] = "stop_sequence"
        usage = shape("message-usage", input_tokens=prompt.tokens, output_tokens=1)
        self.message = shape("message", model=call.deployment, id=call.id("msg_01", 22), usage=usage)

    def _event(self, type_: str, wait: float = 0.0, kind: Kind = "other", tokens: int = 0, **fields: Any) -> Event:
        self._tokens += tokens
        body = msgspec.json.encode({"type": type_, **fields})
        return Event(b"event: " + type_.encode() + b"\ndata: " + body + b"\n\n", wait, kind, tokens)

    def events(self) -> Iterator[Event]:
        """Yield the events."""
        yield self._event("message_start", self._call.pace.prompt(), "role", message=self.message)
        if self._thinks:
            yield from self._thought()
        for made in self._answer.calls:
            yield from self._tool_use(made)
        if not self._answer.calls:
            block = {"type": "text", "text": ""}
            done = {**block, "text": self._answer.text}
            yield from self._block(block, "text_delta", "text", self._answer.pieces, done)
        self.message["usage"]["output_tokens"] = self._tokens
        self.message |= self._stop
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
        used = {name: self.message["usage"][name] for name in names}
        yield self._event("message_delta", kind="finish", delta=self._stop, usage=used)
        yield self._event("message_stop", kind="done")

    def _thought(self) -> Iterator[Event]:
        pieces = tuple(split(thoughts(self._prompt, self._call.voice(self._prompt, fixed=False))))
        signature = base64.b64encode(self._call.dice.randbytes(SIGNATURE_BYTES)).decode()
        block = {"type": "thinking", "thinking": "", "signature": ""}
        end = {"type": "signature_delta", "signature": signature}
        done = {**block, "thinking": "".join(pieces), "signature": signature}
        yield from self._block(block, "thinking_delta", "thinking", pieces, done, end)

    def _tool_use(self, made: ToolCall) -> Iterator[Event]:
        block = {"type": "tool_use", "id": self._call.id("toolu_01", 22), "name": made.name, "input": {}}
        try:
            given = msgspec.json.decode(made.arguments)
        except msgspec.DecodeError:  # they are cut at the limit of tokens
            given = {}
        pieces = ("", *made.pieces)
        done = {**block, "input": given}
        yield from self._block(block, "input_json_delta", "partial_json", pieces, done, tokens=TOKENS_PER_CALL)

    def _block(
        self,
        block: dict[str, Any],
        type_: str,
        name: str,
        pieces: tuple[str, ...],
        done: dict[str, Any],
        end: dict[str, Any] | None = None,
        tokens: int = 0,
    ) -> Iterator[Event]:
        """Yield the events of a content block: its start, its pieces in the field ``name``, an ``end``, its stop."""
        at, pace = len(self.message["content"]), self._call.pace
        yield self._event("content_block_start", tokens=tokens, index=at, content_block=block)
        if at == 0:
            yield self._event("ping")
        for number, piece in enumerate(pieces):
            wait = pace.token() if number or at else pace.first()
            delta = {"type": type_, name: piece}
            yield self._event("content_block_delta", wait, "token", int(bool(piece)), index=at, delta=delta)
        if end is not None:
            yield self._event("content_block_delta", index=at, delta=end)
        yield self._event("content_block_stop", index=at)
        self.message["content"].append(done)
