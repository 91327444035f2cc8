"""Callers' keys, in the console."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Route, expect
from tests.browser.conftest import Watch
from tests.browser.console.office import Office, cells, days_ago, make_key, month, opened, unlock
from tests.browser.steps import settle

from chukei.accounts.ledger import Key
from chukei.callers.keys import parse

pytestmark = pytest.mark.anyio


async def test_no_keys_yet(page: Page) -> None:
    await opened(page, "keys")
    await expect(page.locator("#keys-table")).to_contain_text("There are no keys yet.")


async def test_an_answer_that_comes_after_locking_is_not_shown(page: Page, office: Office) -> None:
    await office.database.add_key(Key("id1", "team-late", None, b"x" * 32, 0, days_ago(1), None, None, None))
    locked, asked = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await locked.wait()
        with contextlib.suppress(PlaywrightError):  # the page does not wait for it any more
            await route.continue_()

    await page.route(re.compile(r"/admin/keys\?"), late)
    await page.goto(f"{office.url}#/keys")
    await unlock(page)
    await asked.wait()
    await page.get_by_role("button", name="Lock").click()
    locked.set()
    await page.unroute_all(behavior="wait")
    await settle(page)
    assert "team-late" not in await page.content()


async def test_a_key_is_made_shown_once_and_copied(page: Page, office: Office) -> None:
    await opened(page, "keys")
    await page.locator("#key-group").select_option("research")
    await page.locator("#key-note").fill("for the nightly jobs")
    key = await make_key(page, "team-a")
    parts = parse(key.encode())
    assert parts is not None
    await expect(page.get_by_role("button", name="Copy")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#announcer")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == key
    await expect(page.locator("#keys-table tbody tr")).to_have_count(1)
    [row] = await cells(page.locator("#keys-table"))
    assert row[:4] == ["team-a", parts.id, "research", "active"]
    assert row[6] == "for the nightly jobs"
    [kept] = await office.database.keys()
    assert kept.expires is not None
    assert abs(kept.expires - kept.created - timedelta(days=90)) < timedelta(minutes=1)
    await page.get_by_role("button", name="Done").click()
    await expect(page.locator("#key-caller")).to_be_focused()
    assert key not in await page.content()
    announced: Sequence[Any] = await page.evaluate("window.announced")
    assert key not in str(announced)


async def test_a_double_click_makes_one_key(page: Page, office: Office) -> None:
    await opened(page, "keys")
    answered = asyncio.Event()

    async def late(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await page.route("**/admin/keys", late)
    await page.locator("#key-caller").fill("team-a")
    await page.get_by_role("button", name="Make a key").dblclick()
    answered.set()
    await expect(page.get_by_role("heading", name="A key for team-a")).to_be_visible()
    await page.unroute_all(behavior="wait")
    await settle(page)
    assert len(await office.database.keys()) == 1
    await make_key(page, "team-b")
    assert len(await office.database.keys()) == 2


async def test_a_key_is_replaced(page: Page, office: Office) -> None:
    await opened(page, "keys")
    first = await make_key(page, "team-a")
    await page.get_by_role("button", name="Done").click()
    await page.get_by_role("button", name=re.compile("^Replace the key .* of team-a$")).click()
    await page.get_by_label("The old key still works for").select_option("3600")
    await page.locator("#confirm-yes").click()
    await expect(page.locator(".secret")).not_to_have_text(first)
    await expect(page.locator("#keys-table tbody tr")).to_have_count(2)
    old = next(key for key in await office.database.keys() if key.id in first)
    assert old.expires is not None
    assert timedelta(minutes=58) < old.expires - datetime.now(UTC) <= timedelta(hours=1)


async def test_a_key_is_revoked_after_a_question(page: Page, office: Office) -> None:
    await opened(page, "keys")
    await make_key(page, "team-a")
    revoke = page.get_by_role("button", name=re.compile("^Revoke the key .* of team-a$"))
    for refuse in ("Escape", "Enter"):  # Esc, and the button that has the focus, which is the one that does nothing
        await revoke.click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press(refuse)
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await expect(revoke).to_be_focused()
    assert [key.revoked for key in await office.database.keys()] == [None]
    await revoke.click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.locator("#keys-table .state")).to_have_text("revoked")
    await expect(revoke).to_have_count(0)
    assert all(key.revoked for key in await office.database.keys())


async def test_a_key_is_found_among_many(page: Page, office: Office) -> None:
    for number in range(250):
        await office.database.add_key(
            Key(f"id{number:03}", f"team-{number}", None, b"x" * 32, 0, days_ago(number % 7), None, None, None)
        )
    await opened(page, "keys")
    await expect(page.locator("#keys-table")).to_contain_text("200 of 250 keys are shown")
    await page.get_by_role("button", name="Show more").click()
    await expect(page.locator("#keys-table tbody tr")).to_have_count(250)
    await expect(page.locator("#keys-table")).to_contain_text("Keys: 250.")
    await expect(page.locator("#keys-table tbody tr").nth(200)).to_be_focused()
    await expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    await page.get_by_label("Find a key").fill("TEAM-249")
    await expect(page.locator("#keys-table tbody tr")).to_have_count(1)


async def test_the_relay_searches(page: Page, office: Office) -> None:
    ended = days_ago(1)
    for number, revoked in enumerate((None, ended, None)):
        key = Key(f"id{number}", f"team-{number}", "research", b"x" * 32, 0, days_ago(3), None, revoked, None)
        await office.database.add_key(key)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await opened(page, "keys")
    await page.get_by_role("search").get_by_label("State").select_option("revoked")
    await expect(page.locator("#keys-table tbody tr")).to_have_count(1)
    await expect(page.locator("#keys-table .state")).to_have_text("revoked")
    await page.get_by_label("Find a key").fill("team-2")
    await expect(page.locator("#keys-table")).to_have_text("No key is like this.")
    assert any(address.endswith("/admin/keys?find=team-2&limit=200&state=revoked") for address in asked)
    await expect(page).to_have_url(f"{office.url}#/keys?find=team-2&state=revoked")
    await page.evaluate("location.hash = '#/keys?find=ID2&state='")
    await expect(page.locator("#keys-table tbody th")).to_have_text("team-2")


async def test_a_group_is_chosen_with_what_it_gives(page: Page, office: Office) -> None:
    await opened(page, "keys")
    group = page.get_by_label("Group")
    await expect(group.locator("option")).to_have_text(["none", "research"])
    limits = page.locator("#key-limits")
    await expect(limits).to_have_text("No limits come with this.")
    await group.select_option("research")
    await expect(limits).to_have_text("All of the group together: 100 requests at a time.")
    assert await group.get_attribute("aria-describedby") == "key-limits"
    await make_key(page, "team-a")
    [kept] = await office.database.keys()
    assert kept.group == "research"
    await expect(group).to_have_value("")
    await expect(limits).to_have_text("No limits come with this.")


async def test_a_new_keys_form_outlives_another_language_and_a_look_elsewhere(page: Page) -> None:
    await opened(page, "keys")
    form = page.locator("#new-key")
    await expect(form.locator("#key-group option")).to_have_count(2)
    wanted = {"#key-caller": "team-a", "#key-group": "research", "#key-days": "365", "#key-note": "for the night"}
    for field, value in wanted.items():
        if field in ("#key-group", "#key-days"):
            await form.locator(field).select_option(value)
        else:
            await form.locator(field).fill(value)
    await page.locator("#language").select_option("ja")
    await expect(form.locator("#key-group option").first).to_have_text("なし")
    for field, value in wanted.items():
        await expect(form.locator(field)).to_have_value(value)
    await page.evaluate("location.hash = '#/now'")
    await expect(page.locator("[data-place=azure]")).to_be_visible()
    async with page.expect_response("**/admin/groups"):
        await page.go_back()
    await settle(page)
    for field, value in wanted.items():
        await expect(form.locator(field)).to_have_value(value)


async def test_what_is_wrong_with_a_new_key_is_said(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await opened(page, "keys")
    await page.locator("#key-caller").fill("a\u202eb")
    await page.get_by_role("button", name="Make a key").click()
    await expect(page.get_by_role("alert")).to_contain_text("must have 1 to 128 letters, digits")
    await expect(page.locator("#key-caller")).to_have_value("a\u202eb")


async def test_a_ledger_that_cannot_be_asked(page: Page, watch: Watch, office: Office) -> None:
    watch.expected.append("Failed to load resource")
    await office.database.add(month())
    await opened(page, "keys")
    other = sqlite3.connect(office.file, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        await page.locator("#key-caller").fill("locked-out")
        await page.get_by_role("button", name="Make a key").click()
        await expect(page.get_by_role("alert")).to_contain_text("The ledger’s database cannot be asked at the moment.")
    finally:
        other.close()
    await expect(page.locator("#opened")).to_be_visible()
