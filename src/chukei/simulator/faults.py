"""The language in which faults are asked for.

    spec   = fault *( "+" fault )                       several at once: slow:3+reset:10
    fault  = name [":" arg *("," arg)] ["*" count] ["%" percent]

``429:3`` answers 429 with a Retry-After of 3 s; ``429:3*2`` does so for the first two requests to the deployment,
so that recovery can be watched; ``reset:10%25`` strikes a quarter of the requests, drawn from the seed.

A spec stands in ``SimulatorSettings.faults``, or in the name of the deployment itself: ``fault-SPEC``, or
``NAME--SPEC`` for a deployment that otherwise is NAME. Azure allows only letters, digits, ``-``, ``_`` and ``.`` in
names, so there ``-`` stands for ``:`` and ``,``, ``-and-`` for ``+``, ``-times-`` for ``*``, ``-percent-`` for ``%``;
the word ``after`` may be put in for reading: ``fault-429``, ``gpt-4o--429-after-3-times-2``,
``fault-slow-3-and-reset-after-10``.

A *position* is a number of events sent (the filter chunk is the first one), or the kind of event that must have been
sent: ``filter``, ``role``, ``token``, ``finish``, ``usage``, ``done``. A position that a stream never reaches is its
end, so ``stall:done`` and ``stall:9999`` both fall silent after ``[DONE]`` without closing the body.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from chukei.simulator.steps import KINDS

Stage = Literal["instead", "answer", "stream"]
Value = int | float | str | None

AFTER = 5  # events before a fault strikes, when the spec does not say


class FaultSpecError(ValueError):
    """A fault spec that cannot be understood; the message says why."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a fault: its name, how its text is read, and what it is when left out."""

    name: str
    read: Callable[[str], Value]
    default: Value = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault that can be asked for."""

    stage: Stage
    meaning: str
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as asked for: its name, its arguments in order, and to which requests it applies."""

    name: str
    values: tuple[Value, ...] = ()
    times: int | None = None
    percent: float | None = None

    @property
    def stage(self) -> Stage:
        """Where it strikes: instead of an answer, in what the model says, or in how that is sent."""
        return FAULTS[self.name].stage


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value < 10**8:
        raise ValueError(text)
    return value


def _position(text: str) -> int | str:
    if text in KINDS:
        return text
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _one_of(*words: str) -> Callable[[str], Value]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


_SECONDS = Argument("seconds", _number)
_POSITION = Argument("position", _position, AFTER)
_429_KINDS = _one_of("tokens", "requests", "no_capacity", "provisioned")

FAULTS: dict[str, Kind] = {
    "401": Kind("instead", "401, wrong key"),
    "403": Kind("instead", "403, private endpoint"),
    "404": Kind("instead", "404 DeploymentNotFound"),
    "408": Kind("instead", "408, timeout of the gateway"),
    "429": Kind(
        "instead",
        "429 with retry-after and retry-after-ms; kind is tokens, requests, no_capacity or provisioned",
        (Argument("seconds", _number, 22.0), Argument("kind", _429_KINDS, "tokens")),
    ),
    "500": Kind("instead", "500 server_error"),
    "503": Kind("instead", "503, temporarily unavailable"),
    "html": Kind("instead", "an HTML page instead of JSON or events", (Argument("status", _count, 200),)),
    "redirect": Kind(
        "instead",
        "a redirect to the location",
        (Argument("location", str, "https://elsewhere.invalid/"), Argument("status", _count, 307)),
    ),
    "drop": Kind(
        "instead",
        "no answer at all: the connection ends, by fin or reset",
        (Argument("how", _one_of("fin", "reset"), "fin"),),
    ),
    "filter-prompt": Kind("instead", "400, the content filter blocks the prompt"),
    "filter-completion": Kind(
        "answer", "finish_reason content_filter after so many tokens", (Argument("tokens", _count, 8),)
    ),
    "filter-async": Kind(
        "answer", "asynchronous filter: annotation chunks without a delta, one of them after the finish"
    ),
    "stall-before-headers": Kind("stream", "no status line; for so many seconds, or for ever", (_SECONDS,)),
    "stall-before-first": Kind("stream", "headers, then no event; for so many seconds, or for ever", (_SECONDS,)),
    "stall": Kind("stream", "silence at the position; for so many seconds, or for ever", (_POSITION, _SECONDS)),
    "reset": Kind("stream", "TCP reset at the position", (_POSITION,)),
    "truncate": Kind("stream", "FIN at the position; the chunked framing is cut", (_POSITION,)),
    "truncate-clean": Kind("stream", "a proper end of the body, but no finish and no [DONE]", (_POSITION,)),
    "no-done": Kind("stream", "everything but the last event ([DONE], or the terminal event of Responses)"),
    "mid-event": Kind(
        "stream",
        "the connection breaks inside the event after the position, after so many bytes of it (default: half)",
        (_POSITION, Argument("how", _one_of("fin", "reset", "stall"), "fin"), Argument("bytes", _count)),
    ),
    "error-event": Kind("stream", "an error event in a 200 at the position, then the end", (_POSITION,)),
    "error-first": Kind("stream", "an error event in a 200 before any other"),
    "slow": Kind("stream", "every wait so many times as long", (Argument("factor", _number, 5.0),)),
    "burst": Kind("stream", "so many tokens merged into each write", (Argument("tokens", _count, 8),)),
    "split": Kind("stream", "the body in writes of so many bytes", (Argument("bytes", _count, 7),)),
    "bytewise": Kind("stream", "every byte its own write and chunk"),
    "gzip": Kind("stream", "content-encoding: gzip, asked for or not"),
    "badchunk": Kind("stream", "broken chunk framing at the position", (_POSITION,)),
    "giant": Kind(
        "stream",
        "one event of so many bytes at the position",
        (_POSITION, Argument("bytes", _count, 2_000_000)),
    ),
    "invalid-utf8": Kind("stream", "one event with bytes that are not UTF-8 at the position", (_POSITION,)),
    "comments": Kind("stream", "a comment line before every event"),
    "crlf": Kind("stream", "lines end in CR LF"),
}

