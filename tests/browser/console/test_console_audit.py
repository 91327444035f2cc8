"""The audit trail, in the console."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect
from tests.browser.console.office import Office, cells, make_key, opened
from tests.browser.steps import settle

from chukei.accounts.changes import Action, Actor, Change

pytestmark = pytest.mark.anyio

ANN = Actor("user:tenant/ann", "ann@contoso.com")
START = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


async def recorded(office: Office, action: str, subject: str, before: str | None, after: str | None) -> None:
    await office.database.record(Change(action, subject, ANN, START, before, after))


async def test_nothing_was_changed_yet(page: Page) -> None:
    await opened(page, "audit")
    await expect(page.locator("#audit-table")).to_have_text("Nothing has been changed yet.")


async def test_who_changed_what_from_what_to_what(page: Page, office: Office) -> None:
    old = '{"limits":{"tokens_per_minute":100000,"concurrent":3}}'
    new = '{"groups":["research"],"limits":{"tokens_per_minute":50000,"money_per_month":2345678}}'
    await recorded(office, Action.RULES, "caller:team-a", old, new)
    await recorded(office, Action.LOG_LEVEL, "logger:chukei", '{"level":"info"}', '{"level":"debug","seconds":600.0}')
    await recorded(office, Action.ENTRIES_DELETED, "caller:gone", None, '{"deleted":1234}')
    await recorded(
        office, Action.RELOAD, "configuration", None, '{"version":"4be1","changed":["pool.attempts"],"added":[]}'
    )
    await recorded(
        office, Action.KEY_REVOKED, "key:id1", '{"caller":"team-b"}', '{"caller":"team-b","revoked":"2026-11-22"}'
    )
    await opened(page, "audit")
    revoked, reload, deleted, level, rules = await cells(page.locator("#audit-table"))
    assert rules[:3] == ["2026-11-22 09:30 UTC", "ann@contoso.com", "Limits or groups set: team-a"]
    assert rules[3] == (
        "each · tokens a minute100,000 → 50,000"
        "each · money a monthas configured → 2.345678"
        "groupsas configured → research"
        "each · requests at a time3 → as configured"
    )
    assert level[2:] == ["Log level set: chukei", "levelinfo → debugfor secondsnothing → 600"]
    assert deleted[2:] == ["Usage deleted: gone", "entries1,234"]
    assert revoked[2] == "Key revoked: id1team-b"
    assert reload[2:] == ["Configuration read again", "version4be1changedpool.attempts"]
    await expect(page.locator("bdi[title='user:tenant/ann']").first).to_be_visible()


async def test_what_is_done_in_the_console_is_recorded(page: Page, office: Office) -> None:
    await opened(page, "keys")
    key = await make_key(page, "team-a")
    await opened(page, "audit")
    [row] = await cells(page.locator("#audit-table"))
    [made] = await office.database.keys()
    assert row[1].startswith("key ")
    assert row[2] == f"Key made: {made.id}"
    assert key not in await page.locator("#audit-table").inner_text()
    await page.get_by_role("link", name=made.id).click()
    await expect(page.get_by_label("Find a key")).to_have_value(made.id)
    await expect(page.locator("#keys-table tbody tr")).to_have_count(1)


async def test_older_changes_are_asked_for_when_wanted(page: Page, office: Office) -> None:
    for number in range(205):
        change = Change(Action.ENTRIES_DELETED, f"caller:team-{number}", ANN, START + timedelta(seconds=number))
        await office.database.record(change)
    await opened(page, "audit")
    rows = page.locator("#audit-table tbody tr")
    await expect(rows).to_have_count(100)
    older = page.get_by_role("button", name="Show older changes")
    await older.click()
    await expect(rows).to_have_count(200)
    await expect(page.locator("#announcer")).to_have_text("200 changes are shown.")
    await expect(older).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(rows).to_have_count(205)
    await expect(older).to_be_hidden()
    await expect(page.locator("#audit-table .table-frame")).to_be_focused()
    subjects = [row[2] for row in await cells(page.locator("#audit-table"))]
    assert subjects == [f"Usage deleted: team-{number}" for number in range(204, -1, -1)]


async def test_what_others_wrote_stays_text(page: Page, office: Office) -> None:
    hostile = '<img src=x onerror="alert(1)">'
    actor = Actor(hostile, f"{hostile}\u202eevil")
    await office.database.record(
        Change(hostile, f"caller:{hostile}", actor, START, None, f'{{"note": "{hostile[:9]}"}}')
    )
    await office.database.record(Change("strange", "", Actor("x"), START, "[1]", "{"))
    await opened(page, "audit")
    await settle(page)
    await expect(page.locator("#audit-table img")).to_have_count(0)
    assert await page.evaluate("window.ran") == []
    strange, evil = await cells(page.locator("#audit-table"))
    assert (strange[2], strange[3]) == ("strange", "–")
    assert hostile in evil[2]
