"""Traces on real sockets: what a collector gets of a request, and what a collector that fails can break."""

import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Script, Send, Stall, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.otlp_receiver import OtlpReceiver, attributes_of
from tests.live.plain_http import post
from tests.live.pools import SECRETS, Table, pool_file
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, ROLE, delta
from tests.live.relays import InProcessRelay, RelayProcess, eventually
from tests.live.simulated import SimulatorThread

from chukei import __version__
from chukei.config import load
from chukei.pool.member import ENOUGH
from chukei.simulator import SimulatorSettings

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

pytestmark = pytest.mark.anyio

STREAM = b'{"messages":[{"role":"user","content":"hello"}],"stream":true,"stream_options":{"include_usage":true}}'
BODY = FILTER + ROLE + delta("one ") + delta("two") + FINISH + DONE
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT = 2, 3
UNSET, ERROR = 0, 2


def answers(body: bytes = BODY) -> Script:
    return (Send(head() + chunk(body) + LAST_CHUNK),)


def fails(status: str) -> Script:
    error = b'{"error":{"message":"no","type":"server_error","param":null,"code":"server_error"}}'
    return (Send(head("application/json", status=status, length=len(error)) + error),)


def environment(collector: str, **extra: str) -> dict[str, str]:
    return {**SECRETS, "OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_BSP_SCHEDULE_DELAY": "10", **extra}


class Traced:
    """A relay with two deployments, ``a`` before ``b``, and a collector."""

    def __init__(self, relay: InProcessRelay, a: FaultUpstream, b: FaultUpstream, collector: OtlpReceiver) -> None:
        self.relay, self.a, self.b, self.collector = relay, a, b, collector

    async def ask(self, fields: Mapping[str, str] | None = None, body: bytes = STREAM) -> bytes:
        return (await post(self.relay.url, CHAT, body, tuple((fields or {}).items()))).body


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    async with OtlpReceiver() as collector, FaultUpstream(answers()) as a, FaultUpstream(answers()) as b:
        deployments: dict[str, Table] = {
            "a": {"endpoint": a.url, "priority": 1},
            "b": {"endpoint": b.url, "priority": 2},
        }
        path = pool_file(tmp_path / "pool.toml", deployments, pool={"hedge_share": 1.0, "affinity": []})
        async with InProcessRelay(load(path, environment(collector.url))) as relay:
            yield Traced(relay, a, b, collector)


def id_of(span: Any) -> str:
    return str(span.span_id.hex())


