"""The record of what administrators change: keys, rules, deletions, levels of the log, the configuration. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Action(StrEnum):
    """What was done."""

    RULES = "rules"
    KEY_MADE = "key_made"
    KEY_REPLACED = "key_replaced"
    KEY_REVOKED = "key_revoked"
    ENTRIES_DELETED = "entries_deleted"
    LOG_LEVEL = "log_level"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something. ``id`` stays the same for ever; ``name`` is what people call them, if it is known."""

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``before`` and ``after`` are JSON without secrets; None is nothing.

    ``subject`` is what was changed, such as ``key:ID`` or ``caller:NAME``. ``number`` is given by the database, in
    ascending order; 0 is a change that is not recorded yet.
    """

    action: str
    subject: str
    actor: Actor
    time: datetime
    before: str | None = None
    after: str | None = None
    number: int = 0
