"""Background responses on real sockets, with the official client: one job and one bill, whatever happens between."""

import asyncio
import contextlib
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from openai import APIError, APIStatusError, AsyncOpenAI, NotFoundError
from tests.live.callers import ENVIRONMENT, config, key_of
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess
from tests.live.simulated import SimulatorThread

from chukei.simulator import SimulatorSettings

pytestmark = pytest.mark.anyio

CALLERS: dict[str, dict[str, Any]] = {"ada": {"limits": {"concurrent": 1, "tokens_per_day": 100_000}}, "bob": {}}
COLUMNS = "request_id, requests, input_tokens, output_tokens, end_reason, estimated"
Row = tuple[Any, ...]


@pytest.fixture(scope="module")
def slow() -> Iterator[SimulatorThread]:
    """A resource that takes two seconds for fifty tokens."""
    settings = SimulatorSettings(first_token_seconds=0.2, inter_token_seconds=0.04, jitter=0.0)
    with SimulatorThread(settings) as thread:
        yield thread


def relay_of(
    directory: Path, upstream: SimulatorThread, ledger: str, deployment: str = "gpt-4o", **stores: str
) -> RelayProcess:
    """Return a relay that looks after half a second. The deployment's name may have a fault of the simulator."""
    only = {"endpoint": upstream.url, "deployment": deployment, "api_key": {"env": "UPSTREAM_KEY"}}
    sections: dict[str, Any] = {
        "objects": {"settle_seconds": 0.5},
        "ledger": {"spool": str(directory / "spool")},
        "deployments": {"only": only},
    }
    path = config(directory / "chukei.toml", upstream.url, CALLERS, **sections)
    return RelayProcess(
        ENVIRONMENT
        | {"CHUKEI_STORES__LEDGER": ledger}
        | {f"CHUKEI_STORES__{name}": url for name, url in stores.items()},
        "--config",
        str(path),
    )


@asynccontextmanager
async def client_of(relay: RelayProcess, caller: str = "ada") -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{relay.url}/v1", api_key=key_of(caller), max_retries=0) as client:
        yield client


def rows_of(file: Path, table: str = "chukei_entries", columns: str = COLUMNS) -> list[Row]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall()


async def keep(stream: AsyncIterator[Any], events: list[Any]) -> None:
    """Keep the events of a stream, also of one that breaks."""
    async for event in stream:
        events.append(event)


async def until(found: Callable[[], list[Row]], count: int) -> list[Row]:
    async with asyncio.timeout(60):
        while len(rows := found()) < count:
            await asyncio.sleep(0.05)
    return rows


def check_one_bill(rows: list[Row], tokens: tuple[int, int]) -> None:
    """One request without tokens, and one bill of it."""
    assert sorted(row[1:] for row in rows) == [(0, *tokens, "completed", False), (1, 0, 0, "background", False)]
    assert len({row[0] for row in rows}) == 1


async def ended(client: AsyncOpenAI, id: str) -> tuple[int, int]:
    """Poll to the end, and return the tokens."""
    async with asyncio.timeout(60):
        while (response := await client.responses.retrieve(id)).status in ("queued", "in_progress"):
            assert response.usage is None
            await asyncio.sleep(0.05)
    assert response.status == "completed"
    assert response.usage is not None
    return response.usage.input_tokens, response.usage.output_tokens


async def test_a_caller_of_one_request_at_a_time_polls_its_own_response(tmp_path: Path, slow: SimulatorThread) -> None:
    file = tmp_path / "ledger.db"
    with relay_of(tmp_path, slow, f"sqlite:///{file}") as relay:
        async with client_of(relay) as client, client_of(relay, "bob") as other:
            begun = await client.responses.create(model="chat", input="write 20 words", background=True)
            assert begun.status in ("queued", "in_progress")
            with pytest.raises(NotFoundError):
                await other.responses.retrieve(begun.id)
            tokens = await ended(client, begun.id)
            assert await ended(client, begun.id) == tokens
        check_one_bill(await until(lambda: rows_of(file), 2), tokens)
        assert rows_of(file, "chukei_jobs", "id") == []


async def test_a_killed_relay_s_response_is_billed_once_by_the_next(tmp_path: Path, slow: SimulatorThread) -> None:
    file = tmp_path / "ledger.db"
    first = relay_of(tmp_path, slow, f"sqlite:///{file}")
    with first:
        async with client_of(first) as client:
            begun = await client.responses.create(model="chat", input="write 20 words", background=True)
        await until(lambda: rows_of(file, "chukei_jobs", "id"), 1)
        await until(lambda: rows_of(file), 1)
        first.stop(signal.SIGKILL)
    with relay_of(tmp_path, slow, f"sqlite:///{file}") as second:
        rows = await until(lambda: rows_of(file), 2)
        async with client_of(second) as client:
            tokens = await ended(client, begun.id)
        await asyncio.sleep(0.5)
        check_one_bill(rows_of(file), tokens)
    check_one_bill(rows, tokens)


