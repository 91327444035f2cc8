"""An upstream that keeps its own bill, and clients that stay or leave. A request's number determines its scenario.

The upstream makes its texts of tokens that it counts itself, in English, in Japanese and of code, and bills what a
service bills: the whole prompt as soon as it begins to work, and each token that it has made, seen or unseen.

A service makes so many tokens in a second; a scripted one on the same machine would make thousands before a slow relay
can stop it. So it is bound without a clock: it is never further than AHEAD tokens beyond what its client has read.
"""

import asyncio
import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.live.callers import bearer
from tests.live.fault_scripts import LAST_CHUNK, chunk, head
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import DONE
from tests.live.recordings import chunk as event
from tests.live.stream_upstream import StreamUpstream, read_body

VOCABULARIES = {
    # About as many bytes a token as o200k has for such texts: 4.8, 4.3 and 3.1.
    "english": [
        " the",
        " of",
        " and",
        " to",
        " people",
        " water",
        " about",
        " because",
        " small",
        " answer",
        "s",
        ",",
        ".",
    ],
    "japanese": ["中継", "です", "の", "は", "東京", "ます", "から", "日本", "に", "文", "、", "る", "し", "た"],
    "code": ["(", "):", "\n    ", " self", ".", "x", " =", " return", "[i", "]", " def", " if", "_name", " for"],
}

Operation = Literal["chat", "completions", "responses", "embeddings", "images"]
Fate = Literal["whole", "refused", "lost", "cut", "cut_last", "unreported", "slow"]
Patience = Literal["stays", "leaves_first", "leaves", "leaves_last"]

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "images": "/v1/images/generations",
}
AHEAD = 40
"""Tokens that a stream's upstream makes beyond those that its client has read, not counting the reasoning before."""

