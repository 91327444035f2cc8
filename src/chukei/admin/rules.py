"""Limits and groups that administrators set, and the record of their changes."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from decimal import Decimal

from msgspec import UNSET, UnsetType

from chukei.accounts.limits import MICRO, Limit
from chukei.accounts.overrides import MOST, NOTHING, Override, RuleChange, merged, read, written
from chukei.accounts.policy import EVERYBODY
from chukei.accounts.stores import Database
from chukei.admin import schemas
from chukei.callers.registry import check_name
from chukei.errors import CallerError

logger = logging.getLogger(__name__)

MOST_CHANGES = 1000
"""Changes in an answer, at most; the newest."""

MOST_MONEY = 1e9
"""The highest limit of money; the configuration has the same bound."""


class RuleDesk:
    """Reads and changes rules. ``groups`` are those of the configuration; ``changed`` applies a change here at once.

    ``actor`` names the administrator in the record.
    """

    def __init__(
        self,
        database: Database,
        groups: Collection[str],
        now: Callable[[], datetime],
        *,
        actor: str,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._groups = groups
        self._now = now
        self._actor = actor
        self._changed = changed

    async def all(self) -> schemas.Rules:
        """Return all rules by subject.

        Raises:
            StoreAway: the database is unavailable.
        """
        found = await self._database.rules()
        return schemas.Rules([_shown(subject, _lenient(found[subject])) for subject in sorted(found)])

    async def change(self, asked: schemas.RuleChange) -> schemas.Rule:
        """Change the rules of one subject, and record that.

        Raises:
            CallerError: 400 for an invalid name, limit or group.
            StoreAway: the database is unavailable.
        """
        kind, _, name = asked.subject.partition(":")
        if kind not in ("caller", "group"):
            raise _invalid("'subject' must be caller:NAME or group:NAME.", "subject")
        check_name(name, "subject")
        self._check(kind, name, asked)
        limits, total = _limits(asked.limits, "limits"), _limits(asked.total, "total")

        def merge(text: str | None) -> str | None:
            before = _lenient(text)
            groups = before.groups if isinstance(asked.groups, UnsetType) else asked.groups
            return written(
                Override(
                    limits=merged(before.limits, limits),
                    total=merged(before.total, total),
                    groups=tuple(groups) if groups is not None else None,
                )
            )

        made = await self._database.change_rules(asked.subject, merge, actor=self._actor, time=self._now())
        await self._changed()
        logger.info("an administrator (%s) changed the limits or groups of %s", self._actor, asked.subject)
        return _shown(asked.subject, _lenient(made.after))

    def _check(self, kind: str, name: str, asked: schemas.RuleChange) -> None:
        known = {*self._groups, EVERYBODY}
        if kind == "group" and name not in known:
            raise _invalid(f"There is no [groups.{name}] in the configuration.", "subject")
        if kind == "group" and asked.groups is not UNSET:
            raise _invalid("'groups' are for callers.", "groups")
        if kind == "caller" and asked.total is not UNSET:
            raise _invalid("'total' is for groups.", "total")
        for group in asked.groups or ():
            if group not in known:
                raise _invalid(f"There is no [groups.{group[:80]}] in the configuration.", "groups")

    async def changes(self) -> schemas.RuleChanges:
        """Return the latest changes, the newest first.

        Raises:
            StoreAway: the database is unavailable.
        """
        return schemas.RuleChanges([_recorded(each) for each in await self._database.rule_changes(MOST_CHANGES)])


def _limits(asked: Mapping[str, float | None] | UnsetType, param: str) -> dict[str, int | None]:
    """Return limits as they are stored.

    Raises:
        CallerError: 400 for an unknown name or a number out of bounds.
    """
    found: dict[str, int | None] = {}
    for name, value in ({} if isinstance(asked, UnsetType) else asked).items():
        if name not in set(Limit):
            raise _invalid(f"{name[:80]!r} is no limit; known are {', '.join(Limit)}.", param)
        money = name == Limit.MONEY_PER_MONTH
        if value is not None and not (0 <= value <= (MOST_MONEY if money else MOST)):
            raise _invalid(f"{name} is out of bounds.", param)
        if value is None:
            found[name] = None
        elif money:
            found[name] = int(Decimal(repr(value)) * MICRO)
        elif value != int(value):
            raise _invalid(f"{name} must be a whole number.", param)
        else:
            found[name] = int(value)
    return found


def _lenient(text: str | None) -> Override:
    try:
        return read(text)
    except ValueError:  # another program wrote it; the relays ignore it too
        return NOTHING


def _shown(subject: str, rules: Override) -> schemas.Rule:
    return schemas.Rule(
        subject=subject,
        limits=_in_units(rules.limits),
        total=_in_units(rules.total),
        groups=list(rules.groups) if rules.groups is not None else None,
    )


def _in_units(limits: Mapping[str, int]) -> dict[str, float]:
    return {name: value / MICRO if name == Limit.MONEY_PER_MONTH else value for name, value in limits.items()}


def _recorded(change: RuleChange) -> schemas.RecordedChange:
    before, after = (_shown(change.subject, _lenient(text)) for text in (change.before, change.after))
    return schemas.RecordedChange(change.number, change.time, change.actor, change.subject, before, after)


def _invalid(message: str, param: str) -> CallerError:
    return CallerError(400, "invalid_value", message, param=param)
