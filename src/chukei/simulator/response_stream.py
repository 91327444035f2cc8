"""An answer of the Responses API as a stream of named, numbered events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from chukei.simulator.answers import Answer, ToolCall
from chukei.simulator.calls import Call
from chukei.simulator.chat_stream import StreamOptions
from chukei.simulator.filters import RESPONSE_BLOCKED, RESPONSE_COMPLETION, RESPONSE_PROMPT
from chukei.simulator.prompts import Prompt
from chukei.simulator.steps import Event, Kind

_THOUGHTS = (
    "**Considering the question**\n\nThis is a simulator, so there is little to think about; it does so politely."
)


class Turn:
    """One answer in the making: ``response`` is what it has come to, ``events`` how it gets there."""

    def __init__(
        self,
        call: Call,
        prompt: Prompt,
        answer: Answer,
        blank: dict[str, Any],
        options: StreamOptions,
    ) -> None:
        self._call = call
        self._prompt = prompt
        self._answer = answer
        self._obfuscation = call.obfuscation and options.include_obfuscation is not False
        self._summary = call.reasoning and blank["reasoning"]["summary"] is not None
        self._sequence = 0
        self.response = blank

    def events(self) -> Iterator[Event]:
        """Yield the events, numbered without gaps."""
        pace = self._call.pace
        yield self._event("response.created", pace.prompt(), response=self.response)
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
        data = b"event: " + type_.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"
        return Event(data, wait, kind, tokens)

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

    @property
    def _at(self) -> int:
        return len(self.response["output"])

    def _thought(self) -> Iterator[Event]:
        item: dict[str, Any] = {"id": self._call.hex_id("rs_"), "type": "reasoning", "summary": []}
        at = self._at
        yield self._event(
            "response.output_item.added", output_index=at, item=item, tokens=self._answer.reasoning_tokens
        )
        if self._summary:
            where: dict[str, Any] = {"item_id": item["id"], "output_index": at, "summary_index": 0}
            part = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **where, part=part)
            pieces = tuple(word + " " for word in _THOUGHTS.split(" "))
            for event in self._deltas("response.reasoning_summary_text.delta", pieces, **where):
                yield replace(event, tokens=0)
            text = "".join(pieces)
            part = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_text.done", **where, text=text)
            yield self._event("response.reasoning_summary_part.done", **where, part=part)
            item = {**item, "summary": [part]}
        yield self._event("response.output_item.done", output_index=at, item=item)
        self.response["output"].append(item)

    def _message(self) -> Iterator[Event]:
        text = self._answer.text
        item: dict[str, Any] = {
            "id": self._call.hex_id("msg_"),
            "type": "message",
            "status": "in_progress",
            "content": [],
            "role": "assistant",
        }
        at = self._at
        where: dict[str, Any] = {"item_id": item["id"], "output_index": at, "content_index": 0}
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        yield self._event("response.output_item.added", kind="role", output_index=at, item=item)
        yield self._event("response.content_part.added", **where, part=part)
        yield from self._deltas("response.output_text.delta", self._answer.pieces, **where)
        part = {**part, "text": text}
        yield self._event("response.output_text.done", **where, text=text, logprobs=[])
        yield self._event("response.content_part.done", **where, part=part)
        item = {**item, "status": self._status, "content": [part]}
        yield self._event("response.output_item.done", kind="finish", output_index=at, item=item)
        self.response["output"].append(item)

    def _function_call(self, made: ToolCall) -> Iterator[Event]:
        item = {
            "id": self._call.hex_id("fc_"),
            "type": "function_call",
            "status": "in_progress",
            "arguments": "",
            "call_id": self._call.id("call_", 24),
            "name": made.name,
        }
        at = self._at
        where: dict[str, Any] = {"item_id": item["id"], "output_index": at}
        yield self._event("response.output_item.added", kind="role", tokens=3, output_index=at, item=item)
        yield from self._deltas("response.function_call_arguments.delta", made.pieces, **where)
        yield self._event("response.function_call_arguments.done", **where, arguments=made.arguments)
        item = {**item, "status": self._status, "arguments": made.arguments}
        yield self._event("response.output_item.done", kind="finish", output_index=at, item=item)
        self.response["output"].append(item)

    @property
    def _status(self) -> str:
        return "incomplete" if self._answer.finish_reason in ("length", "content_filter") else "completed"

    def _end(self) -> Event:
        answer = self._answer
        self.response |= {
            "status": self._status,
            "completed_at": self._call.created if self._status == "completed" else None,
            "content_filters": _content_filters(self._prompt.text, answer),
            "service_tier": "default",
            "usage": {
                "input_tokens": self._prompt.tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": answer.tokens,
                "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
                "total_tokens": self._prompt.tokens + answer.tokens,
            },
        }
        if self._status == "incomplete":
            reason = "content_filter" if answer.finish_reason == "content_filter" else "max_output_tokens"
            self.response["incomplete_details"] = {"reason": reason}
        return self._event(f"response.{self._status}", kind="done", response=self.response)


def _content_filters(prompt: str, answer: Answer) -> list[dict[str, Any]]:
    blocked = answer.finish_reason == "content_filter"
    rows = (
        ("prompt", False, RESPONSE_PROMPT, len(prompt)),
        ("completion", blocked, RESPONSE_BLOCKED if blocked else RESPONSE_COMPLETION, len(answer.text)),
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
    """Return an error in the middle of a Responses stream, numbered after the events sent: two events, as recorded."""
    error = {
        "code": "server_error",
        "message": "The server had an error while processing your request. Sorry about that!",
    }
    nested = {"type": "server_error", **error, "param": None}
    failed: dict[str, Any] = {
        "id": "resp_0",
        "object": "response",
        "status": "failed",
        "error": error,
        "output": [],
        "usage": None,
    }
    first = {"type": "error", "sequence_number": events, "error": nested}
    second = {"type": "response.failed", "sequence_number": events + 1, "response": failed}
    return b"".join(
        b"event: " + str(event["type"]).encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"
        for event in (first, second)
    )
