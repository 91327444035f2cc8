"""What is shown, computed from what the processes know. Pure."""

from datetime import datetime
from typing import get_args

from chukei.accounts.outcomes import Outcome
from chukei.liveview.histogram import Histogram
from chukei.liveview.part import Part, Step, Waiting
from chukei.liveview.schema import (
    CallerNow,
    DeploymentNow,
    Ended,
    FailedRequest,
    Finding,
    Level,
    Live,
    Open,
    PlaceName,
    Places,
    Problem,
    Quantiles,
    Rates,
    ReasonNow,
    Series,
    Times,
)
from chukei.liveview.shares import CONNECTING, CallerShare, Failure, Measure, Reason, Share
from chukei.liveview.verdict import headline, judge
from chukei.liveview.window import ENOUGH

MOST_DEPLOYMENTS = 100
MOST_CALLERS = 20
RECENT = 10
"""Whole seconds that rates are about."""

_LEVELS: tuple[Level, ...] = ("ok", "warning", "alarm")
_NORMAL = Finding("normal", None, "ok", "", None, {})


def view_of(part: Part, now: datetime) -> Live:
    """Return what is shown of the sum of all processes' parts."""
    covered = max(part.covered, 1.0)
    recent = part.seconds[-RECENT - 1 : -1]  # the running second is not over
    over = max(min(part.up, RECENT), 1.0)
    deployments = _deployments(part, covered)
    callers = _callers(part)
    live = Live(
        at=now,
        workers=part.workers,
        up=_short(part.up),
        covered=_short(part.covered),
        draining=part.draining,
        verdict=_NORMAL,
        findings=[],
        places=Places("ok", "ok", "ok", "ok"),
        lag=_short(part.lag),
        open=Open(
            requests=part.running.requests,
            streams=part.running.streams,
            waiting=sum(each.waiting for each in part.running.deployments.values()),
            slow=part.running.slow,
            connections=part.connections,
        ),
        rates=Rates(
            requests=_short(sum(step.requests for step in recent) / over),
            input=_short(sum(step.input for step in recent) / over),
            output=_short(sum(step.output for step in recent) / over),
        ),
        ended=_ended(part),
        times=Times(**{measure.value: _quantiles(part.total.times.get(measure)) for measure in Measure}),
        deployments=deployments,
        deployments_total=len(deployments),
        callers=callers[:MOST_CALLERS],
        callers_total=sum(1 for name in part.callers.named if name),
        others=_caller("", part.callers.others) if part.callers.others.requests else None,
        reasons=_reasons(part),
        failures=_failures(part),
        minute=_series(part.seconds, 1),
        quarter=_series(part.tens, 10),
    )
    _judge(live)
    return live


def _judge(live: Live) -> None:
    """Add the findings, and cut what is too long to be shown after the rules have seen all of it."""
    live.findings = judge(live)
    live.verdict = headline(live, live.findings)
    live.places = Places(**{place: _worst(live.findings, place=place) for place in get_args(PlaceName)})
    for each in live.deployments:
        each.level = _worst(live.findings, subject=each.deployment)
    live.deployments.sort(key=lambda each: (-_LEVELS.index(each.level), -each.asked, -each.open, each.deployment))
    del live.deployments[MOST_DEPLOYMENTS:]


def _worst(findings: list[Finding], *, place: str | None = None, subject: str | None = None) -> Level:
    levels = [
        each.level
        for each in findings
        if each.place == place or (place is None and each.subject == subject and each.place in ("azure", "network"))
    ]
    return max(levels, key=_LEVELS.index, default="ok")


def _deployments(part: Part, covered: float) -> list[DeploymentNow]:
    names = dict.fromkeys([*part.pool, *part.deployments, *part.running.deployments])
    return [_deployment(name, part, covered) for name in names]


