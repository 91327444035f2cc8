"""Injection of faults: changes of a reply's steps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Literal, NamedTuple

from chukei.simulator.azure import recorded_error, throttled
from chukei.simulator.exchanges import Break, Close, Deafness, Event, Mute, Raw, Reply, Stall, Step, whole
from chukei.simulator.faults import Fault, Value

Steps = Iterator[Step]


class Endings(NamedTuple):
    """How a kind of stream ends with an error: its event(s), by the events sent so far; and a socket at its limit."""

    error: Callable[[int], bytes]
    limit: tuple[bytes, Close] = (b"{}", Close(1000))


# Long enough that the bytes before and after are separate reads on the other side.
SETTLE_SECONDS = 0.02

_PAGE = b"""<!DOCTYPE html>
<html><head><title>Gateway</title></head><body><h1>Our services aren't available right now</h1></body></html>
"""
_NO_CHUNK = b"zz-not-hex\r\n{}\r\n"
_NO_UTF8 = b'data: {"choices":[],"id":"\xff\xfe\xc3("}\n\n'


def instead(fault: Fault, operation: str, api_version: str | None) -> Reply:
    """Return the reply of a fault that replaces the model's answer."""
    first, second = (*fault.values, None, None)[:2]
    match fault.name:
        case "429":
            reply = throttled(float(first or 0), str(second), operation, api_version).reply()
        case "html":
            reply = whole(_PAGE, status=int(first or 0), content_type="text/html")
        case "redirect":
            reply = whole(b"", status=int(second or 0), headers={"location": str(first)})
        case "drop":
            breaks = Break("reset" if first == "reset" else "fin")
            reply = Reply(status=0, steps=iter((Stall(SETTLE_SECONDS), breaks)), headless=True)
        case name:
            reply = recorded_error(name).reply()
    reply.ending = "fault"
    return reply


def inject(reply: Reply, fault: Fault, endings: Endings) -> None:
    """Apply a fault to a reply."""
    if fault.name == "stall-before-headers":
        reply.hold = _seconds(fault.values[0])
        return
    if fault.kind.ends_early:
        reply.ending = "fault"
    if fault.name == "gzip":
        reply.headers["content-encoding"] = "gzip"
    if not fault.kind.keeps_length:
        reply.length = None
    if fault.name in ("error-event", "error-first"):
        reply.steps = _errors(reply.steps, reply.failure or endings.error, *fault.values)
    elif fault.name == "socket-limit":
        message, close = endings.limit
        reply.steps = _strike(reply.steps, fault.values[0], Event(b"data: " + message + b"\n\n"), close)
    else:
        reply.steps = _REARRANGE[fault.name](reply.steps, *fault.values)


def _seconds(value: Value) -> float | None:
    return None if value is None else float(value)


def _up_to(steps: Steps, position: Value) -> Steps:
    """Yield the steps up to the position; the rest stays in the iterator."""
    sent = 0
    while position != sent and (step := next(steps, None)) is not None:
        yield step
        if isinstance(step, Event) and step.events:
            sent += step.events
            if step.kind == position:
                return


def _strike(steps: Steps, position: Value, *what: Step, resume: bool = False) -> Steps:
    """Yield the steps up to the position, then ``what``, then the rest if ``resume``."""
    yield from _up_to(steps, position)
    yield from what
    if resume:
        yield from steps


def _errors(steps: Steps, error_event: Callable[[int], bytes], position: Value = 0) -> Steps:
    sent = 0
    for step in _up_to(steps, position):
        sent += step.events if isinstance(step, Event) else 0
        yield step
    yield Event(error_event(sent))


def _cut(steps: Steps, position: Value, how: Literal["fin", "reset", "stall"], length: int | None) -> Steps:
    yield from _up_to(steps, position)
    for step in steps:
        if isinstance(step, Event):
            at = len(step.data) // 2 if length is None else min(length, len(step.data) - 1)
            yield replace(step, data=step.data[:at], events=0, tokens=0)
            break
        yield step
    if how == "stall":
        yield Stall(None)
    else:
        yield Stall(SETTLE_SECONDS)
        yield Break(how)


