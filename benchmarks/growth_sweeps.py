"""What is made to grow, and what is read off meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.growth_report import Quantity
from benchmarks.workloads import Workload

EVENTS_PER_SECOND = 4000
"""Of all open streams together, however many they are: of 5,000 each has an event in 1.25 seconds."""

RAMP = 0.75
"""Milliseconds between the openings of two streams: three events of all, so that the events of any number of streams
that 3 does not divide come evenly, and no relay finds several at a time."""

STILL_SECONDS = 0.5
"""From the first event of the last stream to the window."""

WINDOW_SECONDS = 1.5
"""How long open streams are watched."""

SPARE_SECONDS = 0.6
"""What streams are longer than they need be, for machines that are slow to open them all."""

_CLIENTS = 8
_FLOODS = 10

_CPU_PER_EVENT = Quantity("µs CPU per event", lambda sample: sample.cost)
_CPU_PER_REQUEST = Quantity("µs CPU per request", lambda sample: sample.cost, digits=0)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One thing that grows, over ``sizes``, or over those of ``quick`` for a look.

    ``workload`` makes what is done at a size, ``effort`` times as long as usual. ``setting`` is the argument of
    relays.chukei that takes the size where it is the relay that is made larger, and not what it is asked; nginx has no
    such thing and is left out then. ``fresh`` asks for a new process for each run, so that its memory can be told from
    that of other runs. With ``open`` only what happens while all streams are open counts. ``log_y`` draws
    the cost on a logarithmic axis.
    """

    name: str
    title: str
    of: str
    sizes: Sequence[int]
    quick: Sequence[int]
    workload: Callable[[int, float], Workload]
    quantities: Sequence[Quantity]
    setting: str | None = None
    fresh: bool = False
    open: bool = False
    log_y: bool = False


def _streams(size: int, effort: float) -> Workload:
    gap = size / EVENTS_PER_SECOND
    seconds = size * RAMP / 1000 + effort * (STILL_SECONDS + WINDOW_SECONDS + SPARE_SECONDS)
    return Workload("streams", "", size, 1, events=int(seconds / gap) + 1, gap=round(gap * 1e6), ramp=RAMP)


def _body(size: int, effort: float) -> Workload:
    requests = 200 if size <= 30 else 100 if size <= 100 else 25
    return Workload("body", "", _CLIENTS, max(int(effort * requests), 2), prompt_bytes=1000 * size)


def _short(size: int, effort: float) -> Workload:
    requests = max(int(effort * 3000), size)  # so that every caller has a turn
    return Workload("short", "", _CLIENTS, -(-requests // _CLIENTS))


def _events(size: int, effort: float) -> Workload:
    return Workload("events", "", _FLOODS, max(int(effort * 6000) // size, 1), events=size)


def _resident(each: str = "") -> Quantity:
    return Quantity("MB at most", lambda sample: sample.memory / 2**20, flat=not each, each=each, factor=1024)


SWEEPS = (
    Sweep(
        "streams",
        f"open streams, {EVENTS_PER_SECOND:,} events a second of all together",
        "open streams",
        (10, 50, 200, 1000, 5000),
        (10, 80, 800),
        _streams,
        (_CPU_PER_EVENT, Quantity("KiB per stream", lambda sample: sample.memory / sample.size / 1024)),
        fresh=True,
        open=True,
    ),
    Sweep(
        "body",
        "size of the prompt, for short answers",
        "prompt, KB",
        (1, 10, 100, 1000),
        (1, 30, 1000),
        _body,
        (Quantity("µs CPU per request", lambda sample: sample.cost, 0, flat=False, each="µs for each KB"),),
        log_y=True,
    ),
    Sweep(
        "callers",
        "callers with a key and limits of their own, taking turns",
        "callers",
        (1, 10, 100, 1000, 10_000),
        (1, 30, 300),
        _short,
        (_CPU_PER_REQUEST, _resident("KiB for each caller")),
        setting="callers",
    ),
    Sweep(
        "deployments",
        "deployments behind one model",
        "deployments",
        (1, 10, 100, 1000),
        (1, 10, 100),
        _short,
        (_CPU_PER_REQUEST, _resident("KiB for each deployment")),
        setting="deployments",
    ),
    Sweep(
        "events",
        "events of a stream, as fast as they come",
        "events of a stream",
        (10, 100, 1000, 10_000),
        (10, 100, 1000),
        _events,
        (_CPU_PER_EVENT, _resident()),
        fresh=True,
    ),
)
