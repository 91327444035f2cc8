"""The status of a deployment for operators. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from chukei.metrics import definitions as of
from chukei.metrics.snapshot import Reading
from chukei.pool.member import Member, Status

_AWAY = frozenset({Status.OPEN, Status.COOLING})


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """The current status of one deployment. ``seconds`` is how long it remains unavailable, ``why`` an error code.

    ``left_out_for`` is the number of sources (callers, or contents if callers are not distinguished) for which alone it
    is unavailable. Times are in seconds. Times to first token are of the latest streams; None if there were too few.

    ``max_concurrent`` bounds ``outstanding``. For ``pressed_seconds`` it counts as close to a limit of Azure's, so that
    others are preferred. For ``large_seconds`` it gets no requests of ``large_tokens`` tokens or more.
    """

    deployment: str
    priority: int
    weight: int
    status: Status
    seconds: float
    why: str | None
    outstanding: int
    outstanding_tokens: int
    answered: int
    failed: int
    last_error: str | None
    left_out_for: int
    first_token_p50: float | None
    first_token_p95: float | None
    max_concurrent: int | None
    quota_group: str | None
    pressed_seconds: float
    large_tokens: int | None
    large_seconds: float


def status_of(member: Member, now: float, left_out_for: int = 0) -> DeploymentStatus:
    """Return the status of a deployment."""
    status, deployment, quota = member.status(now), member.deployment, member.quota
    large = now < quota.large_until
    return DeploymentStatus(
        deployment=deployment.name,
        priority=deployment.priority,
        weight=deployment.weight,
        status=status,
        seconds=round(member.wait(now), 3) if status in _AWAY else 0.0,
        why=member.why(now) if status in _AWAY or status is Status.HALF_OPEN else None,
        outstanding=member.outstanding,
        outstanding_tokens=member.tokens,
        answered=member.answered,
        failed=member.failed,
        last_error=member.last_error,
        left_out_for=left_out_for,
        first_token_p50=member.percentile(0.50),
        first_token_p95=member.percentile(0.95),
        max_concurrent=deployment.max_concurrent,
        quota_group=deployment.quota_group,
        pressed_seconds=round(max(member.pressed_until - now, 0.0), 3),
        large_tokens=quota.large if large else None,
        large_seconds=round(quota.large_until - now, 3) if large else 0.0,
    )


def readings_of(model: str, found: DeploymentStatus) -> Iterator[Reading]:
    """Yield the metrics of a model's deployment."""
    place = (model, found.deployment)
    for status in Status:
        yield of.DEPLOYMENT_STATE, (*place, status), status is found.status
    yield of.DEPLOYMENT_WAIT, place, found.seconds
    yield of.DEPLOYMENT_REQUESTS, place, found.outstanding
    yield of.DEPLOYMENT_TOKENS, place, found.outstanding_tokens
    yield of.DEPLOYMENT_SOURCES, place, found.left_out_for


def summary(member: Member, now: float, left_out_for: int = 0) -> str:
    """Return the status as a short text."""
    found = status_of(member, now, left_out_for)
    words = [found.deployment, found.status.value]
    if found.status in _AWAY:
        words.append(f"{found.seconds:.1f} s ({found.why})")
    if found.left_out_for:
        words.append(f"left out for {found.left_out_for}")
    if found.outstanding:
        words.append(f"{found.outstanding} outstanding")
    if found.first_token_p50 is not None:
        words.append(f"first token {found.first_token_p50 * 1000:.0f} ms")
    return " ".join(words)
