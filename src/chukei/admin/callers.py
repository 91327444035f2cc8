"""Callers as administrators see them: found by name, with their usage, groups, limits and keys."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from chukei.accounts.admission import Admission
from chukei.accounts.ledger import By, Key, KeySearch, Question, Seen, Sum
from chukei.accounts.own_usage import limits_left
from chukei.accounts.policy import Policies
from chukei.accounts.reports import fields_of, total
from chukei.accounts.stores import Database
from chukei.admin import schemas
from chukei.admin.rules import shown_rule
from chukei.config import CallerSettings
from chukei.errors import CallerError
from chukei.model import Caller, CallerKind

FEW = 100
"""Callers up to which the ledger is asked about these alone, by its index of callers."""

LAST_REQUEST = "last request"
"""The source of a group that is known only from the caller's latest entry, as for callers with access tokens."""

_NONE = total((), 1)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CallerDesk:
    """Answers what administrators ask about callers. ``configured`` are the callers of the configuration.

    ``now`` returns UTC. Limits are those that hold in this process, and what is left is as this process counts it.
    """

    database: Database
    policies: Policies
    admission: Admission
    configured: Mapping[str, CallerSettings]
    currency: str | None
    now: Callable[[], datetime]

    async def find(self, text: str, since: datetime | None, wanted: range) -> schemas.Callers:
        """Return the ``wanted`` ones of the callers whose names contain a text, in either case of letters.

        Those with most tokens come first.

        Raises:
            StoreAway: the database is unavailable.
        """
        seen = {each.caller: each for each in await self.database.seen()}
        keys = _by_caller(await self.database.keys())
        part = text.casefold()
        known = {*seen, *keys, *self.configured, *self.policies.named_callers}
        names = [name for name in known if part in name.casefold()]
        few = tuple(names) if len(names) <= FEW else None
        rows = await self.database.sum(Question(by=(By.CALLER,), since=since, callers=few))
        sums = {row.names[0]: row for row in rows}

        def rank(name: str) -> tuple[object, ...]:
            used, latest = sums.get(name, _NONE), seen.get(name)
            time = latest.time if latest is not None else _NEVER
            return (-(used.input + used.output), -used.requests, -time.timestamp() if time > _NEVER else 0, name)

        names.sort(key=rank)
        page = names[wanted.start : wanted.stop]
        shown = [self._row(name, sums.get(name, _NONE), keys.get(name, ()), seen.get(name)) for name in page]
        return schemas.Callers(since.isoformat() if since is not None else None, self.currency, len(names), shown)

    async def one(self, name: str) -> schemas.Caller:
        """Return what is known of one caller.

        Raises:
            CallerError: 404 for a name that neither the ledger, the keys, the configuration nor the database has.
            StoreAway: the database is unavailable.
            Unavailable: 503 while the quota store is unavailable.
        """
        seen = next(iter(await self.database.seen(name)), None)
        keys, _ = await self.database.find_keys(KeySearch(self.now(), caller=name))
        if not (seen or keys or name in self.configured or name in self.policies.named_callers):
            raise CallerError(404, "caller_not_found", "No caller with this name is known.", param="caller")
        memberships = []
        for groups, sources in self._memberships(name, keys, seen).items():
            policy = self.policies.of(Caller(name, CallerKind.KEY, groups))
            limits = msgspec.convert(await limits_left(self.admission, policy), list[schemas.LimitLeft])
            memberships.append(schemas.Membership(list(groups), sources, limits))
        return schemas.Caller(
            caller=name,
            last_seen=seen.time if seen is not None else None,
            currency=self.currency,
            memberships=memberships,
            rule=shown_rule(f"caller:{name}", self.policies.set_for(f"caller:{name}")),
            keys=[schemas.Key.of(key, self.now()) for key in keys],
        )

    def _row(self, name: str, used: Sum, keys: Iterable[Key], seen: Seen | None) -> schemas.CallerRow:
        groups = dict.fromkeys(group for groups in self._memberships(name, keys, seen) for group in groups)
        figures = fields_of(used, (By.CALLER,)) | {"caller": name}
        known = {"groups": list(groups), "last_seen": seen.time if seen is not None else None}
        return msgspec.convert(figures | known, schemas.CallerRow)

    def _memberships(self, name: str, keys: Iterable[Key], seen: Seen | None) -> dict[tuple[str, ...], list[str]]:
        """Return the sources of each combination of groups that the caller may come with; most have one."""
        own = self.policies.set_for(f"caller:{name}").groups
        if own is not None:
            return {own: [f"database: callers.{name}.groups"]}
        found: dict[tuple[str, ...], list[str]] = {}
        configured = self.configured.get(name)
        if configured is not None and configured.key_sha256 is not None:
            found[configured.groups] = [f"callers.{name}.groups"]
        for key in keys:
            if key.state(self.now()) == "active":
                found.setdefault(_groups(key.group), []).append(f"key {key.id}")
        if not found:
            found[_groups(seen.group if seen is not None else None)] = [LAST_REQUEST] if seen is not None else []
        return found


def _by_caller(keys: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key.caller, []).append(key)
    return found


def _groups(group: str | None) -> tuple[str, ...]:
    return (group,) if group is not None else ()
