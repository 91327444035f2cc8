"""SQL that both databases share: administrators' rules, and the record of what administrators change."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from chukei.accounts.changes import Action, Actor, Change
from chukei.adapters.ledger.sql import text_of

RULES = "SELECT subject, rules FROM chukei_rules"
# Each change of rules has a record, and they are made one after another. Other changes may be recorded out of order.
RULES_MARK = f"SELECT max(number) FROM chukei_changes WHERE action = '{Action.RULES}'"  # noqa: S608

_COLUMNS = "time, actor, actor_name, action, subject, before, after"
CHANGES = f"SELECT number, {_COLUMNS} FROM chukei_changes"  # noqa: S608
ADD_CHANGE = f"INSERT INTO chukei_changes ({_COLUMNS}) VALUES ({{}}, {{}}, {{}}, {{}}, {{}}, {{}}, {{}})"  # noqa: S608
COUNT_DELETED = "UPDATE chukei_changes SET after = {} WHERE number = {}"

MAX_NAME = 128
"""Characters of an administrator's name that are recorded."""


def values_of(change: Change, moment: Callable[[datetime], Any]) -> tuple[Any, ...]:
    """Return the values for ``ADD_CHANGE``."""
    name = change.actor.name
    return (
        moment(change.time),
        text_of(change.actor.id),
        text_of(name)[:MAX_NAME] if name is not None else None,
        change.action,
        text_of(change.subject),
        change.before,
        change.after,
    )


def change_of(row: Any, moment: Callable[[Any], datetime]) -> Change:
    """Return the change of a row of ``CHANGES``."""
    number, time, actor, name, action, subject, before, after = row
    return Change(action, subject, Actor(actor, name), moment(time), before, after, number)


def deleted(count: int) -> str:
    """Return what a record of a deletion says of the state after it."""
    return f'{{"deleted":{count}}}'
