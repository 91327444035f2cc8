"""The real relay with the variables and files of a rendering: probes, Prometheus, signals, rotation, two replicas."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests.chart.charts import CHART, NAMESPACE, Object, container_of, objects, one, pod_of
from tests.chart.kubelet import CONTENT, Pod
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.plain_http import Answer, ask
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, HARD, delta
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess
from tests.scraped import families

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="the pod's address is one of the loopback network"),
]

FIRST, SECOND = delta("one"), delta(" two")
SCRIPT: list[Step] = [Send(head() + chunk(FIRST)), Hold(), Send(chunk(SECOND + DONE) + LAST_CHUNK)]
CALLER = ("authorization", "Bearer the-key-of-all-callers")
PROMETHEUS = ("authorization", "Bearer the-key-of-prometheus")
POD = "127.0.0.2"
"""The address of the pod, at which the kubelet and Prometheus ask."""


def values(upstream: str, *, name: str = "chat", extra: str = "", **more: Any) -> dict[str, Any]:
    """Return values with one deployment, Secrets as files, and hosts that are restricted."""
    config = f"""
        [deployments.{name}]
        endpoint = "{upstream}"
        api_key = {{ file = "/etc/chukei/secrets/azure-openai/api-key" }}

        [reload]
        watch_seconds = 0.05
        {extra}
    """
    return {
        "config": "\n".join(line.strip() for line in config.splitlines()),
        "secretFiles": ["azure-openai"],
        "apiKey": {"secret": {"name": "chukei-caller"}},
        "allowedHosts": ["relay.example.com"],
        "metrics": {"secret": {"name": "chukei-metrics"}, "serviceMonitor": {"enabled": True}},
        "autoscaling": {"enabled": True, "minReplicas": 1},
        "stopping": {"drainSeconds": 1, "graceSeconds": 60},
    } | more


class PodProcess(RelayProcess):
    """The container's process, with the pod's variables and no others.

    It has no folder to write to but the pod's volumes, as with a root that is read-only. The rendering says where the
    ledger is; tests of other things switch it off.
    """

    def __init__(self, pod: Pod) -> None:
        super().__init__(pod.environment | {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"})
        if "CHUKEI_STORES__LEDGER" not in pod.environment:
            del self._environment["CHUKEI_STORES__LEDGER"]

    @property
    def mistakes(self) -> list[str]:
        """What the log reports as a warning or worse."""
        return [line for line in self.log if json.loads(line)["level"] not in {"debug", "info"}]


def at(relay: PodProcess, address: str) -> str:
    """Return the relay's address as somebody at another one sees it."""
    assert urlsplit(relay.url).hostname == "0.0.0.0"
    return f"http://{address}:{urlsplit(relay.url).port}"


def probed(found: list[Object], probe: str) -> str:
    """Return the path of a probe."""
    path: str = container_of(found)[probe]["httpGet"]["path"]
    return path


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[FaultUpstream]:
    async with FaultUpstream(SCRIPT) as running:
        yield running


@pytest.fixture(scope="module")
def found(upstream: FaultUpstream) -> list[Object]:
    return objects(values(upstream.url))


@pytest.fixture(scope="module")
def pod(found: list[Object], tmp_path_factory: pytest.TempPathFactory) -> Pod:
    return Pod(found, tmp_path_factory.mktemp("pod"), address=POD)


@pytest.fixture(scope="module")
def relay(pod: Pod) -> Iterator[PodProcess]:
    with PodProcess(pod) as relay:
        yield relay


async def test_probes_are_answered_at_the_pods_address_without_a_key(relay: PodProcess, found: list[Object]) -> None:
    """The kubelet sends the pod's address as Host, and so does Prometheus."""
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        answer = await ask(at(relay, POD), "GET", probed(found, probe))
        assert (answer.status, answer.json()["status"]) == (200, "ready" if probe == "readinessProbe" else "live")
    stranger = await ask(at(relay, "127.0.0.3"), "GET", "/health/live")
    assert stranger.error["code"] == "unknown_host"


async def test_the_pods_own_address_opens_nothing(relay: PodProcess) -> None:
    """A sidecar's proxy would be a caller on the relay's own machine."""
    assert (await ask(at(relay, "127.0.0.1"), "GET", "/v1/models")).status == 401
    assert (await ask(at(relay, "127.0.0.1"), "GET", "/v1/models", headers=[CALLER])).status == 200
    assert (await ask(at(relay, "127.0.0.1"), "GET", "/metrics")).status == 401


async def test_the_ledger_is_in_the_volume_for_state(relay: PodProcess, pod: Pod) -> None:
    assert pod.path("/var/lib/chukei/ledger.db").is_file()
    assert relay.mistakes == []


