"""Limits under a caller that hammers: through two processes and one real Redis, and one process with its memory.

What is granted is counted at the upstream. The overshoot that may be is the one in quota.py: none where no estimate is
too low, else what those requests used beyond theirs that were under way together.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from tests.live.callers import (
    CONNECTIONS,
    ENVIRONMENT,
    OUTPUT,
    PROMPT,
    CountingUpstream,
    Table,
    ask,
    clear_of_midnight,
    config,
    count,
    hammer,
    insist,
    left,
    question,
)
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess, eventually

pytestmark = pytest.mark.anyio

TOKENS = 10_000
USUAL = 500
"""Tokens that are reserved for an answer of which nobody says how long it may be."""

CALLERS: dict[str, Table] = {
    "requests": {"limits": {"requests_per_minute": 40}},
    "calm": {"limits": {"requests_per_minute": 1000, "concurrent": 2}},
    "concurrent": {"limits": {"concurrent": 8}},
    "day": {"limits": {"tokens_per_day": 5000}},
    "money": {"limits": {"money_per_month": 0.05}},
    "told": {"limits": {"requests_per_minute": 3, "tokens_per_minute": 1000}},
    "never": {"limits": {"tokens_per_minute": 200, "requests_per_minute": 5}},
    "first": {"groups": ["research"]},
    "second": {"groups": ["research"]},
    "third": {},
}
TOKEN_CALLERS: dict[str, Table] = {
    f"tokens-{kind}-{form}": {"limits": {"tokens_per_minute": TOKENS}}
    for kind in ("bounded", "open", "low")
    for form in ("stream", "whole")
}
GROUPS: dict[str, Table] = {
    "research": {"total": {"requests_per_minute": 30}},
    "everybody": {"total": {"money_per_month": 1000.0}},
}


@dataclass(frozen=True)
class Setup:
    """Relays that share their accounts, and the upstream."""

    urls: list[str]
    upstream: CountingUpstream


@pytest.fixture(scope="module", params=["redis", "memory"])
async def setup(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setup]:
    """Two relays with a Redis, or one without."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(CountingUpstream())
        stores = {}
        if request.param == "redis":
            stores = {"quota": stack.enter_context(RedisServer()).url, "quota_away": "closed", "quota_seconds": 1.0}
        path = tmp_path_factory.mktemp("limits") / "chukei.toml"
        file = str(config(path, upstream.url, CALLERS | TOKEN_CALLERS, GROUPS, stores=stores))
        relays = [stack.enter_context(RelayProcess(ENVIRONMENT, "--config", file)) for _ in range(2 if stores else 1)]
        yield Setup([relay.url for relay in relays], upstream)
        assert not any("Traceback" in line for relay in relays for line in relay.log)


