"""Protocols of the stores that relays share: of quotas, of objects, and the database."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from chukei.accounts.changes import Actor, Change
from chukei.accounts.ledger import Entry, Key, KeySearch, Question, Seen, Sum
from chukei.accounts.limits import Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.objects import ObjectRecord


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

    def release(self, id: str) -> None:
        """Release the slots of a reservation, which stays charged. Never raises, never waits."""
        ...

    def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> Awaitable[None]:
        """Settle a reservation: correct it to the actual amounts and release its slots. Idempotent.

        ``subjects`` are those of a reservation that another process may have made in the shared store. Never raises.
        While the store is unavailable the settlement is queued, as long as it still matters. Returns
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


class ObjectRow(NamedTuple):
    """What the database stores about an object: a digest of its id, its record, and when it is forgotten."""

    digest: bytes
    record: ObjectRecord
    expires: datetime


class ObjectStore(Protocol):
    """Keeps what is known about stored objects, by id, beyond this process's memory: in Redis or in the database.

    Only digests of ids leave the process.
    """

    def keep(self, id: str, record: ObjectRecord) -> None:
        """Store what is known about an object, in the background. Never raises, never waits."""
        ...

    def drop(self, id: str) -> None:
        """Forget an object, in the background. Never raises, never waits."""
        ...

    async def find(self, ids: Sequence[str]) -> list[ObjectRecord | None]:
        """Return what is known about each id, in one round trip; None if it is unknown.

        Raises:
            StoreAway: the store cannot be asked, or is too slow. The wait is a second at most.
        """
        ...


class JobStore(Protocol):
    """Keeps responses that are made in the background until they are billed. Jobs are texts of ``objects.job``."""

    async def keep_job(self, id: str, due: datetime, job: str) -> None:
        """Store a job. After ``due`` any relay may take it up.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def find_job(self, id: str) -> str | None:
        """Return a job, or None if there is none, or it is billed.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def take_jobs(self, now: datetime, until: datetime, limit: int) -> list[str]:
        """Return jobs that are due at ``now``, and make them due at ``until``, so that no other relay takes them.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def defer_job(self, id: str, due: datetime) -> None:
        """Change when a job is due.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def settle_job(self, id: str, entry: Entry) -> bool:
        """Write the bill and remove the job, in one transaction. Return whether the bill is new.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...


class JobBoard(Protocol):
    """Keeps responses in the making for other replicas, for a day."""

    def keep_job(self, id: str, text: str) -> None:
        """Store a job, or with an empty text that it is settled. Never raises, never waits."""
        ...

    async def find_job(self, id: str) -> str | None:
        """Return a job, or an empty text if it is settled; None if it is unknown or cannot be told in time."""
        ...


class Database(JobStore, Protocol):
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
        """Return the sums for a query, the largest token use first, or in order of time if the first column is one.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def seen(self, caller: str | None = None) -> list[Seen]:
        """Return the latest entry of each caller, or of one caller if it has any.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def forget(
        self, *, before: datetime | None = None, caller: str | None = None, change: Change | None = None
    ) -> int:
        """Delete the entries before a time, or those of one caller; return how many were deleted.

        If all entries of a caller are deleted, so is what is known about its objects. ``change`` is recorded before
        the first is deleted. Each part that is deleted adds to the count in its record, in the same transaction.

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

    async def find_keys(self, search: KeySearch) -> tuple[list[Key], int]:
        """Return the keys that a search wants, and how many there are without its ``limit`` and ``offset``.

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

    async def add_key(
        self, key: Key, *, replaces: tuple[str, datetime] | None = None, change: Change | None = None
    ) -> None:
        """Store a new key, and record the ``change``, in one transaction.

        ``replaces`` is the id of an older key, and when that one is to expire.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def end_key(
        self, id: str, *, expires: datetime | None, revoked: datetime | None, change: Change | None = None
    ) -> bool:
        """Set when a key expires or was revoked, and record the ``change``, in one transaction.

        None leaves a time unchanged. A revoked key stays revoked. Without such a key return False, and record nothing.

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
        self, subject: str, merge: Callable[[str | None], str | None], *, actor: Actor, time: datetime
    ) -> Change:
        """Replace what is set for a subject by the result of ``merge``, and record it, in one transaction.

        Concurrent changes wait for each other. What ``merge`` raises is raised, and nothing is changed.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def record(self, change: Change) -> int:
        """Record a change that is none of this database; return its number.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def changes(self, limit: int, before: int | None = None) -> list[Change]:
        """Return the latest changes, the newest first; only those with a smaller number than ``before``.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def write_objects(self, rows: Sequence[ObjectRow], gone: Sequence[bytes]) -> None:
        """Store what is known about objects, each digest once, and delete those that are gone. Idempotent.

        An object keeps its first owner: a row of another one changes nothing.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def find_objects(self, digests: Sequence[bytes]) -> dict[bytes, ObjectRecord]:
        """Return what is known about objects, by the digests of their ids.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def drop_objects(self, before: datetime) -> int:
        """Delete the objects that were to be forgotten before a time; return how many were deleted.

        Raises:
            StoreAway: the database is unavailable.
        """
        ...

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        ...
