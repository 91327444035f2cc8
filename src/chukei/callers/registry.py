"""Administration of callers' keys, for the command line and the admin API."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chukei.accounts.ledger import Key
from chukei.accounts.stores import Database
from chukei.callers.keys import NewKey, Peppers, make
from chukei.errors import CallerError

MAX_NAME = 128
"""Characters in a caller's or a group's name."""


_NAME = re.compile(r"[\w.:/@+ -]{1,128}")  # as in the configuration, so that it can have rules for the name

RESERVED = frozenset({"anonymous", "local", "shared-key"})
"""Names of callers without a key of their own."""

SIGNED_IN = ("user:", "app:")
"""Prefixes of callers' names that come from Entra ID or App Service. No key may have such a name: it would share the
caller's quota account."""


LATEST = datetime.max.replace(tzinfo=UTC)
"""The latest end of a key: neither Python's dates nor JavaScript's date format have a later year."""


class NoSuchKey(LookupError):
    """No key has this id."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key: its text, which is shown once, and its row in the database."""

    new: NewKey
    key: Key


class KeyRegistry:
    """Creates, lists, rotates and revokes keys.

    ``now`` returns the time in UTC. ``groups`` are the configured groups, or None if they are not known.
    """

    def __init__(
        self,
        database: Database,
        peppers: Peppers,
        now: Callable[[], datetime],
        *,
        groups: Collection[str] | None = None,
    ) -> None:
        self._groups = groups
        self._database = database
        self._peppers = peppers
        self._now = now

    async def create(
        self, caller: str, *, group: str | None = None, expires: datetime | None = None, note: str | None = None
    ) -> IssuedKey:
        """Create a key for a caller.

        Raises:
            CallerError: 400 for an invalid name or note, an unknown group, or an end in the past.
            StoreAway: the database is unavailable.
        """
        check_name(caller, "caller")
        if caller in RESERVED or caller.startswith(SIGNED_IN):
            message = "That name stands for callers who are recognised in another way; choose a different one."
            raise CallerError(400, "invalid_value", message, param="caller")
        if group is not None:
            check_name(group, "group")
        if group is not None and self._groups is not None and group not in self._groups:
            known = f"those that there are: {', '.join(self._groups)}" if self._groups else "it has no groups"
            message = f"There is no [groups.{group}] in the configuration; {known}."
            raise CallerError(400, "invalid_value", message, param="group")
        if note is not None and not note.isprintable():
            raise CallerError(400, "invalid_value", "The note must be one line of printable characters.", param="note")
        expires = _in_utc(expires) if expires is not None else None
        if expires is not None and expires <= self._now():
            raise CallerError(400, "invalid_value", "The key would expire before it is made.", param="expires")
        return await self._make(caller, group, expires, note)

    async def _make(self, caller: str, group: str | None, expires: datetime | None, note: str | None) -> IssuedKey:
        new = make()
        digest, pepper = self._peppers.key_digest(new)
        key = Key(new.id, caller, group, digest, pepper, self._now(), expires, None, note)
        await self._database.add_key(key)
        return IssuedKey(new, key)

    async def all(self) -> list[Key]:
        """Return all keys, newest first.

        Raises:
            StoreAway: the database is unavailable.
        """
        return sorted(await self._database.keys(), key=lambda key: key.created, reverse=True)

    async def rotate(self, id: str, *, overlap: timedelta) -> IssuedKey:
        """Create a key that replaces another. The old key stays valid for ``overlap``.

        Raises:
            NoSuchKey: no key has this id.
            CallerError: 400 if the old key is not active.
            StoreAway: the database is unavailable.
        """
        old = next((key for key in await self._database.keys() if key.id == id), None)
        if old is None:
            raise NoSuchKey(id)
        now = self._now()
        if old.state(now) != "active":
            why = "cannot be read" if old.unreadable else "has ended"
            raise CallerError(400, "key_has_ended", f"This key {why}; make a new one instead.", param="id")
        expires = _later(now, old.expires - old.created) if old.expires is not None else None
        # The names were checked when the old key was created; its group may be missing in the configuration by now.
        made = await self._make(old.caller, old.group, expires, old.note)
        ends = _later(now, overlap)
        await self._database.end_key(
            id, expires=min(ends, old.expires) if old.expires is not None else ends, revoked=None
        )
        return made

    async def revoke(self, id: str) -> None:
        """Revoke a key now. Running relays refuse it within seconds.

        Raises:
            NoSuchKey: no key has this id.
            StoreAway: the database is unavailable.
        """
        key = next((key for key in await self._database.keys() if key.id == id), None)
        if key is None or not await self._database.end_key(id, expires=key.expires, revoked=key.revoked or self._now()):
            raise NoSuchKey(id)


def _in_utc(moment: datetime) -> datetime:
    """Convert a time to UTC, as the database and reports have it.

    Raises:
        CallerError: 400 for a time without a zone, or outside the years 1 to 9999 of UTC.
    """
    try:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        message = "The end of a key needs a time zone, such as Z."
    except OverflowError:
        message = "The end of a key must be within the years 1 to 9999 of UTC; leave it out for a key without an end."
    raise CallerError(400, "invalid_value", message, param="expires")


def _later(now: datetime, span: timedelta) -> datetime:
    return now + min(span, LATEST - now)


def check_name(name: str, what: str) -> None:
    """Refuse a name that would be unsafe in a log line, a table or a header.

    Raises:
        CallerError: 400.
    """
    if not _NAME.fullmatch(name) or name != name.strip():
        message = (
            f"The {what}'s name must have 1 to {MAX_NAME} letters, digits, spaces and . : / @ _ + -, "
            "without spaces around it."
        )
        raise CallerError(400, "invalid_value", message, param=what)
