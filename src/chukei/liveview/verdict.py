"""The rules that say where the slowness is: at the caller, in the relay, in the network, or in Azure. Pure.

``RULES`` is the table; docs/live.md has the same table with what to do. Each rule looks at what is shown and yields
findings. A finding's sentence has only names and figures that are shown too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chukei.liveview.schema import CallerNow, DeploymentNow, Finding, Level, Live, PlaceName, Quantiles
from chukei.liveview.shares import CONNECTING
from chukei.pool.member import Status

ENOUGH = 10
"""Durations, or requests, that a rule about shares and percentiles needs."""

_AWAY = frozenset({Status.OPEN, Status.COOLING, Status.FULL})
_UNKNOWN = Quantiles()

WEIGHTY = 0.2
"""The part of all attempts from which on a deployment's failures are an alarm; failover makes up for smaller ones."""

Found = Iterator[tuple[Level, str | None, str, dict[str, str]]]
"""For each finding: its level, its subject, the form of its sentence, and the values in it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name, the place of what it finds, its condition and that of an alarm in words, and its function."""

    name: str
    place: PlaceName
    condition: str
    alarm: str
    look: Callable[[Live], Found]


def judge(live: Live) -> list[Finding]:
    """Return what the rules find, the gravest first; among equals in the order of the table."""
    found = [
        Finding(rule.name, rule.place, level, text.format(**values), subject, values)
        for rule in RULES
        for level, subject, text, values in rule.look(live)
    ]
    return sorted(found, key=lambda finding: finding.level != "alarm")


def headline(live: Live, findings: list[Finding]) -> Finding:
    """Return the gravest finding, or that there is none."""
    if findings:
        return findings[0]
    if not live.ended.requests and not live.open.requests:
        return Finding("idle", None, "ok", "No requests in the last minute.", None, {})
    return Finding("normal", None, "ok", "Everything is normal.", None, {})


# The relay.


def _draining(live: Live) -> Found:
    if live.draining:
        yield "warning", None, "The relay is shutting down.", {}


def _loop_lag(live: Live) -> Found:
    if live.lag >= 0.1:
        text = "The relay's event loop is up to {lag} late: it has too little CPU, or something blocks it."
        yield _level(live.lag >= 0.5), None, text, {"lag": duration(live.lag)}


def _own_time(live: Live) -> Found:
    own = live.times.own
    if own.count >= ENOUGH and own.p95 is not None and own.p95 >= 0.25:
        text = "The relay takes {own} (p95) before it asks a deployment: its stores may be slow."
        yield _level(own.p95 >= 1.0), None, text, {"own": duration(own.p95)}


# The network.


def _unreachable(live: Live) -> Found:
    asked = [each for each in live.deployments if each.asked]
    hit = [(each, count) for each in asked if (count := each.unreached) >= 3 and count >= 0.1 * each.asked]
    if len(hit) == len(asked) > 1:
        count, total = sum(count for _, count in hit), sum(each.asked for each in asked)
        text = "{share} of attempts reach no deployment ({code}): look at this machine's network and DNS."
        yield _level(count >= 0.5 * total), None, text, {"share": percent(count, total), "code": _code(asked[0], True)}
        return
    for each, count in hit:
        text = "{share} of attempts do not reach {deployment} ({code})."
        values = {"share": percent(count, each.asked), "deployment": each.deployment, "code": _code(each, True)}
        yield _level(_grave(count, each)), each.deployment, text, values


def _slow_connect(live: Live) -> Found:
    connect = live.times.connect
    if connect.count >= 3 and connect.p50 is not None and connect.p50 >= 0.5:
        text = "New connections to Azure take {connect} (median)."
        yield _level(connect.p50 >= 2.0), None, text, {"connect": duration(connect.p50)}


# Azure.


def _no_deployment(live: Live) -> Found:
    by_model: dict[str, list[DeploymentNow]] = {}
    for each in live.deployments:
        for model in each.models:
            by_model.setdefault(model, []).append(each)
    for model, places in by_model.items():
        if all(each.status in _AWAY and each.away == each.pools for each in places):
            states = ", ".join(f"{each.deployment} {each.status}" for each in places[:3])
            yield (
                "alarm",
                model,
                "No deployment takes requests for {model}: {states}.",
                {"model": model, "states": states},
            )


