"""Metrics on real sockets: they agree with the ledger and with what the simulated resource has counted."""

import asyncio
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.live.callers import ENVIRONMENT, Table, bearer, config, question
from tests.live.plain_http import JSON, ask, raw
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import CHAT
from tests.live.relays import InProcessRelay, eventually
from tests.scraped import OPENMETRICS, read

from chukei.accounts.ledger import By, Question, Sum
from chukei.config import Settings, load
from chukei.metrics import definitions as of
from chukei.metrics.snapshot import Snapshot
from chukei.record import RequestRecord
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

CALLERS: dict[str, Table] = {"alice": {"groups": ["team"]}, "poor": {"limits": {"requests_per_minute": 3}}}
GROUPS: dict[str, Table] = {"team": {"see_deployment": True}}
PRICES = {"input": 2.5, "cached": 1.25, "output": 10.0}
FAULTS = {"flaky": "500%40", "cut": "truncate:6%40", "still": "stall:6", "hesitant": "stall-before-first:0.3%10"}
AT_ONCE = 8


def settings(path: Path, simulator: Simulator, models: dict[str, list[str]], **pool: object) -> Settings:
    names = [name for deployments in models.values() for name in deployments]
    file = config(
        path / "chukei.toml",
        simulator.url,
        CALLERS,
        GROUPS,
        models={name: {"deployments": deployments, "prices": PRICES} for name, deployments in models.items()},
        deployments={
            name: {"endpoint": simulator.url, "deployment": name, "api_key": {"env": "UPSTREAM_KEY"}} for name in names
        },
        pool={"max_cooldown_seconds": 0, "breaker_failures": 0, "affinity": [], **pool},
        stores={"ledger": f"sqlite:///{path / 'ledger.db'}"},
    )
    return load(file, ENVIRONMENT)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    quick = SimulatorSettings(first_token_seconds=0, inter_token_seconds=0, faults=FAULTS, exchanges_kept=10_000)
    async with Simulator(quick) as running:
        yield running


class Load:
    """Clients of one relay, some of them at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def stays(self, number: int, *, stream: bool) -> None:
        async with self._turns, RawClient(self._url) as client:
            await client.post(CHAT, question(f"caller {number}", stream=stream, model="chat"), bearer("alice"))
            try:
                await client.rest()
            except Cut:
                return

    async def leaves(self, number: int) -> None:
        """Leave after the first events, of an answer that never ends."""
        async with self._turns, RawClient(self._url) as client:
            await client.post(CHAT, question(f"caller {number}", stream=True, model="still"), bearer("alice"))
            assert await client.part()

    async def is_refused(self, name: str, model: str) -> None:
        async with self._turns:
            await ask(self._url, "POST", CHAT, [JSON, bearer(name)], question(name, model=model))

    async def is_malformed(self) -> None:
        await raw(self._url, b"GET / HTTP/1.1\r\nno field\r\n\r\n")


async def scraped(url: str, accept: str = OPENMETRICS) -> tuple[Snapshot, str]:
    answer = await ask(url, "GET", "/metrics", [("accept", accept)])
    assert answer.status == 200
    page = answer.body.decode()
    return read(page), page


async def ledger(relay: InProcessRelay, *by: By, requests: int) -> list[Sum]:
    """Return the ledger's sums once it holds so many requests."""
    database = relay.relay.accounting.database
    assert database is not None
    relay.relay.tally.flush()  # similar refusals would be written at the end of the minute
    while True:
        found = await database.sum(Question(by))
        if sum(each.requests for each in found) >= requests:
            return found
        await asyncio.sleep(0.01)


def sums(snapshot: Snapshot, family: of.Family, *labels: str, **only: str) -> dict[tuple[str, ...], float]:
    """Return a family's sums by some labels, without zeros."""
    places = [family.labels.index(label) for label in labels]
    found: Counter[tuple[str, ...]] = Counter()
    for each in snapshot.samples(family):
        if all(each.labels[family.labels.index(label)] == value for label, value in only.items()):
            found[tuple(each.labels[place] for place in places)] += each.value  # type: ignore[assignment]
    return {key: round(value, 6) for key, value in found.items() if value}


def of_ledger(rows: Sequence[Sum], column: str, parts: int = 1) -> dict[tuple[str, ...], float]:
    return {row.names: round(getattr(row, column) / parts, 6) for row in rows if getattr(row, column)}


