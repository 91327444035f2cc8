"""A caller's policy: its own rules, those of its groups and those of everybody, the most specific first. Pure.

Each rule is looked up separately: in the caller's own table, then in those of its groups in the order of the
configuration, then in ``groups.everybody``, to which all belong. The first table that sets the rule decides. Each limit
is looked up in the same way. A group's ``total`` is an account that its members share.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from chukei.accounts.limits import Limit, Limits, Rules, Subject
from chukei.accounts.objects import owner_of, owner_of_group
from chukei.accounts.overrides import NOTHING, Override
from chukei.azure import ANY_OUTPUT_LIMIT
from chukei.errors import CallerError
from chukei.model import Caller, CallerKind, Model

EVERYBODY = "everybody"
"""The group to which every caller belongs."""

OF_ALL = owner_of_group(EVERYBODY)
"""The owner of what all callers may use: files and the like that were not made through the relay."""

MOST_RESOLVED = 10_000
"""Policies cached at most; beyond that the cache is cleared."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for one caller. ``subjects`` are the accounts to which its requests are charged.

    ``where`` maps a rule's name to its place in the configuration; ``place_of`` has the places of limits. ``owners``
    are the owners of the objects that the caller may use; what it makes belongs to the first. ``rates`` are the
    accounts to which requests without a model are charged: with ``requests_per_minute`` alone.
    """

    rules: Rules
    where: Mapping[str, str]
    subjects: tuple[Subject, ...]
    owners: tuple[str, ...]
    rates: tuple[Subject, ...] = ()

    def place_of(self, subject: str, limit: Limit) -> str:
        """Return the place of a limit of one of the accounts, in the configuration or the database."""
        return self.where.get(limit.value if subject.startswith("caller:") else f"{subject}.{limit.value}", "")

    def model_for(self, asked: str | None) -> str | None:
        """Return the name of the model to use: the requested one, else the caller's default."""
        return asked if asked is not None else self.rules.default_model

    def check_model(self, name: str) -> None:
        """Refuse a model that the caller may not use.

        Raises:
            CallerError: 403, naming the rule.
        """
        allowed = self.rules.models
        if allowed is None or name in allowed:
            return
        shown = ", ".join(allowed) or "none"
        rule = self.where["models"]
        message = f"You may not use the model {name[:80]!r}: {rule} allows {shown}."
        raise CallerError(403, "model_not_allowed", message, param="model", type="permission_error", rule=rule)

    def check_tier(self, tier: str | None) -> None:
        """Refuse a ``service_tier`` that the caller may not ask for. A request that asks for none is not refused.

        Raises:
            CallerError: 403, naming the rule.
        """
        allowed = self.rules.service_tiers
        if allowed is None or tier is None or tier in allowed:
            return
        shown = ", ".join(allowed) or "none"
        rule = self.where["service_tiers"]
        message = f"You may not ask for the service tier {tier[:80]!r}: {rule} allows {shown}."
        raise CallerError(
            403, "service_tier_not_allowed", message, param="service_tier", type="permission_error", rule=rule
        )

    def allows(self, name: str) -> bool:
        """Whether the caller may use a model."""
        return self.rules.models is None or name in self.rules.models

    def applied_to(self, model: Model) -> Model:
        """Return the model with this policy applied. The policy's parameters take precedence; the lower cap applies.

        All names of the output limit count as one parameter.
        """
        rules = self.rules
        if not (rules.system or rules.parameters or rules.caps):
            return model
        caps = dict(model.caps or {})
        for name, cap in rules.caps.items():
            caps[name] = min(cap, caps.get(name, cap))
        gone = ANY_OUTPUT_LIMIT if not ANY_OUTPUT_LIMIT.isdisjoint(rules.parameters) else frozenset()
        kept = {name: value for name, value in (model.parameters or {}).items() if name not in gone}
        return replace(
            model,
            system=rules.system if rules.system is not None else model.system,
            parameters={**kept, **rules.parameters},
            caps=caps,
        )


