"""What every test shares."""

import asyncio
import functools
import gc
import inspect
import itertools
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.live.postgres_server import PostgresServer
from tests.loops import STEADY
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

TESTS = Path(__file__).parent

# HYPOTHESIS_PROFILE=deep looks longer for a counterexample. A shared machine makes single examples slow, so neither
# profile holds one to a time.
settings.register_profile("fast", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


# Under nohup, or in the background of a shell, signals are ignored that the tests' processes are to get: a process
# inherits that from the one that starts it.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

UNMEASURED = ("live/", "browser/", "test_benchmarks", "test_parser_cost", "test_performance_guard", "test_locks")
"""Where coverage is not measured: it would double their time, for two lines in a hundred that nothing else runs."""


HANGS_SECONDS = 300
"""Seconds after which an asynchronous test, or either half of its fixtures, fails where it waits.

``faulthandler_timeout`` is for what else hangs.
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let no test wait for ever, and measure coverage by the unit tests alone."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _bounded(item.obj)
    if item.path.relative_to(TESTS).as_posix().startswith(UNMEASURED):
        item.add_marker(pytest.mark.no_cover)


def _bounded(test: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(test)
    async def bounded(**fixtures: Any) -> Any:
        async with asyncio.timeout(HANGS_SECONDS):
            return await test(**fixtures)

    return bounded


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Let no fixture wait for ever either: what a test waits for in vain, its fixtures may wait for at its end."""
    made = fixturedef.func
    if inspect.isasyncgenfunction(made):
        fixturedef.func = _bounded_halves(made)  # type: ignore[misc]
    elif inspect.iscoroutinefunction(made):
        fixturedef.func = _bounded(made)  # type: ignore[misc]
    try:
        return (yield)
    finally:
        fixturedef.func = made  # type: ignore[misc]


def _bounded_halves(fixture: Callable[..., AsyncGenerator[Any, None]]) -> Callable[..., AsyncGenerator[Any, None]]:
    @functools.wraps(fixture)
    async def bounded(**fixtures: Any) -> AsyncGenerator[Any, None]:
        halves = fixture(**fixtures)
        async with asyncio.timeout(HANGS_SECONDS):
            value = await anext(halves)
        yield value
        async with asyncio.timeout(HANGS_SECONDS):
            async for _ in halves:
                raise AssertionError("a fixture yields once")

    return bounded


class _UnfinishedFiles(LoadFileScheduling):  # type: ignore[misc]
    """``--dist loadfile`` that hands on none of a dead process's finished files: another would wait for their tests."""

    def remove_node(self, node: Any) -> Any:
        files = self.assigned_work[node]
        for file in [name for name, tests in files.items() if all(tests.values())]:
            del files[file]
        return super().remove_node(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Replace one of xdist's schedulers."""
    return _UnfinishedFiles(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_terminal_summary(exitstatus: int, config: pytest.Config, terminalreporter: Any) -> None:
    """Write down which tests failed, those included that ended their process and passed in another, for ``.ci/run``.

    A run that was interrupted, or lost too many processes, writes nothing: it says nothing of the other tests.
    """
    processes = config.pluginmanager.get_plugin("dsession")
    cache = getattr(config, "cache", None)  # there is none with -p no:cacheprovider
    tested = exitstatus == pytest.ExitCode.TESTS_FAILED and not getattr(processes, "_summary_report", None)
    if tested and cache is not None:
        failed = [each.nodeid for kind in ("failed", "error") for each in terminalreporter.stats.get(kind, ())]
        cache.set("chukei/failed", sorted(set(failed)))


def pytest_collection_finish() -> None:
    """Exempt what was there before the first test from garbage collection: some tests collect, each over everything."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def litter() -> Iterator[None]:
    """Collect what a file left, so that a file that leaves something open fails, not the one that runs after it."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def anyio_backend() -> Any:
    """Run asynchronous tests on asyncio's loop; ``loops.py`` is for those that need uvloop as well."""
    return STEADY


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where relays keep what nobody gave a place to, instead of the user's own folder; no test may leave anything."""
    folder = tmp_path_factory.mktemp("state-home")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("STATE_DIRECTORY", raising=False)
        environment.setenv("XDG_STATE_HOME", str(folder))
        yield folder
    left = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    assert left == [], "a test let a relay keep a ledger where users keep theirs"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL. Who stops it starts it again."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres_server: PostgresServer) -> Callable[[], str]:
    """Make a new, empty database and return its address."""
    numbers = itertools.count()

    def make() -> str:
        name = f"ledger_{next(numbers)}"
        postgres_server.sql(f"CREATE DATABASE {name}")
        return postgres_server.url(name)

    return make
