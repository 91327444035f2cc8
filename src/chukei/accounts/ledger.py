"""What the ledger keeps of each request, and the questions that it answers. No prompt, no completion, no credential."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

NOT_FAILED = frozenset({"completed", "length", "content_filter", "client_aborted"})
"""The ends of requests that are no failures: the answer was whole, or the client did not want the rest."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One request, or ``requests`` that are alike and used nothing.

    ``id`` is the relay's own and unique, since clients may choose ``request_id``. Tokens as in ``usage.Usage``:
    ``cached`` is part of ``input``, ``reasoning`` part of ``output``; ``estimated`` where Azure had not counted them.
    ``wasted`` are tokens that other deployments may have charged for the same request, of which ``cost`` includes the
    price. It is in micro-units of the currency of the prices; None where the model has no price for what was used.
    Durations are in milliseconds. ``served_model`` and ``service_tier`` are what Azure says of its answer. ``images``,
    ``characters`` and ``heard_ms`` are what was paid for by the piece.
    """

    id: str
    time: datetime
    request_id: str
    caller: str
    kind: str
    group: str | None
    key_id: str | None
    operation: str
    model: str | None
    deployment: str | None
    stream: bool
    status: int | None
    end: str
    code: str | None
    finish_reason: str | None
    input: int
    cached: int
    output: int
    reasoning: int
    estimated: bool
    wasted: int
    cost: int | None
    first_token: float | None
    duration: float
    retries: int
    hedges: int
    upstream_request_id: str | None
    region: str | None
    served_model: str | None = None
    service_tier: str | None = None
    cache_written: int = 0
    audio_input: int = 0
    audio_output: int = 0
    images: int = 0
    characters: int = 0
    heard_ms: int = 0
    requests: int = 1


class By(StrEnum):
    """What usage can be summed by."""

    CALLER = "caller"
    GROUP = "group"
    MODEL = "model"
    DEPLOYMENT = "deployment"
    SERVED_MODEL = "served-model"
    SERVICE_TIER = "service-tier"
    DAY = "day"  # of UTC
    END_REASON = "end-reason"


@dataclass(frozen=True, slots=True)
class Question:
    """Which entries to sum, from ``since`` up to but not including ``until``, and by what, in order."""

    by: tuple[By, ...] = (By.CALLER,)
    since: datetime | None = None
    until: datetime | None = None
    caller: str | None = None
    group: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """The sums of the entries with the same values of what was asked by; ``names`` holds those values in that order.

    A value that an entry has not got is "" there; a day is written ``2026-11-22``. ``failed`` counts the ends that are
    not in ``NOT_FAILED``. ``cost`` is in micro-units and leaves out the ``unpriced`` requests. ``estimated`` counts
    requests whose tokens Azure had not counted.
    """

    names: tuple[str, ...]
    requests: int
    failed: int
    input: int
    cached: int
    output: int
    reasoning: int
    wasted: int
    estimated: int
    cost: int
    unpriced: int
    first_token: float | None  # mean, in milliseconds, of those that streamed


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key as the database knows it: never the key itself.

    ``digest`` is HMAC-SHA-256 of the secret part with a pepper of the given version, from outside the database. A
    caller may have several at once, so that one can be replaced while the other still works. ``unreadable`` says that
    another program has written something that no key of the relay's can have, such as an end beyond the year 9999: what
    is left of it is shown, and it opens nothing.
    """

    id: str
    caller: str
    group: str | None
    digest: bytes
    pepper: int
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    note: str | None
    unreadable: bool = False

    def state(self, now: datetime) -> str:
        """Return ``active``, ``expired``, ``revoked``, or ``unreadable`` for what can only be revoked."""
        if self.revoked is not None:
            return "revoked"
        if self.unreadable:
            return "unreadable"
        return "expired" if self.expires is not None and self.expires <= now else "active"
