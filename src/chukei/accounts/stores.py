"""The contracts with what relays share or keep: the board, the accounts of quotas, the database."""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

from chukei.accounts.ledger import Entry, Key, Question, Sum
from chukei.accounts.limits import Amounts, Grant, Headroom, Refusal, Subject


class StoreAway(Exception):
    """A store that replicas share cannot be reached, or is too slow."""


class QuotaStore(Protocol):
    """Where the accounts of callers, groups and of everything are kept: this process's memory, or Redis for replicas.

    A reservation is charged when it is made and corrected when it is settled, so what is never settled stays charged.
    Its concurrent slots are leases, which expire unless they are renewed.
    """

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        """Charge one request and its estimated amounts to all subjects, or to none if one limit would be exceeded.

        One atomic round trip.

        Raises:
            StoreAway: the store cannot be asked.
        """
        ...

    def settle(self, id: str, actual: Amounts) -> Awaitable[None]:
        """Correct a reservation to what was used and give its slots back. A second time does nothing.

        Never raises; while the store is away it is kept and done later, as long as that still matters.
        ``limits.SETTLED`` where nothing has to be waited for.
        """
        ...

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        """Return what is left, without reserving anything.

        Raises:
            StoreAway: the store cannot be asked.
        """
        ...

    def start(self) -> None:
        """Begin what goes on beside requests: renewing leases, settling late."""
        ...

    async def close(self) -> None:
        """Settle what can still be settled, within a second, and stop."""
        ...


class Database(Protocol):
    """The ledger and the callers' keys, in SQLite for one machine or PostgreSQL for replicas."""

    async def open(self) -> None:
        """Connect, and bring the schema up to date behind a lock.

        Raises:
            StoreAway: it cannot be reached or written to, or its schema is newer than this relay; the message says
                what helps.
        """
        ...

    async def add(self, entries: Sequence[Entry]) -> None:
        """Write entries; one that is there already, by its time and id, is left as it is, so this can be repeated.

        Raises:
            StoreAway: not all could be written.
        """
        ...

    async def sum(self, question: Question) -> list[Sum]:
        """Answer a question, the largest use of tokens first, or in order of time where it is by day first.

        Raises:
            StoreAway: it cannot be asked.
        """
        ...

    async def forget(self, *, before: datetime | None = None, caller: str | None = None) -> int:
        """Delete the entries from before a time, or those of one caller; return how many.

        Raises:
            StoreAway: it cannot be asked.
        """
        ...

    async def keys(self) -> list[Key]:
        """Return every key, the revoked and expired ones included.

        Raises:
            StoreAway: it cannot be asked.
        """
        ...

    async def keys_mark(self) -> str:
        """Return a text that differs whenever ``keys`` would return something else than before; much cheaper.

        Raises:
            StoreAway: it cannot be asked.
        """
        ...

    async def add_key(self, key: Key) -> None:
        """Keep a new key.

        Raises:
            StoreAway: it cannot be asked.
        """
        ...

    async def end_key(self, id: str, *, expires: datetime | None, revoked: datetime | None) -> bool:
        """Set when a key ends; return whether there is such a key.

        None leaves a time as it is, and what is revoked stays so.

        Raises:
            StoreAway: it cannot be asked.
        """
        ...

    async def close(self) -> None:
        """Close it; may be called more than once."""
        ...
