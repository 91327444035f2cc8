"""The result of one check, in the one shape that all checks share."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # it works, but something will not: at more load, later, or for some requests
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be done, or does not apply; ``seen`` says why


class Kind(StrEnum):
    """What a check is about."""

    CONFIGURATION = "configuration"
    MACHINE = "machine"
    ENDPOINT = "endpoint"
    DEPLOYMENT = "deployment"
    STORE = "store"
    CLOCK = "clock"
    RELAY = "relay"
    STREAM = "stream"


EXIT_CODES = {
    Kind.CONFIGURATION: 3,
    Kind.MACHINE: 1,
    Kind.ENDPOINT: 4,
    Kind.DEPLOYMENT: 4,
    Kind.STORE: 4,
    Kind.CLOCK: 1,
    Kind.RELAY: 4,
    Kind.STREAM: 1,
}
"""The exit code of a failed check; the highest one counts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    ``subject`` is what was checked, such as an endpoint. ``seen`` says what was found, and ``remedy`` what an operator
    can do; only failures and warnings have one. ``measured`` has numbers; times end in ``_ms`` or ``_seconds``.
    """

    kind: Kind
    subject: str
    check: str
    status: Status
    seen: str
    remedy: str = ""
    measured: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """Makes the findings about one subject."""

    kind: Kind
    name: str

    def ok(self, check: str, seen: str, **measured: float | str) -> Finding:
        """Return a finding that needs no action."""
        return Finding(self.kind, self.name, check, Status.OK, seen, "", measured)

    def warning(self, check: str, seen: str, remedy: str, **measured: float | str) -> Finding:
        """Return a finding that will need action."""
        return Finding(self.kind, self.name, check, Status.WARNING, seen, remedy, measured)

    def failed(self, check: str, seen: str, remedy: str, **measured: float | str) -> Finding:
        """Return a failure."""
        return Finding(self.kind, self.name, check, Status.FAILED, seen, remedy, measured)

    def skipped(self, check: str, seen: str) -> Finding:
        """Return a finding about a check that was not done."""
        return Finding(self.kind, self.name, check, Status.SKIPPED, seen)


def any_failed(findings: Sequence[Finding]) -> bool:
    """Whether any check failed."""
    return any(finding.status is Status.FAILED for finding in findings)


async def bounded(subject: Subject, check: str, seconds: float, work: Awaitable[list[Finding]]) -> list[Finding]:
    """Wait for a check, for so many seconds at most. Whatever happens in it, the other checks go on."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        remedy = "run the doctor again; if it stays so, see the log of what was checked"
        return [subject.failed(check, f"no result within {seconds:g} s", remedy)]
    except Exception as error:  # noqa: BLE001 - one check must not end the others
        seen = f"the check itself failed with {type(error).__name__}"
        return [subject.failed(check, seen, "report this as a bug of chukei, with the command and the version")]


def milliseconds(seconds: float) -> float:
    """Return milliseconds with one decimal."""
    return round(seconds * 1000, 1)
