"""Redis and the ledger, with real servers."""

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from tests.adapters.servers import LocalServer, Peer
from tests.live.loopback import refusing_port
from tests.live.redis_server import RedisServer
from tests.rows import rows

from chukei.config import Secret, Settings, StoreSettings, load
from chukei.doctor import stores
from chukei.doctor.deployments import Times
from chukei.doctor.finding import Finding, Status

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer("--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru") as running:
        running.command("ACL", "SETUSER", "timid", "on", ">secret", "~*", "+ping", "+auth")
        running.command("ACL", "SETUSER", "plain", "on", ">secret", "~*", "+@all", "-info")
        yield running


async def redis(url: str, patience: float = 1.0) -> dict[str, Finding]:
    settings = StoreSettings(quota=Secret(url), quota_seconds=patience)
    found = await stores.redis(settings, time.monotonic, Times(time.time))
    return {finding.check: finding for finding in found}


@rows("policy", ["allkeys-lru", "volatile-ttl"])
async def test_evicted_counters_are_a_warning(policy: str, server: RedisServer) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", policy)
    found = await redis(server.url)
    assert found["memory"].status is Status.WARNING
    assert "noeviction" in found["memory"].remedy
    assert found["version"].measured["version"] != "unknown"


async def test_rights(server: RedisServer) -> None:
    timid = await redis(server.url.replace("//", "//timid:secret@"))
    assert (timid["commands"].status, "NOPERM" in timid["commands"].seen) == (Status.FAILED, True)
    plain = await redis(server.url.replace("//", "//plain:secret@"))
    assert (plain["scripts"].status, plain["memory"].status) == (Status.OK, Status.SKIPPED)


async def test_a_database_that_does_not_exist(server: RedisServer) -> None:
    found = await redis(f"{server.url}/999")
    assert found["commands"].status is Status.FAILED


async def test_redis_that_is_away_or_speaks_something_else() -> None:
    found = await redis(f"redis://127.0.0.1:{refusing_port()}")
    assert "nothing listens" in found["connect"].seen
    assert found["connect"].remedy.endswith("if it speaks TLS, write rediss://")
    found = await redis(f"rediss://127.0.0.1:{refusing_port()}")
    assert "write rediss://" not in found["connect"].remedy

    async def other(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 X\r\n\r\n")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with LocalServer(other, context) as secured:
        found = await redis(f"rediss://127.0.0.1:{secured.port}")
    assert "unknown authority" in found["tls"].seen
    assert "ssl_ca_certs" in found["tls"].remedy
    async with LocalServer(other) as web:
        found = await redis(f"redis://127.0.0.1:{web.port}")
    assert [each.status for each in found.values()][-1] is Status.FAILED
    async with LocalServer(other) as web:
        found = await redis(f"rediss://127.0.0.1:{web.port}")
    assert "does not speak TLS" in found["tls"].seen
    assert "write redis://" in found["tls"].remedy


@rows(
    ("seconds", "patience", "status"),
    [(0.001, 0.07, Status.OK), (0.05, 0.07, Status.WARNING), (0.2, 0.07, Status.FAILED)],
)
async def test_a_slow_redis(seconds: float, patience: float, status: Status, server: RedisServer) -> None:
    """By a clock that each look moves."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += seconds
        return now

    settings = StoreSettings(quota=Secret(server.url), quota_seconds=patience)
    found = await stores.redis(settings, clock, Times(time.time))
    assert [each.status for each in found if each.check == "latency"] == [status]


def settings_with(**changes: str) -> Settings:
    return load(None, {f"CHUKEI_{name}": value for name, value in changes.items()})


def test_the_address_of_the_ledger(tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path)}
    assert stores.ledger_of(settings_with(), state) == f"sqlite:///{tmp_path}/chukei/ledger.db"
    assert list(tmp_path.iterdir()) == []
    assert stores.ledger_of(settings_with(STORES__LEDGER="none"), state) is None
    assert stores.ledger_of(settings_with(STORES__LEDGER="sqlite:///x.db"), state) == "sqlite:///x.db"


async def test_the_ledger(tmp_path: Path) -> None:
    times = Times(time.time)
    found = await stores.ledger(f"sqlite:///{tmp_path}/ledger.db", time.monotonic, times)
    assert [(each.check, each.status) for each in found] == [("database", Status.OK)]
    (tmp_path / "ledger.db").mkdir()
    found = await stores.ledger(f"sqlite:///{tmp_path}/ledger.db", time.monotonic, times)
    assert [(each.check, each.status, bool(each.remedy)) for each in found] == [("database", Status.FAILED, True)]
    found = await stores.ledger("postgresql://x:planted@127.0.0.1:1/x", time.monotonic, times)
    assert found[0].status is Status.FAILED
    assert "planted" not in str(found)


def test_the_spool(tmp_path: Path) -> None:
    settings = settings_with(LEDGER__SPOOL=str(tmp_path / "spool"))
    assert stores.spool(settings, "sqlite:///x.db").seen.startswith(str(tmp_path))
    big = replace(settings, ledger=replace(settings.ledger, max_spool_bytes=1 << 60))
    assert stores.spool(big, "sqlite:///x.db").status is Status.WARNING
