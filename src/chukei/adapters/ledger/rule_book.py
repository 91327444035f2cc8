"""What administrators have set, in memory: a copy of the database's rules, checked every two seconds.

No request waits for the database. A change is known to every replica after ``REFRESH_SECONDS`` and two queries with a
time limit of ``READ_SECONDS`` each: after four seconds in most cases, six at most. While the database is unavailable
the copy stays in use. Until the first copy is read, the configuration's own limits apply.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from chukei.accounts.overrides import Override, read
from chukei.accounts.stores import Database, StoreAway

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
READ_SECONDS = 2.0

Heard = Callable[[Mapping[str, Override]], None]


class RuleBook:
    """Follows the rules of a database, and passes them on when they have changed."""

    def __init__(self, database: Database, *, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._database = database
        self._refresh_seconds = refresh_seconds
        self._known: Mapping[str, Override] = {}
        self._mark: str | None = None
        self._reads = 0
        self._newest = 0  # of the reads whose rules are known
        self._heard: Heard | None = None
        self._away = False
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def listen(self, heard: Heard) -> None:
        """Pass the rules to ``heard`` from now on, in place of the listener before, and at once."""
        self._heard = heard
        heard(self._known)

    def start(self) -> None:
        """Start to follow in the background."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _follow(self) -> None:
        while True:
            self._wake.clear()
            await self.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_seconds):
                    await self._wake.wait()

    def soon(self, _: bytes = b"") -> bytes:
        """Read now, in the background: another worker, which asks this, has changed the rules."""
        self._wake.set()
        return b""

    async def refresh(self) -> None:
        """Read once; never raises. Of two reads at a time, the one that began later is right."""
        self._reads += 1
        number = self._reads
        try:
            async with asyncio.timeout(READ_SECONDS):
                mark = await self._database.rules_mark()  # first, so that a change in between is seen the next time
            if mark != self._mark:
                async with asyncio.timeout(READ_SECONDS):
                    found = await self._database.rules()
                if number > self._newest:
                    self._known, self._mark, self._newest = _read(found), mark, number
                    if self._heard is not None:
                        self._heard(self._known)
        except (StoreAway, TimeoutError) as error:
            if not self._away:
                reason = error if isinstance(error, StoreAway) else f"no answer within {READ_SECONDS:g} seconds"
                logger.warning("administrators' limits cannot be read, those known stay in use: %s", reason)
            self._away = True
        except Exception:  # unexpected, but the next read may succeed
            logger.exception("administrators' limits cannot be read")
        else:
            self._away = False

    def __repr__(self) -> str:
        return f"<RuleBook {len(self._known)} subjects>"


def _read(found: Mapping[str, str]) -> dict[str, Override]:
    """Return the rules; those that another program wrote and that make no sense are logged and left out."""
    rules = {}
    for subject, text in found.items():
        try:
            rules[subject] = read(text)
        except ValueError as error:
            logger.error("what is set for %r is ignored: %s", subject[:140], error)  # noqa: TRY400 - a foreign value
    return rules
