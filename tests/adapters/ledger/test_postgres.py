"""A real PostgreSQL that stops, stalls, loses connections, is down or refuses; and pgbouncer, if it is installed."""

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.adapters.ledger_entries import entries, naive
from tests.live.postgres_server import PASSWORD, USER, PostgresServer
from tests.live.processes import running

from chukei.accounts.ledger import By, Question
from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.postgres import PostgresDatabase

pytestmark = pytest.mark.anyio

ALL = Question(by=())


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url)
    yield database
    await database.close()


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


async def requests(database: PostgresDatabase) -> int:
    return sum(each.requests for each in await database.sum(ALL))


async def test_a_server_that_stops_and_comes_back(database: PostgresDatabase, postgres_server: PostgresServer) -> None:
    await database.add(entries(1))
    postgres_server.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreAway, match=r"nothing listens there|the connection broke"):
                await database.add(entries(1))
    finally:
        postgres_server.start()
    await database.add(entries(1))
    assert await requests(database) == 2


async def test_connections_that_are_killed(database: PostgresDatabase, postgres_server: PostgresServer) -> None:
    await database.add(entries(1))
    kill = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name_of(database._url)}'"
    assert int(postgres_server.sql(kill)) > 0
    added = 1
    for _ in range(2):  # the first may find the connection dead
        try:
            await database.add(entries(1))
            added += 1
        except StoreAway as error:
            assert "the connection broke" in str(error)  # noqa: PT017 - either may happen
    assert await requests(database) == added > 1


async def test_a_server_that_stalls(database: PostgresDatabase, postgres_server: PostgresServer) -> None:
    await database.add(entries(1))
    postgres_server.pause()
    try:
        beats = 0
        adding = asyncio.create_task(database.add(entries(1)))
        while not adding.done():
            await asyncio.sleep(0.05)
            beats += 1
        with pytest.raises(StoreAway, match="does not answer: see whether the server is overloaded"):
            await adding
        assert beats > 2, "the loop was free meanwhile"
    finally:
        postgres_server.resume()
    await database.add(entries(1))
    assert await requests(database) >= 2


async def test_closing_does_not_wait_for_one_that_stalls(url: str, postgres_server: PostgresServer) -> None:
    database = PostgresDatabase(url)
    await database.add(entries(1))
    postgres_server.pause()
    try:
        adding = asyncio.create_task(database.add(entries(1)))
        await asyncio.sleep(0.1)
        await database.close()
        with pytest.raises(StoreAway):
            await adding
    finally:
        postgres_server.resume()


async def test_a_table_that_is_locked(database: PostgresDatabase, postgres_server: PostgresServer) -> None:
    """Another session's lock is waited for as long as a command may take."""
    await database.open()
    hold = "BEGIN; LOCK TABLE chukei_entries; SELECT pg_sleep(0.5); COMMIT"
    holding = asyncio.create_task(asyncio.to_thread(postgres_server.sql, hold, name_of(database._url)))
    await asyncio.sleep(0.2)
    await database.add(entries(1))
    await holding
    assert await requests(database) == 1


async def test_processes_that_add_the_same_entries_at_once(url: str) -> None:
    databases = [PostgresDatabase(url) for _ in range(4)]
    given = entries(2000)
    await asyncio.gather(*(database.add(given) for database in databases))
    assert await requests(databases[0]) == 2000
    for database in databases:
        await database.close()


@contextmanager
def pgbouncer(server: PostgresServer, mode: str) -> Iterator[int]:
    """A pgbouncer in front of the server; yields its port."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as free:
        folder, port = Path(name), int(free.getsockname()[1])
        folder.chmod(0o755)
        (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder}/users\n"
            f"pool_mode = {mode}\ndefault_pool_size = {2 if mode == 'transaction' else 20}\n"
        )
        free.close()
        user = ["-u", "nobody"] if Path("/proc/self").stat().st_uid == 0 else []
        with running([program, *user, folder / "ini"], stderr=subprocess.DEVNULL):
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            yield port


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_behind_pgbouncer(url: str, postgres_server: PostgresServer, mode: str) -> None:
    with pgbouncer(postgres_server, mode) as port:
        through = url.replace(f":{postgres_server.port}/", f":{port}/")
        databases = [PostgresDatabase(through) for _ in range(3)]
        given = entries(300)
        await asyncio.gather(*(database.open() for database in databases))
        await asyncio.gather(*(each.add(given[at : at + 50]) for at in range(0, 300, 10) for each in databases))
        question = Question(by=(By.CALLER, By.DAY))
        answers = await asyncio.gather(*(each.sum(question) for _ in range(10) for each in databases))
        assert all(answer == naive(question, given) for answer in answers)
        assert await databases[0].forget(caller="team-a") == 300
        for database in databases:
            await database.close()
