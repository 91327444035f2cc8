"""Making, replacing and ending keys."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes import FakeDatabase
from tests.rows import rows

from chukei.accounts.changes import Action, Actor
from chukei.callers.keys import Flaw, Peppers, check, parse
from chukei.callers.registry import KeyRegistry, NoSuchKey
from chukei.errors import CallerError

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ANN = Actor("user:tenant/ann", "ann@contoso.com")


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
        return check(presented, self.database.rows.get(presented.id), self.peppers, self.now)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_new_key_opens_and_its_secret_is_kept_nowhere(desk: Desk) -> None:
    made = await desk.registry.create("team-a", actor=ANN, group="research", note="for the bot")
    text = made.new.text.reveal()
    assert desk.flaw(text) is None
    [kept] = desk.database.rows.values()
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
    text = (await desk.registry.create("team-a", actor=ANN, expires=NOW + DAY)).new.text.reveal()
    desk.now = NOW + DAY
    assert desk.flaw(text) is Flaw.EXPIRED


async def test_rotating_leaves_both_valid_for_a_while_and_keeps_the_lifetime(desk: Desk) -> None:
    old = await desk.registry.create("team-a", actor=ANN, group="research", expires=NOW + 90 * DAY)
    desk.now = NOW + 80 * DAY
    new = await desk.registry.rotate(old.key.id, actor=ANN, overlap=DAY)
    assert new.key.id != old.key.id
    assert (new.key.caller, new.key.group) == ("team-a", "research")
    assert new.key.expires == desk.now + 90 * DAY
    assert desk.flaw(old.new.text.reveal()) is None
    assert desk.flaw(new.new.text.reveal()) is None
    desk.now += DAY
    assert desk.flaw(old.new.text.reveal()) is Flaw.EXPIRED
    assert desk.flaw(new.new.text.reveal()) is None


async def test_rotating_never_makes_the_old_key_live_longer(desk: Desk) -> None:
    old = await desk.registry.create("team-a", actor=ANN, expires=NOW + DAY)
    await desk.registry.rotate(old.key.id, actor=ANN, overlap=30 * DAY)
    assert desk.database.rows[old.key.id].expires == NOW + DAY


async def test_a_revoked_key_stays_so_and_cannot_be_rotated(desk: Desk) -> None:
    made = await desk.registry.create("team-a", actor=ANN)
    await desk.registry.revoke(made.key.id, actor=ANN)
    assert desk.flaw(made.new.text.reveal()) is Flaw.REVOKED
    desk.now += DAY
    await desk.registry.revoke(made.key.id, actor=ANN)
    assert desk.database.rows[made.key.id].revoked == NOW
    with pytest.raises(CallerError, match="has ended"):
        await desk.registry.rotate(made.key.id, actor=ANN, overlap=DAY)


async def test_an_unknown_id_is_told(desk: Desk) -> None:
    with pytest.raises(NoSuchKey):
        await desk.registry.revoke("nobody", actor=ANN)
    with pytest.raises(NoSuchKey):
        await desk.registry.rotate("nobody", actor=ANN, overlap=DAY)


@rows("name", ["", " ", "a" * 129, "a\n", "\x1b[31m", " a", "a ", ".", ".."])
async def test_a_name_that_could_not_be_shown_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(CallerError, match="caller's name"):
        await desk.registry.create(name, actor=ANN)
    with pytest.raises(CallerError, match="group's name"):
        await desk.registry.create("a", actor=ANN, group=name)
    assert desk.database.rows == {}


@rows("note", ["\x1b[2J", "two\nlines", "\u202e"])
async def test_a_note_that_would_disturb_a_terminal_is_refused(desk: Desk, note: str) -> None:
    with pytest.raises(CallerError, match="note"):
        await desk.registry.create("a", actor=ANN, note=note)
    assert desk.database.rows == {}


@rows("name", ["local", "anonymous", "shared-key", "user:t/o", "app:t/c"])
async def test_nobody_gets_the_name_of_those_who_are_recognised_otherwise(desk: Desk, name: str) -> None:
    with pytest.raises(CallerError, match="recognised in another way"):
        await desk.registry.create(name, actor=ANN)
    assert desk.database.rows == {}


async def test_a_key_cannot_end_before_it_is_made(desk: Desk) -> None:
    with pytest.raises(CallerError, match="before it is made"):
        await desk.registry.create("a", actor=ANN, expires=NOW)


async def test_all_keys_the_newest_first(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await desk.registry.create(name, actor=ANN)
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
        await desk.registry.create("team-a", actor=ANN, expires=expires)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_value", "expires")
    assert desk.database.rows == {}


async def test_ends_are_kept_in_utc(desk: Desk) -> None:
    made = await desk.registry.create("team-a", actor=ANN, expires=datetime.fromisoformat("2027-01-01T00:00:00+09:00"))
    assert str(made.key.expires) == "2026-12-31 15:00:00+00:00"


async def test_a_key_until_the_end_of_the_calendar_is_rotated_for_as_long(desk: Desk) -> None:
    old = await desk.registry.create("team-a", actor=ANN, expires=LAST)
    desk.now += DAY
    new = await desk.registry.rotate(old.key.id, actor=ANN, overlap=DAY)
    assert new.key.expires == LAST
    assert desk.database.rows[old.key.id].expires == NOW + 2 * DAY


async def test_a_key_that_cannot_be_read_opens_nothing_and_can_only_be_revoked(desk: Desk) -> None:
    made = await desk.registry.create("team-a", actor=ANN)
    id, text = made.key.id, made.new.text.reveal()
    desk.database.rows[id] = replace(made.key, unreadable=True)
    assert desk.flaw(text) is Flaw.UNREADABLE
    with pytest.raises(CallerError, match="cannot be read"):
        await desk.registry.rotate(id, actor=ANN, overlap=DAY)
    await desk.registry.revoke(id, actor=ANN)
    assert desk.flaw(text) is Flaw.REVOKED


async def test_every_change_of_a_key_is_recorded_without_its_secret(desk: Desk) -> None:
    old = await desk.registry.create("team-a", actor=ANN, group="research", note="for the bot")
    new = await desk.registry.rotate(old.key.id, actor=ANN, overlap=DAY)
    await desk.registry.revoke(new.key.id, actor=Actor("command line"))
    await desk.registry.revoke(new.key.id, actor=ANN)  # a second time changes nothing
    made, replaced, revoked = desk.database.recorded
    assert [(each.action, each.subject, each.actor) for each in (made, replaced, revoked)] == [
        (Action.KEY_MADE, f"key:{old.key.id}", ANN),
        (Action.KEY_REPLACED, f"key:{old.key.id}", ANN),
        (Action.KEY_REVOKED, f"key:{new.key.id}", Actor("command line")),
    ]
    shown = {"caller": "team-a", "group": "research", "expires": None, "note": "for the bot"}
    assert (made.before, json.loads(made.after or "")) == (None, shown)
    assert json.loads(replaced.before or "") == shown
    ends = {"expires": (NOW + DAY).isoformat(), "replaced_by": new.key.id}
    assert json.loads(replaced.after or "") == shown | ends
    assert json.loads(revoked.after or "") == shown | {"revoked": NOW.isoformat()}
    secrets = [parse(each.new.text.reveal().encode()) for each in (old, new)]
    for secret in secrets:
        assert secret is not None
        assert secret.secret.decode() not in repr(desk.database.recorded)
