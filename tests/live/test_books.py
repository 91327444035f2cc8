"""The ledger compared with the bill of an upstream that counts itself: never less, and not much more."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.live.billing import BillingUpstream, ask, plan
from tests.live.callers import ENVIRONMENT, Table, config, left
from tests.live.relays import RelayProcess, eventually

pytestmark = pytest.mark.anyio

REQUESTS = int(os.environ.get("CHUKEI_BOOKS_REQUESTS", "400"))
SEED = int(os.environ.get("CHUKEI_BOOKS_SEED", "1"))
AT_ONCE = 12
MOST = 2**40
CALLERS: dict[str, Table] = {"team": {"limits": {"tokens_per_day": MOST, "concurrent": 1000}}}


@pytest.fixture
async def upstream() -> AsyncIterator[BillingUpstream]:
    async with BillingUpstream(SEED) as upstream:
        yield upstream


def rows(file: Path) -> dict[int, tuple[int, bool]]:
    """Return the tokens of each request in the ledger, by its number, and whether they are an estimate."""
    query = "SELECT request_id, input_tokens + output_tokens + wasted_tokens, estimated FROM chukei_entries"
    with closing(sqlite3.connect(file)) as connection:
        found = [(request.removeprefix("bill-"), *told) for request, *told in connection.execute(query)]
    assert len({number for number, *_ in found}) == len(found)
    return {int(number): (tokens, bool(estimated)) for number, tokens, estimated in found}


async def test_the_ledger_holds_the_bill(upstream: BillingUpstream, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    deployments = {
        name: {"endpoint": upstream.url, "deployment": name, "api_key": {"env": "UPSTREAM_KEY"}}
        for name in ("one", "two")
    }
    file = config(
        tmp_path / "chukei.toml",
        upstream.url,
        CALLERS,
        models={"chat": {"deployments": ["one", "two"]}, "image": {"deployments": ["one", "two"]}},
        deployments=deployments,
        pool={"max_cooldown_seconds": 0, "breaker_failures": 0, "misconfigured_seconds": 0, "hedge_share": 0.2},
    )
    with RelayProcess({**ENVIRONMENT, "CHUKEI_STORES__LEDGER": f"sqlite:///{ledger}"}, "--config", str(file)) as relay:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with turns:
                await ask(relay.url, upstream, number, "team")

        await asyncio.gather(*map(one, range(REQUESTS)))
        await eventually(lambda: len(rows(ledger)) == REQUESTS)  # a client may have left before its request had come
        charged = MOST - (await left(relay.url, "team", concurrent=1000))["tokens_per_day"]
    entries = rows(ledger)
    assert entries.keys() == set(range(REQUESTS)) == entries.keys() | upstream.bills.keys()
    less, unequal = [], []
    for number, (tokens, estimated) in entries.items():
        bill = upstream.bills[number]
        if tokens < bill.tokens:
            less.append((number, tokens, bill, plan(SEED, number)))
        if bill.reported and bill.visits == 1 and (tokens != bill.tokens or (estimated and tokens)):
            unequal.append((number, tokens, bill, plan(SEED, number)))
    assert not less
    assert not unequal
    assert charged == sum(tokens for tokens, _ in entries.values())
    # Images that were not counted are taken at their largest.
    text = [number for number in entries if plan(SEED, number).operation != "images"]
    total, billed = sum(entries[number][0] for number in text), sum(upstream.bills[number].tokens for number in text)
    assert billed <= total <= 1.1 * billed, total / billed
