"""compose.yaml: its shape, its variables and its parts, which are run for real except for Docker itself.

The relays run with exactly its variables and its configuration file, in front of them the Caddy of Debian with its
Caddyfile, beside them a Valkey, a PostgreSQL and the Prometheus of Debian with its files. Only names, ports and paths
are put in. Not shown here: Docker's engine and network, the images of others, volumes and their owners.
"""

import asyncio
import importlib.resources
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from tests import markdown
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.plain_http import ask
from tests.live.ports import free_port
from tests.live.postgres_server import PostgresServer
from tests.live.prometheus_server import PrometheusServer
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, delta
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess

from chukei.config import ConfigError, load
from chukei.doctor.finding import Status
from chukei.doctor.inspection import inspect

pytestmark = pytest.mark.anyio

FOLDER = markdown.ROOT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load(markdown.read("compose.yaml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
RELAYS = ("relay-1", "relay-2")
OURS = ("relay-1", "relay-2", "secrets")

FIRST, SECOND = delta("one"), delta(" two")
WHOLE = FIRST + SECOND + DONE
SCRIPT: list[Step] = [Send(head() + chunk(FIRST)), Hold(), Send(chunk(SECOND + DONE) + LAST_CHUNK)]
QUESTION = b'{"messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}'


def image_environment() -> dict[str, str]:
    """Return what the Dockerfile sets."""
    text = markdown.read("Dockerfile").replace("\\\n", " ")
    return dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(re.findall(r"^ENV (.+)$", text, re.MULTILINE))))


def environment_of(service: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return what a relay's container gets where compose is run with these variables."""
    own = SERVICES[service]["environment"]
    passed = {name: given.get(name) if value is None else value for name, value in own.items()}
    return image_environment() | {name: value for name, value in passed.items() if value is not None}


def complaints(environment: Mapping[str, str]) -> list[str]:
    """Return what the relay's own loader says about variables that are no settings, or mean nothing."""
    variables = {name: value for name, value in environment.items() if name != "CHUKEI_CONFIG"}
    try:
        return list(load(None, variables).notices)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


class TestShape:
    def test_it_is_what_the_compose_specification_allows(self) -> None:
        if importlib.util.find_spec("check_jsonschema") is None:
            pytest.skip("check-jsonschema, which has the specification's schema, is not installed")
        place = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
        schema = json.loads(place.read_text("utf-8"))
        jsonschema.validate(COMPOSE, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(COMPOSE | {"services": {"relay-1": {"imagge": "chukei"}}}, schema)

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_service_is_hardened(self, name: str) -> None:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
        assert "privileged" not in service

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_image_of_others_has_a_version_and_every_port_is_local(self, name: str) -> None:
        service = SERVICES[name]
        if name in OURS:
            assert (service["image"], service["build"]) == ("chukei", ".")
        else:
            assert re.search(r":v?\d+\.\d+[.\d]*(-\w+)?$", service["image"])
            assert "healthcheck" in service
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))

    def test_every_file_that_is_mounted_exists_and_is_read_only(self) -> None:
        mounts = [
            mount for service in SERVICES.values() for mount in service.get("volumes", []) if mount.startswith(".")
        ]
        assert len(mounts) > 4
        for mount in mounts:
            place, _, options = mount.split(":")
            assert (markdown.ROOT / place).is_file()
            assert options == "ro"

    def test_every_volume_is_declared_and_used(self) -> None:
        mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
        assert {mount.split(":")[0] for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])

    def test_containers_are_waited_for_longer_than_the_relay_needs(self) -> None:
        server = load(None, {}).server
        for name in RELAYS:
            assert seconds(SERVICES[name]) > server.drain_seconds + server.grace_seconds + 5
        assert seconds(SERVICES["proxy"]) > seconds(SERVICES["relay-1"])

    def test_no_secret_has_a_value(self) -> None:
        for service in SERVICES.values():
            for name, value in service.get("environment", {}).items():
                assert value is None or name.endswith("_FILE") or not re.search("KEY|PASSWORD|SECRET|TOKEN", name), name


def seconds(service: dict[str, Any]) -> float:
    """Return how long a service may take to stop."""
    return float(service["stop_grace_period"].removesuffix("s"))


class TestVariables:
    @pytest.mark.parametrize("name", RELAYS)
    def test_every_variable_is_one_of_the_relays(self, name: str) -> None:
        given = {
            "CHUKEI_API_KEY": "the-key-of-callers",
            "AZURE_OPENAI_ENDPOINT": "https://contoso.openai.azure.com",
            "AZURE_OPENAI_API_KEY": "key",
            "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
            "AZURE_OPENAI_API_VERSION": "v1",
        }
        environment = environment_of(name, given)
        assert given.items() <= environment.items()
        assert complaints(environment) == []
        documented = markdown.read("docs/configuration.md")
        assert [each for each in SERVICES[name]["environment"] if f"`{each}`" not in documented] == []

    @pytest.mark.parametrize("wrong", ["CHUKEI_SERVER__PROT", "CHUKEI_APIKEY", "CHUKEI_SEVER__PORT"])
    def test_a_wrong_one_would_be_found(self, wrong: str) -> None:
        assert wrong in " ".join(complaints(environment_of("relay-1", {}) | {wrong: "1"}))

    def test_nothing_that_is_not_set_is_passed_on_empty(self) -> None:
        """An empty key is a mistake; compose leaves out what has no value anywhere."""
        assert set(environment_of("relay-1", {})) - set(image_environment()) == {"CHUKEI_CONFIG"}


