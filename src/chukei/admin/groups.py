"""The configured groups as administrators see them: the limits of their members, and what is left of their totals."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, fields

import msgspec

from chukei.accounts.admission import Admission
from chukei.accounts.limits import Limits
from chukei.accounts.own_usage import limits_left
from chukei.accounts.policy import EVERYBODY, Policies
from chukei.admin import schemas
from chukei.admin.rules import in_units, shown_rule


@dataclass(frozen=True, slots=True)
class GroupDesk:
    """Answers what administrators ask about groups. ``names`` are those of the configuration."""

    names: Iterable[str]
    policies: Policies
    admission: Admission
    currency: str | None

    async def all(self) -> schemas.Groups:
        """Return all groups in the order of the configuration; ``everybody``, to which all belong, is the last.

        Raises:
            Unavailable: 503 while the quota store is unavailable.
        """
        names = [*(name for name in self.names if name != EVERYBODY), EVERYBODY]
        return schemas.Groups(self.currency, await asyncio.gather(*map(self._group, names)))

    async def _group(self, name: str) -> schemas.Group:
        policy = self.policies.of_group(name)
        given = {each.name: getattr(policy.rules.limits, each.name) for each in fields(Limits)}
        limits = in_units({limit: most for limit, most in given.items() if most is not None})
        total = await limits_left(self.admission, policy)
        return schemas.Group(
            group=name,
            limits=[schemas.LimitSet(limit, most, policy.where[limit]) for limit, most in limits.items()],
            total=msgspec.convert(total, list[schemas.LimitLeft]),
            rule=shown_rule(f"group:{name}", self.policies.set_for(f"group:{name}")),
        )
