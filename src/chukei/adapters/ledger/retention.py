"""Deletes entries of the ledger that are older than the retention."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from chukei.accounts.stores import Database, StoreAway

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
"""Seconds between two deletions."""


async def sweep(database: Database, days: float, now: Callable[[], datetime], seconds: float = SWEEP_SECONDS) -> None:
    """Delete entries older than so many days, again and again, until cancelled."""
    while True:
        try:
            count = await database.forget(before=now() - timedelta(days=days))
        except StoreAway as error:
            logger.warning("old entries of the ledger were not deleted: %s", error)
        else:
            if count:
                logger.info("%d entries of the ledger were older than %g days", count, days)
        await asyncio.sleep(seconds)
