"""LiteLLM's ``model_list``: groups of entries with the same name, as the relay's models and deployments."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from chukei.config.upstreams import MODEL_NAME
from chukei.configuring.import_draft import Draft, target
from chukei.configuring.import_source import Node
from chukei.configuring.litellm_endpoints import NotAzure, address
from chukei.configuring.litellm_parameters import Parameters
from chukei.configuring.litellm_prices import Prices
from chukei.configuring.litellm_reasons import ENTRY, INFO, PARAMS, UNSERVED_MODES
from chukei.configuring.litellm_upstreams import Origin, Reading, Upstream, report_notes

METRICS = ("weight", "rpm", "tpm")
"""By what LiteLLM shuffles: the first of them that a deployment of the group has."""

_HIGHEST_WEIGHT = 1_000_000
_HIGHEST_TIER = 1000


@dataclass(slots=True)
class Member:
    """One entry of a group: its deployment's name and tier, and the nodes of its metrics."""

    entry: Node
    params: Node
    upstream: Upstream
    name: str
    tier: int
    metrics: dict[str, Node] = field(default_factory=dict)


@dataclass(slots=True)
class Group:
    """The entries with one ``model_name``."""

    name: str
    members: list[Member] = field(default_factory=list)


class Models:
    """Reads ``model_list`` into a draft. ``wildcards`` are entries that stand for every deployment of a resource."""

    def __init__(self, draft: Draft, origin: Origin) -> None:
        self.groups: dict[str, Group] = {}
        self.wildcards: list[tuple[Node, Reading]] = []
        self._draft = draft
        self._report = draft.report
        self._origin = origin
        self._names: dict[tuple[object, ...], str] = {}
        self._by_name: dict[str, Upstream] = {}
        self._aliases: dict[str, str] = {}

    def read(self, entries: Iterable[Node]) -> None:
        """Read all entries; write models and deployments."""
        for entry in entries:
            self._read(entry)
        for group in self.groups.values():
            self._write(group)

    def _read(self, entry: Node) -> None:
        name, params = entry.table.get("model_name"), entry.table.get("litellm_params")
        if name is None or name.text is None or params is None or not params.table:
            self._report.rest_dropped(entry, "is no entry of a model: it needs model_name and litellm_params")
            return
        mode = self._mode(entry)
        reading = Reading(self._draft, self._origin, params)
        try:
            if mode in UNSERVED_MODES:
                raise NotAzure(f"its mode is {mode}, which the relay does not serve")
            found = reading.target()
            if not found.wildcard and not MODEL_NAME.fullmatch(name.text):
                raise NotAzure("its name has characters that a model of the relay cannot have")
        except NotAzure as error:
            self._report.rest_dropped(entry, f"the whole entry is left out: {error}")
            return
        if found.wildcard:
            self.wildcards.append((entry, reading))
            return
        upstream = reading.upstream(found)
        self._add(entry, name, params, replace(upstream, max_concurrent=self._most(params)), reading)

    def _mode(self, entry: Node) -> str:
        info = entry.table.get("model_info")
        mode = info.table.get("mode") if info else None
        return (mode.text or "") if mode else ""

    def _most(self, params: Node) -> int | None:
        node = params.table.get("max_parallel_requests")
        found = node.number if node else None
        return found if isinstance(found, int) and 1 <= found <= 1_000_000 else None

    def _add(self, entry: Node, name: Node, params: Node, upstream: Upstream, reading: Reading) -> None:
        order = params.table.get("order")
        number = order.number if order else None
        tier = number if isinstance(number, int) and 0 <= number <= _HIGHEST_TIER else 1
        metrics = {key: params.table[key] for key in METRICS if key in params.table}
        identity = (upstream, tier, *(metrics[key].text if key in metrics else None for key in METRICS))
        table = self._names.get(identity)
        if table is None:
            table = self._names[identity] = self._table(entry, upstream, tier)
        group = self.groups.setdefault(name.text or "", Group(name.text or ""))
        place = target("models", name.text or "", "deployments")
        if any(member.name == table for member in group.members):
            self._report.rest_dropped(entry, f"is the same deployment as an earlier entry of {place}")
            return
        group.members.append(Member(entry, params, upstream, table, tier, metrics))
        self._report.mapped(name, place, "entries of the same name are deployments of one model")
        report_notes(self._draft, reading.notes, table)
        info = entry.table.get("model_info")
        if info is not None and "id" in info.table:
            self._report.mapped(info.table["id"], target("deployments", table), "the name of the deployment's table")
        self._report_limits(params, table, order if tier == number else None)

    def _table(self, entry: Node, upstream: Upstream, tier: int) -> str:
        info = entry.table.get("model_info")
        given = info.table.get("id") if info else None
        group = entry.table["model_name"].text or ""
        base = (given.text if given else None) or upstream.deployment.text or group
        label = address(upstream.address.text).label if upstream.address.text is not None else ""
        name = self._draft.slug("deployments", base, f"{base} {label}")
        upstream.write(self._draft, name)
        line = f", line {entry.line}" if entry.line else ""
        self._draft.table("deployments", name).comments.append(f"from {entry.path}{line}")
        if tier != 1:
            self._draft.set(("deployments", name), "priority", tier)
        self._by_name[name] = upstream
        return name

    def _report_limits(self, params: Node, table: str, order: Node | None) -> None:
        most = params.table.get("max_parallel_requests")
        if most is not None and self._most(params) is not None:
            self._report.mapped(
                most, target("deployments", table, "max_concurrent"), "requests in flight, for each process"
            )
        if order is not None:
            message = "a lower number is asked first; the next one only while none of these is available"
            self._report.mapped(order, target("deployments", table, "priority"), message)

    def _write(self, group: Group) -> None:
        path = ("models", group.name)
        self._draft.set(path, "deployments", [member.name for member in group.members])
        self._weigh(group)
        Parameters(self._draft, group.name, [member.params for member in group.members]).write()
        Prices(self._draft, group.name, [member.entry for member in group.members]).write()
        for member in group.members:
            self._explain(member)

    def _weigh(self, group: Group) -> None:
        metric = next((each for each in METRICS if any(_amount(member, each) > 0 for member in group.members)), None)
        alone = len(group.members) == 1
        if metric is not None and not alone:
            scale = self._scale(metric)
            for member in group.members:
                self._share(member, metric, scale)
        others = _NO_SHARE if metric is None else f"LiteLLM shares by {metric}, which comes first"
        for member in group.members:
            for node in member.metrics.values():
                self._report.rest_dropped(node, _ALONE if alone else others)

    def _share(self, member: Member, metric: str, scale: Fraction) -> None:
        amount = _amount(member, metric)
        path = ("deployments", member.name)
        if amount <= 0:  # LiteLLM's shuffle never chooses it while one with the metric is available
            self._draft.set(path, "priority", min(member.tier + 1, _HIGHEST_TIER))
            self._report.assume(
                f"{member.entry.path} has no {metric} and others of its group have: LiteLLM asks it only while none of "
                "them is available, so it is a tier of its own"
            )
        else:
            self._draft.set(path, "weight", max(1, round(amount * scale)))
        node = member.metrics.get(metric)
        if node is not None:
            message = _SHARE if metric == "weight" else _LIMIT
            self._report.approximated(node, target("deployments", member.name, "weight"), message)

    def _scale(self, metric: str) -> Fraction:
        amounts = [_amount(member, metric) for group in self.groups.values() for member in group.members]
        scale = Fraction(1) if all(amount.denominator == 1 for amount in amounts) else Fraction(1000)
        return scale / max(1, math.ceil(max(amounts) * scale / _HIGHEST_WEIGHT))

    def _explain(self, member: Member) -> None:
        """Report what is left of an entry: keys of LiteLLM that have no place here."""
        for section, reasons in (("litellm_params", PARAMS), ("model_info", INFO), ("", ENTRY)):
            node = member.entry.table.get(section) if section else member.entry
            for key, child in node.table.items() if node else ():
                reason = INFO["description"] if key.startswith("supports_") else reasons.get(key)
                if reason is not None and not self._report.has(child):
                    self._report.rest_dropped(child, reason)

    def fall_back(self, name: str, others: list[str]) -> None:
        """Let a model's requests go on to the deployments of other models, in later tiers."""
        group = self.groups[name]
        last = max(self._tier(member.name) for member in group.members)
        names = [member.name for member in group.members]
        for other in dict.fromkeys(others):
            own = [member.upstream for member in group.members]
            all_members = self.groups[other].members if other in self.groups else []
            members = [member for member in all_members if member.upstream not in own]
            if not members or other == name:
                continue
            first = min(self._tier(member.name) for member in members)
            tiers = {member.name: last + 1 + self._tier(member.name) - first for member in members}
            names += [self._copy(table, min(tier, _HIGHEST_TIER)) for table, tier in tiers.items()]
            last = max(tiers.values())
        for each in (name, *(alias for alias, other in self._aliases.items() if other == name)):
            self._draft.set(("models", each), "deployments", list(dict.fromkeys(names)))

    def _tier(self, table: str) -> int:
        found = self._draft.get(("deployments", table), "priority")
        return found if isinstance(found, int) else 1

    def _copy(self, table: str, tier: int) -> str:
        name = f"{table}-tier-{tier}"
        path = ("deployments", name)
        if path not in self._draft.tables:
            self._by_name[table].write(self._draft, name)
            self._draft.set(path, "deployment", self._by_name[table].deployment.text or name)
            if self._by_name[table].deployment.text is None:
                del self._draft.table(*path).values["deployment"]
            self._draft.set(path, "priority", tier)
            weight = self._draft.get(("deployments", table), "weight")
            if weight is not None:
                self._draft.set(path, "weight", weight)
            self._draft.table(*path).comments.append(f"{table} again, as a fallback of another model")
        return name

    def alias(self, name: str, other: str) -> bool:
        """Give a model a second name; say whether that was possible."""
        if other not in self.groups or not MODEL_NAME.fullmatch(name) or ("models", name) in self._draft.tables:
            return False
        for path, table in list(self._draft.tables.items()):
            if path[:2] == ("models", other):
                copy = self._draft.table("models", name, *path[2:])
                copy.values |= table.values
        self._draft.table("models", name).comments.append(f"an alias of {other}")
        self._aliases[name] = other
        return True


_NO_SHARE = "no deployment of the model has a share above nothing, so that all have the same"
_ALONE = (
    "is for sharing between deployments, and this one is alone; Azure enforces its own quota. For a limit of your own "
    "set groups.everybody.total"
)
_SHARE = "LiteLLM draws by chance in this proportion; the relay keeps it exactly, and evens out load among equals"
_LIMIT = (
    "LiteLLM shares requests in this proportion, and with some strategies stops at it; here it is the share alone, and "
    "a 429 of Azure moves requests on"
)


def _amount(member: Member, metric: str) -> Fraction:
    node = member.metrics.get(metric)
    found = node.number if node is not None else None
    return Fraction(found) if found is not None and found > 0 else Fraction(0)