async def test_what_scales_is_on_the_page_that_prometheus_reads(
    relay: PodProcess, found: list[Object], upstream: FaultUpstream, tmp_path: Path
) -> None:
    """Both queries count an open stream, and are 0 without one, where the relay's page has no such series."""
    metric = one("HorizontalPodAutoscaler", found)["spec"]["metrics"][0]["pods"]["metric"]["name"]
    endpoint = one("ServiceMonitor", found)["spec"]["endpoints"][0]

    async def page() -> str:
        answer = await ask(at(relay, POD), "GET", endpoint["path"], headers=[PROMETHEUS])
        assert answer.status == 200
        return answer.body.decode()

    idle = await page()
    assert families(idle)[metric].samples == []
    before = len(upstream.visits)
    async with RawClient(at(relay, POD)) as client:
        await client.send(request(at(relay, POD)))
        client.sent("POST")
        await client.until(FIRST)
        busy = await page()
        visit = await upstream.visit(before + 1)
        visit.release()
        assert await client.rest() == FIRST + SECOND + DONE
    (sample,) = families(busy)[metric].samples
    assert sample.value == 1
    counted(tmp_path, {"idle": (idle, 0), "busy": (busy, 1)})


def request(url: str) -> bytes:
    """Return a request for a stream as bytes, with the caller's key and the host of its address."""
    fields = f"host: {urlsplit(url).netloc}\r\nauthorization: {CALLER[1]}\r\ncontent-type: application/json\r\n"
    return f"POST {CHAT} HTTP/1.1\r\n{fields}content-length: {len(HARD.request)}\r\n\r\n".encode() + HARD.request


def counted(folder: Path, pages: dict[str, tuple[str, int]]) -> None:
    """Let Prometheus evaluate the adapter's rule and KEDA's query on pages that it would have read."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    (rule,) = yaml.safe_load((CHART / "files" / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["custom"]
    by_keda = {"enabled": True, "kind": "keda", "prometheus": "http://prometheus:9090"}
    keda = one("ScaledObject", objects(values("http://127.0.0.1:1", autoscaling=by_keda)))["spec"]["triggers"][0][
        "metadata"
    ]["query"]
    target = {"namespace": NAMESPACE, "pod": "chukei-0", "service": "chukei"}
    adapter = rule["metricsQuery"].replace("<<.LabelMatchers>>", f'namespace="{NAMESPACE}",pod=~"chukei-0"')
    adapter = adapter.replace("<<.GroupBy>>", "pod")
    tests = []
    for page, streams in pages.values():
        wanted = ("chukei_open_streams", "chukei_build_info")
        samples = [sample for name in wanted for sample in families(page)[name].samples]
        found = [
            {"series": series(sample.name, sample.labels | target), "values": str(sample.value)} for sample in samples
        ]
        expected = {"{pod='chukei-0'}": adapter, "{}": keda}
        queries = [
            {"expr": query, "eval_time": "0s", "exp_samples": [{"labels": labels, "value": streams}]}
            for labels, query in expected.items()
        ]
        tests.append({"interval": "15s", "input_series": found, "promql_expr_test": queries})
    file = folder / "tests.json"
    file.write_text(json.dumps({"tests": tests}), "utf-8")
    result = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def series(name: str, labels: dict[str, str]) -> str:
    """Return a series in Prometheus' notation."""
    return name + "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in labels.items()) + "}"


async def test_a_changed_config_map_takes_effect_without_a_restart(
    relay: PodProcess, pod: Pod, upstream: FaultUpstream
) -> None:
    changed = one("ConfigMap", objects(values(upstream.url, name="another")))["data"]
    pod.write("config", changed)
    await until(relay, "/v1/models", [CALLER], lambda answer: "another" in str(answer.json()))
    pod.write("config", one("ConfigMap", objects(values(upstream.url)))["data"])
    await until(relay, "/v1/models", [CALLER], lambda answer: "another" not in str(answer.json()))
    assert any("configuration reloaded" in line for line in relay.log)


async def test_a_rotated_secret_takes_effect_without_a_restart(
    relay: PodProcess, pod: Pod, found: list[Object]
) -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in container_of(found)["volumeMounts"]}
    volume = mounts["/etc/chukei/secrets/chukei-caller"]
    pod.write(volume, {"api-key": "the-new-key"})
    new = ("authorization", "Bearer the-new-key")
    await until(relay, "/v1/models", [new], lambda answer: answer.status == 200)
    assert (await ask(at(relay, POD), "GET", "/v1/models", headers=[CALLER])).status == 401
    pod.write(volume, CONTENT["chukei-caller"])
    await until(relay, "/v1/models", [CALLER], lambda answer: answer.status == 200)


