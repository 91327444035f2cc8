"""How a request ended, in one word: answered, refused, failed or left. Pure.

The live view and the ledger use the same rule. docs/errors.md has it in words.
"""

from enum import StrEnum

from chukei.model import End


class Outcome(StrEnum):
    """How a request ended, in one word."""

    ANSWERED = "answered"
    REFUSED = "refused"  # by the relay's rules or by Azure's: the caller has to change something
    FAILED = "failed"
    LEFT = "left"  # the client disconnected, or stopped reading


ANSWERED = frozenset({End.COMPLETED, End.LENGTH, End.CONTENT_FILTER, End.BACKGROUND})
LEFT = frozenset({End.CLIENT_ABORTED, End.CLIENT_STALLED})
BUSY = 429
"""The status with which Azure says that a deployment has no capacity. That is no refusal of what the caller sent."""


def outcome_of(end: str | None, status: int | None) -> Outcome:
    """Return the outcome of a request. ``adapters.ledger.sql`` has the same rule as an expression of SQL.

    Azure's refusal of what a caller sent is a refusal, not a failure. The relay's own refusal is a failure if it was
    due to a store that was unavailable.
    """
    if end is End.COMPLETED:  # nearly all, without the hash of an enumeration's member
        return Outcome.ANSWERED
    if end in ANSWERED:
        return Outcome.ANSWERED
    if end in LEFT:
        return Outcome.LEFT
    if end == End.REFUSED and (status is None or status < 500):
        return Outcome.REFUSED
    if end == End.UPSTREAM_STATUS and status is not None and status < 500 and status != BUSY:
        return Outcome.REFUSED
    return Outcome.FAILED
