"""The copy of callers' keys: how fresh it is, and its validity while the database is unavailable."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.fakes import FakeClock, FakeDatabase
from tests.live.relays import eventually

from chukei.accounts.ledger import Key
from chukei.accounts.stores import StoreAway
from chukei.adapters.identity.key_ring import READ_SECONDS, REFRESH_SECONDS, KeyRing
from chukei.metrics.definitions import STORE_AVAILABLE

pytestmark = pytest.mark.anyio

THEN = datetime(2026, 11, 22, tzinfo=UTC)
KEY = Key("id-one", "team-a", None, b"digest", 1, THEN, None, None, None)


@asynccontextmanager
async def ring_of(
    database: FakeDatabase, clock: Callable[[], float] | None = None, *, first_seconds: float = 5.0
) -> AsyncIterator[KeyRing]:
    ring = KeyRing(
        database,
        clock or FakeClock(),
        keep_seconds=60,
        refresh_seconds=0.005,
        read_seconds=0.05,
        first_seconds=first_seconds,
    )
    ring.start()
    try:
        yield ring
    finally:
        await ring.close()


async def reads(database: FakeDatabase, more: int = 2) -> None:
    """Wait until it was read again, from beginning to end."""
    wanted = database.reads + more
    await eventually(lambda: database.reads >= wanted)


def test_a_revocation_is_known_everywhere_within_five_seconds() -> None:
    assert REFRESH_SECONDS + READ_SECONDS < 5


async def test_keys_are_found_from_the_first_moment() -> None:
    async with ring_of(FakeDatabase(KEY)) as ring:
        assert await ring.find("id-one") == KEY
        assert await ring.find("id-two") is None


async def test_no_id_makes_it_ask_the_database() -> None:
    database = FakeDatabase(KEY)
    ring = KeyRing(database, FakeClock(), keep_seconds=60)
    await ring.refresh()
    for number in range(1000):
        assert await ring.find(f"unknown-{number}") is None
    assert database.reads == 1


async def test_keys_that_did_not_change_are_not_read_again() -> None:
    database = FakeDatabase(KEY)
    async with ring_of(database) as ring:
        await reads(database, 5)
        assert database.copies == 1
        await database.end_key("id-one", expires=None, revoked=THEN)
        await reads(database, 2)
        found = await ring.find("id-one")
        assert found is not None
        assert found.revoked == THEN
        assert database.copies == 2


async def test_what_another_process_makes_and_ends_is_heard_of() -> None:
    database = FakeDatabase()
    async with ring_of(database) as ring:
        assert await ring.find("id-one") is None
        await database.add_key(KEY)
        await reads(database)
        assert await ring.find("id-one") == KEY
        await database.end_key("id-one", expires=None, revoked=THEN)
        await reads(database)
        found = await ring.find("id-one")
        assert found is not None
        assert found.revoked == THEN
        del database.rows["id-one"]
        await reads(database)
        assert await ring.find("id-one") is None


async def test_a_revocation_is_told_once_and_nothing_else_is() -> None:
    told: list[Set[str]] = []
    ended = replace(KEY, id="ended-before", revoked=THEN)
    database = FakeDatabase(KEY, ended, replace(KEY, id="id-two"), replace(KEY, id="id-three"))
    async with ring_of(database) as ring:
        ring.listen(told.append)
        await ring.find("id-one")
        del database.rows["id-three"]  # as in a copy that lags
        await database.end_key("id-two", expires=THEN, revoked=None)
        await database.end_key("id-one", expires=None, revoked=THEN)
        await reads(database)
        database.rows["id-one"] = KEY
        await reads(database)
        await database.end_key("id-one", expires=None, revoked=THEN)
        await reads(database)
    assert told == [{"id-one"}]


async def test_a_revocation_that_the_database_forgets_stays() -> None:
    """A standby that lags takes over, or a copy is restored."""
    database = FakeDatabase(replace(KEY, revoked=THEN))
    async with ring_of(database) as ring:
        await ring.find("id-one")
        database.rows["id-one"] = KEY
        await reads(database)
        found = await ring.find("id-one")
        assert found is not None
        assert found.revoked == THEN


@pytest.mark.parametrize("how", ["away", "silent"])
async def test_keys_stay_while_the_database_is_gone_but_not_for_ever(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    database, clock = FakeDatabase(KEY), FakeClock()
    with caplog.at_level(logging.INFO, "chukei.adapters.identity.key_ring"):
        async with ring_of(database, clock) as ring:
            await ring.find("id-one")
            setattr(database, how, True)
            await reads(database)
            clock.advance(60)
            assert await ring.find("id-one") == KEY
            clock.advance(1)
            with pytest.raises(StoreAway):
                await ring.find("id-one")
            assert [record.levelname for record in caplog.records] == ["WARNING"], "said once"
            assert ring.readings() == [(STORE_AVAILABLE, ("keys",), False)]
            setattr(database, how, False)
            await reads(database)
            assert await ring.find("id-one") == KEY
            assert ring.readings() == [(STORE_AVAILABLE, ("keys",), True)]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_with_no_copy_at_all_it_says_so() -> None:
    database = FakeDatabase(KEY)
    database.away = True
    async with ring_of(database) as ring:
        with pytest.raises(StoreAway):
            await ring.find("id-one")


async def test_the_first_copy_is_waited_for_but_not_long() -> None:
    database = FakeDatabase(KEY)
    database.silent = True
    ring = KeyRing(database, FakeClock(), keep_seconds=60, read_seconds=60, first_seconds=0.01)
    ring.start()
    with pytest.raises(StoreAway):
        await ring.find("id-one")
    database.silent = False
    await ring.refresh()
    assert await ring.find("id-one") == KEY
    await ring.close()


async def test_a_defect_in_the_database_does_not_end_the_reading(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeDatabase):
        async def keys_mark(self) -> str:
            if self.reads == 1:
                self.reads += 1
                raise RuntimeError("a defect")
            return await super().keys_mark()

    database = Broken(KEY)
    async with ring_of(database) as ring:
        await reads(database, 3)
        assert await ring.find("id-one") == KEY
    assert "a defect" in caplog.text


async def test_closing_before_and_during_a_reading() -> None:
    database = FakeDatabase()
    ring = KeyRing(database, FakeClock(), keep_seconds=60)
    await ring.close()
    database.silent = True
    ring.start()
    await asyncio.sleep(0)
    await ring.close()
    assert "0 keys" in repr(ring)
