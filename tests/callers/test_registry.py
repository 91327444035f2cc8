"""Making, replacing and ending keys."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes import FakeRules
from tests.rows import rows

from chukei.accounts.ledger import Entry, Key, Question, Sum
from chukei.callers.keys import Flaw, Peppers, check, parse
from chukei.callers.registry import KeyRegistry, NoSuchKey
from chukei.errors import CallerError

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class FakeDatabase(FakeRules):
    """Keeps keys in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Key] = {}

    async def open(self) -> None:
        return None

    async def add(self, entries: Sequence[Entry]) -> None:
        raise NotImplementedError

    async def sum(self, question: Question) -> list[Sum]:
        raise NotImplementedError

    async def forget(self, *, before: datetime | None = None, caller: str | None = None) -> int:
        raise NotImplementedError

    async def keys(self) -> list[Key]:
        return list(self.kept.values())

    async def keys_mark(self) -> str:
        raise NotImplementedError

    async def add_key(self, key: Key) -> None:
        self.kept[key.id] = key

    async def end_key(self, id: str, *, expires: datetime | None, revoked: datetime | None) -> bool:
        if id not in self.kept:
            return False
        self.kept[id] = replace(self.kept[id], expires=expires, revoked=revoked)
        return True

    async def close(self) -> None:
        return None


class Desk:
    """A registry with its database and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.database = FakeDatabase()
        self.peppers = Peppers()
        self.registry = KeyRegistry(self.database, self.peppers, lambda: self.now)

    def flaw(self, text: str) -> Flaw | None:
        presented = parse(text.encode())
        assert presented is not None
        return check(presented, self.database.kept.get(presented.id), self.peppers, self.now)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_new_key_opens_and_its_secret_is_kept_nowhere(desk: Desk) -> None:
    made = await desk.registry.create("team-a", group="research", note="for the bot")
    text = made.new.text.reveal()
    assert desk.flaw(text) is None
    [kept] = desk.database.kept.values()
    assert (kept.caller, kept.group, kept.note, kept.created, kept.expires) == (
        "team-a",
        "research",
        "for the bot",
        NOW,
        None,
    )
    assert text.rpartition("_")[2] not in repr(kept)
    assert text not in repr(made)


async def test_a_key_ends_when_it_was_said_to(desk: Desk) -> None:
    text = (await desk.registry.create("team-a", expires=NOW + DAY)).new.text.reveal()
    desk.now = NOW + DAY
    assert desk.flaw(text) is Flaw.EXPIRED


async def test_rotating_leaves_both_valid_for_a_while_and_keeps_the_lifetime(desk: Desk) -> None:
    old = await desk.registry.create("team-a", group="research", expires=NOW + 90 * DAY)
    desk.now = NOW + 80 * DAY
    new = await desk.registry.rotate(old.key.id, overlap=DAY)
    assert new.key.id != old.key.id
    assert (new.key.caller, new.key.group) == ("team-a", "research")
    assert new.key.expires == desk.now + 90 * DAY
    assert desk.flaw(old.new.text.reveal()) is None
    assert desk.flaw(new.new.text.reveal()) is None
    desk.now += DAY
    assert desk.flaw(old.new.text.reveal()) is Flaw.EXPIRED
    assert desk.flaw(new.new.text.reveal()) is None


async def test_rotating_never_makes_the_old_key_live_longer(desk: Desk) -> None:
    old = await desk.registry.create("team-a", expires=NOW + DAY)
    await desk.registry.rotate(old.key.id, overlap=30 * DAY)
    assert desk.database.kept[old.key.id].expires == NOW + DAY


async def test_a_revoked_key_stays_so_and_cannot_be_rotated(desk: Desk) -> None:
    made = await desk.registry.create("team-a")
    await desk.registry.revoke(made.key.id)
    assert desk.flaw(made.new.text.reveal()) is Flaw.REVOKED
    desk.now += DAY
    await desk.registry.revoke(made.key.id)
    assert desk.database.kept[made.key.id].revoked == NOW
    with pytest.raises(CallerError, match="has ended"):
        await desk.registry.rotate(made.key.id, overlap=DAY)


async def test_an_unknown_id_is_told(desk: Desk) -> None:
    with pytest.raises(NoSuchKey):
        await desk.registry.revoke("nobody")
    with pytest.raises(NoSuchKey):
        await desk.registry.rotate("nobody", overlap=DAY)


@rows("name", ["", " ", "a" * 129, "a\n", "\x1b[31m", " a", "a "])
async def test_a_name_that_could_not_be_shown_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(CallerError, match="caller's name"):
        await desk.registry.create(name)
    with pytest.raises(CallerError, match="group's name"):
        await desk.registry.create("a", group=name)
    assert desk.database.kept == {}


@rows("note", ["\x1b[2J", "two\nlines", "\u202e"])
async def test_a_note_that_would_disturb_a_terminal_is_refused(desk: Desk, note: str) -> None:
    with pytest.raises(CallerError, match="note"):
        await desk.registry.create("a", note=note)
    assert desk.database.kept == {}


@rows("name", ["local", "anonymous", "shared-key", "user:t/o", "app:t/c"])
async def test_nobody_gets_the_name_of_those_who_are_recognised_otherwise(desk: Desk, name: str) -> None:
    with pytest.raises(CallerError, match="recognised in another way"):
        await desk.registry.create(name)
    assert desk.database.kept == {}


async def test_a_key_cannot_end_before_it_is_made(desk: Desk) -> None:
    with pytest.raises(CallerError, match="before it is made"):
        await desk.registry.create("a", expires=NOW)


async def test_all_keys_the_newest_first(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await desk.registry.create(name)
        desk.now += DAY
    assert [key.caller for key in await desk.registry.all()] == ["c", "b", "a"]


LAST = datetime.max.replace(tzinfo=UTC)


@rows(
    "expires",
    [
        datetime.fromisoformat("9999-12-31T23:59:59-05:00"),
        datetime.fromisoformat("0001-01-01T00:00:00+05:00"),
        datetime.fromisoformat("2027-01-01T00:00:00"),
    ],
)
async def test_an_end_that_no_database_holds_is_refused(desk: Desk, expires: datetime) -> None:
    with pytest.raises(CallerError) as refused:
        await desk.registry.create("team-a", expires=expires)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_value", "expires")
    assert desk.database.kept == {}


async def test_ends_are_kept_in_utc(desk: Desk) -> None:
    made = await desk.registry.create("team-a", expires=datetime.fromisoformat("2027-01-01T00:00:00+09:00"))
    assert str(made.key.expires) == "2026-12-31 15:00:00+00:00"


async def test_a_key_until_the_end_of_the_calendar_is_rotated_for_as_long(desk: Desk) -> None:
    old = await desk.registry.create("team-a", expires=LAST)
    desk.now += DAY
    new = await desk.registry.rotate(old.key.id, overlap=DAY)
    assert new.key.expires == LAST
    assert desk.database.kept[old.key.id].expires == NOW + 2 * DAY


async def test_a_key_that_cannot_be_read_opens_nothing_and_can_only_be_revoked(desk: Desk) -> None:
    made = await desk.registry.create("team-a")
    id, text = made.key.id, made.new.text.reveal()
    desk.database.kept[id] = replace(made.key, unreadable=True)
    assert desk.flaw(text) is Flaw.UNREADABLE
    with pytest.raises(CallerError, match="cannot be read"):
        await desk.registry.rotate(id, overlap=DAY)
    await desk.registry.revoke(id)
    assert desk.flaw(text) is Flaw.REVOKED
