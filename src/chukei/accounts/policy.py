"""A caller's policy: its own rules, those of its groups and those of everybody, the most specific first. Pure.

Each rule is looked up separately: in the caller's own table, then in those of its groups in the order of the
configuration, then in ``groups.everybody``, to which all belong. The first table that sets the rule decides. Each limit
is looked up in the same way. A group's ``total`` is an account that its members share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from chukei.accounts.limits import NOTHING, Limits, Rules, Subject
from chukei.accounts.overrides import Override
from chukei.azure import ANY_OUTPUT_LIMIT
from chukei.errors import CallerError
from chukei.model import Caller, Model

EVERYBODY = "everybody"
"""The group to which every caller belongs."""

MOST_RESOLVED = 10_000
"""Policies cached at most; beyond that the cache is cleared."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for one caller. ``subjects`` are the accounts to which its requests are charged.

    ``where`` maps a rule's name to its place in the configuration.
    """

    rules: Rules
    where: Mapping[str, str]
    subjects: tuple[Subject, ...]

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
        self._resolved: dict[tuple[str, tuple[str, ...]], Policy] = {}

    def override(self, overrides: Mapping[str, Override]) -> None:
        """Set limits and groups by subject, in place of all that were set before. Running requests are not affected."""
        self._overrides = overrides
        self._resolved.clear()

    def placed(self, caller: Caller) -> Caller:
        """Return a caller with the groups that were set for it, if any."""
        if not self._overrides:
            return caller
        own = self._overrides.get(f"caller:{caller.name}")
        return replace(caller, groups=own.groups) if own is not None and own.groups is not None else caller

    def of(self, caller: Caller) -> Policy:
        """Return the policy of a caller."""
        key = (caller.name, caller.groups)
        policy = self._resolved.get(key)
        if policy is None:
            policy = self._resolve(caller)
            if len(self._resolved) >= MOST_RESOLVED:
                self._resolved.clear()
            self._resolved[key] = policy
        return policy

    def _resolve(self, caller: Caller) -> Policy:
        names = [*dict.fromkeys((*caller.groups, EVERYBODY))]
        tables = self._tables("caller", caller.name, self._callers)
        for name in names:
            tables += self._tables("group", name, self._groups)
        found: dict[str, object] = {}
        where: dict[str, str] = {}
        limits: dict[str, int] = {}
        for place, rules in tables:
            if rules is None:
                continue
            for rule in ("models", "default_model", "system", "parameters", "caps", "see_deployment"):
                value = getattr(rules, rule)
                if rule not in found and value not in (None, {}):
                    found[rule], where[rule] = value, f"{place}.{rule}"
            for each in fields(Limits):
                value = getattr(rules.limits, each.name)
                if each.name not in limits and value is not None:
                    limits[each.name], where[each.name] = value, f"{place}.limits.{each.name}"
        subjects = [Subject(f"caller:{caller.name}", Limits(**limits))]
        for name in names:
            total = self._total(name)
            if total:
                subjects.append(Subject(f"group:{name}", total))
        merged = replace(Rules(**found), limits=subjects[0].limits)  # type: ignore[arg-type]
        return Policy(merged, where, tuple(subject for subject in subjects if subject.limits))

    def _tables(self, kind: str, name: str, configured: Mapping[str, Rules]) -> list[tuple[str, Rules | None]]:
        """Return the rules of one caller or group with their places, those that were set first."""
        found: list[tuple[str, Rules | None]] = [(f"{kind}s.{name}", configured.get(name))]
        own = self._overrides.get(f"{kind}:{name}")
        return [(f"database: {kind}s.{name}", Rules(limits=Limits(**own.limits))), *found] if own is not None else found

    def _total(self, name: str) -> Limits:
        group, own = self._groups.get(name), self._overrides.get(f"group:{name}")
        configured = group.total if group is not None else NOTHING
        return replace(configured, **own.total) if own is not None else configured