async def test_requests_per_minute_are_the_limit_exactly_and_others_do_not_notice(setup: Setup) -> None:
    async def calm(turn: int) -> bool:
        answer = await ask(setup.urls[turn % len(setup.urls)], "calm", stream=bool(turn % 2))
        if answer.status == 503:
            assert answer.error["code"] == "quota_unavailable"
            return False
        assert answer.status == 200, answer.body
        return True

    began = time.monotonic()
    hammering = asyncio.create_task(hammer(setup.urls, "requests", each=8))
    beside = 0
    while not hammering.done():
        beside += await calm(beside)
    answers = await hammering
    minutes = 1 + int((time.monotonic() - began) // 60)
    served, away = count(answers)
    assert 40 - away <= served <= 40 * minutes
    assert setup.upstream.requests["requests"] == served
    assert beside > 4, "who keeps within the limit is answered while the other is being refused"
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.error["code"] == "rate_limit_exceeded"
    assert "callers.requests.limits.requests_per_minute" in refused.error["message"]
    assert 0 < int(refused.header("retry-after-ms") or "0") <= 63_000
    assert 0 < int(refused.header("retry-after") or "0") <= 63


# What is reserved depends on the kind, what is settled on the answer.
@pytest.mark.parametrize(("kind", "stream"), [("bounded", True), ("open", False), ("low", True)])
async def test_tokens_per_minute(setup: Setup, kind: str, stream: bool) -> None:
    """An answer whose limit the client names, one below the usual estimate, and one far above it."""
    caller = f"tokens-{kind}-{'stream' if stream else 'whole'}"
    more = {"max_tokens": 100} if kind == "bounded" else {}
    size = len(question(caller, stream=stream, **more))
    prompt = size // 4 + 1
    reserved = prompt + (100 if kind == "bounded" else USUAL)
    setup.upstream.output = output = 900 if kind == "low" else OUTPUT
    used = PROMPT + output
    try:
        answers = await hammer(setup.urls, caller, stream=stream, **more)
        together = count(answers).granted
        overshoot = max(0, used - reserved) * min(CONNECTIONS, TOKENS // reserved)
        assert together * used <= TOKENS + overshoot
        # One after another, until nothing more is granted: what was reserved in vain has been given back.
        while (answer := await insist(setup.urls[0], caller, stream=stream, **more)).status == 200:
            pass
        assert answer.status == 429
        total = setup.upstream.tokens[caller]
        assert TOKENS - reserved < total <= TOKENS + overshoot
    finally:
        setup.upstream.output = OUTPUT


async def test_concurrent_requests(setup: Setup) -> None:
    upstream = setup.upstream
    upstream.holding.add("concurrent")
    for number in range(1, 3):  # each time all places are free again
        hammering = asyncio.create_task(hammer(setup.urls, "concurrent", each=1, stream=number == 1))
        await eventually(lambda wanted=8 * number: upstream.requests["concurrent"] == wanted)  # type: ignore[misc]
        answer = await insist(setup.urls[-1], "concurrent")
        assert answer.status == 429
        assert answer.header("retry-after-ms") == "1000"
        for visit in upstream.held("concurrent"):
            visit.release()
        assert count(await hammering).granted == 8
        assert upstream.requests["concurrent"] == 8 * number
        await left(setup.urls[0], "concurrent", concurrent=8)
    upstream.holding.clear()


@pytest.mark.parametrize("caller", ["day", "money"])
async def test_quotas(setup: Setup, caller: str) -> None:
    await clear_of_midnight()
    answers = await hammer(setup.urls, caller, max_tokens=100)
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in refused} <= {403, 503}
    refused = [answer for answer in refused if answer.status == 403]
    assert refused[0].error["code"] == refused[0].error["type"] == "insufficient_quota"
    assert refused[0].header("x-should-retry") == "false"
    while (answer := await insist(setup.urls[0], caller, max_tokens=100)).status == 200:
        pass
    assert answer.status == 403
    size = len(question(caller, max_tokens=100))
    if caller == "day":
        reserved, used, most = size // 4 + 101, setup.upstream.tokens[caller], 5000
        assert "callers.day.limits.tokens_per_day" in answer.error["message"]
    else:
        cost = PROMPT * 2.5 + OUTPUT * 10
        reserved, used, most = int(size / 4 * 2.5) + 1004, int(setup.upstream.requests[caller] * cost), 50_000
        assert "callers.money.limits.money_per_month" in answer.error["message"]
    assert most - reserved < used <= most


async def test_totals_of_groups(setup: Setup) -> None:
    """Two of a group share its total; a third, outside of it, is not touched by that."""
    answers = await asyncio.gather(*(hammer(setup.urls, name, each=2) for name in ("first", "second", "third")))
    one, two, other = map(count, answers)
    assert 30 - one.away - two.away <= one.granted + two.granted <= 30
    assert other.granted + other.away == 2 * CONNECTIONS
    refused = next(answer for answer in (*answers[0], *answers[1]) if answer.status == 429)
    assert "the group research" in refused.error["message"]
    assert "groups.research.total.requests_per_minute" in refused.error["message"]


async def test_what_headers_say(setup: Setup) -> None:
    size = len(question("told", max_tokens=100))
    reserved = size // 4 + 101
    for turn in range(3):
        answer = await insist(setup.urls[turn % len(setup.urls)], "told", max_tokens=100)
        assert answer.status == 200
        assert answer.header("x-ratelimit-limit-requests") == "3"
        assert answer.header("x-ratelimit-remaining-requests") == str(2 - turn)
        assert answer.header("x-ratelimit-limit-tokens") == "1000"
        assert answer.header("x-ratelimit-remaining-tokens") == str(1000 - turn * (PROMPT + OUTPUT) - reserved)
        for kind in ("requests", "tokens"):
            reset = answer.header(f"x-ratelimit-reset-{kind}") or ""
            assert reset.endswith("s")
            assert 50 < float(reset[:-1]) <= 63
        await left(setup.urls[0], "told", tokens_per_minute=1000 - (turn + 1) * (PROMPT + OUTPUT))
    answer = await insist(setup.urls[0], "told", max_tokens=100)
    assert answer.status == 429
    told = int(answer.header("retry-after-ms") or "0") / 1000
    assert 50 < told <= 63


async def test_what_could_never_be_granted(setup: Setup) -> None:
    answer = await insist(setup.urls[0], "never", max_tokens=4000)
    assert (answer.status, answer.error["code"]) == (400, "request_exceeds_limit")
    assert "callers.never.limits.tokens_per_minute" in answer.error["message"]
    assert setup.upstream.requests["never"] == 0
    answer = await insist(setup.urls[0], "never", max_tokens=100)
    assert answer.status == 200
    assert answer.header("x-ratelimit-remaining-requests") == "4"  # what was refused took nothing


async def test_the_total_of_everybody(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(CountingUpstream())
        redis = stack.enter_context(RedisServer())
        groups = {"everybody": {"total": {"requests_per_minute": 60, "concurrent": 200}}}
        names = ("one", "two", "three")
        path = tmp_path_factory.mktemp("everybody") / "chukei.toml"
        stores = {"quota": redis.url, "quota_away": "closed", "quota_seconds": 1.0}
        file = str(config(path, upstream.url, {name: {} for name in names}, groups, stores=stores))
        relays = [stack.enter_context(RelayProcess(ENVIRONMENT, "--config", file)) for _ in range(2)]
        answers = await asyncio.gather(*(hammer([relay.url for relay in relays], name, each=2) for name in names))
        counts = [*map(count, answers)]
        served, away = sum(each.granted for each in counts), sum(each.away for each in counts)
        assert 60 - away <= served <= 60
        assert upstream.requests.total() == served
        refused = next(answer for some in answers for answer in some if answer.status == 429)
        assert "the limit of all callers" in refused.error["message"]
        assert "x-ratelimit-limit-requests" not in refused.names  # those are the caller's own, and it has none
