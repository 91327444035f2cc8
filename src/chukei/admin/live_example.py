"""An example of the live view, for the description of the API."""

from datetime import UTC, datetime

from chukei.liveview.schema import (
    CallerNow,
    DeploymentNow,
    Ended,
    FailedRequest,
    Finding,
    Live,
    Open,
    Places,
    Quantiles,
    Rates,
    ReasonNow,
    Series,
    Times,
)
from chukei.pool.member import Status

_NOTHING = Quantiles()
_FINDING = Finding(
    rule="slow_first_token",
    place="azure",
    level="alarm",
    text="east takes 4.2 s (p95) to the first token, 6.0× its usual 700 ms; others are normal.",
    subject="east",
    values={"deployment": "east", "took": "4.2 s", "times": "6.0", "usual": "700 ms", "others": "normal"},
)
_FAILURE = FailedRequest(
    outcome="failed",
    age=3.1,
    request_id="req_5f50dbbe4de246378a3fbc2e5f08aca1",
    caller="team-search",
    operation="chat",
    model="gpt-4o",
    deployment="east",
    status=504,
    code="upstream_timeout",
    rule=None,
    end="timeout",
)

LIVE = Live(
    at=datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC),
    workers=2,
    up=86400.0,
    covered=57.2,
    draining=False,
    verdict=_FINDING,
    findings=[_FINDING],
    places=Places(caller="ok", relay="ok", network="ok", azure="alarm"),
    lag=0.002,
    open=Open(requests=34, streams=30, waiting=3, slow=0, connections=36),
    rates=Rates(requests=5.8, input=1200.0, output=844.0),
    ended=Ended(requests=348, refused=17, failed=4, left=6),
    times=Times(
        upload=Quantiles(331, 0.001, 0.004, 0.02),
        own=Quantiles(331, 0.001, 0.002, 0.004),
        connect=Quantiles(4, 0.031, 0.05, 0.05),
        first_token=Quantiles(300, 0.7, 4.1, 5.2),
        answer=_NOTHING,
        gap=Quantiles(298, 0.029, 0.034, 0.041),
    ),
    deployments=[
        DeploymentNow(
            deployment="east",
            models=["gpt-4o"],
            status=Status.READY,
            seconds=0.0,
            why=None,
            away=0,
            pools=2,
            level="alarm",
            open=34,
            waiting=3,
            longest=3.9,
            whole=4,
            oldest=6.2,
            silent=0.1,
            asked=352,
            failed=4,
            share=1.0,
            unreached=0,
            codes={"upstream_timeout": 4},
            output=844.0,
            first_token=Quantiles(300, 0.7, 4.2, 5.2),
            answer=_NOTHING,
            gap=Quantiles(298, 0.029, 0.034, 0.041),
            usual={"first_token": Quantiles(20412, 0.41, 0.7, 1.1)},
        )
    ],
    deployments_total=1,
    callers=[CallerNow("team-search", 34, 0, 348, 17, 4, 70120, 48200.0)],
    callers_total=1,
    others=None,
    reasons=[ReasonNow("failed", "upstream_timeout", None, 4, _FAILURE)],
    failures=[_FAILURE],
    minute=Series(1, [5.0, 6.0], [0.0, 1.0], [0.0, 0.0], [812.0, 850.0], [0.71, None]),
    quarter=Series(10, [5.4, 5.9], [0.2, 0.3], [0.1, 0.0], [844.0, 831.0], [4.1, 4.2]),
)
