"""Limits and groups that administrators set while relays run. They precede those of the configuration. Pure.

They are kept by subject, ``caller:NAME`` or ``group:NAME``. Each change is recorded, see ``changes``.
"""

from collections.abc import Mapping

import msgspec

from chukei.accounts.limits import Limit

MOST = 2**53
"""The highest limit; the configuration has the same bound."""


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is set for one subject. What is missing is as in the configuration.

    ``limits`` are those of each caller by itself, ``total`` those of a group's members together, by their names in the
    configuration; money is in micro-units. ``groups`` are the groups of a caller.
    """

    limits: dict[str, int] = {}
    total: dict[str, int] = {}
    groups: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.limits or self.total or self.groups is not None)


NOTHING = Override()


def read(text: str | None) -> Override:
    """Return what a row of the database says.

    Raises:
        ValueError: it says nothing that this relay understands.
    """
    if text is None:
        return NOTHING
    try:
        found = msgspec.json.decode(text, type=Override)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    for name, value in (*found.limits.items(), *found.total.items()):
        if name not in set(Limit) or not 0 <= value <= MOST:
            raise ValueError(f"{name[:40]!r} is no limit, or out of bounds")
    return found


def written(override: Override) -> str | None:
    """Return the text for the database; None removes the row."""
    return msgspec.json.encode(override, order="sorted").decode() if override else None


def merged(before: Mapping[str, int], changes: Mapping[str, int | None]) -> dict[str, int]:
    """Return limits after changes; None returns a limit to that of the configuration."""
    return {name: value for name, value in {**before, **changes}.items() if value is not None}