def _failing(live: Live) -> Found:
    for each in live.deployments:
        count = each.failed - each.unreached
        if count >= 3 and count >= 0.1 * each.asked:
            values = {"deployment": each.deployment, "share": percent(count, each.asked), "code": _code(each, False)}
            text = "{deployment} fails {share} of attempts ({code})."
            yield _level(_grave(count, each)), each.deployment, text, values


def _away(live: Live) -> Found:
    for each in live.deployments:
        if each.status in (Status.OPEN, Status.COOLING):
            values = {"deployment": each.deployment, "seconds": duration(each.seconds), "why": each.why or "-"}
            yield "warning", each.deployment, "{deployment} is left alone for {seconds} more ({why}).", values


def _hanging(live: Live) -> Found:
    for each in live.deployments:
        for count, longest, measure, least in (
            (each.waiting, each.longest, "first_token", 5.0),
            (each.whole, each.oldest, "answer", 30.0),
        ):
            usual = each.usual.get(measure, _UNKNOWN).p95 or 0.0
            if count and longest >= max(least, 3 * usual):
                values = {"deployment": each.deployment, "count": str(count), "longest": duration(longest)}
                text = "{count} requests wait for {deployment}, the oldest for {longest}."
                # A model that reasons may need half a minute as usual, which is not known after a start.
                yield _level(longest >= (4 if usual else 12) * least), each.deployment, text, values


_OTHERS = {"": "", "all": "; all are slow", "normal": "; others are normal"}


def _slow(live: Live, measure: str, text: str, margin: float, limit: float) -> Found:
    """Find deployments whose durations are twice as long as usual, and longer by ``margin`` seconds at least.

    The median decides, or the 95th percentile if the median is as usual. Where nothing is known of what is usual, a
    95th percentile of ``limit`` seconds is called slow.
    """
    slow: list[tuple[DeploymentNow, float, float | None]] = []
    known = 0
    for each in live.deployments:
        now: Quantiles = getattr(each, measure)
        usual = each.usual.get(measure)
        if now.count < ENOUGH or now.p95 is None or now.p50 is None:
            continue
        known += 1
        if usual is None or usual.p95 is None or usual.p50 is None:
            if now.p95 >= limit:
                slow.append((each, now.p95, None))
        elif now.p95 >= 2 * usual.p95 and now.p95 >= usual.p95 + margin:
            slow.append((each, now.p95, usual.p95))
    for each, took, before in slow:
        values = {"deployment": each.deployment, "took": duration(took)}
        if before is None:
            yield "warning", each.deployment, text + ".", values
            continue
        others = "" if known == 1 else "all" if len(slow) == known else "normal"
        values |= {"times": f"{took / before:.1f}", "usual": duration(before), "others": others}
        whole = f"{text}, {{times}}× its usual {{usual}}{_OTHERS[others]}."
        yield _level(took >= 4 * before), each.deployment, whole, values


def _slow_first_token(live: Live) -> Found:
    return _slow(live, "first_token", "{deployment} takes {took} (p95) to the first token", 0.3, 10.0)


def _slow_answer(live: Live) -> Found:
    return _slow(live, "answer", "{deployment} takes {took} (p95) for whole answers", 0.3, 60.0)


def _slow_tokens(live: Live) -> Found:
    return _slow(live, "gap", "{deployment} takes {took} (p95) from token to token", 0.02, 0.5)


def _silent(live: Live) -> Found:
    for each in live.deployments:
        if each.silent >= 10.0:
            values = {"deployment": each.deployment, "silent": duration(each.silent)}
            text = "A stream of {deployment} has been silent for {silent}."
            yield _level(each.silent >= 30.0), each.deployment, text, values


# The callers.


