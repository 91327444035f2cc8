"""A relay with three deployments: the first does what a test says, the others are healthy, or not, as it says too."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from tests.live.failover_cases import GONE, Ask
from tests.live.fault_scripts import Script
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.harness import disconnected, nothing_leaked, server_context
from tests.live.loopback import black_hole, refusing_port
from tests.live.raw_client import RawClient
from tests.live.relays import InProcessRelay, eventually

from chukei.config import load
from chukei.pool import DeploymentStatus

KEY = "planted-upstream-key"
SHORT = 1.0
"""Seconds of the limits that a silent deployment shall reach, and a healthy one on a slow machine not."""
LONG = 30.0
"""Seconds of the limits that must not strike."""

CONFIG = """
[stream]
heartbeat_seconds = {heartbeat}
first_token_seconds = {limit}
thinking_seconds = {limit}
idle_seconds = {limit}
max_event_bytes = 8192
[upstream]
connect_seconds = {connect}
answer_seconds = {limit}
ca_file = "{ca_file}"
[pool]
{pool}
[defaults]
model = "chat"
[models]
chat = {{ deployments = ["a", "b", "c"] }}
talk = {{ deployments = ["a2", "b2", "c2"] }}
[deployments]
a = {{ endpoint = "{first}", priority = 1, api_key = {{ env = "KEY" }} {a} }}
b = {{ endpoint = "{second}", priority = 2, api_key = {{ env = "KEY" }} {b} }}
c = {{ endpoint = "{third}", priority = 3, api_key = {{ env = "KEY" }} {c} }}
a2 = {{ endpoint = "{first}", priority = 1, api_key = {{ env = "KEY" }} }}
b2 = {{ endpoint = "{second}", priority = 2, api_key = {{ env = "KEY" }} }}
c2 = {{ endpoint = "{third}", priority = 3, api_key = {{ env = "KEY" }} }}
"""


@dataclass
class FailoverBench:
    """The upstreams. ``first`` is where the first deployment is, unless a test puts it at another of ``places``."""

    first: FaultUpstream
    handshake: FaultUpstream
    second: FaultUpstream
    third: FaultUpstream
    places: dict[str, str]
    directory: Path

    @asynccontextmanager
    async def relay(
        self,
        *,
        at: str = "scripted",
        heartbeat: float = LONG,
        limit: float = LONG,
        connect: float = LONG,
        pool: str = "",
        a: str = "",
        b: str = "",
        c: str = "",
    ) -> AsyncIterator[InProcessRelay]:
        """Run a relay that knows nothing yet, and check that it leaves nothing."""
        for upstream in self.all:
            upstream.script, upstream.at_connect = (), None
            await upstream.drop()
        path = self.directory / "chukei.toml"
        places = {"first": self.places[at], "second": self.second.url, "third": self.third.url}
        path.write_text(
            CONFIG.format(
                heartbeat=heartbeat,
                limit=limit,
                connect=connect,
                pool=pool,
                ca_file=self.places["ca_file"],
                a=a and f", {a}",
                b=b and f", {b}",
                c=c and f", {c}",
                **places,
            )
        )
        async with InProcessRelay(load(path, {"KEY": KEY})) as relay, nothing_leaked():
            yield relay
            await self.at_rest(relay)

    async def at_rest(self, relay: InProcessRelay) -> None:
        """Wait until no request, no place at a deployment and no connection is left."""
        await eventually(lambda: relay.relay.gateway.live == 0)
        for status in deployments(relay).values():
            assert (status.outstanding, status.outstanding_tokens) == (0, 0), status
        await disconnected(relay, self.all)

    @property
    def all(self) -> tuple[FaultUpstream, ...]:
        """Every scripted upstream."""
        return self.first, self.handshake, self.second, self.third

    @property
    def asked(self) -> tuple[int, int, int]:
        """How many requests have reached each deployment's upstream since it was last dropped."""
        return len(self.first.visits), len(self.second.visits), len(self.third.visits)

    def heal(self, ask: Ask) -> None:
        """Let the second and the third deployment answer well."""
        self.second.script = self.third.script = ask.good


@asynccontextmanager
async def open_bench(directory: Path) -> AsyncIterator[FailoverBench]:
    """Start every upstream."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    strange = server_context(trustme.CA())
    async with AsyncExitStack() as stack:
        hole = stack.enter_context(black_hole())
        first, handshake, second, third, untrusted = [
            await stack.enter_async_context(upstream)
            for upstream in (*(FaultUpstream() for _ in range(4)), FaultUpstream(tls=strange))
        ]
        places = {
            "scripted": first.url,
            "handshake": f"https://127.0.0.1:{handshake.port}",
            "untrusted": untrusted.url,
            "refusing": f"http://127.0.0.1:{refusing_port()}",
            "black-hole": f"http://127.0.0.1:{hole}",
            GONE: "https://nowhere.invalid",
            "ca_file": str(directory / "ca.pem"),
        }
        yield FailoverBench(first, handshake, second, third, places, directory)


class Clocked:
    """Plays one script for each request, the last one for all further ones, and keeps when they came."""

    def __init__(self, upstream: FaultUpstream, *scripts: Script) -> None:
        self._scripts = scripts
        self.times: list[float] = []
        upstream.script = self._next

    def _next(self, _: Visit) -> Script:
        self.times.append(time.monotonic())
        return self._scripts[min(len(self.times), len(self._scripts)) - 1]


def deployments(relay: InProcessRelay) -> dict[str, DeploymentStatus]:
    """Return how each deployment is thought to be."""
    status = relay.relay.pool.status(time.monotonic())
    return {known.deployment: known for model in status.values() for known in model}


async def answer_of(relay: InProcessRelay, ask: Ask, model: str = "chat") -> RawClient:
    """Ask, read the whole answer, and wait until the relay has recorded it."""
    count = len(relay.records)
    async with RawClient(relay.url) as client:
        await client.post(ask.path, ask.of(model))
        await client.rest()
    await relay.record(count + 1)
    return client
