"""The ledger's setup: whether and where it is kept, what is recorded, and the order of start and end."""

import asyncio
import logging
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeClock, FakeDatabase

from chukei.accounts.ledger import Entry, Question
from chukei.accounts.limits import Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.quota_fallback import QuotaFallback
from chukei.adapters.ledger.accounting import Accounting, accounting_for, ledger_address
from chukei.adapters.ledger.sqlite import SqliteDatabase
from chukei.adapters.ledger.writer import LedgerWriter
from chukei.adapters.memory_quota import MemoryQuota
from chukei.config import load
from chukei.hosts.asgi import Application
from chukei.model import Caller, CallerKind, End
from chukei.record import RequestRecord
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

TEAM = Caller("team-b", CallerKind.KEY, ("research",), "abc")


def record(operation: str | None = "chat", who: Caller | None = TEAM, end: End = End.COMPLETED) -> RequestRecord:
    return RequestRecord(
        "r-1", "POST", "/v1/chat/completions", who, operation, end=end, usage=Usage(9, 3), cost=7, status=200
    )


def books(database: FakeDatabase | None = None, **environment: str) -> Accounting:
    return accounting_for(load(None, environment), FakeClock(), FakeClock(), database)


# Where the ledger is.


def default_address(environment: Mapping[str, str]) -> str | None:
    return ledger_address(load(None, {}), environment)


def test_a_configured_ledger_is_used_whatever_the_folders_are(tmp_path: Path) -> None:
    settings = load(None, {"CHUKEI_STORES__LEDGER": "sqlite:///here.db"})
    assert ledger_address(settings, {"STATE_DIRECTORY": str(tmp_path)}) == "sqlite:///here.db"
    assert list(tmp_path.iterdir()) == []


def test_services_of_systemd_keep_it_in_their_own_folder(tmp_path: Path) -> None:
    environment = {"STATE_DIRECTORY": f"{tmp_path / 'chukei'}:/elsewhere", "XDG_STATE_HOME": str(tmp_path / "xdg")}
    assert default_address(environment) == f"sqlite:///{tmp_path}/chukei/ledger.db"
    assert [path.name for path in tmp_path.iterdir()] == ["chukei"]


def test_users_keep_it_where_programs_keep_their_state(tmp_path: Path) -> None:
    home = tmp_path / "xdg" / "state"
    assert default_address({"XDG_STATE_HOME": str(home), "STATE_DIRECTORY": ""}) == f"sqlite:///{home}/chukei/ledger.db"
    assert stat.S_IMODE((home / "chukei").stat().st_mode) == 0o700


@pytest.mark.parametrize("state_home", ["", "relative/folder"])
def test_without_a_word_or_with_a_relative_one_it_is_below_the_home_folder(tmp_path: Path, state_home: str) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME", str(tmp_path))
        environment.chdir(tmp_path)
        found = default_address({"XDG_STATE_HOME": state_home})
    assert found == f"sqlite:///{tmp_path}/.local/state/chukei/ledger.db"
    assert not (tmp_path / "relative").exists()


def address_of_a_stranger(environment: Mapping[str, str]) -> str:
    """Return what a user who may write nowhere gets; where tests run as root, one that no list of users knows."""
    program = (
        "import os, logging\n"
        "from chukei.adapters.ledger.accounting import ledger_address\n"
        "from chukei.config import load\n"
        "settings = load(None, {})\n"
        "if os.getuid() == 0: os.setuid(54321)\n"
        "logging.basicConfig(level='INFO')\n"
        "print(ledger_address(settings, os.environ))"
    )
    variables = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_STATE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**variables, **environment}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user that does not exist")
def test_a_user_without_a_home_keeps_none() -> None:
    """Some containers run as a number that no list of users knows, and set no HOME."""
    said = address_of_a_stranger({})
    assert said.startswith("None\n")
    assert "no home folder; set stores.ledger" in said


def test_a_folder_that_cannot_be_written_to_is_no_obstacle() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        said = address_of_a_stranger({"STATE_DIRECTORY": folder})
    assert said.startswith("None\n")
    assert "cannot be written to; set stores.ledger" in said


def test_a_folder_that_cannot_be_made_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "file").write_text("in the way")
    assert default_address({"STATE_DIRECTORY": str(tmp_path / "file" / "state")}) is None
    assert default_address({"STATE_DIRECTORY": str(tmp_path / "file")}) is None
    assert caplog.text.count("set stores.ledger for one") == 2


@pytest.mark.parametrize("given", ["none", None])
def test_none_is_none(tmp_path: Path, given: str | None) -> None:
    """Switched off by the configuration, or by a host whose disk does not last."""
    settings = load(None, {"CHUKEI_STORES__LEDGER": given} if given else {})
    if given is None:
        settings = replace(settings, stores=replace(settings.stores, ledger_by_default=False))
    assert ledger_address(settings, {"STATE_DIRECTORY": str(tmp_path / "state")}) is None
    assert list(tmp_path.iterdir()) == []


# What is built.


