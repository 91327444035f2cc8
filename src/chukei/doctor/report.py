"""Prints findings: text for people, grouped by subject, or JSON for programs."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import click
import msgspec

from chukei import __version__
from chukei.doctor.finding import EXIT_CODES, Finding, Status

SCHEMA = 1
"""The version of the JSON; it changes if a member is removed or changes its meaning. docs/doctor.md describes it."""

WIDTH = 100
_COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "red", Status.SKIPPED: "bright_black"}


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of a run. ``table`` is the status of a relay's deployments, as text; empty if it was not asked."""

    findings: Sequence[Finding]
    table: str = ""
    deployments: Sequence[object] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The exit code: 0 if nothing failed, also with warnings."""
        failed = (EXIT_CODES[finding.kind] for finding in self.findings if finding.status is Status.FAILED)
        return max(failed, default=0)

    def count(self, status: Status) -> int:
        """Return the number of findings with this status."""
        return sum(finding.status is status for finding in self.findings)

    def json(self) -> str:
        """Return the report as one JSON object."""
        worst = next((each for each in (Status.FAILED, Status.WARNING) if self.count(each)), Status.OK)
        value = {
            "schema": SCHEMA,
            "chukei": __version__,
            "status": worst,
            "exit_code": self.exit_code,
            "counts": {status.value: self.count(status) for status in Status},
            "findings": self.findings,
            "deployments": self.deployments,
        }
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()

    def text(self) -> str:
        """Return the report as text, with colours; click removes them where they do not belong."""
        lines: list[str] = []
        names = max((len(finding.check) for finding in self.findings), default=0)
        for subject, group in groupby(self.findings, key=lambda finding: finding.subject):
            lines += [click.style(subject, bold=True), *(line for each in group for line in _lines(each, names)), ""]
        if self.table:
            lines += [self.table, ""]
        counts = [f"{count} {status}" for status in Status if (count := self.count(status))]
        return "\n".join([*lines, ", ".join(counts)])


def _lines(finding: Finding, names: int) -> list[str]:
    head = f"  {finding.status.value.ljust(7)}  {finding.check.ljust(names)}  "
    indent = " " * len(head)
    first, *others = _wrapped(finding.seen, len(indent)) or [""]
    coloured = head.replace(finding.status, click.style(finding.status.value, fg=_COLOURS[finding.status]), 1)
    remedy = _wrapped(f"-> {finding.remedy}", len(indent)) if finding.remedy else []
    return [coloured + first, *(indent + line for line in [*others, *remedy])]


def _wrapped(text: str, indent: int) -> list[str]:
    """Wrap a text. Control characters become "?": it may quote a server, which must not write to the terminal."""
    width = max(WIDTH - indent, 40)
    text = "".join(each if each.isprintable() else "?" for each in text)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
