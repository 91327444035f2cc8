"""What the model says to a prompt: text or tool calls, cut to size."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from chukei.simulator import prose
from chukei.simulator.calls import Call
from chukei.simulator.prompts import Prompt
from chukei.simulator.schemas import sample
from chukei.simulator.tokens import split, until_stop
from chukei.simulator.toolcalls import choose_calls


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function: its arguments, as the pieces of JSON that are streamed."""

    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The arguments, whole."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice: pieces of text, or calls, and why it ends there."""

    pieces: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = field(default=())
    finish_reason: str = "stop"
    reasoning_tokens: int = 0

    @property
    def text(self) -> str:
        """The text, whole."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """What it is billed as, thoughts included."""
        called = sum(len(call.pieces) + 3 for call in self.calls)
        return len(self.pieces) + called + self.reasoning_tokens


@dataclass(frozen=True, slots=True)
class Limits:
    """What the client set on the length: tokens, and sequences before which the text stops."""

    tokens: int | None = None
    stop: Sequence[str] = ()


def compose(call: Call, prompt: Prompt, limits: Limits, voice: random.Random) -> Answer:
    """Answer a prompt."""
    thoughts = voice.randrange(1, 6) * 64 if call.reasoning else 0
    if limits.tokens is not None and thoughts >= limits.tokens:
        return Answer(finish_reason="length", reasoning_tokens=limits.tokens)
    calls = choose_calls(prompt, voice)
    if calls:
        made = tuple(ToolCall(tool.name, tuple(split(_json(arguments)))) for tool, arguments in calls)
        return _cut_calls(Answer(calls=made, finish_reason="tool_calls", reasoning_tokens=thoughts), limits)
    if prompt.schema is not None:
        text = _json(sample(prompt.schema, voice, prompt.text))
    else:
        text = prose.answer(prompt, voice)
    return _cut_text(until_stop(text, limits.stop), thoughts, call, limits)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _cut_text(text: str, thoughts: int, call: Call, limits: Limits) -> Answer:
    pieces = tuple(split(text))
    reason = "stop"
    if limits.tokens is not None and len(pieces) > limits.tokens - thoughts:
        pieces, reason = pieces[: limits.tokens - thoughts], "length"
    if call.filter is not None and call.filter.how == "blocks":
        pieces, reason = pieces[: call.filter.after], "content_filter"
    return Answer(pieces, (), reason, thoughts)


def _cut_calls(answer: Answer, limits: Limits) -> Answer:
    """Cut the last call's arguments short if they are over the limit; what is left is not valid JSON, as in life."""
    if limits.tokens is None or answer.tokens <= limits.tokens:
        return answer
    left = limits.tokens - answer.reasoning_tokens
    kept: list[ToolCall] = []
    for made in answer.calls:
        room = left - 3
        if room < 0:
            break
        kept.append(ToolCall(made.name, made.pieces[:room]))
        left = room - len(made.pieces)
    return Answer((), tuple(kept), "length", answer.reasoning_tokens)
