"""What is known of a request when it has ended. No prompt, no completion, no credential."""

from dataclasses import dataclass, field
from datetime import datetime

from chukei.model import Caller, End
from chukei.usage import NO_UNITS, Units, Usage


@dataclass(slots=True)
class Attempt:
    """One deployment that was asked. ``code`` says why it did not answer; None means that it did.

    ``usage`` is what it may have cost all the same, or None where nothing was sent or it refused.
    """

    deployment: str
    hedge: bool = False
    code: str | None = None
    seconds: float = 0.0
    usage: Usage | None = None
    upstream_request_id: str | None = None
    region: str | None = None
    spilled: bool = False


@dataclass(slots=True)
class RequestRecord:
    """One request, filled in along its path. Durations are seconds since the request's head had arrived.

    ``deployment``, ``usage`` and what follows them are those of the try that answered, or of the last one; ``tries``
    holds every one in order. ``served_model`` and ``service_tier`` are what the upstream calls them, ``answering`` the
    try whose answer this is, or the last one. Where ``count`` is above 1 the record stands for so many alike, and it is
    the last of them; ``ended`` is when that was, in UTC.
    """

    request_id: str
    method: str
    path: str
    who: Caller | None = None
    operation: str | None = None
    model: str | None = None
    deployment: str | None = None
    stream: bool = False
    status: int | None = None
    end: End | None = None
    code: str | None = None
    finish_reasons: dict[int, str] = field(default_factory=dict)
    usage: Usage | None = None
    served_model: str | None = None
    service_tier: str | None = None
    units: Units = NO_UNITS
    cost: int | None = None  # in micro-units
    first_token: float | None = None
    duration: float = 0.0
    request_bytes: int = 0
    answer_bytes: int = 0
    upstream_request_id: str | None = None
    region: str | None = None
    spilled: bool = False
    tries: list[Attempt] = field(default_factory=list)
    answering: Attempt | None = None
    count: int = 1
    ended: datetime | None = None

    @property
    def caller(self) -> str | None:
        """The caller's name, once it is known."""
        return self.who.name if self.who is not None else None

    @property
    def lost(self) -> list[Attempt]:
        """The other tries."""
        return [attempt for attempt in self.tries if attempt is not self.answering] if len(self.tries) > 1 else []
