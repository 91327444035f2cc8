"""The record of a request, filled in until it has ended. It contains no prompt, completion or credential."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from chukei.model import Caller, End
from chukei.trace import TraceContext
from chukei.usage import NO_UNITS, Units, Usage


@dataclass(slots=True)
class Attempt:
    """One attempt at a deployment. ``code`` is the reason for its failure, or None if it answered.

    ``usage`` is what it may have used despite a failure, or None if nothing was sent or it was refused. ``started`` is
    in seconds since the request's head arrived. ``span_id`` is its span in the request's trace, if the relay has spans
    there. ``status`` is the upstream's HTTP status.
    """

    deployment: str
    hedge: bool = False
    code: str | None = None
    seconds: float = 0.0
    usage: Usage | None = None
    upstream_request_id: str | None = None
    region: str | None = None
    spilled: bool = False
    started: float = 0.0
    span_id: str | None = None
    status: int | None = None


@dataclass(slots=True)
class RequestRecord:
    """One request, filled in along its path. Durations are seconds since the request's head arrived.

    ``tries`` has all attempts in order; ``answering`` is the one that answered, or the last one. ``deployment``,
    ``usage`` and the request id are those of this attempt. ``served_model`` and ``service_tier`` are as the upstream
    reports them. ``rule`` is the place in the configuration of the rule that refused the request. ``gaps`` counts the
    times between two reads of a stream by the bounds ``metrics.definitions.SECONDS``, if they are measured;
    ``gap_seconds`` is their sum. If ``count`` is above 1, the record stands for that many similar requests and
    describes the last of them; ``ended`` is the time of its end, in UTC. ``arrived`` is the clock's time at which the
    head arrived. ``received`` is when the request's body was complete. ``client_wait`` is how long a stream has waited
    for its client to read.
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
    rule: str | None = None
    finish_reasons: dict[int, str] = field(default_factory=dict)
    usage: Usage | None = None
    served_model: str | None = None
    service_tier: str | None = None
    units: Units = NO_UNITS
    cost: int | None = None  # in micro-units
    first_token: float | None = None
    gaps: list[int] | None = None
    gap_seconds: float = 0.0
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
    trace: TraceContext | None = None
    arrived: float = 0.0
    received: float | None = None
    client_wait: float = 0.0

    @property
    def caller(self) -> str | None:
        """The caller's name, or None before authentication."""
        return self.who.name if self.who is not None else None

    @property
    def lost(self) -> list[Attempt]:
        """The attempts other than ``answering``."""
        return [attempt for attempt in self.tries if attempt is not self.answering] if len(self.tries) > 1 else []


class RunningRequest(NamedTuple):
    """A request that is being served, at the moment when somebody looks. Durations are in seconds.

    ``age`` is since its head arrived. ``tokens`` is an estimate of what its stream has generated so far. ``silent`` is
    how long the upstream has sent nothing, ``unread`` how long its client has not read what was sent.
    """

    caller: str | None
    deployment: str | None
    age: float
    stream: bool
    first_token: float | None
    tokens: float = 0.0
    silent: float = 0.0
    unread: float = 0.0
