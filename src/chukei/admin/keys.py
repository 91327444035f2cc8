"""Administrators' work on callers' keys: search, make, replace, revoke."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from msgspec import structs

from chukei.accounts.changes import Actor
from chukei.accounts.ledger import Key, KeySearch
from chukei.admin import schemas
from chukei.admin.query import number, only, skipped
from chukei.callers.registry import IssuedKey, KeyRegistry
from chukei.errors import CallerError

logger = logging.getLogger(__name__)

MOST_KEYS = 10_000
"""Keys in an answer, at most."""

STATES = ("active", "expired", "revoked", "unreadable")


class KeyDesk:
    """Finds and changes keys. ``now`` returns the time in UTC."""

    def __init__(self, registry: KeyRegistry, now: Callable[[], datetime]) -> None:
        self._registry = registry
        self._now = now

    async def find(self, query: Mapping[str, str]) -> schemas.Keys:
        """Return the keys in a state whose id, caller, group or note contains a text, the newest first.

        Raises:
            CallerError: 400 for a wrong parameter.
            StoreAway: the database is unavailable.
        """
        only(query, frozenset({"find", "state", "limit", "offset"}))
        state = query.get("state")
        if state is not None and state not in STATES:
            raise CallerError(400, "invalid_value", f"'state' must be one of {', '.join(STATES)}.", param="state")
        search = KeySearch(
            self._now(),
            text=query.get("find", "").strip(),
            state=state,
            limit=number(query, "limit", MOST_KEYS, MOST_KEYS),
            offset=skipped(query),
        )
        found, rows = await self._registry.find(search)
        return schemas.Keys([self._shown(key) for key in found], rows=rows)

    async def make(self, asked: schemas.NewKey, actor: Actor) -> schemas.MadeKey:
        """Make a key.

        Raises:
            CallerError: 400 for an invalid name, note or end.
            StoreAway: the database is unavailable.
        """
        made = await self._registry.create(
            asked.caller, actor=actor, group=asked.group, expires=asked.expires, note=asked.note or None
        )
        logger.info("an administrator (%s) made the key %s", actor.id, made.key.id)
        return self._made(made)

    async def replace(self, id: str, asked: schemas.Rotation, actor: Actor) -> schemas.MadeKey:
        """Make a key that replaces another.

        Raises:
            NoSuchKey: no key has this id.
            CallerError: 400 if the old key is not active, or for a wrong time.
            StoreAway: the database is unavailable.
        """
        most = schemas.MAX_OVERLAP.total_seconds()
        if not 0 <= asked.overlap_seconds <= most:
            message = f"'overlap_seconds' must be from 0 to {most:.0f}."
            raise CallerError(400, "invalid_value", message, param="overlap_seconds")
        made = await self._registry.rotate(id, actor=actor, overlap=timedelta(seconds=asked.overlap_seconds))
        logger.info("an administrator (%s) replaced the key %s by %s", actor.id, id, made.key.id)
        return self._made(made)

    async def revoke(self, id: str, actor: Actor) -> schemas.Revoked:
        """End a key now.

        Raises:
            NoSuchKey: no key has this id.
            StoreAway: the database is unavailable.
        """
        await self._registry.revoke(id, actor=actor)
        logger.info("an administrator (%s) revoked the key %s", actor.id, id)
        return schemas.Revoked(id, "revoked")

    def _made(self, made: IssuedKey) -> schemas.MadeKey:
        return schemas.MadeKey(**structs.asdict(self._shown(made.key)), key=made.new.text.reveal())

    def _shown(self, key: Key) -> schemas.Key:
        return schemas.Key.of(key, self._now())
