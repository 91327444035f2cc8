"""A chat completion as a stream of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from chukei.simulator.answers import Answer
from chukei.simulator.calls import Call, usage
from chukei.simulator.errors import UNDETECTED
from chukei.simulator.filters import BLOCKED, CATEGORIES, FILTER_EVENT, FULL_RESULTS
from chukei.simulator.prompts import Prompt
from chukei.simulator.steps import DONE, Event, Kind, data_event


class StreamOptions(msgspec.Struct):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def total_usage(prompt: Prompt, answers: list[Answer]) -> dict[str, Any]:
    """Return the usage of all choices together."""
    thoughts = sum(answer.reasoning_tokens for answer in answers)
    return usage(prompt.tokens, sum(answer.tokens for answer in answers), thoughts)


@dataclass(frozen=True, slots=True)
class Delta:
    """A change to one choice, before it is a chunk."""

    delta: dict[str, Any]
    kind: Kind
    tokens: int = 0
    length: int = 0  # characters of text, which the obfuscation pads


class ChatStream:
    """The events of a streamed answer, in Azure's order: filter, role, content, finish, usage, ``[DONE]``."""

    def __init__(self, call: Call, options: StreamOptions, prompt: Prompt, answers: list[Answer]) -> None:
        self._call = call
        self._prompt = prompt
        self._answers = answers
        self._usage = bool(options.include_usage)
        self._obfuscation = call.obfuscation and options.include_obfuscation is not False
        self._asynchronous = call.filter is not None and call.filter.how == "asynchronous"
        # Recorded streams have six categories, four, or one; one stream keeps to its own.
        self._results = call.dice.choice(
            (FULL_RESULTS, FULL_RESULTS, CATEGORIES, {"protected_material_text": UNDETECTED})
        )
        self._head = {
            "created": call.created,
            "id": call.id("chatcmpl-"),
            "model": call.model,
            "object": "chat.completion.chunk",
            "system_fingerprint": call.fingerprint(),
        }

    def events(self) -> Iterator[Event]:
        """Yield the events of the stream."""
        pace = self._call.pace
        yield Event(FILTER_EVENT, pace.prompt(), "filter")
        for said, (index, part) in enumerate(self._interleaved()):
            wait = pace.first() if said == 0 else pace.token() if part.kind == "token" else 0.0
            yield self._event(index, part, wait)
            if self._asynchronous and part.kind == "finish":
                yield self._annotation(index, self._answers[index].text)
        if self._usage:
            chunk = {**self._head, "choices": [], "usage": total_usage(self._prompt, self._answers)}
            yield Event(data_event(self._padded(chunk, 0)), 0.0, "usage")
        yield Event(DONE, 0.0, "done")

    def _interleaved(self) -> Iterator[tuple[int, Delta]]:
        """Yield the parts of all choices, each choice in its own order, mixed as several generations are."""
        rows = {index: iter(self._parts(answer)) for index, answer in enumerate(self._answers)}
        while rows:
            index = self._call.dice.choice(sorted(rows)) if len(rows) > 1 else next(iter(rows))
            part = next(rows[index], None)
            if part is None:
                del rows[index]
            else:
                yield index, part

    def _parts(self, answer: Answer) -> Iterator[Delta]:
        opening: dict[str, Any] = {"content": "", "refusal": None, "role": "assistant"}
        for at, made in enumerate(answer.calls):
            entry = {
                "function": {"arguments": "", "name": made.name},
                "id": self._call.id("call_", 24),
                "index": at,
                "type": "function",
            }
            if at == 0:
                opening |= {"content": None, "tool_calls": [entry]}
                yield Delta(opening, "role", 3 + answer.reasoning_tokens)
            else:
                yield Delta({"tool_calls": [entry]}, "token", 3)
            for piece in made.pieces:
                change = {"function": {"arguments": piece}, "index": at}
                yield Delta({"tool_calls": [change]}, "token", 1, len(piece))
        if not answer.calls:
            yield Delta(opening, "role", answer.reasoning_tokens)
        for piece in answer.pieces:
            yield Delta({"content": piece}, "token", 1, len(piece))
        yield Delta({}, "finish")

    def _event(self, index: int, part: Delta, wait: float) -> Event:
        answer = self._answers[index]
        choice: dict[str, Any] = {
            "content_filter_results": self._results if "content" in part.delta and part.kind == "token" else {},
            "delta": part.delta,
            "finish_reason": answer.finish_reason if part.kind == "finish" else None,
            "index": index,
            "logprobs": None,
        }
        if self._asynchronous:
            del choice["content_filter_results"]
        elif part.kind == "finish" and answer.finish_reason == "content_filter":
            choice["content_filter_results"] = BLOCKED
        elif part.kind == "finish" and answer.finish_reason == "stop" and self._results is FULL_RESULTS:
            choice["content_filter_results"] = FULL_RESULTS
        chunk = self._padded({**self._head, "choices": [choice]}, part.length)
        return Event(data_event(chunk), wait, part.kind, part.tokens)

    def _padded(self, chunk: dict[str, Any], length: int) -> dict[str, Any]:
        if self._obfuscation:
            chunk["obfuscation"] = self._call.obfuscated(length)
        if self._usage:
            chunk.setdefault("usage", None)
        return chunk

    def _annotation(self, index: int, text: str) -> Event:
        """Return what the asynchronous filter says about the text, after the fact: no delta, nothing else filled."""
        choice = {
            "content_filter_offsets": {"check_offset": len(text), "end_offset": len(text), "start_offset": 0},
            "content_filter_results": CATEGORIES,
            "finish_reason": None,
            "index": index,
            "logprobs": None,
        }
        chunk = {"choices": [choice], "created": 0, "id": "", "model": "", "object": ""}
        return Event(data_event(chunk), self._call.pace.token(), "annotation")


def error_event(_events: int) -> bytes:
    """Return an error in the middle of a chat stream."""
    message = "The server had an error while processing your request. Sorry about that!"
    error = {"message": message, "type": "server_error", "param": None, "code": None}
    return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