def _deployment(name: str, part: Part, covered: float) -> DeploymentNow:
    share = part.deployments.get(name) or Share()
    waiting = part.running.deployments.get(name) or Waiting()
    member = part.pool.get(name)
    codes = sorted(share.codes.items(), key=lambda item: -item[1])
    usual = {
        measure: _quantiles(histogram)
        for measure, histogram in part.usual.get(name, {}).items()
        if histogram.total >= ENOUGH
    }
    return DeploymentNow(
        deployment=name,
        models=member.models if member is not None else [],
        status=member.status if member is not None else None,
        seconds=_short(member.seconds) if member is not None else 0.0,
        why=member.why if member is not None else None,
        away=member.away if member is not None else 0,
        pools=member.pools if member is not None else 0,
        level="ok",
        open=waiting.open,
        waiting=waiting.waiting,
        longest=_short(waiting.longest),
        whole=waiting.whole,
        oldest=_short(waiting.oldest),
        silent=_short(waiting.silent),
        asked=share.asked,
        failed=share.failed,
        share=_short(share.asked / part.total.asked) if part.total.asked else 0.0,
        unreached=sum(count for code, count in codes if code in CONNECTING),
        codes=dict(codes),
        output=_short(share.output / covered),
        first_token=_quantiles(share.times.get(Measure.FIRST_TOKEN)),
        answer=_quantiles(share.times.get(Measure.ANSWER)),
        gap=_quantiles(share.times.get(Measure.GAP)),
        usual=usual,
    )


def _callers(part: Part) -> list[CallerNow]:
    named = [_caller(name, share) for name, share in part.callers.named.items()]
    return sorted(named, key=lambda each: (each.requests + each.open, each.input + each.output), reverse=True)


def _caller(name: str, share: CallerShare) -> CallerNow:
    return CallerNow(
        name,
        share.open,
        share.slow,
        share.requests,
        share.refused,
        share.failed,
        share.input,
        _short(share.output),
    )


def _ended(part: Part) -> Ended:
    named = [*part.callers.named.values(), part.callers.others]
    requests, refused, failed = (
        sum(getattr(each, name) for each in named) for name in ("requests", "refused", "failed")
    )
    return Ended(requests, refused, failed, part.left)


def _reasons(part: Part) -> list[ReasonNow]:
    ranked = sorted(part.reasons.items(), key=lambda item: (-item[1].count, item[0]))
    return [_reason(key, reason) for key, reason in ranked]


def _reason(key: str, reason: Reason) -> ReasonNow:
    outcome, code, rule = key.split("\n")
    shown: Problem = "refused" if outcome == Outcome.REFUSED else "failed"
    return ReasonNow(shown, code, rule or None, reason.count, _failure(reason.last, shown))


def _failures(part: Part) -> list[FailedRequest]:
    failed = [_failure(each, "failed") for each in part.failures]
    refused = [_failure(each, "refused") for each in part.refusals]
    return sorted([*failed, *refused], key=lambda each: each.age)


def _failure(failure: Failure, outcome: Problem) -> FailedRequest:
    return FailedRequest(
        outcome=outcome,
        age=_short(max(failure.at, 0.0)),
        request_id=failure.request_id,
        caller=failure.caller,
        operation=failure.operation,
        model=failure.model,
        deployment=failure.deployment,
        status=failure.status,
        code=failure.code,
        rule=failure.rule,
        end=failure.end,
    )


def _series(steps: list[Step], seconds: int) -> Series:
    return Series(
        seconds,
        [_short(step.requests / seconds) for step in steps],
        [_short(step.refused / seconds) for step in steps],
        [_short(step.failed / seconds) for step in steps],
        [_short(step.output / seconds) for step in steps],
        [_maybe(step.first.percentile(0.95)) for step in steps],
    )


def _quantiles(histogram: Histogram | None) -> Quantiles:
    if histogram is None:
        return Quantiles()
    p50, p95, p99 = (_maybe(histogram.percentile(share)) for share in (0.5, 0.95, 0.99))
    return Quantiles(round(histogram.total), p50, p95, p99)


def _maybe(value: float | None) -> float | None:
    return None if value is None else _short(value)


def _short(value: float) -> float:
    """Return a number with the digits that are worth sending each second."""
    return float(f"{value:.4g}")