def _slow_clients(live: Live) -> Found:
    count, streams = live.open.slow, live.open.streams
    if count and (count >= 5 or count >= 0.05 * streams):
        most = max(live.callers, key=lambda each: each.slow, default=None)
        values = {"count": str(count), "streams": str(streams), "caller": _name(most)}
        text = "{count} of {streams} streams wait for clients that do not read, most of {caller}."
        yield _level(count >= 0.5 * streams), most.caller if most is not None else None, text, values


def _slow_upload(live: Live) -> Found:
    upload = live.times.upload
    if upload.count >= ENOUGH and upload.p95 is not None and upload.p95 >= 2.0:
        yield "warning", None, "Callers take {upload} (p95) to send their requests.", {"upload": duration(upload.p95)}


def _refusals(live: Live) -> Found:
    ended = live.ended
    if ended.refused >= ENOUGH and ended.refused >= 0.2 * ended.requests:
        code = next((reason.rule or reason.code for reason in live.reasons if reason.outcome == "refused"), "-")
        most = max(live.callers, key=lambda each: each.refused, default=None)
        values = {"share": percent(ended.refused, ended.requests), "code": code, "caller": _name(most)}
        text = "{share} of requests are refused ({code}), most of {caller}."
        yield "warning", most.caller if most is not None else None, text, values


RULES = (
    Rule("draining", "relay", "the relay is shutting down", "", _draining),
    Rule("loop_lag", "relay", "an event loop was 100 ms late twice in 5 s", "500 ms", _loop_lag),
    Rule("own_time", "relay", "the relay's own time is 250 ms (p95)", "1 s", _own_time),
    Rule(
        "unreachable",
        "network",
        "10 % of a deployment's attempts, at least 3, do not reach Azure",
        "half of them, and a fifth of all attempts go there",
        _unreachable,
    ),
    Rule("slow_connect", "network", "new connections take 500 ms (median of at least 3)", "2 s", _slow_connect),
    Rule("no_deployment", "azure", "every deployment of a model is left alone or full", "always", _no_deployment),
    Rule(
        "failing",
        "azure",
        "10 % of a deployment's attempts, at least 3, fail otherwise",
        "half of them, and a fifth of all attempts go there",
        _failing,
    ),
    Rule(
        "hanging",
        "azure",
        "a stream waits for 5 s, another request for 30 s, and for 3 times the usual p95",
        "20 s, 120 s; three times that until the usual is known",
        _hanging,
    ),
    Rule(
        "slow_first_token",
        "azure",
        "the p95 to the first token is twice the usual, and 300 ms more",
        "4 times the usual",
        _slow_first_token,
    ),
    Rule("slow_answer", "azure", "the same for answers that are not streamed", "4 times the usual", _slow_answer),
    Rule(
        "slow_tokens",
        "azure",
        "the p95 from token to token is twice the usual, and 20 ms more",
        "4 times the usual",
        _slow_tokens,
    ),
    Rule("silent", "azure", "a running stream has been silent for 10 s", "30 s", _silent),
    Rule("away", "azure", "a deployment fails or its quota cools down, so that it is left alone", "", _away),
    Rule(
        "slow_clients",
        "caller",
        "5 streams, or 5 % of them, wait 1 s for their clients to read",
        "half of them",
        _slow_clients,
    ),
    Rule("slow_upload", "caller", "requests take 2 s (p95) to arrive", "", _slow_upload),
    Rule("refusals", "caller", "20 % of requests, at least 10, are refused", "", _refusals),
)
"""All rules, in the order in which findings of one level are shown: what slows everything down comes first."""


def duration(seconds: float) -> str:
    """Return a duration in the unit in which it is read most easily."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:.0f} s"


def percent(part: float, whole: float) -> str:
    """Return a share as a whole percentage."""
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def _level(grave: bool) -> Level:
    return "alarm" if grave else "warning"


def _grave(count: int, each: DeploymentNow) -> bool:
    return count >= 0.5 * each.asked and each.share >= WEIGHTY


def _code(each: DeploymentNow, connecting: bool) -> str:
    return next((code for code in each.codes if (code in CONNECTING) == connecting), "-")


def _name(caller: CallerNow | None) -> str:
    return caller.caller if caller is not None and caller.caller else "unknown callers"
