"""Limits and groups that administrators set."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from decimal import Decimal

from msgspec import UNSET, UnsetType

from chukei.accounts.changes import Actor
from chukei.accounts.limits import MICRO, Limit
from chukei.accounts.overrides import MOST, NOTHING, Override, merged, read, written
from chukei.accounts.policy import EVERYBODY
from chukei.accounts.stores import Database
from chukei.admin import schemas
from chukei.callers.registry import check_name
from chukei.errors import CallerError

logger = logging.getLogger(__name__)

MOST_MONEY = 1e9
"""The highest limit of money; the configuration has the same bound."""


class _NothingChanged(Exception):
    """Ends the transaction of a change that changes nothing."""


class RuleDesk:
    """Reads and changes rules. ``groups`` are those of the configuration; ``changed`` applies a change here at once."""

    def __init__(
        self,
        database: Database,
        groups: Collection[str],
        now: Callable[[], datetime],
        *,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._groups = groups
        self._now = now
        self._changed = changed

    async def all(self) -> schemas.Rules:
        """Return all rules by subject.

        Raises:
            StoreAway: the database is unavailable.
        """
        found = await self._database.rules()
        return schemas.Rules([shown_rule(subject, lenient(found[subject])) for subject in sorted(found)])

    async def change(self, asked: schemas.RuleChange, actor: Actor) -> schemas.Rule:
        """Change the rules of one subject, and record that. What is so already changes nothing, and is not recorded.

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

        after = NOTHING

        def merge(text: str | None) -> str | None:
            nonlocal after
            before = lenient(text)
            groups = before.groups if isinstance(asked.groups, UnsetType) else asked.groups
            after = Override(
                limits=merged(before.limits, limits),
                total=merged(before.total, total),
                groups=tuple(groups) if groups is not None else None,
            )
            made = written(after)
            if made == text:
                raise _NothingChanged
            return made

        try:
            await self._database.change_rules(asked.subject, merge, actor=actor, time=self._now())
        except _NothingChanged:
            return shown_rule(asked.subject, after)
        await self._changed()
        logger.info("an administrator (%s) changed the limits or groups of %s", actor.id, asked.subject)
        return shown_rule(asked.subject, after)

    def _check(self, kind: str, name: str, asked: schemas.RuleChange) -> None:
        known = {*self._groups, EVERYBODY}
        if kind == "group" and name not in known:
            raise _invalid(f"There is no [groups.{name}] in the configuration.", "subject")
        if kind == "group" and asked.groups is not UNSET:
            raise _invalid("'groups' are for callers.", "groups")
        if kind == "caller" and asked.total is not UNSET:
            raise _invalid("'total' is for groups.", "total")
        for place, group in enumerate(asked.groups or ()):
            if group == EVERYBODY:
                raise _invalid(f"All callers are in {EVERYBODY}, after their other groups: leave it out.", "groups")
            if group not in known:
                raise _invalid(f"There is no [groups.{group[:80]}] in the configuration.", "groups")
            if group in (asked.groups or ())[:place]:
                raise _invalid(
                    f"The group {group} is given twice; its place says which of several limits holds.", "groups"
                )


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
            if value > 0 and found[name] == 0:  # would refuse every request
                raise _invalid(f"{name} must be 0, or a millionth or more.", param)
        elif value != int(value):
            raise _invalid(f"{name} must be a whole number.", param)
        else:
            found[name] = int(value)
    return found


def lenient(text: str | None) -> Override:
    """Return what a row of the database says; nothing where that makes no sense."""
    try:
        return read(text)
    except ValueError:  # another program wrote it; the relays ignore it too
        return NOTHING


def shown_rule(subject: str, rules: Override) -> schemas.Rule:
    """Return what is set for a subject as JSON shows it."""
    return schemas.Rule(
        subject=subject,
        limits=in_units(rules.limits),
        total=in_units(rules.total),
        groups=list(rules.groups) if rules.groups is not None else None,
    )


def in_units(limits: Mapping[str, int]) -> dict[str, float]:
    """Return limits with money in units of currency."""
    return {name: value / MICRO if name == Limit.MONEY_PER_MONTH else value for name, value in limits.items()}


def _invalid(message: str, param: str) -> CallerError:
    return CallerError(400, "invalid_value", message, param=param)