# The longest name first, so that "stall-before-first" is not read as "stall" with arguments.
_NAMES = "|".join(sorted(map(re.escape, FAULTS), key=len, reverse=True))
_FAULT = re.compile(rf"(?P<name>{_NAMES})(?::(?P<args>.*?))?(?:\*(?P<times>\d+))?(?:%(?P<percent>[\d.]+))?", re.DOTALL)
_IN_A_NAME = re.compile(
    rf"(?P<name>{_NAMES})(?:-after)?(?:[-:](?P<args>.+?))??(?:(?:-times-|\*)(?P<times>\d+))?"
    r"(?:(?:-percent-|%)(?P<percent>[\d.]+))?"
)


def parse(spec: str) -> tuple[Fault, ...]:
    """Read a spec; FaultSpecError says what is wrong with it."""
    return tuple(_fault(part, _FAULT.fullmatch(part.strip()), ",") for part in spec.split("+"))


def parse_deployment(deployment: str) -> tuple[str, tuple[Fault, ...]]:
    """Read the faults out of a deployment's name: the rest of the name, and the faults.

    Raises FaultSpecError for ``fault-`` followed by nothing known. ``a--b`` where b is no fault is an ordinary name.
    """
    if deployment.startswith("fault-"):
        return "", _in_a_name(deployment.removeprefix("fault-"))
    name, mark, spec = deployment.rpartition("--")
    if mark and name and _NAME_START.match(spec):
        return name, _in_a_name(spec)
    return deployment, ()


_NAME_START = re.compile(rf"(?:{_NAMES})(?![A-Za-z0-9_.])")


def _in_a_name(spec: str) -> tuple[Fault, ...]:
    parts = re.split(r"-and-|\+", spec)
    return tuple(_fault(part, _IN_A_NAME.fullmatch(part), "-,") for part in parts)


def _fault(part: str, match: re.Match[str] | None, separators: str) -> Fault:
    if match is None:
        raise FaultSpecError(f"unknown fault {part!r}; known are {', '.join(FAULTS)}")
    name = match["name"]
    given = re.split(f"[{separators}]", match["args"]) if match["args"] else []
    arguments = FAULTS[name].arguments
    if len(given) > len(arguments):
        raise FaultSpecError(f"fault {part!r} takes at most {len(arguments)} arguments")
    values = [argument.default for argument in arguments]
    for at, text in enumerate(given):
        try:
            values[at] = arguments[at].read(text.strip())
        except ValueError:
            raise FaultSpecError(f"fault {part!r}: {arguments[at].name} cannot be {text!r}") from None
    times, percent = match["times"], match["percent"]
    try:
        share = float(percent) if percent else None
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= 100:
        raise FaultSpecError(f"fault {part!r}: percent must be from 0 to 100")
    return Fault(name, tuple(values), int(times) if times else None, share)


def table() -> str:
    """Return all faults as a Markdown table, for the documentation."""
    lines = ["| fault | arguments (default) | what happens |", "|---|---|---|"]
    for name, kind in FAULTS.items():
        arguments = ", ".join(
            argument.name + ("" if argument.default is None else f" ({argument.default})")
            for argument in kind.arguments
        )
        lines.append(f"| `{name}` | {arguments} | {kind.meaning} |")
    return "\n".join(lines)
