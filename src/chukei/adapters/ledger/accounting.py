"""Wiring of the quota store, the ledger's database and its writer, by the settings."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from chukei.accounts.entries import entry_of
from chukei.accounts.stores import Database, QuotaStore
from chukei.adapters.ledger.databases import database_for, spool_for
from chukei.adapters.ledger.writer import LedgerWriter
from chukei.adapters.memory_quota import MemoryQuota
from chukei.config import Settings
from chukei.ids import new_id
from chukei.metrics.snapshot import Reading
from chukei.ports import Clock
from chukei.record import RequestRecord

if TYPE_CHECKING:
    from chukei.adapters.ledger.object_writer import ObjectWriter

logger = logging.getLogger(__name__)

Reader = Callable[[], Iterable[Reading]]
"""Reads metrics."""


@dataclass(frozen=True, slots=True)
class Accounting:
    """The quota store, and the ledger if there is one. ``objects`` writes there what is known about stored objects.

    ``readers`` tell their metrics.
    """

    quotas: QuotaStore
    database: Database | None = None
    writer: LedgerWriter | None = None
    objects: "ObjectWriter | None" = None
    readers: Sequence[Reader] = ()

    def __call__(self, record: RequestRecord) -> None:
        """Write a request to the ledger; implements the Hook port."""
        if self.writer is None:
            return
        entry = entry_of(record, id=new_id(), time=record.ended or datetime.now(UTC))
        if entry is not None:
            self.writer.write(entry)

    @property
    def full(self) -> bool:
        """Whether the ledger cannot take further entries."""
        return self.writer is not None and self.writer.full

    def state(self) -> dict[str, object]:
        """Return the state of the ledger's writer."""
        return self.writer.state() if self.writer is not None else {"status": "none"}

    def start(self) -> None:
        """Start the background work: writing the ledger and renewing leases."""
        self.quotas.start()
        if self.writer is not None:
            self.writer.start()
        if self.objects is not None:
            self.objects.start()

    async def close(self) -> None:
        """Settle pending reservations, write pending entries, and close the database."""
        await self.quotas.close()
        if self.writer is not None:
            await self.writer.close()
        if self.objects is not None:
            await self.objects.close()
        if self.database is not None:
            await self.database.close()


def accounting_for(settings: Settings, clock: Clock, wall: Clock, database: Database | None = None) -> Accounting:
    """Return the accounting for the settings. ``database`` replaces the configured one."""
    quotas, readers = _quotas(settings, clock, wall)
    address = ledger_address(settings, os.environ)
    if database is None and address is None:
        return Accounting(quotas, readers=readers)
    from chukei.adapters.ledger.object_writer import ObjectWriter  # imported only if there is a database

    database = database or database_for(address or "")
    ledger = settings.ledger
    spool = Path(ledger.spool) if ledger.spool is not None else spool_for(address) if address is not None else None
    writer = LedgerWriter(
        database,
        spool=spool,
        max_spool_bytes=ledger.max_spool_bytes,
        retention_days=ledger.retention_days,
        clock=clock,
    )
    return Accounting(quotas, database, writer, ObjectWriter(database), [*readers, writer.readings])


def _quotas(settings: Settings, clock: Clock, wall: Clock) -> tuple[QuotaStore, list[Reader]]:
    local = MemoryQuota(clock=clock, wall=wall)
    stores = settings.stores
    if stores.quota is None:
        return local, []
    # Imported only if it is configured, since hiredis may be missing otherwise.
    from chukei.accounts.quota_fallback import Away, QuotaFallback
    from chukei.adapters.redis.quota import RedisQuota

    shared = RedisQuota(stores.quota.reveal(), clock=clock, patience=stores.quota_seconds)
    store = QuotaFallback(shared, local, away=Away(stores.quota_away), replicas=stores.replicas)
    return store, [shared.readings]


def ledger_address(settings: Settings, environment: Mapping[str, str]) -> str | None:
    """Return the address of the ledger's database: the configured one, else a file in the user's state folder.

    Without configuration the ledger is optional. If the state folder cannot be written, as in a container with a
    read-only root, return None instead of failing.
    """
    stores = settings.stores
    if stores.ledger is not None:
        return stores.ledger.reveal()
    if not stores.ledger_by_default:
        return None
    try:
        folder = state_folder(environment)
    except RuntimeError:  # neither $HOME nor an entry in the system's list of users, as in some containers
        logger.info("there is no ledger: this user has no home folder; set stores.ledger for one")
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        logger.info("there is no ledger: %s cannot be made; set stores.ledger for one", folder)
        return None
    if not os.access(folder, os.W_OK):
        logger.info("there is no ledger: %s cannot be written to; set stores.ledger for one", folder)
        return None
    return f"sqlite:///{folder / 'ledger.db'}"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the state folder: systemd's, else that of the XDG Base Directory Specification.

    Raises:
        RuntimeError: the user's home folder is unknown.
    """
    given = environment.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = environment.get("XDG_STATE_HOME", "")
    # The specification says to ignore a relative path.
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state") / "chukei"