def _without_last(steps: Steps) -> Steps:
    held: Step | None = None
    for step in steps:
        if held is not None:
            yield held
        held = step


def _map(steps: Steps, change: Callable[[Event], Event]) -> Steps:
    for step in steps:
        yield change(step) if isinstance(step, Event) else step


def _merged(steps: Steps, size: int) -> Steps:
    """Merge each ``size`` consecutive tokens into one event."""
    for is_token, row in groupby(steps, lambda step: isinstance(step, Event) and step.kind == "token"):
        if not is_token:
            yield from row
        while events := [step for _, step in zip(range(size), row, strict=False) if isinstance(step, Event)]:
            yield Event(
                data=b"".join(event.data for event in events),
                wait=sum(event.wait for event in events),
                kind="token",
                tokens=sum(event.tokens for event in events),
                events=sum(event.events for event in events),
            )


def _split(steps: Steps, size: int) -> Steps:
    for step in steps:
        if not isinstance(step, Event) or not step.data:
            yield step
            continue
        last = (len(step.data) - 1) // size * size
        for at in range(0, last, size):
            yield Event(step.data[at : at + size], step.wait if at == 0 else 0.0, step.kind, 0, 0)
        yield replace(step, data=step.data[last:], wait=0.0 if last else step.wait)


def _compressed(steps: Steps) -> Steps:
    packer = zlib.compressobj(wbits=31)
    yield from _map(
        steps, lambda event: replace(event, data=packer.compress(event.data) + packer.flush(zlib.Z_SYNC_FLUSH))
    )
    yield Event(packer.flush(), events=0)


def _giant(size: int) -> Event:
    head, tail = b'data: {"choices":[{"delta":{"content":"', b'"},"finish_reason":null,"index":0}]}\n\n'
    return Event(head + b"x" * max(size - len(head) - len(tail), 0) + tail)


_SETTLED = Stall(SETTLE_SECONDS)
_REARRANGE: dict[str, Callable[..., Steps]] = {
    "stall-before-first": lambda steps, seconds: _strike(steps, 0, Stall(_seconds(seconds)), resume=True),
    "stall": lambda steps, at, seconds: _strike(steps, at, Stall(_seconds(seconds)), resume=True),
    "reset": lambda steps, at: _strike(steps, at, _SETTLED, Break("reset")),
    "truncate": lambda steps, at: _strike(steps, at, Break("fin")),
    "truncate-clean": _up_to,
    "no-done": _without_last,
    "mid-event": _cut,
    "slow": lambda steps, factor: _map(steps, lambda event: replace(event, wait=event.wait * factor)),
    "burst": _merged,
    "split": _split,
    "bytewise": lambda steps: _split(steps, 1),
    "gzip": _compressed,
    "badchunk": lambda steps, at: _strike(steps, at, _SETTLED, Raw(_NO_CHUNK), Break("fin")),
    "giant": lambda steps, at, size: _strike(steps, at, _giant(size), resume=True),
    "invalid-utf8": lambda steps, at: _strike(steps, at, Event(_NO_UTF8), resume=True),
    "comments": lambda steps: _map(steps, lambda event: replace(event, data=b": keep-alive\n\n" + event.data)),
    "socket-close": lambda steps, at, code: _strike(steps, at, Close(code)),
    "socket-silence": lambda steps, at: _strike(steps, at, Mute(), Stall(None)),
    "socket-deaf": lambda steps, seconds: _strike(steps, 0, Deafness(_seconds(seconds)), resume=True),
    "crlf": lambda steps: _map(steps, lambda event: replace(event, data=event.data.replace(b"\n", b"\r\n"))),
}
