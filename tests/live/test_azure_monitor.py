"""Traces and metrics to Azure Monitor, with a stand-in for its ingestion endpoint."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.plain_http import post
from tests.live.pools import SECRETS, pool_file
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, ROLE, delta
from tests.live.relays import InProcessRelay, eventually

from chukei.config import load

pytest.importorskip("azure.monitor.opentelemetry.exporter", reason="the extra azure-monitor is not installed")

pytestmark = pytest.mark.anyio

STREAM = b'{"messages":[{"role":"user","content":"a prompt"}],"stream":true}'
BODY = FILTER + ROLE + delta("one ") + delta("two") + FINISH + DONE
KEY = "00000000-0000-0000-0000-000000000001"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def envelopes_of(visit: Visit) -> list[Any]:
    body = gzip.decompress(visit.body) if visit.headers.get("content-encoding") == "gzip" else visit.body
    return list(json.loads(body))


def takes(visit: Visit) -> Script:
    count = len(envelopes_of(visit))
    body = json.dumps({"itemsReceived": count, "itemsAccepted": count, "errors": []}).encode()
    return (Send(head("application/json", length=len(body)) + body),)


class Ingestion:
    """The stand-in, and a relay that sends to it."""

    def __init__(self, ingestion: FaultUpstream, relay: InProcessRelay) -> None:
        self._ingestion = ingestion
        self.relay = relay

    @property
    def envelopes(self) -> list[Any]:
        """All that arrived, in order."""
        return [each for visit in self._ingestion.visits for each in envelopes_of(visit)]

    async def of(self, kind: str, count: int) -> list[Any]:
        """Wait for so many envelopes of a kind, and return their data."""

        def found() -> list[Any]:
            return [each["data"]["baseData"] for each in self.envelopes if each["data"]["baseType"] == kind]

        await eventually(lambda: len(found()) >= count)
        return found()


@asynccontextmanager
async def sending(directory: Path, script: Any, **extra: str) -> AsyncIterator[Ingestion]:
    async with FaultUpstream(script) as ingestion, FaultUpstream((Send(head() + chunk(BODY) + LAST_CHUNK),)) as a:
        variables = {
            **SECRETS,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={KEY};IngestionEndpoint={ingestion.url}",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            **extra,
        }
        path = pool_file(directory / "pool.toml", {"a": {"endpoint": a.url}})
        async with InProcessRelay(load(path, variables)) as relay:
            yield Ingestion(ingestion, relay)


async def test_a_connection_string_is_enough(tmp_path: Path) -> None:
    async with sending(tmp_path, takes) as azure:
        fields = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
        assert (await post(azure.relay.url, CHAT + "?secret=in-the-query", STREAM, fields)).body.endswith(DONE)
        (request,) = await azure.of("RequestData", 1)
        (dependency,) = await azure.of("RemoteDependencyData", 1)
        (tags,) = [each["tags"] for each in azure.envelopes if each["data"]["baseType"] == "RequestData"]
        assert (request["name"], request["responseCode"], request["success"]) == ("POST " + CHAT, "200", True)
        assert (tags["ai.operation.id"], tags["ai.operation.parentId"]) == (TRACE, PARENT)
        assert tags["ai.cloud.role"] == "chukei"
        assert (dependency["name"], dependency["success"]) == ("chat chat", True)
        assert dependency["properties"]["chukei.deployment"] == "a"
        shown = repr(azure.envelopes)
        assert not [secret for secret in ("in-the-query", "a prompt", "one ", "upstream-secret") if secret in shown]
        assert {each["iKey"] for each in azure.envelopes} == {KEY}


async def test_metrics_are_what_has_changed(tmp_path: Path) -> None:
    async with sending(tmp_path, takes, OTEL_METRIC_EXPORT_INTERVAL="100", OTEL_TRACES_EXPORTER="none") as azure:
        for _ in range(3):
            await post(azure.relay.url, CHAT, STREAM)

        def counted() -> float:
            points = [each["data"]["baseData"]["metrics"][0] for each in azure.envelopes]
            return float(sum(point["value"] for point in points if point["name"] == "chukei.requests"))

        await eventually(lambda: counted() == 3)


async def test_an_endpoint_that_refuses_breaks_nothing(tmp_path: Path) -> None:
    error = b'{"itemsReceived":1,"itemsAccepted":0,"errors":[]}'
    refuses: Script = (Send(head("application/json", status="400 Bad Request", length=len(error)) + error),)
    async with sending(tmp_path, refuses, OTEL_METRICS_EXPORTER="none") as azure:
        assert (await post(azure.relay.url, CHAT, STREAM)).body.endswith(DONE)
        telemetry = azure.relay.relay.telemetry
        assert telemetry is not None
        await eventually(lambda: telemetry.dropped == 1)
