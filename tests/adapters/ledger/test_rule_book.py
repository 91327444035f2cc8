"""The copy of administrators' rules: when it is passed on, and what becomes of it while the database is away."""

import asyncio
import logging
from collections.abc import Mapping

import pytest
from tests.fakes import FakeDatabase

from chukei.accounts.overrides import Override
from chukei.adapters.ledger.rule_book import READ_SECONDS, REFRESH_SECONDS, RuleBook

pytestmark = pytest.mark.anyio

Heard = list[Mapping[str, Override]]


def set_rule(database: FakeDatabase, text: str) -> None:
    database.set["caller:a"] = text
    database.recorded.append(database.recorded[-1] if database.recorded else None)  # type: ignore[arg-type]


def test_a_change_is_known_everywhere_within_six_seconds() -> None:
    assert REFRESH_SECONDS + 2 * READ_SECONDS <= 6


async def test_a_change_is_heard_once_and_by_the_latest_listener() -> None:
    database, first, second = FakeDatabase(), Heard(), Heard()
    book = RuleBook(database)
    book.listen(first.append)
    assert first == [{}]
    set_rule(database, '{"limits":{"concurrent":1}}')
    for _ in range(3):
        await book.refresh()
    assert first[1:] in ([{"caller:a": Override({"concurrent": 1})}],)
    book.listen(second.append)
    assert second == [{"caller:a": Override({"concurrent": 1})}]
    set_rule(database, '{"limits":{"concurrent":2}}')
    await book.refresh()
    assert (len(first), second[-1]) == (2, {"caller:a": Override({"concurrent": 2})})


async def test_while_the_database_is_away_the_copy_stays_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database, heard = FakeDatabase(), Heard()
    book = RuleBook(database)
    book.listen(heard.append)
    set_rule(database, '{"limits":{"concurrent":1}}')
    await book.refresh()
    database.away = True
    set_rule(database, '{"limits":{"concurrent":2}}')
    for _ in range(3):
        await book.refresh()
    assert heard[-1] == {"caller:a": Override({"concurrent": 1})}
    assert len(caplog.records) == 1
    database.away = False
    await book.refresh()
    assert heard[-1] == {"caller:a": Override({"concurrent": 2})}


async def test_another_worker_can_have_it_read_at_once() -> None:
    database, heard = FakeDatabase(), asyncio.Queue[Mapping[str, Override]]()
    book = RuleBook(database, refresh_seconds=3600)
    book.listen(heard.put_nowait)
    set_rule(database, '{"limits":{"concurrent":1}}')
    book.start()
    assert await heard.get() == {}
    assert await heard.get() == {"caller:a": Override({"concurrent": 1})}
    set_rule(database, '{"limits":{"concurrent":2}}')
    assert book.soon() == b""
    assert await heard.get() == {"caller:a": Override({"concurrent": 2})}
    await book.close()


async def test_a_read_that_began_before_a_change_does_not_take_it_back() -> None:
    """A replica that answers an administrator reads at once, maybe while its read of every two seconds is under way."""
    database, heard = HeldDatabase(), Heard()
    book = RuleBook(database)
    book.listen(heard.append)
    set_rule(database, '{"limits":{"concurrent":1}}')
    earlier = asyncio.create_task(book.refresh())
    await database.reading.wait()
    set_rule(database, '{"limits":{"concurrent":2}}')
    await book.refresh()
    database.go_on.set()
    await earlier
    assert heard[-1] == {"caller:a": Override({"concurrent": 2})}


class HeldDatabase(FakeDatabase):
    """Answers its first question for the rules late."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go_on = asyncio.Event(), asyncio.Event()

    async def rules(self) -> dict[str, str]:
        found = dict(await super().rules())
        if not self.reading.is_set():
            self.reading.set()
            await self.go_on.wait()
        return found


async def test_what_makes_no_sense_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    database, heard = FakeDatabase(), Heard()
    book = RuleBook(database)
    book.listen(heard.append)
    database.set["caller:b"] = '{"limits":{"concurrent":1}}'
    set_rule(database, "nonsense")
    await book.refresh()
    assert heard[-1] == {"caller:b": Override({"concurrent": 1})}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
