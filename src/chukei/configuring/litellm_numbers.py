"""LiteLLM's numbers: retries, time limits, cool-downs, concurrency, sizes."""

import math
import re

from chukei.configuring.import_draft import Draft, own_variable, reference
from chukei.configuring.import_source import Node

_SPAN = re.compile(r"(\d+)(s|m|h|d|mo)")
_DAYS = {"s": 1 / 86_400, "m": 1 / 1440, "h": 1 / 24, "d": 1.0, "mo": 30.0}
_DAY = 86_400
_SAME = "the relay does so by default"


def number_of(draft: Draft, node: Node, target: str, low: float, high: float) -> float | int | None:
    """Return a number within the bounds of a setting, or None after reporting why there is none."""
    name = reference(node.text or "")
    if name is not None:
        own = own_variable(*target.split("."))
        draft.report.approximated(node, target, f"comes from the variable {name}: set {own} to its value")
        return None
    found = node.number
    if found is None or not low <= found <= high:
        draft.report.dropped(node, f"{target} is a number from {low:g} to {high:g}")
        return None
    return found


def _set(draft: Draft, node: Node, target: str, value: float | int, message: str) -> None:
    section, key = target.split(".")
    if draft.get((section,), key) is not None:
        draft.report.dropped(node, f"another key of this file that comes first is {target} already")
        return
    draft.set((section,), key, value, f"from {node.path}")
    draft.report.approximated(node, target, message)


def retries(draft: Draft, node: Node) -> None:
    """``num_retries``."""
    found = number_of(draft, node, "pool.attempts", 0, 99)
    if found is not None:
        message = "retries go to other deployments, never to the same one again, and a 429 does not count as one"
        _set(draft, node, "pool.attempts", int(found) + 1, message)


def whole_timeout(draft: Draft, node: Node) -> None:
    """``request_timeout``, else ``timeout``."""
    target = "upstream.answer_seconds"
    found = number_of(draft, node, target, 0.01, _DAY)
    if found is not None:
        message = "LiteLLM applies it to each read; the relay to a whole answer. Streams have limits of their own"
        _set(draft, node, target, found, message)


def stream_timeout(draft: Draft, node: Node) -> None:
    """``stream_timeout``."""
    found = number_of(draft, node, "stream.first_token_seconds", 0.01, _DAY)
    if found is not None:
        message = "LiteLLM applies it to each read; the relay to the first sign of life of a stream"
        _set(draft, node, "stream.first_token_seconds", found, message)
        if found > 120:
            draft.set(("pool",), "deadline_seconds", found)


def allowed_fails(draft: Draft, node: Node) -> None:
    """``allowed_fails``: so many failures in a minute are allowed."""
    found = number_of(draft, node, "pool.breaker_failures", 0, 999)
    if found is not None:
        message = "LiteLLM counts failures in a minute; the relay's circuit breaker counts them in a row"
        _set(draft, node, "pool.breaker_failures", int(found) + 1, message)


def cooldown(draft: Draft, node: Node) -> None:
    """``cooldown_time``; LiteLLM takes 0 for unset."""
    if node.number == 0:
        draft.report.dropped(node, "0 is the same as unset in LiteLLM; disable_cooldowns would be the setting")
        return
    found = number_of(draft, node, "pool.cooldown_seconds", 0.01, _DAY)
    if found is not None:
        message = (
            "the first time to stay away, after a 429 without Azure's own time and after failures; the relay doubles "
            "it while it goes on"
        )
        _set(draft, node, "pool.cooldown_seconds", found, message)
        draft.set(("pool",), "breaker_seconds", found)
        for key, usual in (("max_cooldown_seconds", 300), ("max_breaker_seconds", 60)):
            if found > usual:
                draft.set(("pool",), key, found)


def no_cooldowns(draft: Draft, node: Node) -> None:
    """``disable_cooldowns``."""
    if node.flag:
        for key in ("max_cooldown_seconds", "breaker_failures", "misconfigured_seconds"):
            draft.set(("pool",), key, 0)
    draft.report.mapped(node, "pool", "no deployment is left alone after failures" if node.flag else _SAME)


def deployment_concurrency(draft: Draft, node: Node) -> None:
    """``max_parallel_requests``: for each deployment that has no such limit."""
    found = number_of(draft, node, "deployments.NAME.max_concurrent", 1, 1_000_000)
    if found is None:
        return
    for path in [path for path in draft.tables if path[0] == "deployments"]:
        if draft.get(path, "max_concurrent") is None:
            draft.set(path, "max_concurrent", int(found), f"from {node.path}")
    draft.report.mapped(node, "deployments.*.max_concurrent", "requests in flight, for each process")


def all_concurrency(draft: Draft, node: Node) -> None:
    """``global_max_parallel_requests``."""
    found = number_of(draft, node, "groups.everybody.total.concurrent", 1, 2**53)
    if found is not None:
        draft.set(("groups", "everybody", "total"), "concurrent", int(found), f"from {node.path}")
        message = "requests at the same time, of all callers; with a Redis over all replicas"
        draft.report.mapped(node, "groups.everybody.total.concurrent", message)


def body_size(draft: Draft, node: Node) -> None:
    """``max_request_size_mb``."""
    found = number_of(draft, node, "server.max_body_bytes", 0.001, 1024)
    if found is not None:
        draft.set(("server",), "max_body_bytes", math.ceil(found * 1024 * 1024), f"from {node.path}")
        draft.report.mapped(node, "server.max_body_bytes", "the same in bytes")


def retention(draft: Draft, node: Node) -> None:
    """``maximum_spend_logs_retention_period``."""
    found = _SPAN.fullmatch(node.text or "")
    days = int(found[1]) * _DAYS[found[2]] if found else 0.0
    if not 0 < days <= 36_500:
        draft.report.dropped(node, "is no span that ledger.retention_days could have")
        return
    draft.set(("ledger",), "retention_days", int(days) if days.is_integer() else round(days, 6), f"from {node.path}")
    draft.report.mapped(node, "ledger.retention_days", "the same in days")
