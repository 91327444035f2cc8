"""Two relays, PostgreSQL and Redis, while everything around them fails: each request is in the ledger once, as it was.

Refusals that are alike share a row that counts them. Of a killed process only these, and what ended within its last
second, may be missing. The run is as long as CHUKEI_CHAOS_SECONDS says, ten by default, and what happens to which
request follows from CHUKEI_CHAOS_SEED.
"""

import asyncio
import json
import logging
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.live.callers import ENVIRONMENT, Table, clear_of_midnight, config
from tests.live.chaos import MOST, Asked, ChaosUpstream, Plan, Sent, ask, plan, request_body
from tests.live.postgres_server import PostgresServer
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess
from tests.live.uncounted import charge_of

pytestmark = pytest.mark.anyio

logger = logging.getLogger(__name__)

SECONDS = float(os.environ.get("CHUKEI_CHAOS_SECONDS", "10"))
SEED = int(os.environ.get("CHUKEI_CHAOS_SEED", "1"))
CLIENTS = 24

LOSS_SECONDS = 1.0
"""Of a killed process, what ended so long before may be missing, and nothing that ended earlier."""

QUOTA = {"tokens_per_day": 2**40, "concurrent": 1000}
RATES = {"tokens_per_minute": 2**40, "concurrent": 1000}
CALLERS: dict[str, Table] = {
    "steady": {"limits": QUOTA},
    "light": {"limits": RATES},
    "mortal": {"limits": QUOTA},  # as steady and light, but of the process that will be killed
    "mortal-light": {"limits": RATES},
}
Row = dict[str, Any]


@dataclass
class Fleet:
    """Two places, in each of which one relay after another runs."""

    environment: dict[str, str]
    file: str
    running: dict[int, RelayProcess] = field(default_factory=dict)
    number: dict[int, int] = field(default_factory=dict)
    processes: list[RelayProcess] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)

    async def start(self, place: int) -> None:
        relay = RelayProcess(self.environment, "--config", self.file)
        await asyncio.to_thread(relay.__enter__)
        self.processes.append(relay)
        self.number[place], self.running[place] = len(self.processes) - 1, relay

    async def end(self, place: int, how: signal.Signals) -> None:
        relay = self.running.pop(place)
        if how is signal.SIGKILL:
            self.killed[self.number[place]] = asyncio.get_running_loop().time()
        status = await asyncio.to_thread(relay.stop, how)
        assert status == (-signal.SIGKILL if how is signal.SIGKILL else 0)

    async def replace(self, place: int, how: signal.Signals) -> None:
        """A rolling restart, or a crash and what the platform does about it."""
        await self.end(place, how)
        await self.start(place)

    def choose(self, draw: Random) -> tuple[int, str]:
        """Choose a relay for a request, by its number and address."""
        place = draw.choice(sorted(self.running))
        return self.number[place], self.running[place].url


@dataclass
class Run:
    """What everybody saw."""

    upstream: ChaosUpstream
    fleet: Fleet
    asked: list[Asked] = field(default_factory=list)

    async def client(self, over: asyncio.Event) -> None:
        while not over.is_set():
            number = len(self.asked)
            draw = Random(f"client {SEED} {number}")
            relay, url = self.fleet.choose(draw)
            mortal = relay == 1  # the second process that was started
            caller = (
                ("mortal" if mortal else "steady") if draw.random() < 0.6 else "mortal-light" if mortal else "light"
            )
            asked = Asked(number, relay, caller)
            self.asked.append(asked)
            await ask(url, asked, plan(SEED, number))
            if asked.seen in ("status", "unreachable"):
                await asyncio.sleep(0.05)


