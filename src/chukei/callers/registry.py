"""Administration of callers' keys, for the command line and the admin API."""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from chukei.accounts.changes import Action, Actor, Change
from chukei.accounts.ledger import Key, KeySearch
from chukei.accounts.stores import Database
from chukei.callers.keys import NewKey, Peppers, make
from chukei.errors import CallerError

MAX_NAME = 128
"""Characters in a caller's or a group's name."""

MAX_NOTE = 200
"""Characters in a key's note."""

_NAME = re.compile(r"[\w.:/@+ -]{1,128}")  # as in the configuration, so that it can have rules for the name
_DOTS = frozenset({".", ".."})  # browsers and proxies remove them from a path

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
    """Creates, lists, rotates and revokes keys, and records who did.

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
        self,
        caller: str,
        *,
        actor: Actor,
        group: str | None = None,
        expires: datetime | None = None,
        note: str | None = None,
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
        if note is not None and len(note) > MAX_NOTE:
            message = f"The note has {len(note)} characters; {MAX_NOTE} are the most."
            raise CallerError(400, "invalid_value", message, param="note")
        if note is not None and not note.isprintable():
            raise CallerError(400, "invalid_value", "The note must be one line of printable characters.", param="note")
        expires = _in_utc(expires) if expires is not None else None
        if expires is not None and expires <= self._now():
            raise CallerError(400, "invalid_value", "The key would expire before it is made.", param="expires")
        made = self._made(caller, group, expires, note)
        change = self._change(Action.KEY_MADE, made.key.id, actor, after=_shown(made.key))
        await self._database.add_key(made.key, change=change)
        return made

    def _made(self, caller: str, group: str | None, expires: datetime | None, note: str | None) -> IssuedKey:
        new = make()
        digest, pepper = self._peppers.key_digest(new)
        return IssuedKey(new, Key(new.id, caller, group, digest, pepper, self._now(), expires, None, note))

    def _change(
        self,
        action: Action,
        id: str,
        actor: Actor,
        *,
        before: dict[str, str | None] | None = None,
        after: dict[str, str | None],
    ) -> Change:
        old = json.dumps(before) if before is not None else None
        return Change(action, f"key:{id}", actor, self._now(), old, json.dumps(after))

    async def all(self) -> list[Key]:
        """Return all keys, newest first.

        Raises:
            StoreAway: the database is unavailable.
        """
        return sorted(await self._database.keys(), key=lambda key: key.created, reverse=True)

    async def find(self, search: KeySearch) -> tuple[list[Key], int]:
        """Return the keys that a search wants, and how many there are without its ``limit`` and ``offset``.

        Raises:
            StoreAway: the database is unavailable.
        """
        return await self._database.find_keys(search)

    async def _one(self, id: str) -> Key:
        found, _ = await self._database.find_keys(KeySearch(self._now(), id=id))
        if not found:
            raise NoSuchKey(id)
        return found[0]

    async def rotate(self, id: str, *, actor: Actor, overlap: timedelta) -> IssuedKey:
        """Create a key that replaces another. The old key stays valid for ``overlap``.

        Raises:
            NoSuchKey: no key has this id.
            CallerError: 400 if the old key is not active.
            StoreAway: the database is unavailable.
        """
        old = await self._one(id)
        now = self._now()
        if old.state(now) != "active":
            why = "cannot be read" if old.unreadable else "has ended"
            raise CallerError(400, "key_has_ended", f"This key {why}; make a new one instead.", param="id")
        expires = _later(now, old.expires - old.created) if old.expires is not None else None
        # The names were checked when the old key was created; its group may be missing in the configuration by now.
        made = self._made(old.caller, old.group, expires, old.note)
        ends = _later(now, overlap)
        ends = min(ends, old.expires) if old.expires is not None else ends
        after = _shown(replace(old, expires=ends)) | {"replaced_by": made.key.id}
        change = self._change(Action.KEY_REPLACED, id, actor, before=_shown(old), after=after)
        await self._database.add_key(made.key, replaces=(id, ends), change=change)
        return made

    async def revoke(self, id: str, *, actor: Actor) -> None:
        """Revoke a key now. Running relays refuse it within seconds. A second time changes nothing.

        Raises:
            NoSuchKey: no key has this id.
            StoreAway: the database is unavailable.
        """
        key = await self._one(id)
        if key.revoked is not None:
            return
        now = self._now()
        after = _shown(key) | {"revoked": now.isoformat()}
        change = self._change(Action.KEY_REVOKED, id, actor, before=_shown(key), after=after)
        if not await self._database.end_key(id, expires=key.expires, revoked=now, change=change):
            raise NoSuchKey(id)


def _shown(key: Key) -> dict[str, str | None]:
    """Return what the record of a change shows of a key."""
    expires = key.expires.isoformat() if key.expires is not None else None
    return {"caller": key.caller, "group": key.group, "expires": expires, "note": key.note}


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
    """Refuse a name that would be unsafe in a log line, a table, a header or the path of an address.

    Raises:
        CallerError: 400.
    """
    if not _NAME.fullmatch(name) or name != name.strip() or name in _DOTS:
        message = (
            f"The {what}'s name must have 1 to {MAX_NAME} letters, digits, spaces and . : / @ _ + -, "
            "without spaces around it, and be neither . nor .."
        )
        raise CallerError(400, "invalid_value", message, param=what)
