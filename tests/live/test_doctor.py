"""The doctor finds planted faults, each with real parts, and names them with a remedy; and finds none where none is."""

import asyncio
import datetime
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest
import trustme
from tests.adapters.servers import LocalServer, Peer
from tests.live.loopback import black_hole, refusing_port
from tests.live.nginx import nginx
from tests.live.ports import free_port
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess, clean_environment, in_process
from tests.live.simulated import SimulatorThread

from chukei.config import load
from chukei.doctor.examination import examine, examine_configuration
from chukei.doctor.finding import Finding, Kind, Status
from chukei.doctor.inspection import inspect
from chukei.doctor.report import Report
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

KEY = "planted-key-of-the-resource"
PACE = 0.03
"""Seconds between two events of a test stream; the usual pace would make these tests thrice as long."""

FAST = SimulatorSettings(
    first_token_seconds=0,
    inter_token_seconds=0,
    api_key=KEY,
    deployments=("gpt-4o", "busy"),
    api_versions=("2024-10-21",),
    faults={"busy": "429:7"},
)


@pytest.fixture(scope="module")
def resource() -> Iterator[str]:
    """A simulated resource with one key, two deployments and one api-version."""
    with SimulatorThread(FAST) as thread:
        yield thread.url


def environment(url: str, **changes: str) -> dict[str, str]:
    """Return the variables of a relay to one deployment."""
    usual = {
        "AZURE_OPENAI_ENDPOINT": url,
        "AZURE_OPENAI_API_KEY": KEY,
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "AZURE_OPENAI_API_VERSION": "2024-10-21",
        "CHUKEI_STORES__LEDGER": "none",
    }
    return usual | changes


def only_failure(report: Report) -> Finding:
    """Return the one finding that failed, and check that no planted secret is shown."""
    for text in (report.text(), report.json()):
        assert "planted" not in text
    failed = [finding for finding in report.findings if finding.status is Status.FAILED]
    assert len(failed) == 1, report.text()
    assert failed[0].remedy
    return failed[0]


async def examined(variables: dict[str, str]) -> Report:
    return await examine_configuration(None, variables)


# Faults beside the relay.


async def test_a_wrong_key(resource: str) -> None:
    report = await examined(environment(resource, AZURE_OPENAI_API_KEY="planted-wrong-key"))
    found = only_failure(report)
    assert (found.kind, found.check, report.exit_code) == (Kind.DEPLOYMENT, "credential", 4)
    assert "status 401" in found.seen
    assert "AZURE_OPENAI_API_KEY" in found.remedy


async def test_a_wrong_name_of_a_deployment(resource: str) -> None:
    report = await examined(environment(resource, AZURE_OPENAI_DEPLOYMENT="gpt-4"))
    found = only_failure(report)
    assert (found.check, report.exit_code) == ("deployment", 4)
    assert "DeploymentNotFound" in found.seen
    assert "AZURE_OPENAI_DEPLOYMENT must be the name of a deployment" in found.remedy


async def test_a_wrong_api_version(resource: str) -> None:
    report = await examined(environment(resource, AZURE_OPENAI_API_VERSION="2024-12-01"))
    found = only_failure(report)
    assert (found.check, report.exit_code) == ("api_version", 4)
    assert 'set AZURE_OPENAI_API_VERSION to "v1"' in found.remedy