async def events(fleet: Fleet, redis: RedisServer, postgres: PostgresServer) -> None:
    """What fails when; times are shares of the run."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def at(share: float) -> None:
        await asyncio.sleep(max(start + share * SECONDS - loop.time(), 0.0))

    await at(0.1)
    await asyncio.to_thread(postgres.stop)
    await at(0.25)
    await asyncio.to_thread(postgres.start)
    await at(0.28)
    redis.stop()
    await at(0.36)
    redis.start()
    await at(0.5)
    await fleet.replace(0, signal.SIGTERM)
    await at(0.7)
    await fleet.replace(1, signal.SIGKILL)
    await at(0.85)
    redis.pause()
    await at(0.9)
    redis.resume()
    await at(1.0)


async def test_chaos(tmp_path: Path, postgres_server: PostgresServer, new_database: Callable[[], str]) -> None:
    await clear_of_midnight(SECONDS + 60)
    address = new_database()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ChaosUpstream(SEED))
        redis = stack.enter_context(RedisServer("--appendonly", "yes", "--appendfsync", "always"))
        sections: dict[str, Any] = {
            "stores": {"quota": redis.url, "replicas": 2},
            "ledger": {"spool": str(tmp_path / "spool")},
            "server": {"grace_seconds": 0.5},
        }
        file = config(tmp_path / "chukei.toml", upstream.url, CALLERS, **sections)
        fleet = Fleet(ENVIRONMENT | {"CHUKEI_STORES__LEDGER": address, "CHUKEI_LOG__FORMAT": "json"}, str(file))
        for place in (0, 1):
            await fleet.start(place)
        run, over = Run(upstream, fleet), asyncio.Event()
        clients = [asyncio.create_task(run.client(over)) for _ in range(CLIENTS)]
        try:
            await events(fleet, redis, postgres_server)
            over.set()
            await asyncio.gather(*clients)
        finally:
            over.set()
            await asyncio.wait(clients)
            for place in tuple(fleet.running):
                await fleet.end(place, signal.SIGTERM)
        rows = json.loads(
            postgres_server.sql("SELECT json_agg(row_to_json(e)) FROM chukei_entries e", address.rpartition("/")[2])
        )
        check_log(fleet)
        check_ledger(run, rows)
        check_quotas(run, rows, redis)
    assert list((tmp_path / "spool").glob("*")) == []


def check_log(fleet: Fleet) -> None:
    bad = ("Traceback", '"internal_error"', "loses entries")
    assert [line for relay in fleet.processes for line in relay.log if any(word in line for word in bad)] == []


def check_ledger(run: Run, rows: list[Row]) -> None:
    """Every request once, with its end; tokens as the upstream counted them."""
    assert run.upstream.twice == []
    times = Counter(row["request_id"] for row in rows)
    assert set(times.values()) == {1}
    ledger = {int(row["request_id"].removeprefix("chaos-")): row for row in rows}
    seen: Counter[str] = Counter()
    missing = []
    for asked in run.asked:
        sent, row = run.upstream.sent.get(asked.number), ledger.get(asked.number)
        seen[f"{asked.seen} {asked.status or ''} {asked.code or ''} → {row['end_reason'] if row else 'not there'}"] += 1
        if row is not None:
            check_row(asked, plan(SEED, asked.number), sent or Sent(), row)
        elif asked.status is not None or sent is not None:
            missing.append(asked)
        if asked.seen == "cut" and asked.status is not None:
            assert asked.relay in run.fleet.killed, asked
    for what, count in sorted(seen.items()):
        logger.info("%6d %s", count, what)
    missing = check_shared(run, rows, missing)
    for asked in missing:
        killed = run.fleet.killed.get(asked.relay)
        assert killed is not None, asked
        assert asked.end > killed - LOSS_SECONDS, (asked, killed)
    logger.info("%d requests, %d entries, %d lost with the process", len(run.asked), len(rows), len(missing))
    whole = [asked.number for asked in run.asked if asked.seen == "done" and asked.number in ledger]
    counted = sum(plan(SEED, number).usage["total_tokens"] for number in whole)
    assert sum(ledger[number]["input_tokens"] + ledger[number]["output_tokens"] for number in whole) == counted
    assert len(whole) > len(run.asked) / 4


def check_shared(run: Run, rows: list[Row], missing: list[Asked]) -> list[Asked]:
    """Refusals without a row of their own are counted in that of one alike; return what else is missing."""
    shared: Counter[tuple[str, int | None, str | None]] = Counter()
    for row in rows:
        shared[row["caller"], row["status"], row["code"]] += row["requests"] - 1
    refused = [asked for asked in missing if asked.seen == "status" and asked.number not in run.upstream.sent]
    shared.subtract((asked.caller, asked.status, asked.code) for asked in refused)
    own = {int(row["request_id"].removeprefix("chaos-")) for row in rows}
    unseen = Counter(asked.caller for asked in run.asked if asked.status is None and asked.number not in own)
    for (caller, _, _), count in shared.items():
        assert count >= 0 or caller.startswith("mortal"), shared  # a killed process had not written its own
        unseen[caller] -= max(count, 0)  # the client had left before it could see the refusal
    assert min(unseen.values(), default=0) >= 0, (shared, unseen)
    return [asked for asked in missing if asked not in refused]


def check_row(asked: Asked, wanted: Plan, sent: Sent, row: Row) -> None:
    """What the ledger says of one request, beside what its client and the upstream saw."""
    where = (asked, wanted, sent, row)
    assert row["caller"] == asked.caller
    assert row["end_reason"] in ends(asked, wanted, sent), where
    if row["end_reason"] == "completed":
        usage = wanted.usage
        assert (row["input_tokens"], row["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"]), (
            where
        )
        assert not row["estimated"]
    elif row["input_tokens"] or row["output_tokens"]:
        assert row["estimated"] or sent.usage, where
        if row["estimated"]:
            assert row["input_tokens"] == charge_of(request_body(asked.number, stream=wanted.stream)), where
            # More may have been made unseen, here all that was asked for; or no more was, where the end was sent.
            seen = sent.events == wanted.events and asked.events <= row["output_tokens"] <= sent.events + 1
            assert row["output_tokens"] == MOST or seen, where
    if asked.seen == "status":
        code = "upstream_500" if asked.code == "BadThing" else asked.code
        assert (row["status"], row["code"]) == (asked.status, code), where


def ends(asked: Asked, wanted: Plan, sent: Sent) -> set[str]:
    """Return the ends that may be in the ledger."""
    broken = {"truncated_after_finish"} if wanted.fate == "cut_last" else {"truncated"}
    match asked.seen, asked.code:
        case "done", _:
            return {"completed"}
        case "error_event", "stream_incomplete":
            return broken
        case _, "server_shutdown":
            return {"server_shutdown", "refused"}
        case "status", "quota_unavailable":
            return {"refused"}
        case "status", "BadThing":
            return {"upstream_status"}
        case "status", _:
            return {"upstream_lost"}
    # Those who left do not know what would have come, and may have left just behind the end.
    rest = {
        "whole": {"completed"},
        "cut": {*broken, "upstream_lost"},
        "refused": {"upstream_status"},
        "left": set[str](),
        None: {"refused"},
    }
    return {"client_aborted", "server_shutdown", *rest[sent.over]}


def check_quotas(run: Run, rows: list[Row], redis: RedisServer) -> None:
    """Nothing is held, and what is charged is what the ledger says; but for what died with a process."""
    charged = {caller: tokens_charged(redis, caller) for caller in ("steady", "mortal")}
    written: Counter[str] = Counter()
    for row in rows:
        written[row["caller"]] += row["input_tokens"] + row["output_tokens"]
    logger.info("charged %s, written %s", charged, dict(written))
    assert charged["mortal"] >= written["mortal"]
    if any("stay charged" in line for relay in run.fleet.processes for line in relay.log):
        # A relay ended while it took Redis to be away, which a machine that stands still for a moment looks like.
        assert charged["steady"] >= written["steady"]
        return
    assert charged["steady"] == written["steady"]
    for caller in ("steady", "light"):
        assert redis.command("ZCARD", f"{{chukei:quota}}:leases:caller:{caller}") == b":0\r\n"


def tokens_charged(redis: RedisServer, caller: str) -> int:
    answer = redis.command("HGET", f"{{chukei:quota}}:of:caller:{caller}", "tokens_per_day")
    return sum(int(amount) for amount in re.findall(rb"\d+=(\d+)", answer))