async def check_books(relay: InProcessRelay, found: Snapshot, records: Sequence[RequestRecord]) -> None:
    """Compare the metrics with the ledger: requests, tokens and costs, by model, deployment and end."""
    entered = sum(record.who is not None for record in records)
    rows = await ledger(relay, By.MODEL, By.DEPLOYMENT, requests=entered)
    place = ("model", "deployment")
    assert sums(found, of.TOKENS, *place, direction="input") == of_ledger(rows, "input")
    assert sums(found, of.TOKENS, *place, direction="output") == of_ledger(rows, "output")
    assert sums(found, of.CACHED, *place) == of_ledger(rows, "cached")
    assert sums(found, of.COST, *place) == of_ledger(rows, "cost", 1_000_000)
    assert found.value(of.WASTED) == sum(row.wasted for row in rows)
    assert found.value(of.UNPRICED) == sum(row.unpriced for row in rows)
    by_end = await ledger(relay, By.GROUP, By.END_REASON, requests=entered)
    assert sums(found, of.CALLER_REQUESTS, "group", "end", operation="chat") == of_ledger(by_end, "requests")


async def test_metrics_ledger_and_resource_agree(tmp_path: Path, simulator: Simulator) -> None:
    models = {"chat": ["flaky", "cut", "steady"], "still": ["still"]}
    async with InProcessRelay(settings(tmp_path, simulator, models)) as relay:
        load = Load(relay.url)
        await asyncio.gather(
            *(load.stays(number, stream=number % 3 > 0) for number in range(120)),
            *(load.leaves(number) for number in range(12)),
            *(load.is_refused("alice", "unknown") for _ in range(15)),
            *(load.is_refused("nobody", "chat") for _ in range(4)),
            *(load.is_refused("poor", "chat") for _ in range(9)),
            *(load.is_malformed() for _ in range(3)),
        )
        sent = 120 + 12 + 15 + 4 + 9 + 3
        await eventually(lambda: len(relay.records) == sent)
        found, _ = await scraped(relay.url)
        records = relay.records[:sent]
        await check_books(relay, found, records)

    assert found.value(of.REQUESTS) == sent
    ends = sums(found, of.REQUESTS, "end")
    assert ends == {(str(end),): count for end, count in Counter(record.end for record in records).items()}
    assert {"completed", "refused", "truncated", "client_aborted"} <= {end for (end,) in ends}
    assert sums(found, of.REFUSALS, "code", "rule") == {
        ("model_not_found", ""): 15,
        ("invalid_api_key", ""): 4,
        ("rate_limit_exceeded", "callers.*.limits.requests_per_minute"): 6,
        ("invalid_http", ""): 3,
    }

    # What the resource has counted.
    exchanges = list(simulator.exchanges)
    assert sums(found, of.ATTEMPTS, "deployment") == Counter((each.deployment,) for each in exchanges)
    failed = Counter((each.deployment,) for each in exchanges if each.status == 500)
    assert sums(found, of.ATTEMPTS, "deployment", outcome="upstream_500") == failed
    assert found.value(of.FAILOVERS) == len(exchanges) - sum(bool(record.tries) for record in records) > 0
    # A stream that was cut has no usage report; an answer in one piece is not cut, although its connection is.
    whole = [each for each in exchanges if each.status == 200 and (each.ended == "completed" or not each.streamed)]
    given: Counter[tuple[str | None]] = Counter()
    made: Counter[tuple[str | None]] = Counter()
    for each in whole:
        given[each.deployment,] += each.prompt_tokens
        made[each.deployment,] += each.completion_tokens
    assert sums(found, of.TOKENS, "deployment", direction="input", estimated="false") == given
    assert sums(found, of.TOKENS, "deployment", direction="output", estimated="false") == made
    assert found.value(of.TOKENS, deployment="still", estimated="true") > 0

    # Times: each stream has a first token, and as many gaps as it had further reads.
    streams = [record for record in records if record.first_token is not None]
    [first_tokens] = [sum(each.counts[0] for each in found.samples(of.FIRST_TOKEN))]
    assert first_tokens == len(streams)
    gaps = sum(each.counts[0] for each in found.samples(of.GAPS))
    assert gaps == sum(sum(record.gaps or ()) for record in streams) > len(streams)
    assert sum(each.counts[0] for each in found.samples(of.DURATION)) == sum(bool(each.tries) for each in records)


