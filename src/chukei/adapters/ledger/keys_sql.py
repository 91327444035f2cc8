"""SQL that finds callers' keys, for both databases.

A text is found in either case of letters by a pattern that has both forms of each letter. The databases' own
comparisons without case differ beyond ASCII: SQLite knows no such letters, and PostgreSQL those of its locale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chukei.accounts.ledger import KeySearch
from chukei.adapters.ledger.sql import text_of

_SEARCHED = "id || '\n' || caller || '\n' || coalesce(caller_group, '') || '\n' || coalesce(note, '')"

_STATES = {
    "revoked": "revoked IS NOT NULL",
    "unreadable": "revoked IS NULL AND NOT {readable}",
    "expired": "revoked IS NULL AND {readable} AND expires <= {now}",
    "active": "revoked IS NULL AND {readable} AND (expires IS NULL OR expires > {now})",
}
"""The rule of ``Key.state``."""


@dataclass(frozen=True, slots=True)
class KeyDialect:
    """What differs between the databases.

    ``mark`` returns the placeholder of the parameter with a number, from 1, ``moment`` a time as its column has it.
    ``readable`` is the condition that ``key_of`` can read a row. ``pattern`` writes what ``matches`` compares with.
    """

    mark: Callable[[int], str]
    moment: Callable[[datetime], object]
    readable: str
    matches: str
    pattern: Callable[[str], str]


def key_search_sql(search: KeySearch, dialect: KeyDialect) -> tuple[str, list[object]]:
    """Return the condition for the keys that a search wants, and its parameters."""
    values: list[object] = []

    def bound(value: object) -> str:
        values.append(value)
        return dialect.mark(len(values))

    where = ["TRUE"]
    for column, wanted in (("id", search.id), ("caller", search.caller)):
        if wanted is not None:
            where.append(f"{column} = {bound(text_of(wanted))}")
    if search.text:
        where.append(f"({_SEARCHED}) {dialect.matches} {bound(dialect.pattern(text_of(search.text)))}")
    if search.state is not None:
        condition = _STATES[search.state]
        now = bound(dialect.moment(search.now)) if "{now}" in condition else ""
        where.append(condition.format(readable=f"({dialect.readable})", now=now))
    return " AND ".join(where), values


def glob_of(text: str) -> str:
    """Return the pattern of SQLite's GLOB for texts that contain a text, in either case."""
    return f"*{''.join(_one_of(letter) or (f'[{letter}]' if letter in '*?[' else letter) for letter in text)}*"


def regex_of(text: str) -> str:
    """Return PostgreSQL's regular expression for texts that contain a text, in either case."""
    return "***:" + "".join(_one_of(letter) or (letter if letter.isalnum() else f"\\{letter}") for letter in text)


def _one_of(letter: str) -> str:
    """Return a class of the forms of a letter; nothing if it has one form only."""
    forms = {each for each in (letter, letter.lower(), letter.upper()) if len(each) == 1}
    return f"[{''.join(sorted(forms))}]" if len(forms) > 1 else ""
