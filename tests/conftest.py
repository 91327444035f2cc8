"""What every test shares."""

import gc
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.live.postgres_server import PostgresServer
from tests.loops import STEADY

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


def pytest_itemcollected(item: pytest.Item) -> None:
    """Measure coverage by the unit tests alone."""
    if item.path.relative_to(TESTS).as_posix().startswith(UNMEASURED):
        item.add_marker(pytest.mark.no_cover)


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