async def test_without_a_ledger_there_are_accounts_only() -> None:
    kept = books(CHUKEI_STORES__LEDGER="none")
    assert isinstance(kept.quotas, MemoryQuota)
    assert (kept.database, kept.writer, kept.full) == (None, None, False)
    assert kept.state() == {"status": "none"}
    kept.start()
    kept(record())
    await kept.close()


async def test_a_configured_database_with_its_spool_beside_it(tmp_path: Path) -> None:
    kept = books(CHUKEI_STORES__LEDGER=f"sqlite:///{tmp_path}/ledger.db")
    assert isinstance(kept.database, SqliteDatabase)
    assert kept.state()["status"] == "ok"
    kept.start()
    kept(record())
    await kept.close()
    again = SqliteDatabase(tmp_path / "ledger.db")
    assert [row.requests for row in await again.sum(Question())] == [1]
    await again.close()
    assert all(path.name.startswith("ledger.db") for path in tmp_path.iterdir())


async def test_the_spool_goes_where_it_is_told(tmp_path: Path) -> None:
    database = FakeDatabase()
    database.away = True
    kept = books(database, CHUKEI_STORES__LEDGER="none", CHUKEI_LEDGER__SPOOL=str(tmp_path / "spool"))
    kept.start()
    kept(record())
    await kept.close()
    assert database.closed
    assert kept.state()["spooled"] == 1
    assert list((tmp_path / "spool").iterdir())


@pytest.mark.parametrize(("given", "kept"), [(None, False), ("sqlite:///{}/ledger.db", True)])
async def test_where_the_disk_is_gone_with_the_instance_a_ledger_must_be_asked_for(
    tmp_path: Path, given: str | None, kept: bool
) -> None:
    """As on Azure Functions."""
    environment = {"CHUKEI_STORES__LEDGER": given.format(tmp_path)} if given else {}
    application = Application(load(None, environment), behind_platform=True)
    relay = await application.start()
    assert (relay.accounting.database is not None) is kept
    await application.stop()


async def test_shared_accounts() -> None:
    kept = books(CHUKEI_STORES__LEDGER="none", CHUKEI_STORES__QUOTA="redis://127.0.0.1:1", CHUKEI_STORES__REPLICAS="2")
    assert isinstance(kept.quotas, QuotaFallback)


# The hook.


async def test_what_goes_into_the_ledger() -> None:
    database = FakeDatabase()
    kept = books(database, CHUKEI_STORES__LEDGER="none")
    kept.start()
    kept(record())
    kept(record(end=End.REFUSED))
    kept(record(operation="models"))
    kept(record(operation=None))
    kept(record(who=None))
    await kept.close()
    first, second = database.entries.values()
    assert first.id != second.id
    assert (first.caller, first.group, first.key_id, first.operation) == ("team-b", "research", "abc", "chat")
    assert (first.input, first.output, first.cost, first.end, second.end) == (9, 3, 7, "completed", "refused")
    assert first.time.utcoffset() is not None
    assert all(entry.request_id == "r-1" for entry in database.entries.values())


# Beginning and end.


class Diary:
    """Notes what is begun and ended, in order, by stand-ins for what the books hold."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class NotedQuotas:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        return Grant(id)

    def release(self, id: str) -> None:
        return None

    async def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> None:
        return None

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        return ()

    def start(self) -> None:
        self._diary.lines.append("quotas start")

    async def close(self) -> None:
        self._diary.lines.append("quotas close")


class NotedDatabase(FakeDatabase):
    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self._diary = diary
        self.opened = asyncio.Event()

    async def open(self) -> None:
        self._diary.lines.append("database open")
        self.opened.set()

    async def add(self, entries: Sequence[Entry]) -> None:
        assert not self.closed
        self._diary.lines.append(f"database add {len(entries)}")
        await super().add(entries)

    async def close(self) -> None:
        self._diary.lines.append("database close")
        await super().close()


async def test_the_database_is_closed_when_everything_is_written() -> None:
    diary = Diary()
    database = NotedDatabase(diary)
    kept = Accounting(NotedQuotas(diary), database, LedgerWriter(database))
    kept.start()
    assert diary.lines == ["quotas start"]
    await database.opened.wait()
    for _ in range(3):
        kept(record())
    await kept.close()
    assert len(database.entries) == 3
    first, *between, last = diary.lines
    assert (first, last) == ("quotas start", "database close")
    assert set(between) == {"database open", "quotas close", "database add 3"}
    assert between.index("database open") < between.index("database add 3")


async def test_books_that_were_never_opened_can_be_closed() -> None:
    database = FakeDatabase()
    await books(database, CHUKEI_STORES__LEDGER="none").close()
    assert database.closed


async def test_books_are_full_when_nothing_takes_entries(tmp_path: Path) -> None:
    database = FakeDatabase()
    database.away = True
    (tmp_path / "file").write_text("in the way of the spool")
    kept = Accounting(MemoryQuota(), database, LedgerWriter(database, spool=tmp_path / "file"))
    kept.start()
    kept(record())
    full = [kept.full]
    await kept.close()
    full.append(kept.full)
    assert full == [False, True]
    assert kept.state()["status"] == "full"