async def until(relay: PodProcess, path: str, headers: list[tuple[str, str]], holds: Any) -> Answer:
    """Ask until the answer is as wanted."""
    async with asyncio.timeout(60):
        while True:
            answer = await ask(at(relay, POD), "GET", path, headers=headers)
            if holds(answer):
                return answer
            await asyncio.sleep(0.02)


async def test_a_pod_that_ends_is_not_ready_and_its_streams_end_by_themselves(
    upstream: FaultUpstream, tmp_path: Path
) -> None:
    found = objects(values(upstream.url))
    before = len(upstream.visits)
    with PodProcess(Pod(found, tmp_path, address=POD)) as relay:
        url = at(relay, POD)
        async with RawClient(url) as stream:
            await stream.send(request(url))
            stream.sent("POST")
            await stream.until(FIRST)
            relay.process.send_signal(signal.SIGTERM)
            await until(relay, probed(found, "readinessProbe"), [], lambda answer: answer.status == 503)
            assert (await ask(url, "GET", probed(found, "livenessProbe"))).status == 200, "it must not be restarted"
            assert (await ask(url, "GET", "/v1/models", headers=[CALLER])).status == 200, "callers are served still"
            visit = await upstream.visit(before + 1)
            visit.release()
            assert await stream.rest() == FIRST + SECOND + DONE
        # The kubelet kills what is left after this time; an end by itself has the status 0.
        assert await asyncio.to_thread(relay.process.wait, pod_of(found)["terminationGracePeriodSeconds"]) == 0


async def test_a_pod_is_ready_without_its_database_and_its_redis(tmp_path: Path, upstream: FaultUpstream) -> None:
    """Both may start later than the relay; a pod that fails meanwhile would only make an outage longer."""
    config = '[stores]\nquota = "redis://127.0.0.1:1"\nledger = { env = "POSTGRES_URL" }\n'
    named = {"POSTGRES_URL": {"name": "stores", "key": "postgres"}}
    found = objects(values(upstream.url, extra=config, secretEnv=named))
    secrets = {**CONTENT, "stores": {"postgres": "postgresql://chukei:password@127.0.0.1:1/chukei"}}
    with PodProcess(Pod(found, tmp_path, secrets, POD)) as relay:
        upstream.script = [Send(head() + chunk(FIRST + DONE) + LAST_CHUNK)]
        assert (await ask(at(relay, POD), "GET", probed(found, "readinessProbe"))).status == 200
        async with RawClient(at(relay, POD)) as client:
            await client.send(request(at(relay, POD)))
            client.sent("POST")
            assert await client.head() == 200
            await client.rest()
        relay.stop(signal.SIGINT)
    assert not any("password" in line for line in relay.log)
    (spool,) = pod_files(tmp_path)
    assert spool.read_bytes().count(b"\n") >= 1, "the request is kept for the database"


def pod_files(folder: Path) -> list[Path]:
    """Return the files of the volume for state that are not empty."""
    return [path for path in (folder / "var/lib/chukei").rglob("*") if path.is_file() and path.stat().st_size]


async def test_replicas_start_on_an_empty_database_and_count_limits_together(
    tmp_path: Path, upstream: FaultUpstream, new_database: Callable[[], str]
) -> None:
    """Two pods of one rendering, which begin at the same time and both make the tables.

    A limit of three requests lets three through, whichever pod is asked.
    """
    config = """
        [groups.everybody.limits]
        requests_per_minute = 3

        [stores]
        quota = { env = "REDIS_URL" }
        quota_seconds = 1
        ledger = { env = "POSTGRES_URL" }
    """
    named = {"REDIS_URL": {"name": "stores", "key": "redis"}, "POSTGRES_URL": {"name": "stores", "key": "postgres"}}
    found = objects(values(upstream.url, extra=config, secretEnv=named, replicaCount=2))
    with RedisServer() as redis, ExitStack() as stack:
        secrets = {**CONTENT, "stores": {"redis": redis.url, "postgres": new_database()}}
        both = [PodProcess(Pod(found, tmp_path / name, secrets, POD)) for name in ("first", "second")]
        for relay in both:
            stack.callback(relay.stop, signal.SIGINT)
        await asyncio.gather(*(asyncio.to_thread(relay.__enter__) for relay in both))
        upstream.script = [Send(head() + chunk(FIRST + DONE) + LAST_CHUNK)]
        statuses = []
        for relay in (*both, *both, both[0]):
            url = at(relay, POD)
            async with RawClient(url) as client:
                await client.send(request(url))
                client.sent("POST")
                statuses.append(await client.head())
                await client.rest()
        assert statuses == [200, 200, 200, 429, 429]
        assert [relay.mistakes for relay in both] == [[], []]