class Policies:
    """The rules of all callers and groups, as configured, and what administrators have set above them."""

    def __init__(self, callers: Mapping[str, Rules], groups: Mapping[str, Rules]) -> None:
        self._callers = callers
        self._groups = groups
        self._overrides: Mapping[str, Override] = {}
        self._resolved: dict[tuple[str, CallerKind, tuple[str, ...]], Policy] = {}

    def override(self, overrides: Mapping[str, Override]) -> None:
        """Set limits and groups by subject, in place of all that were set before. Running requests are not affected."""
        self._overrides = overrides
        self._resolved.clear()

    @property
    def named_callers(self) -> set[str]:
        """The callers for which administrators have set something."""
        kind = "caller:"
        return {subject.removeprefix(kind) for subject in self._overrides if subject.startswith(kind)}

    def set_for(self, subject: str) -> Override:
        """Return what administrators have set for ``caller:NAME`` or ``group:NAME``."""
        return self._overrides.get(subject, NOTHING)

    def placed(self, caller: Caller) -> Caller:
        """Return a caller with the groups that were set for it, if any."""
        if not self._overrides:
            return caller
        own = self._overrides.get(f"caller:{caller.name}")
        return replace(caller, groups=own.groups) if own is not None and own.groups is not None else caller

    def of(self, caller: Caller) -> Policy:
        """Return the policy of a caller."""
        key = (caller.name, caller.kind, caller.groups)
        policy = self._resolved.get(key)
        if policy is None:
            policy = self._resolve(caller)
            if len(self._resolved) >= MOST_RESOLVED:
                self._resolved.clear()
            self._resolved[key] = policy
        return policy

    def of_group(self, name: str) -> Policy:
        """Return what the rules of a group alone give: limits of each member, and the account of all together."""
        limits, where = _limits(self._tables("group", name, self._groups))
        total, places = self._total(name)
        subjects = (Subject(f"group:{name}", total),) if total else ()
        return Policy(Rules(limits=limits, total=total), where | places, subjects, owners=())

    def _resolve(self, caller: Caller) -> Policy:
        names = [*dict.fromkeys((*caller.groups, EVERYBODY))]
        tables = self._tables("caller", caller.name, self._callers)
        for name in names:
            tables += self._tables("group", name, self._groups)
        found: dict[str, object] = {}
        limits, where = _limits(tables)
        for place, rules in tables:
            for rule in ("models", "default_model", "system", "parameters", "caps", "service_tiers", "see_deployment"):
                value = getattr(rules, rule)
                if rule not in found and value not in (None, {}):
                    found[rule], where[rule] = value, f"{place}.{rule}"
        subjects = [Subject(f"caller:{caller.name}", limits)]
        for name in names:
            total, places = self._total(name)
            where |= places
            if total:
                subjects.append(Subject(f"group:{name}", total))
        merged = replace(Rules(**found), limits=subjects[0].limits)  # type: ignore[arg-type]
        sharing = [name for name in names if name in self._groups and self._groups[name].share_objects]
        owners = tuple(dict.fromkeys((*map(owner_of_group, sharing), owner_of(caller), OF_ALL)))
        asked = [(subject.name, subject.limits.requests_per_minute) for subject in subjects]
        rates = tuple(Subject(name, Limits(requests_per_minute=most)) for name, most in asked if most is not None)
        return Policy(merged, where, tuple(subject for subject in subjects if subject.limits), owners, rates)

    def _tables(self, kind: str, name: str, configured: Mapping[str, Rules]) -> list[tuple[str, Rules]]:
        """Return the rules of one caller or group with their places, those that were set first."""
        own, rules = self._overrides.get(f"{kind}:{name}"), configured.get(name)
        found = []
        if own is not None:
            found.append((f"database: {kind}s.{name}", Rules(limits=Limits(**own.limits), total=Limits(**own.total))))
        if rules is not None:
            found.append((f"{kind}s.{name}", rules))
        return found

    def _total(self, name: str) -> tuple[Limits, dict[str, str]]:
        """Return the limits of a group's members together, and their places by subject and limit."""
        found, where = _limits(self._tables("group", name, self._groups), "total")
        return found, {f"group:{name}.{limit}": place for limit, place in where.items()}


def _limits(tables: Iterable[tuple[str, Rules]], rule: str = "limits") -> tuple[Limits, dict[str, str]]:
    """Return the limits that hold, each from the first table that has it, and their places by name."""
    found: dict[str, int] = {}
    where: dict[str, str] = {}
    for place, rules in tables:
        for each in fields(Limits):
            value = getattr(getattr(rules, rule), each.name)
            if each.name not in found and value is not None:
                found[each.name], where[each.name] = value, f"{place}.{rule}.{each.name}"
    return Limits(**found), where
