"""What the live view shows, as JSON. The administrators' API is described by these fields."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from chukei.pool.member import Status

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Moment = Annotated[datetime, Meta(tz=True)]
Level = Literal["ok", "warning", "alarm"]
PlaceName = Literal["caller", "relay", "network", "azure"]
Problem = Literal["refused", "failed"]


def _says(text: str) -> Meta:
    return Meta(description=text)


class Quantiles(Struct, forbid_unknown_fields=True):
    """A duration in the last minute, in seconds. Null where there was none."""

    count: Count = 0
    p50: Seconds | None = None
    p95: Seconds | None = None
    p99: Seconds | None = None


class Finding(Struct, forbid_unknown_fields=True):
    """Something that is not as usual, and where."""

    rule: Annotated[str, _says("The rule's name in the documentation; `normal` and `idle` where nothing was found.")]
    place: PlaceName | None
    level: Level
    text: Annotated[str, _says("One sentence in English.")]
    subject: Annotated[str | None, _says("The deployment, model or caller that it is about.")]
    values: Annotated[dict[str, str], _says("What the sentence's figures and names are.")]


class Places(Struct, forbid_unknown_fields=True):
    """The worst finding of each part of a request's way."""

    caller: Level
    relay: Level
    network: Level
    azure: Level


class Open(Struct, forbid_unknown_fields=True):
    """The requests that are running."""

    requests: Count
    streams: Count
    waiting: Annotated[Count, _says("Streams that wait for a deployment's first output.")]
    slow: Annotated[Count, _says("Those whose client has not read for a second.")]
    connections: Annotated[Count, _says("Connections to Azure, including idle ones.")]


class Rates(Struct, forbid_unknown_fields=True):
    """Per second, in the last ten seconds."""

    requests: float
    input: Annotated[float, _says("Input tokens of requests that ended.")]
    output: Annotated[float, _says("Output tokens, also of streams that are running.")]


class Ended(Struct, forbid_unknown_fields=True):
    """The requests that ended in the last minute."""

    requests: Count
    refused: Annotated[Count, _says("The caller has to change something, or to wait.")]
    failed: Count
    left: Annotated[Count, _says("The client disconnected or stopped reading.")]


class Times(Struct, forbid_unknown_fields=True):
    """Durations of the last minute, along a request's way."""

    upload: Annotated[Quantiles, _says("From a request's head to the end of its body.")]
    own: Annotated[Quantiles, _says("The relay's own time before it asks a deployment.")]
    connect: Annotated[Quantiles, _says("New connections to Azure.")]
    first_token: Annotated[Quantiles, _says("From asking a deployment to a stream's first output.")]
    answer: Annotated[Quantiles, _says("From asking a deployment to the beginning of an answer that is not streamed.")]
    gap: Annotated[Quantiles, _says("Between two tokens; the mean of each stream.")]


class DeploymentNow(Struct, forbid_unknown_fields=True, kw_only=True):
    """A deployment in the last minute."""

    deployment: str
    models: list[str]
    status: Status | None
    seconds: Annotated[float, _says("For how long it is still left alone.")]
    why: str | None
    away: Annotated[Count, _says("Processes that leave it alone.")]
    pools: Annotated[Count, _says("Processes that know it.")]
    level: Level
    open: Count
    waiting: Annotated[Count, _says("Streams without output yet.")]
    longest: Annotated[Seconds, _says("For how long the oldest of them has waited.")]
    whole: Annotated[Count, _says("Answers that are not streamed, and not complete.")]
    oldest: Annotated[Seconds, _says("For how long the oldest of them has been running.")]
    silent: Annotated[Seconds, _says("For how long a running stream has been silent.")]
    asked: Annotated[Count, _says("Attempts in the last minute.")]
    failed: Annotated[Count, _says("Those that failed, also where another deployment then answered.")]
    share: Annotated[float, _says("Its part of all attempts, from 0 to 1.")]
    unreached: Annotated[Count, _says("Those that failed on the way to Azure.")]
    codes: Annotated[dict[str, Count], _says("Failed attempts by error code, the most frequent first.")]
    output: Annotated[float, _says("Output tokens per second.")]
    first_token: Quantiles
    answer: Quantiles
    gap: Quantiles
    usual: Annotated[dict[str, Quantiles], _says("What was usual before, where enough is known.")]


class CallerNow(Struct, forbid_unknown_fields=True):
    """A caller in the last minute. The name is empty for requests whose caller is not known."""

    caller: str
    open: Count
    slow: Annotated[Count, _says("Streams that it does not read.")]
    requests: Count
    refused: Count
    failed: Count
    input: Count
    output: float


class FailedRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request that was refused or failed."""

    outcome: Problem
    age: Annotated[Seconds, _says("How long ago, in seconds.")]
    request_id: str
    caller: str | None
    operation: str | None
    model: str | None
    deployment: str | None
    status: int | None
    code: str | None
    rule: Annotated[str | None, _says("The place in the configuration of the rule that refused it.")]
    end: str | None


class ReasonNow(Struct, forbid_unknown_fields=True):
    """Why requests were refused or failed in the last minute."""

    outcome: Problem
    code: str
    rule: Annotated[str | None, _says("The place in the configuration of the rule that refused them.")]
    count: Count
    last: FailedRequest


class Series(Struct, forbid_unknown_fields=True):
    """Steps of time, the running one last. Numbers are per second."""

    step: Annotated[int, _says("Seconds of a step.")]
    requests: list[float]
    refused: list[float]
    failed: list[float]
    output: list[float]
    first_token: Annotated[list[float | None], _says("The 95th percentile in seconds.")]


class Live(Struct, forbid_unknown_fields=True, kw_only=True):
    """How the relay is doing now: all its processes together."""

    at: Moment
    workers: Annotated[Count, _says("Processes that have answered.")]
    up: Annotated[Seconds, _says("Since when the oldest of them counts, in seconds.")]
    covered: Annotated[Seconds, _says("Seconds that “the last minute” covers; less after a start.")]
    draining: bool
    verdict: Finding
    findings: Annotated[list[Finding], _says("All that was found, the gravest first.")]
    places: Places
    lag: Annotated[Seconds, _says("The second longest delay of an event loop in the last seconds.")]
    open: Open
    rates: Rates
    ended: Ended
    times: Times
    deployments: Annotated[list[DeploymentNow], _says("At most 100, the troubled and the busiest first.")]
    deployments_total: Count
    callers: Annotated[list[CallerNow], _says("The 20 with most requests and tokens.")]
    callers_total: Count
    others: Annotated[CallerNow | None, _says("Callers that were not told apart.")]
    reasons: list[ReasonNow]
    failures: Annotated[list[FailedRequest], _says("The last 20 failures and 5 refusals, the youngest first.")]
    minute: Series
    quarter: Annotated[Series, _says("A quarter of an hour.")]
