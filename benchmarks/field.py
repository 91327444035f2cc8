"""The compared relays: chukei in several forms, other gateways, and no relay. Those not installed are left out."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import gateways, relays
from benchmarks.measure import warm_up
from benchmarks.server import Server, Upstream
from benchmarks.workloads import Workload

OURS = "chukei"
WITHOUT_UVLOOP = "chukei, asyncio"
SHARED_STORES = "chukei, Redis + PostgreSQL"
LITELLM_FOLDER = Path(f"{sys.prefix}-litellm")
"""The virtual environment of LiteLLM, which `scripts/bench` makes beside this one."""


def note(text: str) -> None:
    """Print a note to stderr."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Field:
    """Makes the servers, but does not start them. ``other`` is another checkout of the relay."""

    upstream: Upstream
    folder: Path
    other: Path | None = None

    def ours(self, *, tls: bool = False) -> list[Server]:
        """Return the relay in its usual form, and that of the other checkout."""
        found = [relays.chukei(OURS, self.upstream, self.folder, tls=tls)]
        if self.other is not None:
            found.append(relays.chukei("chukei, other", self.upstream, self.folder, tls=tls, tree=self.other))
        return found

    def without_uvloop(self) -> list[Server]:
        """Return the relay on asyncio's own loop, if its usual loop is uvloop."""
        try:
            version("uvloop")
        except PackageNotFoundError:
            return []
        return [relays.chukei(WITHOUT_UVLOOP, self.upstream, self.folder, uvloop=False)]

    def nginx(self, *, tls: bool = False) -> list[Server]:
        """Return nginx."""
        return _had("nginx", gateways.nginx(self.upstream, self.folder, tls=tls))

    def envoy(self, *, tls: bool = False) -> list[Server]:
        """Return Envoy."""
        return _had("Envoy", gateways.envoy(self.upstream, self.folder, tls=tls))

    def litellm(self) -> list[Server]:
        """Return LiteLLM."""
        return _had("LiteLLM", gateways.litellm(self.upstream, self.folder, LITELLM_FOLDER))


def _had(name: str, found: Server | None) -> list[Server]:
    if found is None:
        note(f"note: {name} is not here and is left out")
        return []
    return [found]


@contextlib.contextmanager
def running(servers: list[Server], upstream: Upstream) -> Iterator[list[Server]]:
    """Start and warm up the servers. One that does not start is left out with a note, except the relay itself."""
    with contextlib.ExitStack() as stack:
        found = []
        for server in servers:
            try:
                stack.enter_context(server)
                warm_up(server, upstream)
            except RuntimeError as error:
                if server.name.startswith(OURS):
                    raise
                note(f"note: {server.name} does not work here and is left out: {str(error)[-2000:]}")
            else:
                found.append(server)
        yield found


@contextlib.contextmanager
def shared_stores(field: Field) -> Iterator[list[Server]]:
    """Start Valkey and PostgreSQL from their wheels, as the tests do, and return a relay that uses them."""
    try:
        from tests.live.postgres_server import PostgresServer
        from tests.live.redis_server import RedisServer

        stack = contextlib.ExitStack()
        redis, postgres = stack.enter_context(RedisServer()), stack.enter_context(PostgresServer())
    except (ImportError, OSError, AssertionError) as error:
        note(f"note: Redis and PostgreSQL are not here and are left out: {error}")
        yield []
        return
    with stack:
        stores = relays.Stores(redis.url, postgres.url())
        yield [relays.chukei(SHARED_STORES, field.upstream, field.folder, stores=stores)]


def runs_in(server: Server, workload: Workload) -> bool:
    """Whether a server takes part in a workload. Other forms of the relay run only where they differ."""
    only = {WITHOUT_UVLOOP: {"A"}, SHARED_STORES: {"B"}}
    return workload.name in only.get(server.name, {workload.name})
