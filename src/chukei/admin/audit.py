"""The record of what administrators change: every key, rule, deletion, level of the log and reload."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec import structs

from chukei.accounts.changes import Action, Actor, Change
from chukei.accounts.stores import Database, StoreAway
from chukei.admin import rules, schemas
from chukei.admin.query import number, only

logger = logging.getLogger(__name__)

MOST_CHANGES = 1000
"""Changes in an answer, at most."""

LARGEST_NUMBER = 2**63 - 1


class AuditTrail:
    """Reads the record, and adds what the database does not record together with the change itself."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def change(self, action: Action, subject: str, actor: Actor) -> Change:
        """Return a change for the database to record."""
        return Change(action, subject, actor, self._now())

    async def record(
        self,
        action: Action,
        subject: str,
        actor: Actor,
        after: Mapping[str, object],
        before: Mapping[str, object] | None = None,
    ) -> None:
        """Record a change that is done already. While the database is unavailable only the log has it."""
        old = json.dumps(before) if before is not None else None
        change = Change(action, subject, actor, self._now(), old, json.dumps(after))
        try:
            await self._database.record(change)
        except StoreAway as error:
            logger.warning("a change could not be recorded: %s of %s by %s: %s", action.value, subject, actor.id, error)

    async def changes(self, query: Mapping[str, str]) -> schemas.Changes:
        """Return the latest changes, the newest first.

        Raises:
            CallerError: 400 for a wrong parameter.
            StoreAway: the database is unavailable.
        """
        only(query, frozenset({"limit", "before"}))
        limit = number(query, "limit", 100, MOST_CHANGES)
        before = number(query, "before", LARGEST_NUMBER, LARGEST_NUMBER)
        found = await self._database.changes(limit + 1, before)
        return schemas.Changes([_shown(each) for each in found[:limit]], more=len(found) > limit)


def _shown(change: Change) -> schemas.RecordedChange:
    states = [_state(change, text) for text in (change.before, change.after)]
    return schemas.RecordedChange(
        number=change.number,
        time=change.time,
        actor=change.actor.id,
        name=change.actor.name,
        action=change.action,
        subject=change.subject,
        before=states[0],
        after=states[1],
    )


def _state(change: Change, text: str | None) -> dict[str, Any] | None:
    """Return what was before or after a change; nothing where another program wrote what is no object."""
    if change.action == Action.RULES:
        return structs.asdict(rules.shown_rule(change.subject, rules.lenient(text)))
    try:
        found = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
