"""One simulator and, when they are asked for, relays of both kinds in front of it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.live.both_hosts import KINDS, OPEN, Host, Hosts
from tests.live.fault_upstream import FaultUpstream
from tests.live.redis_server import RedisServer
from tests.live.relays import InProcessRelay, settings_for
from tests.live.simulated import SimulatorThread, Upstream

from chukei.simulator import SimulatorSettings


@pytest.fixture(scope="session")
def simulator_thread() -> Iterator[SimulatorThread]:
    settings = SimulatorSettings(first_token_seconds=0, inter_token_seconds=0, exchanges_kept=20_000, record_sent=True)
    with SimulatorThread(settings) as running:
        yield running


@pytest.fixture(scope="session")
def hosts(simulator_thread: SimulatorThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    running = Hosts(simulator_thread.url, tmp_path_factory.mktemp("hosts"))
    yield running
    running.close()


@pytest.fixture
def host(hosts: Hosts) -> Host:
    """The relay that serves everybody, as a server: for what is the same code whatever the host."""
    return hosts.get("server", OPEN)


@pytest.fixture(params=KINDS)
def each_host(request: pytest.FixtureRequest, hosts: Hosts) -> Host:
    """The relay that serves everybody, once on each host: for what a host does itself."""
    return hosts.get(request.param, OPEN)


@pytest.fixture
def upstream(simulator_thread: SimulatorThread) -> Upstream:
    """What reaches the simulator during the test."""
    return Upstream(simulator_thread)


# For tests that play a script of their own as the upstream; those that ask for another event loop define theirs.


@pytest.fixture(scope="module")
async def scripted() -> AsyncIterator[FaultUpstream]:
    """An upstream whose script the test sets."""
    async with FaultUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
async def relay(scripted: FaultUpstream) -> AsyncIterator[InProcessRelay]:
    """A relay in the test's own loop, in front of it."""
    async with InProcessRelay(settings_for(scripted.url)) as relay:
        yield relay


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this module's own."""
    with RedisServer() as server:
        yield server
