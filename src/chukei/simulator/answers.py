"""The answer of the model to a prompt: text or tool calls, cut at the client's limits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from chukei.simulator import prose
from chukei.simulator.calls import Call
from chukei.simulator.prompts import Prompt, Tool, find_tool
from chukei.simulator.schemas import places_in, sample
from chukei.simulator.tokens import split, until_stop
from chukei.simulator.voice import Voice

MOST_CALLS = 4
TOKENS_PER_CALL = 3  # beside the arguments
_WORD = re.compile(r"[a-z]{3,}|[\u3040-\u30ff\u3400-\u9fff]{2}")
_LISTED = re.compile(r"\b([A-Z][\w'-]+)(?:,\s*([A-Z][\w'-]+))*,?\s+and\s+([A-Z][\w'-]+)")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call: its name, and its arguments as the pieces of JSON that are streamed."""

    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The whole arguments."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice: pieces of text or tool calls, and the finish reason."""

    pieces: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    reasoning_tokens: int = 0

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """The billed tokens, including reasoning."""
        called = sum(len(call.pieces) + TOKENS_PER_CALL for call in self.calls)
        return len(self.pieces) + called + self.reasoning_tokens


@dataclass(frozen=True, slots=True)
class Limits:
    """The client's limits: the most tokens, and stop sequences."""

    tokens: int | None = None
    stop: str | Sequence[str] | None = None


def compose(call: Call, prompt: Prompt, limits: Limits, voice: Voice) -> Answer:
    """Answer a prompt."""
    if call.limit is not None:
        limits = replace(limits, tokens=min(call.limit, limits.tokens or call.limit))
    thoughts = voice.randrange(1, 6) * 64 if call.reasoning else 0
    if limits.tokens is not None and thoughts >= limits.tokens:
        return Answer(finish_reason="length", reasoning_tokens=limits.tokens)
    calls = _choose_calls(prompt, voice)
    if calls:
        made = tuple(ToolCall(tool.name, tuple(split(_json(arguments)))) for tool, arguments in calls)
        return _cut_calls(Answer(calls=made, finish_reason="tool_calls", reasoning_tokens=thoughts), limits)
    schema = prompt.schema
    text = prose.answer(prompt, voice) if schema is None else _json(sample(schema, voice, prompt.text))
    stops = [limits.stop] if isinstance(limits.stop, str) else limits.stop or ()
    return _cut_text(until_stop(text, stops), thoughts, call, limits)


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
    """Cut the last call's arguments at the limit. The rest is not valid JSON, as with a real model."""
    if limits.tokens is None or answer.tokens <= limits.tokens:
        return answer
    left = limits.tokens - answer.reasoning_tokens
    kept: list[ToolCall] = []
    for made in answer.calls:
        left -= TOKENS_PER_CALL
        if left < 0:
            break
        kept.append(ToolCall(made.name, made.pieces[:left]))
        left -= len(made.pieces)
    return Answer((), tuple(kept), "length", answer.reasoning_tokens)


def _choose_calls(prompt: Prompt, rng: Voice) -> list[tuple[Tool, Any]]:
    """Return the functions to call and their arguments; none if the answer is text.

    With ``auto`` the model calls a tool for every prompt except greetings and requests to repeat. Once it has the
    results, it answers in text.
    """
    if not prompt.tools or prompt.tool_choice == "none":
        return []
    forced = prompt.tool_choice == "required" or prompt.tool_named is not None
    if not forced and (prompt.tool_results or prose.wants_plain_text(prompt.text)):
        return []
    tool = _tool(prompt)
    return [(tool, sample(tool.parameters, rng, subject)) for subject in _subjects(prompt)]


def _tool(prompt: Prompt) -> Tool:
    named = find_tool(prompt.tools, prompt.tool_named) if prompt.tool_named is not None else None
    asked = set(_WORD.findall(prompt.text.lower()))

    def overlap(tool: Tool) -> int:
        return len(asked & set(_WORD.findall(f"{tool.name} {tool.description}".replace("_", " ").lower())))

    return named or max(prompt.tools, key=overlap)


def _subjects(prompt: Prompt) -> list[str]:
    """Return a text for each call; there are several if the prompt names several places or things."""
    if not prompt.parallel:
        return [prompt.text]
    places = places_in(prompt.text)
    if len(places) > 1:
        return places[:MOST_CALLS]
    listed = _LISTED.search(prompt.text)
    if listed is not None:
        return [name for name in listed.groups() if name][:MOST_CALLS]
    return [prompt.text]
