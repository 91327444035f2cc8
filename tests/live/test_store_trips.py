"""What a request costs at the stores with everything on, by count: one round trip before its first byte, one after its
last, and nothing at the database but batches of the ledger beside it. The servers themselves are asked."""

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.live.callers import ENVIRONMENT, CountingUpstream, Table, ask, bearer, config, question
from tests.live.postgres_server import PostgresServer
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess, clean_environment, eventually

from chukei.accounts.quota import RENEW_SECONDS

pytestmark = pytest.mark.anyio

LIMITS = {
    "requests_per_minute": 100_000,
    "tokens_per_minute": 10_000_000,
    "tokens_per_day": 10_000_000,
    "tokens_per_month": 10_000_000,
    "money_per_month": 1000.0,
    "concurrent": 100,
}
CALLERS: dict[str, Table] = {"listed": {"limits": LIMITS, "groups": ["team"]}, "stored": {"limits": LIMITS}}
GROUPS: dict[str, Table] = {"team": {"total": LIMITS}, "everybody": {"total": LIMITS}}
READING = {"BEGIN", "SELECT id", "SELECT count", "SELECT max", "COMMIT", "SELECT pg_advisory_unlock_all"}
"""What a relay does every few seconds to see changed keys and rules, whether anybody asks or not."""

_CALLS = re.compile(rb"cmdstat_(\w+):calls=(\d+)")


@dataclass(frozen=True)
class Setup:
    """A relay that asks for everything it can, and the servers that count."""

    relay: RelayProcess
    redis: RedisServer
    postgres: PostgresServer
    database: str
    upstream: CountingUpstream
    key: str
    """Of a caller whose key is in the database."""
    began: float

    def scripts(self) -> int:
        """Return how many scripts Redis has been asked to run, without those that renew leases every ten seconds.

        Each of the others sets one key, as the commands inside of scripts show, and renewing sets none.
        """
        calls = {name: int(count) for name, count in _CALLS.findall(self.redis.command("INFO", "commandstats"))}
        assert b"eval" not in calls  # sent whole it would be a second round trip
        scripts = calls.get(b"set", 0)
        assert scripts <= calls.get(b"evalsha", 0) <= scripts + (time.monotonic() - self.began) / RENEW_SECONDS
        return scripts

    def entries(self) -> int:
        """Return how many entries the ledger has."""
        return int(self.postgres.sql("SELECT count(*) FROM chukei_entries", self.database))

    def statements(self) -> Counter[str]:
        """Return what relays have had the database do, by its first words."""
        log = self.postgres.sql("SELECT pg_read_file(current_setting('data_directory') || '/../log')")
        said = re.findall(
            rf"^chukei@{self.database}\|LOG:  (?:execute [^:]*|statement): (\w+ ?\w* ?\w*)", log, re.MULTILINE
        )
        return Counter(said)


async def command(*words: str, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chukei", *words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()
    return out.decode()


@pytest.fixture(scope="module")
async def setup(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, new_database: Callable[[], str]
) -> AsyncIterator[Setup]:
    directory = tmp_path_factory.mktemp("trips")
    address = new_database()
    postgres_server.sql("ALTER SYSTEM SET log_statement = 'all'")
    postgres_server.sql("ALTER SYSTEM SET log_line_prefix = '%a@%d|'")
    postgres_server.sql("SELECT pg_reload_conf()")
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(CountingUpstream())
        redis = stack.enter_context(RedisServer())
        stores = {"quota": redis.url, "quota_away": "closed", "quota_seconds": 1.0}
        sections = {"stores": stores, "ledger": {"spool": str(directory / "spool")}}
        file = config(directory / "chukei.toml", upstream.url, CALLERS, GROUPS, **sections)
        environment = ENVIRONMENT | {"CHUKEI_STORES__LEDGER": address, "CHUKEI_CONFIG": str(file)}
        made = await command("keys", "create", "stored", environment=clean_environment(environment))
        (key,) = re.findall(r"chk_\w+", made)
        began = time.monotonic()
        relay = stack.enter_context(RelayProcess(environment))
        setup = Setup(relay, redis, postgres_server, address.rpartition("/")[2], upstream, key, began)
        await eventually(lambda: setup.statements()["DELETE FROM chukei_entries"] == 1)  # the last of its start
        yield setup
    postgres_server.sql("ALTER SYSTEM RESET ALL")
    postgres_server.sql("SELECT pg_reload_conf()")


@pytest.mark.parametrize("caller", ["listed", "stored"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_one_round_trip_before_the_first_byte_and_one_after_the_last(
    setup: Setup, caller: str, stream: bool
) -> None:
    credential = bearer(caller) if caller == "listed" else ("api-key", setup.key)
    setup.upstream.holding.add(caller)
    before, done = setup.scripts(), setup.statements()
    async with RawClient(setup.relay.url) as client:
        await client.post(CHAT, question(caller, stream=stream), credential)
        await eventually(lambda: bool(setup.upstream.held(caller)))
        assert setup.scripts() == before + 1
        assert set(setup.statements() - done) <= READING
        (visit,) = setup.upstream.held(caller)
        visit.release()
        assert await client.head() == 200
        body = await client.rest()
        assert body.endswith(DONE) or not stream
    await eventually(lambda: setup.scripts() == before + 2)
    await eventually(lambda: _writing(setup.statements() - done) == 1)  # beside the path, half a second later
    assert setup.scripts() == before + 2
    setup.upstream.holding.clear()


async def test_many_requests_are_few_commands(setup: Setup) -> None:
    """What is written is a batch twice a second, what is read are the keys every two seconds."""
    count = 200
    scripts, statements, entries = setup.scripts(), setup.statements(), setup.entries()
    began = time.monotonic()
    for _ in range(count // 20):
        answers = await asyncio.gather(*(ask(setup.relay.url, "listed", stream=bool(n % 2)) for n in range(20)))
        assert [answer.status for answer in answers] == [200] * 20
    await eventually(lambda: setup.scripts() == scripts + 2 * count)
    await eventually(lambda: setup.entries() == entries + count)
    seconds = time.monotonic() - began
    more = setup.statements() - statements
    assert 0 < _writing(more) <= more["BEGIN"] <= 2.5 * seconds + 4, more
    assert more["SELECT id"] <= seconds / 2 + 2, more
    assert setup.scripts() == scripts + 2 * count


async def test_whom_no_limit_holds_costs_nothing_at_redis(tmp_path: Path) -> None:
    async with CountingUpstream() as upstream:
        with RedisServer() as redis:
            file = config(tmp_path / "chukei.toml", upstream.url, {"free": {}}, stores={"quota": redis.url})
            with RelayProcess(ENVIRONMENT, "--config", str(file)) as relay:
                assert (await ask(relay.url, "free")).status == 200
                assert b"cmdstat_evalsha" not in redis.command("INFO", "commandstats")


def _writing(statements: Counter[str]) -> int:
    return sum(count for words, count in statements.items() if words.startswith("INSERT"))
