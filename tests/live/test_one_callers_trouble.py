"""One caller's requests fail, in every way that a request can provoke; others go on with the only deployment.

The ways are those of public reports about gateways, in which one user's requests took a deployment from all: slow ones
(BerriAI/litellm 41223), requests that are too large (sgl-project/sglang 25811), any 5xx or odd answer (envoyproxy/envoy
3643, 2671), a 429 for a request that exceeds the whole quota, which Azure tells to wait for a day.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.live.failover_cases import refused
from tests.live.fault_scripts import LAST_CHUNK, Reset, Script, Send, Stall, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.plain_http import Answer, post
from tests.live.pools import SECRETS, pool_file
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, ROLE, delta
from tests.live.relays import InProcessRelay

from chukei.config import load
from chukei.pool import DeploymentStatus
from chukei.pool.member import Status

pytestmark = pytest.mark.anyio

ANSWER: Script = (Send(head() + chunk(FILTER + ROLE + delta("x") + FINISH + DONE) + LAST_CHUNK),)
PAGE = b"<html>Sign in</html>"

POISON: dict[str, Script] = {
    "slow": [Send(head() + chunk(FILTER + ROLE)), Stall()],
    "silent": [Stall()],
    "lost": [Reset()],
    "cut after output": [Send(head() + chunk(FILTER + ROLE + delta("x"))), Reset()],
    "error event": [Send(head() + chunk(b'data: {"error":{"code":"server_error","message":"No."}}\n\n') + LAST_CHUNK)],
    "context length": refused("400 Bad Request", code="context_length_exceeded"),
    "500": refused("500 Internal Server Error"),
    "503 with a time": refused("503 Service Unavailable", "retry-after: 60"),
    "408": refused("408 Request Timeout"),
    "page": [Send(head("text/html", length=len(PAGE)) + PAGE)],
    "redirect": [Send(head("text/html", "location: /elsewhere", status="307 Moved", length=0))],
    "no such deployment": refused("404 Not Found", code="DeploymentNotFound"),
    "forbidden": refused("403 Forbidden"),
    "larger than the quota": refused(
        "429 Too Many Requests", "retry-after: 86400", "x-ratelimit-limit-tokens: 250000", code="RateLimitReached"
    ),
}


def script(visit: Visit) -> Script:
    """Answer well, unless the request says otherwise."""
    wanted = json.loads(visit.body).get("user")
    return POISON.get(wanted, ANSWER)


@pytest.fixture
async def upstream() -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream(script) as upstream:
        yield upstream


@pytest.fixture
async def relay(tmp_path: Path, upstream: FaultUpstream) -> AsyncIterator[InProcessRelay]:
    waits = {"first_token_seconds": 0.2, "thinking_seconds": 0.2}
    path = pool_file(tmp_path / "pool.toml", {"only": {"endpoint": upstream.url}}, stream=waits)
    callers = (f'[callers.{name}]\nkey_sha256 = "{_digest(name)}"' for name in ("ann", "bob", "eve", "kim"))
    path.write_text("\n".join([path.read_text(), *callers]))
    async with InProcessRelay(load(path, SECRETS)) as running:
        yield running


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


async def ask(relay: InProcessRelay, caller: str, number: int = 0, *, poison: str = "") -> Answer:
    body = {"messages": [{"role": "user", "content": f"{number}"}], "stream": True, "user": poison}
    if poison == "larger than the quota":
        body["max_completion_tokens"] = 400_000 + number
    headers = [("authorization", f"Bearer {caller}")] if caller else []
    return await post(relay.url, CHAT, json.dumps(body).encode(), headers)


def whole(answer: Answer) -> bool:
    return answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n")


def state(relay: InProcessRelay) -> DeploymentStatus:
    [found] = relay.relay.pool.status(asyncio.get_running_loop().time())["chat"]
    return found


@pytest.mark.parametrize("poison", POISON)
async def test_others_are_served_whatever_one_caller_provokes(poison: str, relay: InProcessRelay) -> None:
    for number in range(8):
        assert not whole(await ask(relay, "eve", number, poison=poison))
        assert whole(await ask(relay, "ann", number)), relay.relay.pool
    await asyncio.gather(*(ask(relay, "eve", number, poison=poison) for number in range(20)))
    assert whole(await ask(relay, "ann"))
    assert state(relay).status is Status.READY


@pytest.mark.parametrize("poison", ["500", "503 with a time", "page", "forbidden"])
async def test_what_one_caller_meets_again_and_again_it_is_kept_from(
    poison: str, relay: InProcessRelay, upstream: FaultUpstream
) -> None:
    for number in range(10):
        answer = await ask(relay, "eve", number, poison=poison)
    assert len(upstream.visits) == (3 if poison == "500" else 1)
    assert (answer.status, answer.error["code"]) == (503, "no_deployment_available")
    assert "your own requests failed there" in answer.error["message"]
    assert int(answer.header("retry-after") or 0) >= 1
    assert (state(relay).status, state(relay).left_out_for) == (Status.READY, 1)


async def test_a_request_larger_than_the_quota_is_told_when_and_small_ones_of_the_same_caller_pass(
    relay: InProcessRelay, upstream: FaultUpstream
) -> None:
    assert (await ask(relay, "eve", poison="larger than the quota")).status == 429
    again = await ask(relay, "eve", 1, poison="larger than the quota")
    assert (again.status, again.error["code"]) == (429, "all_deployments_busy")
    assert "without room for a request as large as yours" in again.error["message"]
    assert 250 < int(again.header("retry-after") or 0) <= 300, "a day is bounded by max_cooldown_seconds"
    assert len(upstream.visits) == 1
    assert whole(await ask(relay, "eve"))


@pytest.mark.parametrize(
    ("poison", "callers"),
    [("500", "eve bob kim"), ("503 with a time", "eve bob"), ("page", "eve bob"), ("500", "eve eve bob bob")],
)
async def test_what_several_meet_is_the_deployments(poison: str, callers: str, relay: InProcessRelay) -> None:
    for number, caller in enumerate(callers.split()):
        assert state(relay).status is Status.READY
        await ask(relay, caller, number, poison=poison)
    assert state(relay).status is Status.OPEN
    answer = await ask(relay, "ann")
    assert (answer.status, answer.error["code"]) == (503, "no_deployment_available")


Asked = Callable[[int], int]


@pytest.mark.parametrize(
    ("content", "opens"),
    [pytest.param(lambda _: 0, False, id="the same again"), pytest.param(lambda number: number, True, id="different")],
)
async def test_callers_that_are_not_told_apart_are_known_by_what_they_ask(
    content: Asked, opens: bool, tmp_path: Path, upstream: FaultUpstream
) -> None:
    path = pool_file(tmp_path / "pool.toml", {"only": {"endpoint": upstream.url}})
    async with InProcessRelay(load(path, SECRETS)) as relay:
        for number in range(6):
            await ask(relay, "", content(number), poison="500")
        assert len(upstream.visits) == 3
        assert whole(await ask(relay, "", 99)) is not opens