async def test_another_relay_bills_what_one_has_begun(
    tmp_path: Path, slow: SimulatorThread, redis_server: RedisServer, new_database: Callable[[], str]
) -> None:
    database = new_database()
    with ExitStack() as stack:
        relays = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            relays.append(stack.enter_context(relay_of(tmp_path / name, slow, database, QUOTA=redis_server.url)))
        one, other = relays
        async with client_of(one) as client:
            begun = await client.responses.create(model="chat", input="write 20 words", background=True)
        async with client_of(other) as client:
            tokens = await ended(client, begun.id)
        connection = await asyncpg.connect(database)
        try:
            async with asyncio.timeout(60):
                while len(rows := await connection.fetch(f"SELECT {COLUMNS} FROM chukei_entries")) < 2:
                    await asyncio.sleep(0.05)
            async with client_of(one) as client:
                await ended(client, begun.id)
            await asyncio.sleep(1.0)  # for the look of the one that began it
            rows = await connection.fetch(f"SELECT {COLUMNS} FROM chukei_entries")
            assert await connection.fetchval("SELECT count(*) FROM chukei_jobs") == 0
        finally:
            await connection.close()
        check_one_bill([tuple(row) for row in rows], tokens)


async def test_a_client_that_leaves_resumes_after_the_last_event_that_it_has(
    tmp_path: Path, slow: SimulatorThread
) -> None:
    file = tmp_path / "ledger.db"
    with relay_of(tmp_path, slow, f"sqlite:///{file}") as relay:
        async with client_of(relay) as client:
            stream = await client.responses.create(model="chat", input="write 20 words", background=True, stream=True)
            events = []
            async for event in stream:
                events.append(event)
                if len(events) == 5:
                    break
            await stream.close()
            created = events[0]
            assert created.type == "response.created"
            id, last = created.response.id, events[-1].sequence_number
            resumed = [event async for event in await client.responses.retrieve(id, stream=True, starting_after=last)]
            numbers = [event.sequence_number for event in (*events, *resumed)]
            assert numbers == [*range(len(numbers))]
            end = resumed[-1]
            assert end.type == "response.completed"
            assert end.response.usage is not None
            tokens = end.response.usage.input_tokens, end.response.usage.output_tokens
            with pytest.raises(APIStatusError) as beyond:
                await client.responses.retrieve(id, stream=True, starting_after=numbers[-1] + 10)
            assert beyond.value.status_code == 400
        check_one_bill(await until(lambda: rows_of(file), 2), tokens)
    posts = [each for each in slow.simulator.exchanges if each.method == "POST" and b"background" in each.body]
    assert sum(json.loads(each.body).get("stream", False) for each in posts) == 1


async def test_a_stream_that_is_cut_says_how_to_resume(tmp_path: Path, slow: SimulatorThread) -> None:
    file = tmp_path / "ledger.db"
    with relay_of(tmp_path, slow, f"sqlite:///{file}", "gpt-4o--truncate-10") as relay:
        async with client_of(relay) as client:
            stream = await client.responses.create(model="chat", input="write 20 words", background=True, stream=True)
            events: list[Any] = []
            with pytest.raises(APIError) as broken:
                await keep(stream, events)
            created = events[0]
            assert created.type == "response.created"
            id, last = created.response.id, events[-1].sequence_number
            assert f"GET /v1/responses/{id}?stream=true&starting_after={last}." in broken.value.message
            resumed = [event async for event in await client.responses.retrieve(id, stream=True, starting_after=last)]
            numbers = [event.sequence_number for event in (*events, *resumed)]
            assert numbers == [*range(len(numbers))]
            tokens = await ended(client, id)
        check_one_bill(await until(lambda: rows_of(file), 2), tokens)


async def test_a_response_that_is_not_to_be_stored_is_refused_by_the_service(
    tmp_path: Path, slow: SimulatorThread
) -> None:
    file = tmp_path / "ledger.db"
    with relay_of(tmp_path, slow, f"sqlite:///{file}") as relay:
        async with client_of(relay) as client:
            with pytest.raises(APIError, match="store"):
                await client.responses.create(model="chat", input="hi", background=True, store=False)
        [row] = await until(lambda: rows_of(file), 1)
        assert row[1:] == (1, 0, 0, "upstream_status", False)


async def test_a_cancelled_response_costs_at_most_what_can_have_been_made(
    tmp_path: Path, slow: SimulatorThread
) -> None:
    file = tmp_path / "ledger.db"
    with relay_of(tmp_path, slow, f"sqlite:///{file}") as relay:
        async with client_of(relay) as client:
            begun = await client.responses.create(
                model="chat", input="write 900 words", background=True, max_output_tokens=50_000
            )
            assert (await client.responses.cancel(begun.id)).status == "cancelled"
        rows = await until(lambda: rows_of(file), 2)
    [bill] = [row for row in rows if row[1] == 0]
    assert bill[4:] == ("client_aborted", True)
    assert 0 < bill[3] < 50_000
