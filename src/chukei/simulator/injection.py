"""Faults as rearrangements of a reply's steps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from chukei.simulator.errors import (
    ApiError,
    deployment_not_found,
    filtered_prompt,
    forbidden,
    server_error,
    throttled,
    timed_out,
    unauthorised,
    unavailable,
)
from chukei.simulator.faults import Fault, Value
from chukei.simulator.steps import Break, Event, Raw, Reply, Stall, Step, whole

Steps = Iterator[Step]
ErrorEvent = Callable[[int], bytes]  # events sent so far -> the error event(s) of this kind of stream

# Long enough that the bytes before and after are separate reads on the other side.
SETTLE_SECONDS = 0.02

_PAGE = b"""<!DOCTYPE html>
<html><head><title>Gateway</title></head><body><h1>Our services aren't available right now</h1></body></html>
"""
_NO_CHUNK = b"zz-not-hex\r\n{}\r\n"
_NO_UTF8 = b'data: {"choices":[],"id":"\xff\xfe\xc3("}\n\n'

_INSTEAD: dict[str, Callable[[], ApiError]] = {
    "401": unauthorised,
    "403": forbidden,
    "404": deployment_not_found,
    "408": timed_out,
    "500": server_error,
    "503": unavailable,
    "filter-prompt": filtered_prompt,
}


def instead(fault: Fault, operation: str, api_version: str | None) -> Reply:
    """Return what is answered instead of the model's answer."""
    reply = _instead(fault, operation, api_version)
    reply.ending = "fault"
    return reply


def _instead(fault: Fault, operation: str, api_version: str | None) -> Reply:
    if fault.name == "429":
        seconds, kind = fault.values
        return throttled(float(seconds or 0), str(kind), operation, api_version).reply()
    if fault.name == "html":
        return whole(_PAGE, status=_int(fault.values[0]), content_type="text/html")
    if fault.name == "redirect":
        location, status = fault.values
        return whole(b"", status=_int(status), headers={"location": str(location)})
    if fault.name == "drop":
        how: Literal["fin", "reset"] = "reset" if fault.values[0] == "reset" else "fin"
        return Reply(status=0, steps=iter((Stall(SETTLE_SECONDS), Break(how))), headless=True)
    return _INSTEAD[fault.name]().reply()


def inject(reply: Reply, fault: Fault, error_event: ErrorEvent) -> None:
    """Change how a reply is sent."""
    if fault.name == "stall-before-headers":
        seconds = fault.values[0]
        reply.hold = None if seconds is None else float(seconds)
        return
    if fault.name in _ENDS_EARLY:
        reply.ending = "fault"
    if fault.name == "gzip":
        reply.headers["content-encoding"] = "gzip"
    if fault.name not in _KEEPS_LENGTH:
        reply.length = None
    reply.steps = _rearrange(reply.steps, fault, error_event)


# After these the body ends properly, although the answer in it is not whole.
_ENDS_EARLY = {"truncate-clean", "no-done", "error-event", "error-first"}

# These break a body off or delay it, so that its Content-Length, if any, stays what was promised.
_KEEPS_LENGTH = {"stall-before-first", "stall", "reset", "truncate", "mid-event", "slow", "burst", "split", "bytewise"}


def _rearrange(steps: Steps, fault: Fault, error_event: ErrorEvent) -> Steps:
    if fault.name in ("error-event", "error-first"):
        return _errors(steps, fault.values[0] if fault.values else 0, error_event)
    return _REARRANGE[fault.name](steps, *fault.values)


def _seconds(value: Value) -> float | None:
    return None if value is None else float(value)


def _int(value: Value) -> int:
    return int(value or 0)


def _strike(steps: Steps, position: Value, what: tuple[Step, ...], *, resume: bool = False) -> Steps:
    """Let the steps through up to the position, then ``what``, then the rest or the end."""
    sent = 0
    struck = position == 0
    if struck:
        yield from what
        if not resume:
            return
    for step in steps:
        yield step
        if struck or not isinstance(step, Event):
            continue
        sent += step.events
        if step.events and (step.kind == position or sent == position):
            struck = True
            yield from what
            if not resume:
                return
    if not struck:
        yield from what


def _errors(steps: Steps, position: Value, error_event: ErrorEvent) -> Steps:
    sent = 0
    for step in _strike(steps, position, ()):
        sent += step.events if isinstance(step, Event) else 0
        yield step
    yield Event(error_event(sent))


def _cut(steps: Steps, position: Value, how: Literal["fin", "reset", "stall"], length: int | None) -> Steps:
    sent = 0
    reached = position == 0
    for step in steps:
        if reached and isinstance(step, Event):
            at = len(step.data) // 2 if length is None else min(length, len(step.data) - 1)
            yield replace(step, data=step.data[:at], events=0, tokens=0)
            break
        yield step
        if isinstance(step, Event):
            sent += step.events
            reached = bool(step.events) and (step.kind == position or sent == position)
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
    held: list[Event] = []
    for step in steps:
        if isinstance(step, Event) and step.kind == "token":
            held.append(step)
            if len(held) == size:
                yield _merge(held)
                held = []
            continue
        if held:
            yield _merge(held)
            held = []
        yield step
    if held:
        yield _merge(held)


def _merge(events: list[Event]) -> Event:
    return Event(
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
    for step in steps:
        if isinstance(step, Event):
            yield replace(step, data=packer.compress(step.data) + packer.flush(zlib.Z_SYNC_FLUSH))
        else:
            yield step
    yield Event(packer.flush(), events=0)


def _giant(size: int) -> Event:
    head, tail = b'data: {"choices":[{"delta":{"content":"', b'"},"finish_reason":null,"index":0}]}\n\n'
    return Event(head + b"x" * max(size - len(head) - len(tail), 0) + tail)


_REARRANGE: dict[str, Callable[..., Steps]] = {
    "stall-before-first": lambda steps, seconds: _strike(steps, 0, (Stall(_seconds(seconds)),), resume=True),
    "stall": lambda steps, at, seconds: _strike(steps, at, (Stall(_seconds(seconds)),), resume=True),
    "reset": lambda steps, at: _strike(steps, at, (Stall(SETTLE_SECONDS), Break("reset"))),
    "truncate": lambda steps, at: _strike(steps, at, (Break("fin"),)),
    "truncate-clean": lambda steps, at: _strike(steps, at, ()),
    "no-done": _without_last,
    "mid-event": _cut,
    "slow": lambda steps, factor: _map(steps, lambda event: replace(event, wait=event.wait * factor)),
    "burst": _merged,
    "split": _split,
    "bytewise": lambda steps: _split(steps, 1),
    "gzip": _compressed,
    "badchunk": lambda steps, at: _strike(steps, at, (Stall(SETTLE_SECONDS), Raw(_NO_CHUNK), Break("fin"))),
    "giant": lambda steps, at, size: _strike(steps, at, (_giant(size),), resume=True),
    "invalid-utf8": lambda steps, at: _strike(steps, at, (Event(_NO_UTF8),), resume=True),
    "comments": lambda steps: _map(steps, lambda event: replace(event, data=b": keep-alive\n\n" + event.data)),
    "crlf": lambda steps: _map(steps, lambda event: replace(event, data=event.data.replace(b"\n", b"\r\n"))),
}