class TestSecrets:
    def make(self, folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(FOLDER / "make_secrets.py"), str(folder)]
        return subprocess.run(command, capture_output=True, text=True)

    def made(self, folder: Path) -> dict[str, str]:
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    def prepare(self, folder: Path) -> None:
        for mount in SERVICES["secrets"]["volumes"]:
            if "/secrets/" in mount:
                (folder / mount.split(":")[1].rpartition("/")[2]).mkdir()

    def test_they_are_made_once_and_differ_each_time(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        self.prepare(tmp_path / "one")
        self.prepare(tmp_path / "two")
        assert self.make(tmp_path / "one").returncode == 0
        first = self.made(tmp_path / "one")
        assert self.make(tmp_path / "one").returncode == 0
        assert self.made(tmp_path / "one") == first
        assert self.make(tmp_path / "two").returncode == 0
        assert set(first.values()).isdisjoint(self.made(tmp_path / "two").values())

    def test_half_of_them_is_a_mistake_that_says_what_helps(self, tmp_path: Path) -> None:
        self.prepare(tmp_path)
        assert self.make(tmp_path).returncode == 0
        (tmp_path / "redis" / "valkey.conf").unlink()
        done = self.make(tmp_path)
        assert done.returncode == 1
        assert "remove the volumes" in done.stderr

    def test_the_relay_reads_what_is_made(self, tmp_path: Path) -> None:
        self.prepare(tmp_path)
        self.make(tmp_path)
        table = tomllib.loads((FOLDER / "relay.toml").read_text())
        named = re.findall(r"'file': '/run/chukei/([^']+)'", str(table))
        assert set(named) == {path.name for path in (tmp_path / "relay").iterdir()}


class ComposedRelay(RelayProcess):
    """A relay with the variables of compose.yaml and no others: tests' relays have no ledger otherwise."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        for name in {"CHUKEI_STORES__LEDGER", "CHUKEI_SERVER__DRAIN_SECONDS"} - environment.keys():
            self._environment.pop(name)


class ComposedPrometheus(PrometheusServer):
    """Prometheus with the configuration of compose.yaml, which asks more often."""

    def __init__(self, relays: list[str], secrets: Path, folder: Path) -> None:
        rules = markdown.ROOT / "monitoring" / "prometheus-rules.yaml"
        super().__init__(relays[0], rules, folder)
        text = replaced((FOLDER / "prometheus.yml").read_text(), relays)
        text = text.replace("/etc/prometheus/prometheus-rules.yaml", str(rules)).replace(": 15s", ": 1s")
        text = text.replace("/run/secrets-of-prometheus", str(secrets / "prometheus"))
        (folder / "prometheus.yml").write_text(text, "utf-8")


def replaced(text: str, relays: list[str]) -> str:
    """Put in where the relays are."""
    for name, url in zip(RELAYS, relays, strict=True):
        assert f"{name}:7221" in text
        text = text.replace(f"{name}:7221", url.removeprefix("http://"))
    return text


@contextmanager
def caddy(folder: Path, relays: list[str]) -> Iterator[str]:
    """Run Caddy with the Caddyfile, and give its address."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("Caddy is not installed (Debian: caddy)")
    port = free_port()
    text = replaced((FOLDER / "Caddyfile").read_text(), relays)
    assert "\n:7221 {" in text
    (folder / "Caddyfile").write_text(text.replace("\n:7221 {", f"\nhttp://127.0.0.1:{port} {{"), "utf-8")
    command = [program, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    places = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (
        (folder / "caddy.log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=places, stderr=log) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


async def answers(url: str) -> None:
    """Wait until a server answers that it is ready."""
    async with asyncio.timeout(60):
        while True:
            try:
                if (await ask(url, "GET", "/health/ready")).status == 200:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.05)


@dataclass
class Stack:
    """What compose.yaml starts, and an upstream in Azure's place."""

    url: str
    key: str
    upstream: FaultUpstream
    relays: list[ComposedRelay]
    redis: RedisServer
    redis_password: str
    postgres: PostgresServer
    secrets: Path

    def client(self) -> RawClient:
        """Return a client of the proxy."""
        return RawClient(self.url)

    async def asks(self, client: RawClient) -> None:
        """Ask for a stream."""
        await client.post(CHAT, QUESTION, ("authorization", f"Bearer {self.key}"))


@pytest.fixture
async def stack(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Stack]:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    TestSecrets().prepare(secrets)
    assert TestSecrets().make(secrets).returncode == 0
    with RedisServer("--include", str(secrets / "redis" / "valkey.conf")) as redis:
        password = (secrets / "postgres" / "password").read_text()
        postgres_server.sql(f"CREATE ROLE chukei LOGIN PASSWORD '{password}'")
        postgres_server.sql("CREATE DATABASE chukei OWNER chukei")
        for name, inside, outside in (
            ("quota-address", "@redis:6379", f"@127.0.0.1:{redis.port}"),
            ("ledger-address", "@postgres:5432", f"@127.0.0.1:{postgres_server.port}"),
        ):
            file = secrets / "relay" / name
            text = file.read_text()
            assert inside in text
            file.chmod(0o600)
            file.write_text(text.replace(inside, outside))
        (tmp_path / "relay.toml").write_text(
            (FOLDER / "relay.toml").read_text().replace("/run/chukei", str(secrets / "relay"))
        )
        async with AsyncExitStack() as parts:
            upstream = await parts.enter_async_context(FaultUpstream(SCRIPT))
            relays = []
            for name in RELAYS:
                given = {
                    "AZURE_OPENAI_ENDPOINT": upstream.url,
                    "AZURE_OPENAI_API_KEY": "key",
                    "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
                }
                (tmp_path / name).mkdir()
                elsewhere = {
                    "CHUKEI_CONFIG": str(tmp_path / "relay.toml"),
                    "STATE_DIRECTORY": str(tmp_path / name),
                    "CHUKEI_SERVER__HOST": "127.0.0.1",
                }
                environment = environment_of(name, given)
                environment.pop("PATH")
                relays.append(parts.enter_context(ComposedRelay(environment | elsewhere)))
            url = parts.enter_context(caddy(tmp_path, [relay.url for relay in relays]))
            await answers(url)
            key = (secrets / "relay" / "api-key").read_text()
            words = (secrets / "redis" / "valkey.conf").read_text().split()
            yield Stack(url, key, upstream, relays, redis, words[1], postgres_server, secrets)
    postgres_server.sql("DROP DATABASE chukei WITH (FORCE)")
    postgres_server.sql("DROP ROLE chukei")


async def test_the_parts_work_together(stack: Stack, tmp_path: Path, subtests: pytest.Subtests) -> None:
    with subtests.test("without the key nobody is served"):
        assert (await ask(stack.url, "POST", CHAT, body=QUESTION)).status == 401

    with subtests.test("a stream passes event by event"):
        async with stack.client() as client:
            await stack.asks(client)
            visit = await stack.upstream.visit()
            await visit.holding()
            await client.until(FIRST)
            visit.release()
            assert await client.rest() == WHOLE

    with subtests.test("nothing on the way buffers, compresses or cuts"):
        report = await inspect(stack.url, stack.key)
        found = {finding.check: finding.status for finding in report.findings}
        assert {found[check] for check in ("buffering", "compression", "framing", "end")} == {Status.OK}, report.text()

    with subtests.test("the model stops when a client leaves"):
        await stack.upstream.drop()
        async with stack.client() as client:
            await stack.asks(client)
            visit = await stack.upstream.visit()
            await visit.holding()
            await client.until(FIRST)
        assert await visit.peer_left()

    with subtests.test("Prometheus reads both relays, with the key, and evaluates the rules"):
        async with ComposedPrometheus([relay.url for relay in stack.relays], stack.secrets, tmp_path) as prometheus:
            await prometheus.reached('count(up{job="chukei"} == 1) == 2')
            rules = await prometheus.rules()
            assert len(rules) > 10
            assert [each["name"] for each in rules if each["health"] != "ok"] == []
            await prometheus.reached("count(chukei_store_available == 1) >= 4")

    with subtests.test("both relays serve, and one that ends loses nothing"):
        await stack.upstream.drop()
        clients = [stack.client() for _ in range(6)]
        for client in clients:
            await client.__aenter__()
            await stack.asks(client)
            await client.until(FIRST)
        running = await asyncio.gather(*(ask(relay.url, "GET", "/metrics", [metrics(stack)]) for relay in stack.relays))
        shown = [re.findall(rb"chukei_open_streams\{[^}]*\} (\d+)", answer.body) for answer in running]
        assert all(sum(map(int, counts)) > 0 for counts in shown), shown
        ending = asyncio.create_task(asyncio.to_thread(stack.relays[0].stop))
        while not ending.done():
            assert (await ask(stack.url, "GET", "/v1/models", [("authorization", f"Bearer {stack.key}")])).status == 200
            for visit in stack.upstream.visits:
                visit.release()
        assert await ending == 0
        assert {await client.rest() for client in clients} == {WHOLE}
        for client in clients:
            client.close()

    with subtests.test("the ledger is in PostgreSQL, the state in Redis"):
        assert stack.relays[1].stop() == 0
        assert int(stack.postgres.sql("SELECT count(*) FROM chukei_entries", "chukei")) >= 7
        size = stack.redis.command("INFO", "commandstats", password=stack.redis_password)
        assert b"cmdstat_" in size
        assert b"NOAUTH" in stack.redis.command("PING")


def metrics(stack: Stack) -> tuple[str, str]:
    """Return the header that opens a relay's metrics."""
    return "authorization", f"Bearer {(stack.secrets / 'relay' / 'metrics-key').read_text()}"