async def test_hedges_are_counted_once(tmp_path: Path, simulator: Simulator) -> None:
    models = {"chat": ["hesitant", "steady"]}
    async with InProcessRelay(settings(tmp_path, simulator, models, hedge_share=1.0)) as relay:
        load = Load(relay.url)
        for first in range(0, 150, 15):  # a deployment's usual time must be known before a request is hedged
            await asyncio.gather(*(load.stays(number, stream=True) for number in range(first, first + 15)))
        await eventually(lambda: len(relay.records) == 150)
        found, _ = await scraped(relay.url)
        records = relay.records[:150]
        await check_books(relay, found, records)
    tries = [attempt for record in records for attempt in record.tries]
    hedged = sum(attempt.hedge for attempt in tries)
    won = sum(record.answering is not None and record.answering.hedge for record in records)
    assert hedged > 0
    assert sums(found, of.HEDGES, "result") == {
        key: count for key, count in ((("won",), won), (("lost",), hedged - won)) if count
    }
    assert found.value(of.ATTEMPTS) == len(tries) == 150 + hedged
    lost = found.value(of.ATTEMPTS, outcome="hedge_lost")
    assert len(tries) - lost <= simulator.requests <= len(tries)  # some were cancelled before they were sent


async def test_gauges_follow_what_is_open(tmp_path: Path, simulator: Simulator) -> None:
    models = {"chat": ["steady"], "still": ["still"]}
    async with InProcessRelay(settings(tmp_path, simulator, models)) as relay, RawClient(relay.url) as client:
        await client.post(CHAT, question("caller", stream=True, model="still"), bearer("alice"))
        assert await client.part()
        found, _ = await scraped(relay.url)
        assert sums(found, of.OPEN_REQUESTS, "operation") == {("chat",): 1, ("metrics",): 1}
        assert sums(found, of.OPEN_STREAMS, "model", "deployment") == {("still", "still"): 1}
        assert sums(found, of.DEPLOYMENT_REQUESTS, "deployment") == {("still",): 1}
        assert sums(found, of.DEPLOYMENT_STATE, "deployment", "state") == {
            ("steady", "ready"): 1,
            ("still", "ready"): 1,
        }
        assert sums(found, of.UPSTREAM_CONNECTIONS, "endpoint", "state") == {(simulator.url, "busy"): 1}
        assert sums(found, of.STORE_AVAILABLE, "store") == {("ledger",): 1, ("keys",): 1}
        assert found.value(of.CLIENT_CONNECTIONS) == 2
        assert found.value(of.BODY_BYTES) > 0
        assert found.value(of.WORKERS) == 1
        client.reset()
        await eventually(lambda: len(relay.records) == 2)
        found, _ = await scraped(relay.url)
        assert sums(found, of.OPEN_STREAMS, "model", "deployment") == {}
        assert found.value(of.DEPLOYMENT_REQUESTS) == found.value(of.BODY_BYTES) == 0


async def test_the_page_is_what_promtool_and_a_probe_expect(tmp_path: Path, simulator: Simulator) -> None:
    async with InProcessRelay(settings(tmp_path, simulator, {"chat": ["flaky", "cut", "steady"]})) as relay:
        load = Load(relay.url)
        await asyncio.gather(*(load.stays(number, stream=True) for number in range(20)))
        _, page = await scraped(relay.url, "")
        head = await ask(relay.url, "HEAD", "/metrics")
        wrong = await ask(relay.url, "POST", "/metrics", [JSON], b"{}")
    assert (head.status, head.body) == (200, b"")
    assert (wrong.status, wrong.error["code"]) == (405, "method_not_allowed")
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, which Debian's prometheus package has")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_metrics_can_be_switched_off(tmp_path: Path, simulator: Simulator) -> None:
    file = config(tmp_path / "chukei.toml", simulator.url, CALLERS, GROUPS, metrics={"enabled": False})
    async with InProcessRelay(load(file, ENVIRONMENT)) as relay:
        await Load(relay.url).stays(1, stream=True)
        answer = await ask(relay.url, "GET", "/metrics")
        assert (answer.status, answer.error["code"]) == (404, "unknown_route")
        assert relay.relay.meter is None
        assert relay.records[0].gaps is None


async def test_a_callers_key_does_not_open_metrics(tmp_path: Path, simulator: Simulator) -> None:
    key = "the-operators-key-0123456789"
    file = config(tmp_path / "chukei.toml", simulator.url, CALLERS, GROUPS, metrics={"api_key": {"env": "METRICS_KEY"}})
    async with InProcessRelay(load(file, {**ENVIRONMENT, "METRICS_KEY": key})) as relay:
        refused = [await ask(relay.url, "GET", "/metrics", fields) for fields in ([], [bearer("alice")])]
        served = await ask(relay.url, "GET", "/metrics", [("authorization", f"Bearer {key}")])
    assert [(each.status, each.error["code"]) for each in refused] == [(401, "invalid_metrics_key")] * 2
    assert served.status == 200
    assert key.encode() not in served.body
    assert read(served.body.decode()).value(of.REFUSALS, code="invalid_metrics_key") == 2
