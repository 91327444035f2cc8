"""The syntax of fault specs. docs/simulator.md explains it; ``faults.toml`` has the faults.

    spec   = fault *( "+" fault )                       several at once: slow:3+reset:10
    fault  = name [":" arg *("," arg)] ["*" count] ["%" percent]

A spec is in ``SimulatorSettings.faults`` or in the name of a deployment: ``fault-SPEC``, or ``NAME--SPEC`` for the
deployment NAME. In a name, write ``-`` for ``:`` and ``,``, ``-and-`` for ``+``, ``-times-`` for ``*``, and
``-percent-`` for ``%``. The word ``after`` is allowed for readability.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chukei.simulator.exchanges import KINDS

Stage = Literal["instead", "answer", "stream", "socket"]
Value = int | float | str | None


class FaultSpecError(ValueError):
    """A fault spec is invalid; the message says why."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a fault: its name, the function that parses it, and its default."""

    name: str
    read: Callable[[str], Value]
    default: Value


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault; see ``faults.toml``."""

    stage: Stage
    meaning: str
    arguments: tuple[Argument, ...]
    ends_early: bool
    keeps_length: bool
    http_only: bool = False

    def strikes(self, *, socket: bool) -> bool:
        """Whether it changes how a turn of a WebSocket, or else an answer over HTTP, is sent."""
        return (self.stage == "stream" and not (socket and self.http_only)) or (self.stage == "socket" and socket)


@dataclass(frozen=True, slots=True)
class Fault:
    """A requested fault: its name, its arguments in order, and the requests to which it applies."""

    name: str
    values: tuple[Value, ...] = ()
    times: int | None = None
    percent: float | None = None

    @property
    def kind(self) -> Kind:
        """The kind of this fault."""
        return FAULTS[self.name]


def _bounded(read: type[int] | type[float], low: float, high: float) -> Callable[[str], int | float]:
    def bounded(text: str) -> int | float:
        value = read(text)
        if not low <= value < high:
            raise ValueError(text)
        return value

    return bounded


_number = _bounded(float, 0, 1e6)
_count = _bounded(int, 1, 10**8)
_events = _bounded(int, 0, float("inf"))


def _position(text: str) -> Value:
    """Parse a position: a number of sent events, counted from the filter chunk, or a kind of event that was sent."""
    return text if text in KINDS else _events(text)


def _one_of(words: list[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


_READERS: dict[str, Callable[[str], Value]] = {
    "position": _position,
    "location": str,
    **dict.fromkeys(("seconds", "factor"), _number),
    **dict.fromkeys(("status", "tokens", "bytes"), _count),
    "code": _bounded(int, 1000, 5000),
}


def _argument(name: str, default: Any) -> Argument:
    if name in _READERS:
        return Argument(name, _READERS[name], None if default == "" else default)
    words = default.split("|")
    return Argument(name, _one_of(words), words[0])


def _kind(row: dict[str, Any]) -> Kind:
    arguments = tuple(_argument(*argument) for argument in row.get("arguments", {}).items())
    return Kind(row["stage"], row["meaning"], arguments, "ends-early" in row, "keeps-length" in row, "http-only" in row)


_TABLE = tomllib.loads(Path(__file__).with_name("faults.toml").read_text("utf-8"))
FAULTS: dict[str, Kind] = {name: _kind(row) for name, row in _TABLE.items()}

# The longest name first, so that "stall-before-first" is not read as "stall" with arguments.
_NAMES = "|".join(sorted(map(re.escape, FAULTS), key=len, reverse=True))
_FAULT = re.compile(rf"(?P<name>{_NAMES})(?::(?P<args>.*?))?(?:\*(?P<times>\d+))?(?:%(?P<percent>[\d.]+))?", re.DOTALL)
_IN_A_NAME = re.compile(
    rf"(?P<name>{_NAMES})(?:-after)?(?:[-:](?P<args>.+?))??(?:(?:-times-|\*)(?P<times>\d+))?"
    r"(?:(?:-percent-|%)(?P<percent>[\d.]+))?"
)
_NAME_START = re.compile(rf"(?:{_NAMES})(?![A-Za-z0-9_.])")


def parse(spec: str) -> tuple[Fault, ...]:
    """Parse a spec; FaultSpecError if it is invalid."""
    return tuple(_fault(part, _FAULT.fullmatch(part.strip()), ",") for part in spec.split("+"))


def parse_deployment(deployment: str) -> tuple[str, tuple[Fault, ...]]:
    """Parse the faults in a deployment's name; return the rest of the name and the faults.

    ``fault-`` without a known fault raises FaultSpecError. ``a--b`` is an ordinary name if b is not a fault.
    """
    name, mark, spec = deployment.rpartition("--")
    if deployment.startswith("fault-"):
        name, spec = "", deployment.removeprefix("fault-")
    elif not (mark and name and _NAME_START.match(spec)):
        return deployment, ()
    return name, tuple(_fault(part, _IN_A_NAME.fullmatch(part), "-,") for part in re.split(r"-and-|\+", spec))


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
