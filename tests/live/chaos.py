"""The clients and the upstream of a chaos run. Both know what they saw of each request, by its number.

What a request is to meet follows from the seed and its number: how many events, at which pace, where the upstream
breaks off, and after how many events its client leaves.
"""

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tests.live.callers import bearer
from tests.live.fault_scripts import LAST_CHUNK, chunk, head
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import CHAT, DONE, FINISH, ROLE, delta
from tests.live.recordings import chunk as event
from tests.live.stream_upstream import StreamUpstream, read_body

Fate = Literal["whole", "cut", "cut_first", "cut_last", "refused"]
Patience = Literal["stays", "leaves", "leaves_first"]

CLOSE = "connection: close"
EVENTS = "text/event-stream"

MOST = 60
"""The output that each request may have; so little that all of it may have been made unseen when a stream is cut."""

_NUMBER = re.compile(rb"chaos (\d+)")
_ERROR = re.compile(rb'"code":"(\w+)"')


@dataclass(frozen=True, slots=True)
class Plan:
    """What one request is to meet."""

    events: int
    gap: float
    fate: Fate
    cut_after: int
    patience: Patience
    leave_after: int
    stream: bool

    @property
    def prompt(self) -> int:
        """The tokens that the upstream counts for the question."""
        return 30 + self.events

    @property
    def usage(self) -> dict[str, int]:
        """What the upstream reports at the end: a token for each event of output."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.events,
            "total_tokens": self.prompt + self.events,
        }


def plan(seed: int, number: int) -> Plan:
    """Return what a request is to meet."""
    draw = Random(f"{seed} {number}")
    events = draw.randrange(2, 30)
    return Plan(
        events=events,
        gap=draw.choice([0.0, 0.005, 0.03, 0.08]),
        fate=draw.choices(["whole", "cut", "cut_first", "cut_last", "refused"], [80, 8, 4, 4, 4])[0],  # type: ignore[arg-type]
        cut_after=draw.randrange(1, events),
        patience=draw.choices(["stays", "leaves", "leaves_first"], [80, 15, 5])[0],  # type: ignore[arg-type]
        leave_after=draw.randrange(1, events),
        stream=draw.random() < 0.85,
    )


@dataclass(slots=True)
class Sent:
    """What the upstream did for one request: how many events it sent, and whether its answer was whole."""

    events: int = 0
    usage: bool = False
    over: Literal["whole", "cut", "refused", "left"] | None = None


class ChaosUpstream(StreamUpstream):
    """Answers by plan. ``sent`` says what, by number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.sent: dict[int, Sent] = {}
        self.twice: list[int] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request on each connection, so that whatever is read after it says that the relay has left."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            body = await read_body(reader)
            found = _NUMBER.search(body)
            assert found, body
            number = int(found[1])
            if number in self.sent:
                self.twice.append(number)
            sent = self.sent[number] = Sent()
            await self._answer(plan(self._seed, number), sent, reader, writer)
        writer.close()

    async def _answer(
        self, wanted: Plan, sent: Sent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            if wanted.fate == "refused":
                sent.over = "refused"
                body = b'{"error":{"code":"BadThing","message":"no"}}'
                writer.write(
                    head("application/json", CLOSE, status="500 Internal Server Error", length=len(body)) + body
                )
            elif wanted.stream:
                await self._stream(wanted, sent, leaving, writer)
            else:
                await self._whole(wanted, sent, leaving, writer)
            if leaving.done() and sent.over is None:
                sent.over = "left"
        finally:
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await leaving

    async def _stream(
        self, wanted: Plan, sent: Sent, leaving: "asyncio.Future[bytes]", writer: asyncio.StreamWriter
    ) -> None:
        writer.write(head(EVENTS, CLOSE) + chunk(ROLE))
        if wanted.fate == "cut_first":
            self._cut(sent, writer)
            return
        for number in range(wanted.events):
            if wanted.fate == "cut" and number == wanted.cut_after:
                self._cut(sent, writer)
                return
            await asyncio.wait({leaving}, timeout=wanted.gap)
            if leaving.done():
                return
            writer.write(chunk(delta(f"{number} ")))
            sent.events += 1
            await writer.drain()
        if wanted.fate == "cut_last":
            writer.write(chunk(FINISH))
            await writer.drain()
            self._cut(sent, writer)
            return
        sent.usage = True
        writer.write(chunk(FINISH + event(choices=[], usage=wanted.usage) + DONE) + LAST_CHUNK)
        sent.over = "whole"

    async def _whole(
        self, wanted: Plan, sent: Sent, leaving: "asyncio.Future[bytes]", writer: asyncio.StreamWriter
    ) -> None:
        message = {"role": "assistant", "content": "x" * wanted.events}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        body = json.dumps({"choices": choices, "usage": wanted.usage}).encode()
        await asyncio.wait({leaving}, timeout=wanted.gap * wanted.events)
        if leaving.done():
            return
        if wanted.fate != "whole":
            writer.write(head("application/json", CLOSE, length=len(body)) + body[: len(body) // 2])
            self._cut(sent, writer)
            return
        sent.usage, sent.events = True, wanted.events
        writer.write(head("application/json", CLOSE, length=len(body)) + body)
        sent.over = "whole"

    def _cut(self, sent: Sent, writer: asyncio.StreamWriter) -> None:
        sent.over = "cut"
        writer.close()


Seen = Literal["done", "error_event", "status", "cut", "left", "unreachable"]


@dataclass(slots=True)
class Asked:
    """What a client saw of one request. ``relay`` counts the processes that there were, ``end`` is on the loop's
    clock."""

    number: int
    relay: int
    caller: str
    seen: Seen = "unreachable"
    status: int | None = None
    code: str | None = None
    events: int = 0
    end: float = field(default=0.0)


def request_body(number: int, *, stream: bool) -> bytes:
    """Write a request."""
    content = f"chaos {number} " + "and so on " * (number % 7)
    return json.dumps(
        {"messages": [{"role": "user", "content": content}], "stream": stream, "max_tokens": MOST}
    ).encode()


async def ask(url: str, asked: Asked, wanted: Plan) -> None:
    """Ask and read, or leave, as planned; what was seen is in ``asked``."""
    loop = asyncio.get_running_loop()
    try:
        async with RawClient(url) as client:
            asked.seen = "cut"
            fields = (bearer(asked.caller), ("x-request-id", f"chaos-{asked.number}"))
            await client.post(CHAT, request_body(asked.number, stream=wanted.stream), *fields)
            if wanted.patience == "leaves_first":
                await asyncio.sleep(0.002 * (asked.number % 10))
                asked.seen = "left"
                return
            await _read(client, asked, wanted)
    except (Cut, ConnectionError, OSError):
        pass  # as ``seen`` says
    finally:
        asked.end = loop.time()


async def _read(client: RawClient, asked: Asked, wanted: Plan) -> None:
    asked.status = await client.head()
    while True:
        part = await client.part()
        asked.events = client.body.count(b'"content":"') - client.body.count(b'"content":""')
        if wanted.patience == "leaves" and wanted.stream and asked.status == 200 and asked.events >= wanted.leave_after:
            asked.seen = "left"
            if asked.number % 2:
                client.reset()
            return
        if not part:
            break
    found = _ERROR.search(client.body)
    asked.code = found[1].decode() if found else None
    if asked.status != 200:
        asked.seen = "status"
    elif found:
        asked.seen = "error_event"
    else:
        assert not wanted.stream or client.body.endswith(DONE), client.body
        asked.seen = "done"
