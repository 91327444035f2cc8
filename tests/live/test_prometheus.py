"""The dashboard and the alert rules on a real Prometheus, which scrapes a relay under a mixed load."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from monitoring.panels import ROWS
from tests import markdown
from tests.live.callers import ENVIRONMENT, bearer, config, question
from tests.live.prometheus_server import PrometheusServer, Sample, binary
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import CHAT
from tests.live.relays import InProcessRelay
from tests.monitoring.promql import filled

from chukei.config import Settings, load
from chukei.simulator import Simulator, SimulatorSettings
from monitoring import rules

pytestmark = pytest.mark.anyio

FAULTS = {
    "flaky": "500%40",
    "busy": "429:1%30",
    "cut": "truncate:6%50",
    "slow": "stall:5,5.5",
    "still": "stall:6",
    "denied": "401",
}
MODELS = {
    "chat": ["steady", "flaky", "busy"],
    "cut": ["cut"],
    "slow": ["slow"],
    "still": ["still"],
    "denied": ["denied"],
}
PRICES = {"input": 2.5, "output": 10.0}
AT_ONCE = 8

EMPTY = {
    "Failovers and hedges: {{model}} hedge {{result}}": "hedging is off, as it is by default",
    "Audit and telemetry: lost: {{instance}} audit": "nothing is audited",
    "Audit and telemetry: lost: {{instance}} audit, without content": "nothing is audited",
    "Audit and telemetry: lost: {{instance}} telemetry": "no telemetry is sent",
    "Audit: {{instance}}": "nothing is audited",
    "Time to first token, p95, by deployment: {{deployment}}, a week ago": "there was no relay a week ago",
    "Gap between reads, p95, by deployment: {{deployment}}, a week ago": "there was no relay a week ago",
}
"""The queries that yield nothing here, with the reason."""


def settings(path: Path, simulator: Simulator) -> Settings:
    deployments = [name for names in MODELS.values() for name in names]
    file = config(
        path / "chukei.toml",
        simulator.url,
        {"alice": {"groups": ["team"]}, "bob": {}, "poor": {"limits": {"requests_per_minute": 3}}},
        {"team": {"see_deployment": True}},
        models={
            name: {"deployments": names} | ({"prices": PRICES} if name != "cut" else {})
            for name, names in MODELS.items()
        },
        deployments={
            name: {"endpoint": simulator.url, "deployment": name, "api_key": {"env": "UPSTREAM_KEY"}}
            for name in deployments
        },
        pool={"affinity": [], "breaker_failures": 0},
        stores={"ledger": f"sqlite:///{path / 'ledger.db'}"},
    )
    return load(file, ENVIRONMENT)


class Load:
    """Clients that stream, leave, exceed a limit, and have a wrong key. Each wave is the same."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def wave(self) -> int:
        """Make the requests of a wave and return how many there are."""
        calls = [
            *(self._asks("alice", "chat", number) for number in range(60)),
            *(self._asks("alice", "cut", number) for number in range(8)),
            *(self._asks("alice", "slow", number) for number in range(2)),
            *(self._asks(name, "denied", number) for number, name in enumerate(("alice", "bob"))),
            *(self._asks("poor", "chat", number) for number in range(9)),
            *(self._asks("nobody", "chat", number) for number in range(3)),
            *(self._leaves(number) for number in range(3)),
        ]
        await asyncio.gather(*calls)
        return len(calls)

    async def _asks(self, name: str, model: str, number: int) -> None:
        async with self._turns, RawClient(self._url) as client:
            body = question(f"{name} {model} {number}", stream=model != "chat" or number % 3 > 0, model=model)
            await client.post(CHAT, body, bearer(name))
            try:
                await client.rest()
            except Cut:
                return

    async def _leaves(self, number: int) -> None:
        async with self._turns, RawClient(self._url) as client:
            await client.post(CHAT, question(f"leaves {number}", stream=True, model="still"), bearer("alice"))
            assert await client.part()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    binary()
    quick = SimulatorSettings(first_token_seconds=0.02, inter_token_seconds=0.002, faults=FAULTS)
    async with Simulator(quick) as running:
        yield running


def by_name(results: dict[str, Sequence[Sample]], name: str, **labels: str) -> float:
    (found,) = [each.value for each in results[name] if labels.items() <= each.labels.items()]
    return found


async def test_each_panel_has_values_and_each_rule_is_evaluated(
    tmp_path: Path, simulator: Simulator, subtests: pytest.Subtests
) -> None:
    file = markdown.ROOT / "monitoring" / rules.FILE
    async with (
        InProcessRelay(settings(tmp_path, simulator)) as relay,
        PrometheusServer(relay.url, file, tmp_path) as prometheus,
        RawClient(relay.url) as open_stream,
    ):
        await open_stream.post(CHAT, question("open", stream=True, model="still"), bearer("alice"))
        assert await open_stream.part()
        sent = 0
        for _ in range(2):  # what grows between two scrapes has a rate
            sent += await Load(relay.url).wave()
            await prometheus.reached(f'sum(chukei_requests_total{{operation!="metrics"}}) == {sent}')
        results = {}
        for row in ROWS:
            for panel in row.panels:
                for query in panel.queries:
                    name = f"{panel.title}: {query.legend}"
                    results[name] = await prometheus.query(filled(query.expression))
        evaluated = await prometheus.rules()

    for name, found in results.items():
        with subtests.test(name):
            assert bool(found) == (name not in EMPTY)
            values = [each.value for each in found if not math.isnan(each.value)]  # quantiles of nothing are
            assert bool(values) == bool(found)
            assert all(0 <= value < math.inf for value in values), found
    assert EMPTY.keys() <= results.keys()
    assert [(each["name"], each["health"]) for each in evaluated if each["health"] != "ok"] == []

    assert math.isclose(sum(each.value for each in results["Share of attempts: {{deployment}}"]), 1)
    failing = "Failing share by model: {{model}}"
    assert 0 < by_name(results, failing, model="cut") < 1
    assert by_name(results, failing, model="slow") == 0
    assert by_name(results, "Stalls a minute: {{deployment}}", deployment="slow") > 0
    assert by_name(results, "Open streams: {{deployment}}", deployment="still") == 1
    assert by_name(results, "Not ready now: {{model}} {{deployment}} {{state}}", deployment="denied", state="open") == 1
    assert by_name(results, "Models without a ready deployment: models") == 1
    refused = {each.labels["code"] for each in results["Refusals by code: {{code}} {{rule}}"]}
    assert {"rate_limit_exceeded", "invalid_api_key"} <= refused
