"""Refusals of one caller are cheap to record, and all are counted, in the log and in the ledger."""

import asyncio
import contextlib
import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from tests.live.callers import ENVIRONMENT, CountingUpstream, ask, bearer, config
from tests.live.plain_http import post
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT
from tests.live.relays import RelayProcess, eventually

from chukei.adapters.ledger.tally import SINGLY

pytestmark = pytest.mark.anyio

MANY = 200
MINUTES = 2
"""A run of some seconds may lie in two."""


async def test_thousands_of_refusals_are_a_few_rows_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    callers = {"eager": {"limits": {"tokens_per_day": 1}}, "barred": {"limits": {"tokens_per_minute": 1}}, "calm": {}}
    async with CountingUpstream() as upstream:
        path = config(tmp_path / "chukei.toml", upstream.url, callers)
        environment = ENVIRONMENT | {"CHUKEI_STORES__LEDGER": f"sqlite:///{file}", "CHUKEI_LOG__FORMAT": "json"}
        with RelayProcess(environment, "--config", str(path)) as relay:
            answered: Counter[str] = Counter()
            for turn in range(MANY // 10):
                for name in ("eager", "barred"):
                    answers = await asyncio.gather(*(ask(relay.url, name) for _ in range(10)))
                    answered.update(f"{name}: {answer.error['code']}" for answer in answers)
                answers = await asyncio.gather(
                    *(post(relay.url, CHAT, b"{", [bearer("calm")]) for _ in range(5)),
                    *(post(relay.url, CHAT, b"{}", [("api-key", f"sk-{turn}-{n}")]) for n in range(5)),
                )
                answered.update(answer.error["code"] for answer in answers)
                async with RawClient(relay.url) as raw:
                    await raw.send(b"no HTTP at all\r\n\r\n")
                    assert await raw.head() == 400
            assert (await ask(relay.url, "calm")).status == 200
            await eventually(lambda: file.exists())
            assert relay.stop() == 0
            lines = [json.loads(line) for line in relay.log if line.startswith("{")]
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT caller, end_reason, requests FROM chukei_entries").fetchall()
    kept: Counter[str] = Counter()
    for caller, end, requests in rows:
        kept[f"{caller} {end}"] += requests
    assert kept == {"eager refused": MANY, "barred refused": MANY, "calm refused": MANY // 2, "calm completed": 1}
    assert len(rows) <= 1 + 3 * MINUTES * (SINGLY + 1)
    told = Counter[str]()
    requests = [line for line in lines if line["event"] == "request" and line.get("end") == "refused"]
    for line in requests:
        told[line["code"]] += line.get("count", 1)
    assert told["invalid_http"] == MANY // 10
    assert sum(told.values()) == 3 * MANY + MANY // 10
    assert len(requests) <= 6 * MINUTES * (SINGLY + 1)
    assert sum(answered.values()) == 3 * MANY