_STREAMED = {"chat", "completions", "responses"}
_NUMBER = re.compile(rb"bill-(\d+)\.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one request is to meet. ``size`` is how many vectors or images are made."""

    operation: Operation
    stream: bool
    language: str
    prompt: int
    output: int
    reasoning: int
    fate: Fate
    patience: Patience
    leave_after: int
    prompts: int
    choices: int
    size: int

    @property
    def input(self) -> int:
        """The tokens that the upstream counts for everything that is asked."""
        return self.prompt * self.prompts + 12

    @property
    def made(self) -> int:
        """The tokens that a whole answer is made of."""
        return self.output * self.prompts * self.choices + self.reasoning


def plan(seed: int, number: int) -> Plan:
    """Return what a request is to meet."""
    draw = Random(f"{seed} {number}")
    # Nearly one in five still is not counted, many times what meets a relay that works.
    kinds: list[Operation] = ["chat", "completions", "responses", "embeddings", "images"]
    operation = draw.choices(kinds, [60, 10, 20, 7, 3])[0]
    fates: list[Fate] = ["whole", "refused", "lost", "cut", "cut_last", "unreported", "slow"]
    fate = draw.choices(fates, [88, 3, 1.5, 1.5, 1.5, 1.5, 3])[0]
    patiences: list[Patience] = ["stays", "leaves_first", "leaves", "leaves_last"]
    patience = draw.choices(patiences, [92, 2, 4, 2])[0]
    output = draw.randrange(20, 120)
    stream = operation in _STREAMED and draw.random() < 0.75
    return Plan(
        operation=operation,
        stream=stream,
        language=draw.choice(sorted(VOCABULARIES)),
        prompt=draw.choice([30, 200, 1500]),
        output=output if operation in _STREAMED else 0,
        reasoning=draw.choice([0, 0, 0, 90]) if operation in {"chat", "responses"} else 0,
        fate=fate if stream or fate not in ("cut_last",) else "cut",
        patience=patience if stream or patience == "stays" else "leaves_first",
        leave_after=draw.randrange(1, output),
        prompts=2 if operation == "completions" else 1,
        choices=2 if operation == "completions" else 1,
        size=draw.choice([1, 300]) if operation == "embeddings" else 1,
    )


def text_of(draw: Random, language: str, tokens: int) -> str:
    """Write a text of so many tokens."""
    return "".join(draw.choices(VOCABULARIES[language], k=tokens))


def request_of(seed: int, number: int, wanted: Plan) -> bytes:
    """Write a request. The prompt's first word is the number, for 12 tokens with all that stands around it."""
    draw = Random(f"text {seed} {number}")
    texts = [f"bill-{number}." + text_of(draw, wanted.language, wanted.prompt) for _ in range(wanted.prompts)]
    limit = wanted.made // (wanted.prompts * wanted.choices) + 50
    forms: dict[Operation, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": texts[0]}], "max_completion_tokens": limit},
        "completions": {"prompt": texts, "n": wanted.choices, "max_tokens": limit},
        "responses": {"input": texts[0], "max_output_tokens": limit},
        "embeddings": {"input": texts[0]},
        "images": {"prompt": texts[0], "model": "image"},
    }
    fields = forms[wanted.operation]
    if wanted.stream:
        fields["stream"] = True
        if draw.random() < 0.5 and wanted.operation != "responses":
            fields["stream_options"] = {"include_usage": True}
    return json.dumps(fields, ensure_ascii=False).encode()


@dataclass(slots=True)
class Bill:
    """What the upstream bills for the visits of one request. ``reported`` says that all of it was told.

    ``read`` is how many events its client has read; ``progress`` is set when there are more, or a visit begins.
    """

    visits: int = 0
    input: int = 0
    output: int = 0
    reported: bool = True
    read: int = 0
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.input + self.output


@dataclass
class BillingUpstream(StreamUpstream):
    """Answers by plan, and bills. A request's first visit meets its fate, the next ones are answered whole."""

    seed: int
    bills: dict[int, Bill] = field(default_factory=lambda: defaultdict(Bill))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            body = await read_body(reader)
            found = _NUMBER.search(body)
            assert found, body
            bill = self.bills[int(found[1])]
            bill.visits += 1
            bill.progress.set()
            wanted = plan(self.seed, int(found[1]))
            fate = wanted.fate if bill.visits == 1 else "whole"
            leaving = asyncio.create_task(_left(reader))
            visit = _Visit(wanted, fate, bill, writer, leaving, b'"include_usage":true' in body.replace(b" ", b""))
            try:
                await visit.answer()
            except ConnectionError:
                bill.reported = False
            leaving.cancel()
        writer.close()


async def _left(reader: asyncio.StreamReader) -> object:
    """Wait until the other side has left; nothing more is asked on a connection."""
    with contextlib.suppress(ConnectionError):
        return await reader.read(1)
    return None


@dataclass
class _Visit:
    wanted: Plan
    fate: Fate
    bill: Bill
    writer: asyncio.StreamWriter
    leaving: "asyncio.Task[object]"
    asked_for_usage: bool

    async def answer(self) -> None:
        wanted, bill = self.wanted, self.bill
        if self.fate == "refused":
            error = b'{"error":{"code":"RateLimitReached","message":"Please retry after 1 seconds."}}'
            phrase = "429 Too Many Requests"
            self.writer.write(head("application/json", "connection: close", status=phrase, length=len(error)) + error)
            return
        bill.input += wanted.input
        if self.fate == "lost":
            bill.reported = False
            return
        if self.fate == "slow":
            await self._wait(0.5)
        await (self._stream() if wanted.stream else self._whole())

    async def _wait(self, seconds: float) -> None:
        """Wait, and bill no more to a client that leaves meanwhile."""
        await asyncio.wait({self.leaving}, timeout=seconds)
        self._see()

    def _see(self) -> None:
        if self.leaving.done():
            self.bill.reported = False
            raise ConnectionError

    async def _write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self._see()

    async def _read(self, events: int) -> None:
        """Wait until the client has read so many events, or has left."""
        while self.bill.read < events and not self.leaving.done():
            self.bill.progress.clear()
            more: asyncio.Task[object] = asyncio.create_task(self.bill.progress.wait())
            await asyncio.wait([self.leaving, more], return_when=asyncio.FIRST_COMPLETED)
            more.cancel()
        self._see()

    async def _whole(self) -> None:
        wanted, bill = self.wanted, self.bill
        await self._wait(0.001)
        bill.output += wanted.made
        if wanted.patience == "leaves_first":
            bill.reported = False  # whether the answer arrives before the client has left cannot be known
        if self.fate == "cut":
            bill.reported = False
            self.writer.write(head("application/json", "connection: close", length=900) + b'{"id":"x"')
            return
        await self._send_json(self._json())

    async def _send_json(self, answer: dict[str, Any]) -> None:
        if self.fate == "unreported":
            answer.pop("usage", None)
            self.bill.reported = False
        body = json.dumps(answer, ensure_ascii=False).encode()
        await self._write(head("application/json", "connection: close", length=len(body)) + body)

    def _json(self) -> dict[str, Any]:
        wanted, draw = self.wanted, Random(1)
        texts = [text_of(draw, wanted.language, wanted.output) for _ in range(wanted.prompts * wanted.choices)]
        made: dict[Operation, dict[str, Any]] = {
            "chat": {"choices": [{"index": 0, "message": {"content": texts[0]}, "finish_reason": "stop"}]},
            "completions": {"choices": [{"index": at, "text": text} for at, text in enumerate(texts)]},
            "responses": {"id": "resp_1", "status": "completed", "output": [{"content": [{"text": texts[0]}]}]},
            "embeddings": {"data": [{"embedding": "A" * 8192} for _ in range(wanted.size)]},
            "images": {"data": [{"b64_json": "QUJD" * 100_000}]},
        }
        return {"model": "o4-mini-2025-04-16", **made[wanted.operation], "usage": self._usage()}

    def _usage(self) -> dict[str, Any]:
        wanted = self.wanted
        total = wanted.input + wanted.made
        if wanted.operation in ("responses", "images"):
            told = {"input_tokens": wanted.input, "output_tokens": wanted.made, "total_tokens": total}
            return {**told, "output_tokens_details": {"reasoning_tokens": wanted.reasoning}}
        told = {"prompt_tokens": wanted.input, "completion_tokens": wanted.made, "total_tokens": total}
        return {**told, "completion_tokens_details": {"reasoning_tokens": wanted.reasoning}}

    async def _stream(self) -> None:
        wanted, bill = self.wanted, self.bill
        await self._write(head("text/event-stream; charset=utf-8", "connection: close"))
        bill.output += wanted.reasoning
        draw = Random(2)
        tokens = wanted.output * wanted.prompts * wanted.choices
        last = tokens // 2 if self.fate == "cut" else tokens
        at = 0
        while at < last:
            await self._read(at - AHEAD)
            several = range(at, min(at + draw.randrange(1, AHEAD // 2), last))
            bill.output += len(several)
            at = several.stop
            made = (self._event(draw.choice(VOCABULARIES[wanted.language]), each) for each in several)
            await self._write(chunk(b"".join(made)))
        if self.fate == "cut":
            bill.reported = False
            return
        if wanted.patience in ("leaves", "leaves_first"):
            await self._read(tokens + 1)  # so it is seen to leave, and nothing is reported
        for finish in self._last():
            await self._write(chunk(finish))
        if self.fate == "cut_last":
            bill.reported = False
            return
        if self.fate == "unreported" or not (self.asked_for_usage or wanted.operation == "responses"):
            bill.reported = False
        for usage in self._usage_events():
            await self._write(chunk(usage))
        self.writer.write(LAST_CHUNK)

    def _event(self, token: str, at: int) -> bytes:
        index = at % (self.wanted.prompts * self.wanted.choices)
        if self.wanted.operation == "responses":
            return _named("response.output_text.delta", delta=token, sequence_number=at)
        if self.wanted.operation == "completions":
            return event(choices=[{"index": index, "text": token, "finish_reason": None}])
        return event(choices=[{"index": index, "delta": {"content": token}, "finish_reason": None}])

    def _last(self) -> Iterator[bytes]:
        if self.wanted.operation != "responses":
            indexes = range(self.wanted.prompts * self.wanted.choices)
            yield event(choices=[{"index": at, "delta": {}, "text": "", "finish_reason": "stop"} for at in indexes])

    def _usage_events(self) -> Iterator[bytes]:
        told = self._usage() if self.bill.reported else None
        if self.wanted.operation == "responses":
            yield _named("response.completed", response={"id": "resp_1", "status": "completed", "usage": told})
            return
        if told is not None:
            yield event(choices=[], usage=told)
        yield DONE


def _named(kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


async def ask(url: str, upstream: BillingUpstream, number: int, caller: str) -> int | None:
    """Ask as planned, and stay or leave; return the status, or None where none was waited for."""
    wanted, bill = plan(upstream.seed, number), upstream.bills[number]
    async with RawClient(url) as client:
        fields = (bearer(caller), ("x-request-id", f"bill-{number}"))
        await client.post(PATHS[wanted.operation], request_of(upstream.seed, number, wanted), *fields)
        if wanted.patience == "leaves_first":
            await bill.progress.wait()  # until it is worked on
            return None
        status = await client.head()
        with contextlib.suppress(Cut):
            while part := await client.part():
                bill.read += part.count(b"data: ")
                bill.progress.set()
                if status == 200 and wanted.stream and _leaves(wanted, bill.read, client.body):
                    break
        return status


def _leaves(wanted: Plan, events: int, body: bytes) -> bool:
    if wanted.patience == "leaves":
        return events >= wanted.leave_after
    return wanted.patience == "leaves_last" and b'"finish_reason":"stop"' in body
