"""An outage as an operator sees it: health endpoints, the header that names the deployment, lines in the log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.live.failover_bench import KEY, FailoverBench, answer_of, open_bench
from tests.live.failover_cases import CHAT, COMPLETION, refused
from tests.live.fault_scripts import Hold, Reset, Script, Send, chunk, head
from tests.live.matrix_forms import COMPLETION as SECRET_COMPLETION
from tests.live.matrix_forms import PROMPT
from tests.live.raw_client import RawClient
from tests.live.relays import InProcessRelay
from tests.live.uncounted import charge_of

from chukei.adapters.logs.formats import JsonFormatter
from chukei.adapters.logs.requests import log_request

pytestmark = pytest.mark.anyio

FIELDS = {
    "deployment",
    "priority",
    "weight",
    "status",
    "seconds",
    "why",
    "left_out_for",
    "outstanding",
    "outstanding_tokens",
    "answered",
    "failed",
    "last_error",
    "first_token_p50",
    "first_token_p95",
    "max_concurrent",
    "quota_group",
    "pressed_seconds",
    "large_tokens",
    "large_seconds",
}


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FailoverBench]:
    async with open_bench(tmp_path_factory.mktemp("visible")) as bench:
        yield bench


async def _get(relay: InProcessRelay, path: str) -> tuple[int, Any]:
    async with RawClient(relay.url) as client:
        await client.request("GET", path)
        body = await client.rest()
    assert client.status is not None
    return client.status, json.loads(body)


async def _shown(relay: InProcessRelay) -> dict[str, dict[str, Any]]:
    status, body = await _get(relay, "/health/deployments")
    assert status == 200
    return {known["deployment"]: known for known in body["models"]["chat"]}


async def test_the_status_through_an_outage(bench: FailoverBench) -> None:
    async with bench.relay(pool="breaker_failures = 1\nbreaker_seconds = 1.0", c="weight = 0") as relay:
        bench.heal(CHAT)
        shown = await _shown(relay)
        assert all(set(known) == FIELDS for known in shown.values())
        assert [known["status"] for known in shown.values()] == ["ready", "ready", "drained"]
        assert [known["priority"] for known in shown.values()] == [1, 2, 3]

        bench.first.script = refused("429 Too Many Requests", "retry-after: 30")
        await answer_of(relay, CHAT)
        cooling = (await _shown(relay))["a"]
        assert (cooling["status"], cooling["why"], cooling["last_error"]) == ("cooling", "upstream_429", "upstream_429")
        assert 25 < cooling["seconds"] <= 30

        bench.second.script = [Send(head()), Reset()]
        assert (await answer_of(relay, CHAT)).status == 429
        left_out = (await _shown(relay))["b"]
        assert (left_out["status"], left_out["failed"], left_out["left_out_for"]) == ("ready", 1, 1)
        assert (await answer_of(relay, CHAT)).status == 429
        failing = (await _shown(relay))["b"]
        assert (failing["status"], failing["why"], failing["failed"]) == ("open", "upstream_lost", 2)
        assert 0 < failing["seconds"] <= 1.0
        assert (await _get(relay, "/health/ready"))[0] == 200, "one that is only busy is a service"

        async with asyncio.timeout(60):
            while (await _shown(relay))["b"]["status"] == "open":
                await asyncio.sleep(0.02)
        assert (await _shown(relay))["b"]["status"] == "half_open"
        bench.second.script = [Hold(), *CHAT.good]
        async with RawClient(relay.url) as client:
            await client.post(CHAT.path, CHAT.of("chat"))
            visit = await bench.second.visit(4)
            await visit.holding()
            trying = (await _shown(relay))["b"]
            assert (trying["status"], trying["outstanding"]) == ("half_open", 1)
            assert trying["outstanding_tokens"] > 0
            visit.release()
            await client.rest()
        mended = (await _shown(relay))["b"]
        assert (mended["status"], mended["why"], mended["answered"]) == ("ready", None, 2)


async def test_ready_while_any_deployment_of_the_default_model_is_not_failing(bench: FailoverBench) -> None:
    async with bench.relay(pool="breaker_failures = 1") as relay:
        for upstream in (bench.first, bench.second, bench.third):
            assert (await _get(relay, "/health/ready"))[0] == 200
            upstream.script = refused("500 Internal Server Error", "retry-after: 30")
            bench.second.script = bench.second.script or CHAT.good
            bench.third.script = bench.third.script or CHAT.good
            for _ in range(2):
                await answer_of(relay, CHAT)
        assert [known["status"] for known in (await _shown(relay)).values()] == ["open"] * 3
        assert await _get(relay, "/health/ready") == (503, {"status": "not ready"})
        assert (await _get(relay, "/health/live"))[0] == 200


@pytest.mark.parametrize(("ask", "shown"), [(CHAT, True), (COMPLETION, True), (CHAT, False)])
async def test_a_header_names_who_answered_where_it_is_wanted(ask: Any, shown: bool, bench: FailoverBench) -> None:
    async with bench.relay(pool=f"deployment_header = {str(shown).lower()}") as relay:
        bench.heal(ask)
        bench.first.script = [Reset()]
        client = await answer_of(relay, ask)
        assert client.headers.get("x-chukei-deployment") == ("b" if shown else None)
        assert client.body == ask.shown


# The log.

TAKEN_OUT: dict[str, tuple[Script, str, str]] = {
    "unauthorized": (refused("401 Unauthorized"), "ERROR", "misconfigured (upstream_unauthorized)"),
    "page": ([Send(head("text/html", length=2) + b"no")], "ERROR", "misconfigured (unexpected_content_type)"),
    "unavailable": (refused("503 No", "retry-after: 20"), "WARNING", "fails (upstream_503)"),
    "broken": (refused("500 No"), "WARNING", "fails (upstream_500)"),
    "busy": (refused("429 No", "retry-after: 20"), "INFO", "is busy (upstream_429)"),
}


@pytest.mark.parametrize("name", TAKEN_OUT)
async def test_the_log_is_loud_once_and_not_for_each_request(
    name: str, bench: FailoverBench, caplog: pytest.LogCaptureFixture
) -> None:
    """Six requests are under way when it happens, and six come after."""
    failing, level, words = TAKEN_OUT[name]
    caplog.set_level(logging.DEBUG)
    async with bench.relay() as relay, AsyncExitStack() as stack:
        bench.heal(CHAT)
        bench.first.script = [Hold(), *failing]
        clients = [await stack.enter_async_context(RawClient(relay.url)) for _ in range(6)]
        for client in clients:
            await client.post(CHAT.path, CHAT.of("chat"))
        for number in range(1, 7):
            visit = await bench.first.visit(number)
            await visit.holding()
        for visit, client in zip(tuple(bench.first.visits), clients, strict=True):
            visit.release()
            assert await client.rest() == CHAT.shown
            await asyncio.sleep(0.12)  # as refusals come in, one after the other
        for _ in range(6):
            await answer_of(relay, CHAT)
        assert len(bench.first.visits) == 6
        for client in clients:
            client.close()
    *one, line = [line for line in caplog.records if line.name == "chukei.pool"]
    for each in (*one, line):
        assert each.levelname == level
        assert each.getMessage().startswith(f"deployment a {'is ' if level == 'ERROR' else ''}{words}")
        assert each.getMessage().endswith(" only") is (each is not line)
    assert len(one) == (name in ("unauthorized", "page", "unavailable")), "the first takes it from itself alone"


async def test_the_log_names_every_try_and_holds_no_secret(
    bench: FailoverBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with bench.relay(at="untrusted", pool="breaker_failures = 1\nbreaker_seconds = 0.1") as relay:
        bench.second.script = [Send(head() + chunk(CHAT.held[0])), Reset()]
        bench.third.script = CHAT.good
        for _ in range(2):
            assert (await answer_of(relay, CHAT)).body == CHAT.shown
        bench.second.script = CHAT.good
        async with asyncio.timeout(60):
            while "deployment b answers again" not in caplog.text:
                await answer_of(relay, CHAT)
                await asyncio.sleep(0.02)
        log_request(relay.records[0])
    formatter = JsonFormatter()
    lines = [formatter.format(line) for line in caplog.records]
    tries = json.loads(next(line for line in lines if '"tries"' in line))["tries"]
    assert [(attempt["deployment"], attempt["code"]) for attempt in tries] == [
        ("a", "tls_unverified"),
        ("b", "upstream_lost"),
        ("c", "answered"),
    ]
    assert [attempt.get("input_tokens") for attempt in tries] == [None, charge_of(CHAT.of("chat")), None]
    written = "\n".join(lines)
    for secret in (KEY, PROMPT, SECRET_COMPLETION):
        assert secret not in written
