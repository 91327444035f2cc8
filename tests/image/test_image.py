"""The image, built by buildah and run by an OCI runtime: as a user without rights, on a read-only root.

The base images are stand-ins from the same Debian packages (``bases.py``). Not shown here: the published bases,
Docker's own builder and engine, an engine's network, its seccomp profile and limits of memory and processors.
"""

import asyncio
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests import markdown
from tests.image import bases
from tests.image.containers import Container, why_not
from tests.image.images import Image, Storage
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.plain_http import ask
from tests.live.ports import free_port
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, delta
from tests.live.relays import eventually

from chukei import __version__

REASON = why_not()
pytestmark = [pytest.mark.anyio, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

LABELS = {"VERSION": __version__, "REVISION": "0123abc", "SOURCE": "https://example.com/chukei"}
LARGEST_MEGABYTES = 220
"""A generous bound: 172 in 2026-11."""

USER = 65532
KEY = "the-key-of-callers"
FIRST, SECOND = delta("one"), delta(" two")
SCRIPT: list[Step] = [Send(head() + chunk(FIRST)), Hold(), Send(chunk(SECOND)), Hold(), Send(chunk(DONE) + LAST_CHUNK)]
QUESTION = b'{"messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}'
BEARER = ("authorization", f"Bearer {KEY}")


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    """A folder in memory: a gigabyte is written there several times, which on a disk takes minutes."""
    folder = Path(tempfile.mkdtemp(prefix="chukei-image-"))
    bases.run("mount", "-t", "tmpfs", "-o", "size=6g,mode=755", "chukei-image", folder)
    yield folder
    bases.run("umount", "--lazy", folder)
    folder.rmdir()


@pytest.fixture(scope="session")
def storage(workshop: Path) -> Storage:
    """The base images."""
    packages = bases.download(workshop / "packages")
    storage = Storage(workshop)
    names = dict(re.findall(r"^ARG (\w+_BASE)=(\S+)$", markdown.read("Dockerfile"), re.MULTILINE))
    storage.add_base(names["BUILD_BASE"], "0", partial(bases.make_build_base, packages=packages))
    storage.add_base(names["RUN_BASE"], str(USER), partial(bases.make_run_base, packages=packages))
    return storage


@pytest.fixture(scope="session")
def image(storage: Storage) -> Image:
    """The image."""
    return storage.build(*(f"--build-arg={name}={value}" for name, value in LABELS.items()))


@pytest.fixture
def container(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Container]:
    """Make a container on a free port of this machine, with the callers' key."""

    def make(environment: dict[str, str] | None = None, **more: object) -> Container:
        own = {"CHUKEI_SERVER__PORT": str(free_port()), "CHUKEI_API_KEY": KEY}
        return Container(image, tmp_path_factory.mktemp("container"), own | (environment or {}), **more)  # type: ignore[arg-type]

    return make


def azure(upstream: FaultUpstream) -> dict[str, str]:
    """Return the environment of a relay to one resource."""
    return {
        "AZURE_OPENAI_ENDPOINT": upstream.url,
        "AZURE_OPENAI_API_KEY": "key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_SERVER__DRAIN_SECONDS": "1",
    }


def tree(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every path of a file system, as seen from inside, with what it is."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield f"/{path.relative_to(root)}", path.lstat()


class TestWhatItSays:
    def test_it_runs_as_a_numeric_user_who_is_not_root(self, image: Image) -> None:
        """Kubernetes cannot check ``runAsNonRoot`` against a name."""
        assert image.config["User"] == f"{USER}:{USER}"

    def test_its_command_signal_port_and_probe(self, image: Image) -> None:
        assert image.config["Entrypoint"] == ["chukei"]
        assert image.config["Cmd"] == ["serve"]
        assert image.config["StopSignal"] == "SIGTERM"
        assert list(image.config["ExposedPorts"]) == ["7221/tcp"]
        assert image.config["Healthcheck"]["Test"][0] == "CMD", "there is no shell in which another form would run"

    def test_its_labels_are_what_the_build_was_told(self, image: Image) -> None:
        names = {"VERSION": "version", "REVISION": "revision", "SOURCE": "source"}
        labels = image.config["Labels"]
        for argument, name in names.items():
            assert labels[f"org.opencontainers.image.{name}"] == LABELS[argument]
        assert labels["org.opencontainers.image.licenses"] == "MIT"

    def test_no_secret_of_the_build_stays(self, image: Image) -> None:
        inside = {path for path, _ in tree(image.root)}
        assert not inside & {"/etc/pip.conf", "/run/secrets/ca", "/run/secrets/pip"}
        assert "[global]" not in json.dumps([image.config, image.history])

    def test_the_same_source_makes_the_same_layers(self, storage: Storage, image: Image) -> None:
        assert storage.build().layers == image.layers


class TestWhatIsInside:
    def test_its_size(self, image: Image, record_property: Callable[[str, object], None]) -> None:
        size = sum(about.st_size for _, about in tree(image.root) if stat.S_ISREG(about.st_mode)) / 1e6
        record_property("megabytes", round(size))
        print(f"\nthe image has {size:.0f} MB")  # noqa: T201 - a measurement
        assert size < LARGEST_MEGABYTES

    def test_only_empty_folders_belong_to_its_user(self, image: Image) -> None:
        owned = {path for path, about in tree(image.root) if USER in (about.st_uid, about.st_gid)}
        assert owned <= {str(bases.HOME.parent), str(bases.HOME), "/var/lib/chukei"}
        assert "/var/lib/chukei" in owned
        assert [path for path, _ in tree(image.root) if path.startswith((f"{bases.HOME}/", "/var/lib/chukei/"))] == []

    def test_nothing_else_can_be_written_and_nothing_gives_rights(self, image: Image) -> None:
        found = [(path, about) for path, about in tree(image.root) if not stat.S_ISLNK(about.st_mode)]
        open_to_all = {path for path, about in found if about.st_mode & stat.S_IWOTH}
        assert open_to_all <= {"/tmp", "/var/tmp", "/run/lock", "/var/lock"}
        assert [
            path
            for path, about in found
            if about.st_mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(about.st_mode)
        ] == []

    def test_there_is_no_shell_no_installer_no_compiler_and_no_build_tool(self, image: Image) -> None:
        programs = {
            Path(path).name
            for path, about in tree(image.root)
            if about.st_mode & 0o111 and not stat.S_ISDIR(about.st_mode)
        }
        assert "python3.13" in programs
        assert not programs & {
            "sh",
            "bash",
            "dash",
            "busybox",
            "apt",
            "apt-get",
            "dpkg",
            "pip",
            "pip3",
            "gcc",
            "cc",
            "perl",
            "su",
        }
        modules = {path.name for path in image.root.glob("opt/chukei/lib/python3.13/site-packages/*")}
        assert "chukei" in modules
        assert not modules & {"pip", "setuptools", "hatchling", "wheel", "tests"}

    def test_every_module_has_bytecode_that_needs_no_time_stamp(self, image: Image) -> None:
        """A layer keeps other times than a build had, and a read-only root cannot keep what would be compiled anew."""
        unchecked = (1).to_bytes(4, "little")
        for place in ("opt/chukei/lib", "usr/lib/python3.13/asyncio", "usr/lib/python3.13/logging"):
            modules = list((image.root / place).rglob("*.py"))
            assert len(modules) > 2
            for module in modules:
                compiled = module.parent / "__pycache__" / f"{module.stem}.cpython-313.pyc"
                assert compiled.read_bytes()[4:8] == unchecked, module

    def test_it_has_what_is_locked_for_it_and_the_relay(self, container: Callable[..., Container]) -> None:
        listing = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
        status, text = on_python(container, listing)
        assert status == 0, text
        inside = {"python_version": "3.13", "python_full_version": "3.13.5", "sys_platform": "linux"}
        lines = re.findall(r"^\w.*(?===).*?(?= \\)", markdown.read("requirements/image.txt"), re.MULTILINE)
        locked = [Requirement(line) for line in lines]
        wanted = {
            f"{each.name}{each.specifier}" for each in locked if each.marker is None or each.marker.evaluate(inside)
        }
        assert len(wanted) > 40
        assert {each.lower().replace("_", "-") for each in text.split()} == wanted | {f"chukei=={__version__}"}

    def test_every_extra_works(self, container: Callable[..., Container]) -> None:
        modules = (
            "uvloop, azure.identity.aio, aiohttp, jwt, cryptography, hiredis, asyncpg, yaml, sqlite3, "
            "opentelemetry.exporter.otlp.proto.http, azure.monitor.opentelemetry.exporter"
        )
        status, text = on_python(container, f"import {modules}")
        assert (status, text) == (0, "")


def on_python(container: Callable[..., Container], program: str) -> tuple[int, str]:
    """Run a program on the image's interpreter, instead of the relay."""
    made: Container = container(entry_point=["/opt/chukei/bin/python3"], arguments=["-c", program])
    return made.run()


class TestRunning:
    async def test_a_stream_passes_event_by_event(
        self, container: Callable[..., Container], record_property: Callable[[str, object], None]
    ) -> None:
        begin = time.monotonic()
        async with FaultUpstream(SCRIPT) as upstream:
            with container(azure(upstream)) as running:
                record_property("seconds until it listens", round(time.monotonic() - begin, 2))
                print(f"\nlistens after {time.monotonic() - begin:.2f} s")  # noqa: T201 - a measurement
                async with RawClient(running.url) as client:
                    await client.post(CHAT, QUESTION, BEARER)
                    visit = await upstream.visit()
                    await visit.holding()
                    assert await client.until(FIRST)
                    visit.release()
                    await visit.holding()
                    assert await client.until(SECOND)
                    visit.release()
                    assert await client.rest() == FIRST + SECOND + DONE
                assert "uvloop" in Path(f"/proc/{running.pid}/maps").read_text()
                assert not any('"level":"error"' in line for line in running.log)

    async def test_a_caller_without_the_key_is_refused(self, container: Callable[..., Container]) -> None:
        with container() as running:
            assert (await ask(running.url, "POST", CHAT, body=QUESTION)).status == 401

    async def test_it_is_the_first_process_and_has_no_rights(self, container: Callable[..., Container]) -> None:
        with container() as running:
            lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert status["NSpid"].split()[-1] == "1"
        assert set(status["Uid"].split()) == {str(USER)}
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == "1"

    async def test_any_other_user_can_run_it(self, image: Image, container: Callable[..., Container]) -> None:
        """Some clusters give each project a user of its own."""
        made: Container = container()
        made.image = replace(image, config=image.config | {"User": "10001:10001"})
        with made as running:
            assert "\nUid:\t10001\t" in Path(f"/proc/{running.pid}/status").read_text()
            assert (await ask(running.url, "GET", "/health/ready")).status == 200

    async def test_the_stop_signal_ends_it_in_order_and_the_probe_tells(
        self, container: Callable[..., Container]
    ) -> None:
        """The first process of a container gets no default action of a signal: it must handle it."""
        streams = 5
        async with FaultUpstream(SCRIPT) as upstream:
            with container(azure(upstream)) as running:
                probe = running.image.config["Healthcheck"]["Test"][1:]
                assert running.execute(*probe).returncode == 0
                clients = [RawClient(running.url) for _ in range(streams)]
                for client in clients:
                    await client.__aenter__()
                    await client.post(CHAT, QUESTION, BEARER)
                    await client.until(FIRST)
                running.signal(running.image.config["StopSignal"].removeprefix("SIG"))
                await eventually(lambda: any(f"stopping: {streams} requests running" in line for line in running.log))
                assert running.execute(*probe).returncode == 1
                for visit in upstream.visits:
                    visit.release()
                    await visit.holding()
                    visit.release()
                bodies = [await client.rest() for client in clients]
                status = await asyncio.to_thread(running.ended)
                for client in clients:
                    client.close()
        assert set(bodies) == {FIRST + SECOND + DONE}
        assert status == 0, running.log

    async def test_several_workers_end_in_order_too(self, container: Callable[..., Container]) -> None:
        with container({"CHUKEI_SERVER__DRAIN_SECONDS": "0"}, arguments=["serve", "--workers", "2"]) as running:
            assert len(running.children) >= 2
            running.signal("TERM")
            assert await asyncio.to_thread(running.ended) == 0, running.log

    async def test_a_volume_keeps_the_ledger_and_without_one_there_is_none(
        self, container: Callable[..., Container], tmp_path: Path
    ) -> None:
        os.chown(tmp_path, USER, USER)
        with container(volumes={"/var/lib/chukei": tmp_path}) as running:
            async with RawClient(running.url) as client:
                await client.post(CHAT, QUESTION, BEARER)
                assert DONE in await client.rest()
            async with asyncio.timeout(60):
                while (
                    '"chat"'
                    not in (usage := running.execute("chukei", "usage", "--by", "model", "--format", "json")).stdout
                ):
                    assert usage.returncode == 0, usage.stderr
                    await asyncio.sleep(0.2)
        assert (tmp_path / "ledger.db").is_file()
        with container() as running:
            assert any("there is no ledger" in line for line in running.log)

    async def test_it_leaves_nothing_on_a_root_that_it_could_write_to(
        self, image: Image, container: Callable[..., Container]
    ) -> None:
        before = {path for path, _ in tree(image.root)}
        with container({"CHUKEI_STORES__LEDGER": "none"}, read_only=False) as running:
            async with RawClient(running.url) as client:
                await client.post(CHAT, QUESTION, BEARER)
                await client.rest()
            running.execute("chukei", "check")
        assert {path for path, _ in tree(image.root)} - before == set()


class TestCommands:
    def test_the_version(self, container: Callable[..., Container]) -> None:
        assert container(arguments=["--version"]).run() == (0, f"chukei, version {__version__}")

    def test_check_reads_a_file_that_is_mounted(self, container: Callable[..., Container], tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        (tmp_path / "chukei.toml").write_text("[sever]\n")
        mounted = {"/etc/chukei": tmp_path}
        status, text = container(arguments=["check", "--config", "/etc/chukei/chukei.toml"], volumes=mounted).run()
        assert status == 3
        assert "did you mean server?" in text

    def test_the_doctor_examines_the_relay_from_inside(self, container: Callable[..., Container]) -> None:
        with container() as running:
            done = running.execute("chukei", "doctor", running.url, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