async def test_models_of_a_file_with_all_that_a_model_may_have(resource: str, tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(
        f"""
        [stores]
        ledger = "none"
        [deployments.east]
        endpoint = "{resource}"
        deployment = "gpt-4o"
        api_version = "2024-10-21"
        api_key = {{ env = "KEY" }}
        [deployments.west]
        endpoint = "{resource}"
        deployment = "gpt-4"
        api_version = "2024-10-21"
        api_key = {{ env = "KEY" }}
        [models.chat]
        deployments = ["east", "west"]
        parameters = {{ temperature = 0.2 }}
        caps = {{ max_tokens = 100 }}
        prices = {{ input = 2.5, output = 10 }}
        """
    )
    found = only_failure(await examine_configuration(str(file), {"KEY": KEY}))
    assert (found.kind, found.check) == (Kind.DEPLOYMENT, "deployment")
    assert "west" in found.subject


@asynccontextmanager
async def https(folder: Path, name: str, until: datetime.datetime | None = None) -> AsyncIterator[tuple[str, Path]]:
    """A resource whose certificate is for a name until a time, and the file of its authority."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=until).configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    simulator = Simulator(FAST)
    url = await simulator.start(ssl_context=context)
    try:
        yield url, folder / "authority.pem"
    finally:
        await simulator.stop()


async def test_an_expired_certificate(tmp_path: Path) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    async with https(tmp_path, "127.0.0.1", yesterday) as (url, authority):
        report = await examined(environment(url, CHUKEI_UPSTREAM__CA_FILE=str(authority)))
    found = only_failure(report)
    assert (found.kind, found.check, report.exit_code) == (Kind.ENDPOINT, "tls", 4)
    assert "has expired (issued by trustme" in found.seen
    assert "renew it" in found.remedy
    assert [each.status for each in report.findings if each.kind is Kind.DEPLOYMENT] == [Status.SKIPPED]


async def test_other_troubles_with_certificates(tmp_path: Path) -> None:
    """One that ends soon, one of an unknown authority, and one for another name."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    async with https(tmp_path, "127.0.0.1", soon) as (url, authority):
        report = await examined(environment(url, CHUKEI_UPSTREAM__CA_FILE=str(authority)))
        warned = [each for each in report.findings if each.check == "tls"]
        assert [(each.status, report.exit_code) for each in warned] == [(Status.WARNING, 0)], report.text()
        found = only_failure(await examined(environment(url)))
        assert "unknown authority (issued by trustme" in found.seen
        assert "upstream.ca_file" in found.remedy
    async with https(tmp_path, "relay.example") as (url, authority):
        found = only_failure(await examined(environment(url, CHUKEI_UPSTREAM__CA_FILE=str(authority))))
        assert found.seen == "the certificate is not for 127.0.0.1 but for relay.example"


async def test_a_blocked_port() -> None:
    with black_hole() as port:
        report = await examined(environment(f"https://127.0.0.1:{port}", CHUKEI_UPSTREAM__CONNECT_SECONDS="0.2"))
    found = only_failure(report)
    assert (found.kind, found.check, report.exit_code) == (Kind.ENDPOINT, "connect", 4)
    assert "does not answer" in found.seen
    assert f"open outgoing TCP port {port} to 127.0.0.1 in firewalls" in found.remedy


async def test_a_refused_port() -> None:
    report = await examined(environment(f"http://127.0.0.1:{refusing_port()}"))
    assert "nothing listens" in only_failure(report).seen


async def test_a_port_that_speaks_something_else() -> None:
    async def closes(peer: Peer) -> None:
        await peer.reader.read(1)

    async with LocalServer(closes) as server:
        report = await examined(environment(f"https://127.0.0.1:{server.port}"))
    found = only_failure(report)
    assert (found.check, report.exit_code) == ("tls", 4)


@pytest.mark.parametrize("seconds", [600.0, -600.0], ids=["ahead", "behind"])
async def test_a_wrong_clock(resource: str, seconds: float) -> None:
    settings = load(None, environment(resource))
    report = Report(await examine(settings, {}, wall=lambda: time.time() + seconds))
    found = only_failure(report)
    assert (found.kind, found.check, report.exit_code) == (Kind.CLOCK, "clock", 1)
    assert ("ahead of" if seconds > 0 else "behind") in found.seen
    assert round(float(found.measured["skew_seconds"]), -2) == seconds
    assert "set this machine's clock" in found.remedy


@pytest.mark.parametrize("given", ["planted-wrong:", ""], ids=["wrong", "missing"])
async def test_a_wrong_password_of_redis(resource: str, given: str) -> None:
    with RedisServer("--requirepass", "planted-password") as server:
        address = server.url.replace("//", f"//:{given.removesuffix(':')}@" if given else "//")
        report = await examined(environment(resource, CHUKEI_STORES__QUOTA=address))
    found = only_failure(report)
    assert (found.kind, found.check, report.exit_code) == (Kind.STORE, "password", 4)
    assert ("WRONGPASS" if given else "NOAUTH") in found.seen
    assert "correct the user name and the password in stores.quota" in found.remedy


async def test_a_busy_deployment_is_a_warning(resource: str) -> None:
    report = await examined(environment(resource, AZURE_OPENAI_DEPLOYMENT="busy"))
    warned = [each for each in report.findings if each.status is Status.WARNING and each.kind is Kind.DEPLOYMENT]
    assert [(each.check, report.exit_code) for each in warned] == [("quota", 0)]


async def test_one_failure_hides_no_other(resource: str, tmp_path: Path) -> None:
    """Two deployments with different faults, one without, and a Redis that is away."""
    lines = [
        f'[deployments.{name}]\nendpoint = "{url}"\ndeployment = "{there}"\napi_version = "2024-10-21"\n'
        f'api_key = {{ env = "{key}" }}\n'
        for name, url, there, key in (
            ("good", resource, "gpt-4o", "RIGHT"),
            ("denied", resource, "gpt-4o", "WRONG"),
            ("gone", f"http://127.0.0.1:{refusing_port()}", "gpt-4o", "RIGHT"),
        )
    ]
    file = tmp_path / "chukei.toml"
    file.write_text("".join(lines), "utf-8")
    quota = {"CHUKEI_STORES__QUOTA": f"redis://127.0.0.1:{refusing_port()}", "CHUKEI_STORES__LEDGER": "none"}
    keys = {"RIGHT": KEY, "WRONG": "planted-wrong-key"}
    report = await examine_configuration(str(file), quota | keys)
    failed = {(each.kind, each.check) for each in report.findings if each.status is Status.FAILED}
    assert failed == {(Kind.DEPLOYMENT, "credential"), (Kind.ENDPOINT, "connect"), (Kind.STORE, "connect")}
    good = [each for each in report.findings if each.subject.startswith("good")]
    assert [(each.check, each.status) for each in good] == [("chat", Status.OK), ("responses", Status.SKIPPED)]
    assert "deployments.denied.api_key" in report.text().replace("\n", " ")


async def test_a_healthy_configuration_has_only_good_findings(resource: str, new_database: Callable[[], str]) -> None:
    with RedisServer("--requirepass", "planted-password") as server:
        stores = {
            "CHUKEI_STORES__QUOTA": server.url.replace("//", "//:planted-password@"),
            "CHUKEI_STORES__QUOTA_SECONDS": "1",  # this machine may be busy
            "CHUKEI_STORES__LEDGER": new_database(),
        }
        report = await examined(environment(resource) | stores)
    about = [each for each in report.findings if each.kind is not Kind.MACHINE]  # whose limits are not the test's
    others = [each for each in about if each.status is not Status.OK]
    assert [(each.check, each.seen) for each in others] == [
        ("responses", "not in 2024-10-21; it takes AZURE_OPENAI_API_VERSION = 'v1'")
    ], report.text()
    assert {each.check for each in about if each.kind is Kind.STORE} >= {"scripts", "latency", "memory", "schema"}
    clocks = [each.seen for each in about if each.kind is Kind.CLOCK]
    assert len(clocks) == 3, clocks


def test_mistakes_in_the_configuration_come_alone() -> None:
    variables = {"CHUKEI_SERVER__PORT": "none", "AZURE_OPENAI_API_KEY": "planted-key"}
    status, output = in_process("doctor", "--json", environment=variables)
    report = msgspec.json.decode(output)
    assert (status, report["exit_code"], report["status"]) == (3, 3, "failed")
    assert {finding["kind"] for finding in report["findings"]} == {"configuration"}
    assert len(report["findings"]) == 2
    assert "planted" not in output


def test_the_command_line(resource: str) -> None:
    variables = clean_environment(environment(resource, AZURE_OPENAI_API_KEY="planted-wrong-key"))
    status, output = in_process("doctor", "--json", environment=variables)
    assert (status, msgspec.json.decode(output)["exit_code"]) == (4, 4)
    assert "planted" not in output


# Faults in front of the relay.

SERVER = """
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass {relay};
        proxy_set_header Connection "";
        {settings}
    }}
}}
"""
FAULTS = {
    "buffers": "proxy_http_version 1.0; proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;",
    "compresses": "proxy_http_version 1.1; gzip on; gzip_types text/event-stream; gzip_min_length 1; gzip_proxied any;",
    "cuts": "proxy_http_version 1.1; proxy_read_timeout 1s;",
    "downgrades": "proxy_http_version 1.1; chunked_transfer_encoding off;",
}
CALLER = "planted-key-of-a-caller"


@contextmanager
def fronts(folder: Path) -> Iterator[dict[str, str]]:
    """Run a relay and an nginx with a server for each fault; give the addresses, with that of the relay."""
    ports = {name: free_port() for name in FAULTS}
    with RelayProcess({"CHUKEI_API_KEY": CALLER}) as relay:
        servers = [
            SERVER.format(port=ports[name], relay=relay.url, settings=settings) for name, settings in FAULTS.items()
        ]
        with nginx(folder, "\n".join(servers), ports["cuts"]):
            yield {"relay": relay.url} | {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """The reports about the relay itself and about each way through nginx, made at the same time."""

    async def all_of(urls: dict[str, str]) -> list[Report]:
        idle = {"cuts": 8.0, "relay": 0.5}
        return await asyncio.gather(
            *(inspect(url, CALLER, pace=PACE, idle=idle.get(name, 0.0)) for name, url in urls.items())
        )

    with fronts(tmp_path_factory.mktemp("nginx")) as urls:
        return dict(zip(urls, asyncio.run(all_of(urls)), strict=True))


def test_nginx_that_buffers(inspected: dict[str, Report]) -> None:
    report = inspected["buffers"]
    found = only_failure(report)
    assert (found.kind, found.check, report.exit_code) == (Kind.STREAM, "buffering", 1)
    assert "proxy_buffering off" in found.remedy
    assert "nginx (server: nginx" in found.remedy
    assert float(found.measured["sent_gap_median_ms"]) > float(found.measured["gap_median_ms"])


def test_a_proxy_that_compresses(inspected: dict[str, Report]) -> None:
    report = inspected["compresses"]
    found = only_failure(report)
    assert (found.check, report.exit_code) == ("compression", 1)
    assert found.measured == {"coding": "gzip"}
    assert "gzip off" in found.remedy


def test_a_proxy_that_cuts_idle_connections(inspected: dict[str, Report]) -> None:
    report = inspected["cuts"]
    found = only_failure(report)
    assert (found.check, report.exit_code) == ("idle", 1)
    assert float(found.measured["cut_seconds"]) < float(found.measured["silence_seconds"]) == 8
    assert "proxy_read_timeout" in found.remedy


def test_a_proxy_that_removes_the_framing(inspected: dict[str, Report]) -> None:
    report = inspected["downgrades"]
    warned = [each for each in report.findings if each.status is Status.WARNING and each.check != "latency"]
    assert [(each.check, report.exit_code) for each in warned] == [("framing", 0)]
    assert "without chunks" in warned[0].seen


def test_nothing_on_the_way(inspected: dict[str, Report]) -> None:
    """Latency is left out: a busy machine adds some."""
    report = inspected["relay"]
    assert {each.status for each in report.findings if each.check != "latency"} == {Status.OK}, report.text()
    assert {each.check for each in report.findings} >= {"connect", "access", "buffering", "end", "idle"}
    assert report.table.splitlines()[0].split()[:3] == ["model", "deployment", "priority"]
    assert report.deployments
