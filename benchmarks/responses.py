"""What requests to the Responses API cost beside a chat: ``python -m benchmarks.responses``, about two minutes.

As in ``benchmarks.metering``, relays take turns in short bursts, here this checkout and perhaps another one. Each burst
includes the time in which the relay writes its ledger, and what it knows about stored objects, in the background.
"""

import argparse
import asyncio
import itertools
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks import events
from benchmarks.bursts import KEY, Asked, Burst, Client
from benchmarks.bursts import Spent as Clock
from benchmarks.guard import plain_environment
from benchmarks.metering import Spent, measure
from benchmarks.process import new_loop
from benchmarks.report import table

SITTINGS = 5
ROUNDS = 4
REQUESTS = 150
SETTLE_SECONDS = 0.65
"""After a burst; the relay writes its ledger twice a second."""

EVENTS = 20
STEPS = 30
"""Steps of the agent so far, each of three items."""

OURS, OTHER = "this checkout", "the other checkout"
CHAT = "a chat"

_TEXT = "How late is it? " * 30
_IDS = itertools.count(1)
_MODEL = "gpt-4o"

Json = dict[str, object]


def request(path: str, body: Mapping[str, object]) -> bytes:
    """Return a client's request."""
    raw = msgspec.json.encode({"model": _MODEL, **body})
    head = f"POST /v1/{path} HTTP/1.1\r\nhost: 127.0.0.1\r\napi-key: {KEY}\r\nuser-agent: guard\r\naccept: */*\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw


def _chat(*, stream: bool) -> bytes:
    return request("chat/completions", {"messages": [{"role": "user", "content": _TEXT}], "stream": stream})


def _response(*, stream: bool) -> bytes:
    return request("responses", {"input": [{"role": "user", "content": _TEXT}], "stream": stream})


def _agent() -> bytes:
    """Return a turn that repeats all items so far, as agents send them that store nothing: 70 KB."""
    items: list[Json] = [{"role": "user", "content": _TEXT}]
    for number in range(STEPS):
        call = f"call_{number}"
        items += [
            {"type": "reasoning", "id": f"rs_{number:050x}", "summary": [], "encrypted_content": "gAAAA" + "Ab1" * 200},
            {"type": "function_call", "id": f"fc_{number:050x}", "call_id": call, "name": "read", "arguments": "{}"},
            {"type": "function_call_output", "call_id": call, "output": 'A line with a "quoted" word.\n' * 40},
        ]
    return request("responses", {"input": items, "store": False, "stream": True})


def _whole(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


def _streamed(parts: Iterator[bytes]) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(map(events.chunk, parts)) + b"0\r\n\r\n"


def _made(id: str, status: str, output: list[Json]) -> Json:
    usage = {"input_tokens": 20, "output_tokens": 4, "total_tokens": 24} if status == "completed" else None
    return {
        "id": id, "object": "response", "created_at": 1774963237, "status": status, "error": None, "model": _MODEL,
        "incomplete_details": None, "output": output, "parallel_tool_calls": True, "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None}, "store": True, "temperature": 1.0, "tools": [], "top_p": 1.0,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "truncation": "disabled", "usage": usage,
    }  # fmt: skip


def _message(id: str, text: str) -> Json:
    content = [{"type": "output_text", "annotations": [], "text": text}]
    return {"id": id, "type": "message", "status": "completed", "role": "assistant", "content": content}


def response_events(number: int) -> Iterator[bytes]:
    """Yield the events of one response."""
    response, message = f"resp_{number:050x}", f"msg_{number:050x}"
    counter = itertools.count()

    def event(kind: str, **fields: object) -> bytes:
        data = msgspec.json.encode({"type": kind, "sequence_number": next(counter), **fields})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    yield event("response.created", response=_made(response, "in_progress", []))
    yield event("response.in_progress", response=_made(response, "in_progress", []))
    yield event("response.output_item.added", output_index=0, item=_message(message, ""))
    for word in range(EVENTS):
        yield event("response.output_text.delta", item_id=message, output_index=0, content_index=0, delta=f" {word:06}")
    done = _message(message, "It is noon.")
    yield event("response.output_item.done", output_index=0, item=done)
    yield event("response.completed", response=_made(response, "completed", [done]))


def _chat_events(number: int) -> Iterator[bytes]:
    yield from events.PREAMBLE
    yield from (events.content(1, each, number) for each in range(EVENTS))
    yield from events.ENDING


def _whole_response(number: int) -> bytes:
    message = _message(f"msg_{number:050x}", "It is noon.")
    return _whole(msgspec.json.encode(_made(f"resp_{number:050x}", "completed", [message])))


def exchanged(asking: bytes, answer: Callable[[int], bytes], requests: int, settle_seconds: float) -> Burst:
    """Return a load: consecutive requests, whose answers come at once and have ids of their own."""

    async def burst(client: Client, asked: Asked, spent: Clock) -> float:
        answers = [answer(next(_IDS)) for _ in range(requests)]
        began = spent()
        for each in answers:
            client.ask(asking)
            (await asked.get()).write(each)
            await client.whole()
        await asyncio.sleep(settle_seconds)
        return (spent() - began) / requests

    return burst


def loads(requests: int = REQUESTS, settle_seconds: float = SETTLE_SECONDS) -> dict[str, Burst]:
    """Return what is measured, by name."""
    kinds: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
        CHAT: (_chat(stream=False), lambda _: _whole(events.ANSWER)),
        f"a chat, stream of {EVENTS} events": (_chat(stream=True), lambda id: _streamed(_chat_events(id))),
        "a response": (_response(stream=False), _whole_response),
        f"a response, stream of {EVENTS} events": (
            _response(stream=True),
            lambda id: _streamed(response_events(id)),
        ),
        f"a turn of an agent after {STEPS} steps": (_agent(), lambda id: _streamed(response_events(id))),
    }
    return {name: exchanged(asking, answer, requests, settle_seconds) for name, (asking, answer) in kinds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.responses", description="Measure the Responses API.")
    parser.add_argument("--sittings", type=int, default=SITTINGS, help=f"new processes (default: {SITTINGS} times)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved rounds of each (default: {ROUNDS})")
    parser.add_argument("--compare", type=Path, metavar="CHECKOUT", help="measure another checkout of the relay too")
    arguments = parser.parse_args()
    variants: dict[str, Mapping[str, str]] = {OURS: {"PYTHONPATH": plain_environment().get("PYTHONPATH", "")}}
    if arguments.compare is not None:
        variants[OTHER] = {"PYTHONPATH": str(arguments.compare.resolve() / "src")}
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and all that it starts
    with asyncio.Runner(loop_factory=new_loop) as runner:
        found = runner.run(measure(variants, arguments.sittings, arguments.rounds, loads()))
    print(results_table(list(variants), found))


def results_table(variants: Sequence[str], found: Sequence[Spent]) -> str:
    """Return the medians, and their ratios to the cost of a chat and to the other checkout."""
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in found[0]):
        costs = [f"{statistics.median(one[kind, variant] for one in found):.0f}" for variant in variants]
        beside = [statistics.median(one[kind, OURS] / one[CHAT, OURS] for one in found)]
        if OTHER in variants:
            beside.append(statistics.median(one[kind, OURS] / one[kind, OTHER] for one in found))
        rows.append([kind, *costs, *(f"{ratio:.2f}" for ratio in beside)])
    return table(["µs CPU of", *variants, "× a chat", *(["× the other"] if OTHER in variants else [])], rows)


if __name__ == "__main__":
    main()
