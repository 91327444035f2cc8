"""Protocols of the stores that relays share: the quota store and the database."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from chukei.accounts.ledger import Entry, Key, Question, Sum
from chukei.accounts.limits import Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.overrides import RuleChange


class StoreAway(Exception):
    """A shared store cannot be reached, or is too slow."""


class QuotaStore(Protocol):
    """Keeps the quota accounts of all subjects, in this process's memory or in Redis for replicas.

    A reservation is charged when it is made and corrected when it is settled. A reservation that is never settled stays
    charged. Its concurrency slots are leases, which expire unless they are renewed.
    """

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        """Charge one request and its estimated amounts to all subjects, or to none if one limit would be exceeded.

        One atomic round trip.

        Raises:
            StoreAway: the store is unavailable.
        """
        ...

    def settle(self, id: str, actual: Amounts) -> Awaitable[None]:
        """Settle a reservation: correct it to the actual amounts and release its slots. Idempotent.

        Never raises. While the store is unavailable the settlement is queued, as long as it still matters. Returns
        ``limits.SETTLED`` if it is settled immediately.
        """
        ...

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        """Return the state of all limits, without reserving anything.

        Raises:
            StoreAway: the store is unavailable.
        """
        ...

    def start(self) -> None:
        """Start the background work: lease renewal and late settlements."""
        ...

    async def close(self) -> None:
        """Settle pending reservations, for a second at most, and stop."""
        ...


class Database(Protocol):
    """Stores the ledger, callers' keys and rules, in SQLite for one machine or PostgreSQL for replicas."""

    async def open(self) -> None:
        """Connect, and migrate the schema under a lock.

        Raises:
            StoreAway: the database cannot be reached or written to, or its schema is newer than this relay. The message
                says how to fix it.
        """
        ...

    async def add(self, entries: Sequence[Entry]) -> None:
        """Write entries. An entry with the same time and id is not written again, so this is idempotent.

        Raises:
            StoreAway: not all entries could be written.
        """
        ...

    async def sum(self, question: Question) -> list[Sum]:
        """Return the sums for a query, the largest token use first, or in order of time if the first column is the day.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def forget(self, *, before: datetime | None = None, caller: str | None = None) -> int:
        """Delete the entries before a time, or those of one caller; return how many were deleted.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def keys(self) -> list[Key]:
        """Return all keys, including revoked and expired ones.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def keys_mark(self) -> str:
        """Return a text that changes whenever the result of ``keys`` changes; much cheaper than ``keys``.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def add_key(self, key: Key) -> None:
        """Store a new key.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def end_key(self, id: str, *, expires: datetime | None, revoked: datetime | None) -> bool:
        """Set when a key expires or was revoked; return whether the key exists.

        None leaves a time unchanged. A revoked key stays revoked.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def rules(self) -> dict[str, str]:
        """Return what administrators have set, as JSON by subject.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def rules_mark(self) -> str:
        """Return a text that changes whenever the result of ``rules`` changes; much cheaper than ``rules``.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def change_rules(
        self, subject: str, merge: Callable[[str | None], str | None], *, actor: str, time: datetime
    ) -> RuleChange:
        """Replace what is set for a subject by the result of ``merge``, and record it, in one transaction.

        Concurrent changes wait for each other. What ``merge`` raises is raised, and nothing is changed.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def rule_changes(self, limit: int) -> list[RuleChange]:
        """Return the latest changes, the newest first.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        ...