async def test_a_stream_within_its_caller_s_trace(traced: Traced) -> None:
    await traced.ask({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"})

    request, attempt = await traced.collector.trace(TRACE, 2)
    assert (request.kind, request.name) == (SERVER, "POST /v1/chat/completions")
    assert request.parent_span_id.hex() == PARENT
    assert (
        attributes_of(request).items()
        >= {
            "http.request.method": "POST",
            "http.route": "/v1/chat/completions",
            "url.path": "/v1/chat/completions",
            "http.response.status_code": 200,
            "chukei.end": "completed",
            "chukei.request_id": traced.relay.records[-1].request_id,
        }.items()
    )
    assert (attempt.kind, attempt.name) == (CLIENT, "chat chat")
    assert attempt.parent_span_id == request.span_id
    assert (
        attributes_of(attempt).items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "azure.ai.openai",
            "gen_ai.request.model": "chat",
            "gen_ai.request.stream": True,
            "gen_ai.response.finish_reasons": ["stop"],
            "chukei.deployment": "a",
            "server.address": "127.0.0.1",
            "server.port": traced.a.port,
            "http.response.status_code": 200,
        }.items()
    )
    assert [event.name for event in request.events] == ["chukei.first_token"]
    assert [event.name for event in attempt.events] == ["chukei.first_token", "chukei.end"]
    assert request.start_time_unix_nano <= attempt.start_time_unix_nano < attempt.end_time_unix_nano
    assert attempt.end_time_unix_nano == request.end_time_unix_nano
    assert (request.status.code, attempt.status.code) == (UNSET, UNSET)
    (visit,) = traced.a.visits
    assert visit.headers["traceparent"] == f"00-{TRACE}-{id_of(attempt)}-01"
    assert visit.headers["tracestate"] == attempt.trace_state == "vendor=1"


async def test_a_failover_reads_as_it_was(traced: Traced) -> None:
    traced.a.script = fails("500 Internal Server Error")
    await traced.ask({"traceparent": f"00-{TRACE}-{PARENT}-01"})

    request, first, second = await traced.collector.trace(TRACE, 3)
    assert attributes_of(request)["chukei.attempts"] == 2
    assert [attributes_of(each)["chukei.deployment"] for each in (first, second)] == ["a", "b"]
    assert {first.parent_span_id, second.parent_span_id} == {request.span_id}
    assert attributes_of(first).items() >= {"error.type": "upstream_500", "http.response.status_code": 500}.items()
    assert (first.status.code, second.status.code, request.status.code) == (ERROR, UNSET, UNSET)
    assert first.end_time_unix_nano <= second.start_time_unix_nano
    assert second.end_time_unix_nano == request.end_time_unix_nano
    sent = [traced.a.visits[-1].headers["traceparent"], traced.b.visits[-1].headers["traceparent"]]
    assert sent == [f"00-{TRACE}-{id_of(each)}-01" for each in (first, second)]


async def test_a_hedge_reads_as_it_was(traced: Traced) -> None:
    for _ in range(ENOUGH):
        await traced.ask()
    traced.a.script = (Send(head() + chunk(FILTER + ROLE)), Stall())
    await traced.ask({"traceparent": f"00-{TRACE}-{PARENT}-01"})

    request, lost, won = await traced.collector.trace(TRACE, 3)
    assert attributes_of(lost).items() >= {"chukei.deployment": "a", "chukei.outcome": "hedge_lost"}.items()
    assert attributes_of(won).items() >= {"chukei.deployment": "b", "chukei.hedge": True}.items()
    assert "error.type" not in attributes_of(lost)
    assert (lost.status.code, won.status.code, request.status.code) == (UNSET, UNSET, UNSET)
    assert lost.start_time_unix_nano < won.start_time_unix_nano < lost.end_time_unix_nano
    assert traced.b.visits[-1].headers["traceparent"] == f"00-{TRACE}-{id_of(won)}-01"


async def test_what_is_not_sampled_is_not_recorded_but_passed_on(traced: Traced) -> None:
    await traced.ask({"traceparent": f"00-{TRACE}-{PARENT}-00"})
    await traced.ask({"traceparent": f"00-{TRACE[::-1]}-{PARENT}-01"})
    await traced.collector.trace(TRACE[::-1], 2)
    assert {span.trace_id.hex() for span in traced.collector.spans} == {TRACE[::-1]}
    context = traced.relay.records[0].trace
    assert context is not None
    assert traced.a.visits[0].headers["traceparent"] == f"00-{TRACE}-{traced.relay.records[0].tries[0].span_id}-00"


async def test_nothing_secret_is_in_a_trace(traced: Traced) -> None:
    await post(traced.relay.url, CHAT + "?secret=in-the-query", STREAM.replace(b"hello", b"a prompt"))
    await eventually(lambda: len(traced.collector.spans) == 2)
    shown = repr(traced.collector.spans)
    for secret in ("in-the-query", "a prompt", "upstream-secret-key", "one two", "two"):
        assert secret not in shown


@pytest.mark.parametrize("status", ["500 Internal Server Error", "302 Found", "308 Permanent Redirect"])
async def test_a_collector_that_takes_nothing_breaks_no_stream(status: str, tmp_path: Path) -> None:
    """The library follows no redirect, and takes one for success."""
    async with FaultUpstream(fails(status)) as collector, FaultUpstream(answers()) as a:
        path = pool_file(tmp_path / "pool.toml", {"a": {"endpoint": a.url}})
        async with InProcessRelay(load(path, environment(collector.url))) as relay:
            assert [(await post(relay.url, CHAT, STREAM)).body for _ in range(3)] == [BODY] * 3
            telemetry = relay.relay.telemetry
            assert telemetry is not None
            await eventually(lambda: telemetry.dropped == 3)


@pytest.mark.parametrize(("patience", "said"), [("0.5", "the receiver fails"), ("3600", "not sent before the end")])
async def test_a_collector_that_hangs_breaks_no_stream_and_holds_up_no_end(patience: str, said: str) -> None:
    """With the longer patience the library would take an hour to give up."""
    with socket.create_server(("127.0.0.1", 0)) as silent, SimulatorThread(SimulatorSettings()) as upstream:
        extra = {"OTEL_EXPORTER_OTLP_TIMEOUT": patience, "AZURE_OPENAI_ENDPOINT": upstream.url}
        extra |= {"AZURE_OPENAI_API_KEY": "simulated", "AZURE_OPENAI_DEPLOYMENT": "gpt-4o"}
        with RelayProcess(environment(f"http://127.0.0.1:{silent.getsockname()[1]}", **extra)) as relay:
            for _ in range(3):
                assert (await post(relay.url, CHAT, STREAM)).body.endswith(DONE)
            assert relay.stop() == 0
        assert any(said in line for line in relay.log)


async def test_the_service_is_described(tmp_path: Path) -> None:
    """The receiver of the other tests does not keep resources."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    async with FaultUpstream((Send(head("application/x-protobuf", length=0)),)) as collector:
        async with FaultUpstream(answers()) as a:
            path = pool_file(tmp_path / "pool.toml", {"a": {"endpoint": a.url}})
            extra = {"OTEL_SERVICE_NAME": "relay-1", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
            async with InProcessRelay(load(path, environment(collector.url, **extra))) as relay:
                await post(relay.url, CHAT, STREAM)
                visit = await collector.visit()
        assert visit.target == "/v1/traces"
        (spans,) = ExportTraceServiceRequest.FromString(visit.body).resource_spans
        described = attributes_of(spans.resource)
        assert described.pop("service.instance.id")
        assert described == {
            "service.name": "relay-1",
            "service.version": __version__,
            "telemetry.sdk.language": "python",
            "deployment.environment.name": "test",
        }
