"""Policies: ``[callers]`` and ``[groups]``, their models and their limits."""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from decimal import Decimal

from chukei.accounts.limits import MICRO, Limits, Rules
from chukei.config.bounds import Whole
from chukei.config.reader import Reader
from chukei.config.sections import read_fields, read_section
from chukei.config.settings import CallerSettings, PolicySettings
from chukei.config.upstreams import read_caps, read_parameters
from chukei.model import Model

_COUNT = Whole(0, 2**53)
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
CALLER_NAME = re.compile(r"[\w.:/@+ -]{1,128}")
"""The form of a caller's or a group's name."""


def read_policies(root: Reader, models: Collection[str], *, closed: bool) -> PolicySettings:
    """Read ``[groups]`` and ``[callers]``. If ``closed``, only the ``models`` exist."""
    groups: dict[str, Rules] = {}
    callers: dict[str, CallerSettings] = {}
    for name, table in root.tables("groups"):
        groups[name] = _rules(name, table, models if closed else (), group=True)
        table.done()
    digests: dict[str, str] = {}
    for name, table in root.tables("callers"):
        rules = _rules(name, table, models if closed else (), group=False)
        wanted = table.strings("groups")
        for group in wanted:
            if group not in groups:
                table.problem("groups", f"names {group!r}, but there is no [groups.{group}]")
        digest = table.string("key_sha256")
        if digest is not None and not _DIGEST.fullmatch(digest):
            table.problem("key_sha256", "must be the 64 hexadecimal digits of a SHA-256 digest")
        if digest is not None and (other := digests.setdefault(digest.lower(), name)) != name:
            table.problem("key_sha256", f"is that of {other} too; each caller needs a key of its own")
        callers[name] = CallerSettings(rules, digest.lower() if digest else None, wanted)
        table.done()
    return PolicySettings(callers, groups)


def note_unpriced(root: Reader, models: Mapping[str, Model], policies: PolicySettings) -> None:
    """Add a notice for each money limit on a model without prices. Such a model costs nothing, so it is not limited."""
    for name, rules in policies.groups.items():
        for kind, limits in (("limits", rules.limits), ("total", rules.total)):
            _note_unpriced(root, f"groups.{name}.{kind}", limits, rules.models, models)
    for name, caller in policies.callers.items():
        allowed = caller.rules.models
        of_groups = [policies.groups[group].models for group in caller.groups if group in policies.groups]
        if allowed is None and of_groups and None not in of_groups:
            allowed = tuple(model for named in of_groups for model in named or ())
        _note_unpriced(root, f"callers.{name}.limits", caller.rules.limits, allowed, models)


def _note_unpriced(
    root: Reader, place: str, limits: Limits, allowed: Collection[str] | None, models: Mapping[str, Model]
) -> None:
    if limits.money_per_month is None:
        return
    free = [name for name, model in models.items() if model.prices is None and (allowed is None or name in allowed)]
    if free:
        root.notice(
            f"{place}.money_per_month", f"does not limit what has no prices: {', '.join(free)}; set models.NAME.prices"
        )


def _rules(name: str, table: Reader, models: Collection[str], *, group: bool) -> Rules:
    if not CALLER_NAME.fullmatch(name):
        table.problem("", "the name has characters that could not stand in a log or a header")
    named, see = table.strings("models"), table.boolean("see_deployment", None)
    allowed = named if table.has("models") else None
    default, tiers = table.string("default_model"), table.strings("service_tiers")
    asked = [("models", wanted) for wanted in allowed or ()]
    if default is not None:
        asked.append(("default_model", default))
    for key, wanted in asked:
        if models and wanted not in models:
            table.problem(key, f"names {wanted!r}, which is not one of the models: {', '.join(models)}")
    if default is not None and allowed is not None and default not in allowed:
        table.problem("default_model", f"{default!r} is not among the models that are allowed")
    return read_fields(
        table,
        Rules,
        models=allowed,
        default_model=default,
        parameters=read_parameters,
        caps=read_caps,
        service_tiers=tiers if table.has("service_tiers") else None,
        see_deployment=see,
        limits=lambda table: read_limits(table.table("limits")),
        total=(lambda table: read_limits(table.table("total"))) if group else Limits(),
        share_objects=table.boolean("share_objects", False) if group else False,
    )


def read_limits(table: Reader) -> Limits:
    """Read the limits of one subject. Money is in units of the currency of the prices."""
    money = table.number("money_per_month", None, low=0.0, high=1e9)
    micro = None if money is None else int(Decimal(repr(money)) * MICRO)  # smaller fractions are cut off
    special = dict.fromkeys((item.name for item in fields(Limits)), _COUNT) | {"money_per_month": micro}
    limits = read_section(table, Limits, **special)
    for key in special:
        if getattr(limits, key) == 0:
            table.notice(key, "is 0, which refuses every request; remove it for no limit")
    return limits
