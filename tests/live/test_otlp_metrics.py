"""Metrics on real sockets: what a collector gets of the same numbers that /metrics shows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.otlp_receiver import OtlpReceiver, attributes_of
from tests.live.plain_http import post
from tests.live.pools import SECRETS, pool_file
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, ROLE, USAGE, delta
from tests.live.relays import InProcessRelay, eventually

from chukei.adapters.telemetry import genai
from chukei.config import load

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

pytestmark = pytest.mark.anyio

STREAM = b'{"messages":[{"role":"user","content":"hello"}],"stream":true,"stream_options":{"include_usage":true}}'
BODY = FILTER + ROLE + delta("one ") + delta("two") + FINISH + USAGE + DONE
DELTA, CUMULATIVE = 1, 2


@pytest.fixture
async def collector() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as collector:
        yield collector


async def metered(collector: OtlpReceiver, directory: Path, count: int, **extra: str) -> int:
    """Have a relay answer so many requests; return the port of its deployment."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRIC_EXPORT_INTERVAL": "100", **extra}
    async with FaultUpstream((Send(head() + chunk(BODY) + LAST_CHUNK),)) as a:
        path = pool_file(directory / "pool.toml", {"a": {"endpoint": a.url}})
        async with InProcessRelay(load(path, {**SECRETS, **variables})) as relay:
            for _ in range(count):
                await post(relay.url, CHAT, STREAM)
        return int(a.port)


async def last(collector: OtlpReceiver, name: str, kind: str, count: float) -> list[Any]:
    """Wait until a metric's points sum up to this count, and return the last ones."""

    def points() -> list[Any]:
        found = [metric for metric in collector.metrics if metric.name == name]
        return list(getattr(found[-1], kind).data_points) if found else []

    await eventually(lambda: sum(getattr(each, "count", 0) or each.as_double for each in points()) >= count)
    return points()


async def test_the_histograms_of_the_conventions(collector: OtlpReceiver, tmp_path: Path) -> None:
    port = await metered(collector, tmp_path, 3)

    (duration,) = await last(collector, "gen_ai.client.operation.duration", "histogram", 3)
    (first,) = await last(collector, "gen_ai.client.operation.time_to_first_chunk", "histogram", 3)
    usage = await last(collector, "gen_ai.client.token.usage", "histogram", 6)
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "chat",
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert attributes_of(duration) == attributes_of(first) == call
    assert tuple(first.explicit_bounds) == genai.SECONDS
    assert [duration.count, first.count] == [3, 3]
    assert duration.sum >= first.sum > 0
    assert not duration.HasField("min")
    by_type = {attributes_of(each)["gen_ai.token.type"]: each for each in usage}
    assert {kind: (each.count, each.sum) for kind, each in by_type.items()} == {"input": (3, 27), "output": (3, 15)}
    assert tuple(by_type["input"].explicit_bounds) == genai.TOKENS
    units = {metric.name: metric.unit for metric in collector.metrics}
    assert units["gen_ai.client.operation.duration"] == "s"
    assert units["gen_ai.client.token.usage"] == "{token}"


async def test_all_other_families_keep_their_labels(collector: OtlpReceiver, tmp_path: Path) -> None:
    await metered(collector, tmp_path, 2)

    (requests,) = await last(collector, "chukei.requests", "sum", 2)
    assert attributes_of(requests).items() >= {"operation": "chat", "status": "200", "end": "completed"}.items()
    metric = await collector.metric("chukei.requests")
    assert (metric.sum.is_monotonic, metric.sum.aggregation_temporality) == (True, CUMULATIVE)
    assert (await collector.metric("chukei.request_duration")).unit == "s"
    assert (await collector.metric("process.memory.usage")).unit == "By"


async def test_counts_since_the_last_time(collector: OtlpReceiver, tmp_path: Path) -> None:
    await metered(collector, tmp_path, 5, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta")

    def counted() -> float:
        metrics = [metric for metric in collector.metrics if metric.name == "chukei.requests"]
        return float(sum(point.as_double for metric in metrics for point in metric.sum.data_points))

    await eventually(lambda: counted() == 5)
    metric = await collector.metric("chukei.requests")
    assert metric.sum.aggregation_temporality == DELTA


async def test_a_redirect_is_a_failure(tmp_path: Path) -> None:
    """The library follows none, and takes one for success."""
    redirects = [Send(head("text/plain", "location: http://127.0.0.1:9/", status="307 Temporary Redirect", length=0))]
    async with FaultUpstream(redirects) as collector:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRIC_EXPORT_INTERVAL": "100"}
        path = pool_file(tmp_path / "pool.toml", {"a": {"endpoint": collector.url}})
        async with InProcessRelay(load(path, {**SECRETS, **variables})) as relay:
            telemetry = relay.relay.telemetry
            assert telemetry is not None
            await eventually(lambda: telemetry.dropped > 0)  # without a request it has no traces
