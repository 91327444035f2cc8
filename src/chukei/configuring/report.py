"""What became of each value of another gateway's configuration: mapped, approximated or dropped, and why.

Every value of the source stands in the report exactly once, and no value is repeated in it: only paths, names of
variables, and sentences.
"""

import json
import shlex
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from chukei.configuring.import_source import Node, Source

WIDTH = 118
UNKNOWN = "unknown to the importer"
_IN_THE_FILE = (
    "To have an address, a name or a version in the file instead of in a CHUKEI_ variable, import again with "
    "--value NAME=VALUE for the variable that it comes from."
)


class Outcome(StrEnum):
    """What became of a value."""

    MAPPED = "mapped"
    APPROXIMATED = "approximated"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Entry:
    """The outcome of one value of the source. ``target`` is a key of the relay's configuration, or None."""

    outcome: Outcome
    path: str
    line: int | None
    target: str | None
    message: str
    order: int


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment that the relay needs. ``value`` is shell text without any secret, or None."""

    name: str
    meaning: str
    value: str | None = None
    secret: bool = False


@dataclass(slots=True)
class Report:
    """Collects outcomes. ``assumed`` are statements about what the source leaves open."""

    entries: dict[str, Entry] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    extras: set[str] = field(default_factory=set)

    def mapped(self, node: Node, target: str | None, message: str) -> None:
        """Say that the relay does the same."""
        self._add(Outcome.MAPPED, node, target, message)

    def approximated(self, node: Node, target: str | None, message: str) -> None:
        """Say that the relay does something similar; the message states the difference."""
        self._add(Outcome.APPROXIMATED, node, target, message)

    def dropped(self, node: Node, message: str) -> None:
        """Say that nothing of this is carried over."""
        self._add(Outcome.DROPPED, node, None, message)

    def _add(self, outcome: Outcome, node: Node, target: str | None, message: str) -> None:
        for leaf in node.leaves():
            if leaf.path in self.entries:
                raise AssertionError(f"{leaf.path} is reported twice")
            entry = Entry(outcome, leaf.path, leaf.line, target, message, len(self.entries))
            self.entries[leaf.path] = entry

    def has(self, node: Node) -> bool:
        """Whether all of this is reported already."""
        return all(leaf.path in self.entries for leaf in node.leaves())

    def rest_dropped(self, node: Node, message: str) -> None:
        """Drop what is not reported yet of a value."""
        for leaf in node.leaves():
            if leaf.path not in self.entries:
                self.dropped(leaf, message)

    def assume(self, message: str) -> None:
        """State what the source leaves open, once."""
        if message not in self.assumed:
            self.assumed.append(message)

    def need(self, variable: Variable) -> None:
        """Ask for a variable, once."""
        self.variables.setdefault(variable.name, variable)

    def finish(self, source: Source) -> None:
        """Report what nothing has claimed: unknown keys, and blocks that only hold what aliases repeat."""
        for path, line in source.repeated:
            place = f" (line {line})" if line else ""
            self.assume(f"{path}{place} stands twice in the file; the last one counts")
        for key, node in source.root.table.items():
            claimed = any(leaf.path in self.entries for leaf in node.leaves())
            anchors = key in source.anchors and not claimed
            self.rest_dropped(node, "only holds what aliases repeat elsewhere" if anchors else UNKNOWN)
        if not source.root.table:
            self.rest_dropped(source.root, "is empty")

    def count(self, outcome: Outcome) -> int:
        """Return how many values had this outcome."""
        return sum(entry.outcome is outcome for entry in self.entries.values())

    @property
    def summary(self) -> str:
        """One line with the numbers."""
        parts = ", ".join(f"{self.count(outcome)} {outcome}" for outcome in Outcome)
        return f"{len(self.entries)} values: {parts}"

    def in_order(self) -> list[Entry]:
        """Return all outcomes in the order of the file, or that of the reports where lines are unknown."""
        return sorted(self.entries.values(), key=lambda entry: (entry.line or 0, entry.order))

    def json(self) -> str:
        """Return the report for programs."""
        return json.dumps(
            {
                "counts": {outcome.value: self.count(outcome) for outcome in Outcome},
                "values": [
                    {
                        "path": entry.path,
                        "line": entry.line,
                        "outcome": entry.outcome.value,
                        "target": entry.target,
                        "message": entry.message,
                    }
                    for entry in self.in_order()
                ],
                "assumed": self.assumed,
                "variables": [
                    {"name": each.name, "meaning": each.meaning, "secret": each.secret, "value": each.value}
                    for each in self.variables.values()
                ],
                "extras": sorted(self.extras),
            },
            indent=2,
            ensure_ascii=False,
        )

    def text(self) -> str:
        """Return the report for people."""
        lines = [self.summary]
        for outcome in Outcome:
            entries = [entry for entry in self.in_order() if entry.outcome is outcome]
            if entries:
                lines += ["", f"{outcome.value} ({len(entries)})", *_paragraphs(entries)]
        if self.assumed:
            lines += ["", "assumed"]
            for message in self.assumed:
                lines += _wrapped(message, "  - ")
        lines += self._needed()
        return "\n".join(lines)

    def _needed(self) -> list[str]:
        lines: list[str] = []
        if self.variables:
            lines += ["", "variables to set"]
        for variable in self.variables.values():
            value = variable.value if variable.value is not None else "…"
            lines += [f"  {variable.name}={value}", *_wrapped(variable.meaning, "      ")]
        if any(each.name.startswith("CHUKEI_") and each.value for each in self.variables.values()):
            lines += _wrapped(_IN_THE_FILE, "  ")
        if self.extras:
            lines += ["", f"extras to install: {', '.join(sorted(self.extras))}"]
        return lines


def quoted(text: str) -> str:
    """Return a value that is no secret as shell text."""
    return shlex.quote(text)


def _paragraphs(entries: Iterable[Entry]) -> list[str]:
    """Return entries as text: each message once, with the values to which it applies."""
    by_message: dict[str, list[Entry]] = {}
    for entry in entries:
        by_message.setdefault(entry.message, []).append(entry)
    lines: list[str] = []
    for message, found in by_message.items():
        lines += _wrapped(message, "  ")
        for entry in found:
            place = f" (line {entry.line})" if entry.line else ""
            lines.append(f"      {entry.path}{place}" + (f" → {entry.target}" if entry.target else ""))
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    rest = " " * len(indent)
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=rest, break_long_words=False)
