"""The console around its views: the key, the addresses, the languages, and how every view looks."""

import itertools
import re

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from tests.adapters.ledger_entries import entry
from tests.browser import admin_scripts as scripts
from tests.browser.axe import violations
from tests.browser.conftest import Watch, watch_context
from tests.browser.console.office import (
    KEY,
    LOOKS,
    SCREENSHOTS,
    Office,
    assert_legible,
    cells,
    days_ago,
    make_key,
    month,
    opened,
    plot,
    unlock,
    used,
)
from tests.browser.payloads import all_payloads
from tests.browser.scripted_server import WEB
from tests.browser.steps import holds, settle

from chukei.accounts.ledger import Key

pytestmark = pytest.mark.anyio

NAMES = {
    "now": "Now",
    "usage": "Usage",
    "keys": "Callers’ keys",
    "deployments": "Deployments",
    "configuration": "Configuration",
    "audit": "Audit trail",
}

# The key.


async def test_a_wrong_key_is_refused_in_words(page: Page, watch: Watch, office: Office) -> None:
    watch.expected.append("Failed to load resource")
    await expect(page.locator("#admin-key")).to_be_focused()
    await unlock(page, "not-the-administrators-key-at-all")
    await expect(page.get_by_role("alert")).to_contain_text("This key does not open the administration.")
    await expect(page.locator("#opened")).to_be_hidden()
    await expect(page.get_by_role("navigation")).to_be_hidden()
    await expect(page.locator("#admin-key")).to_be_focused()
    await expect(page.locator("#admin-key")).to_have_value("")
    await opened(page, "usage")
    await expect(page.locator("#unlock")).to_be_hidden()
    assert {record.operation for record in office.relay.records} <= {"admin", "admin_page", "asset"}


async def test_a_key_that_no_header_can_carry_is_not_even_sent(page: Page, office: Office) -> None:
    for key in ("鍵", "two words", "tab\there"):
        await unlock(page, key)
        await expect(page.get_by_role("alert")).to_contain_text("does not open")
    paths = {record.path for record in office.relay.records if record.operation == "admin"}
    assert paths == {"/admin/sign-in"}


async def test_guessing_is_told_to_wait(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    for number in range(4):
        async with page.expect_response("**/admin/session"):
            await unlock(page, f"guess-{number}")
    await expect(page.get_by_role("alert")).to_contain_text("Too many wrong keys came from your address.")
    await expect(page.get_by_role("alert")).to_contain_text("asks to wait")
    await opened(page, "usage")


async def test_the_key_is_in_memory_only(page: Page, context: BrowserContext, office: Office) -> None:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    for view in NAMES:
        await opened(page, view)
    assert KEY not in await page.evaluate(scripts.STORES)
    assert KEY not in await page.content()
    fields: list[str] = await page.locator("input").evaluate_all("fields => fields.map((field) => field.value)")
    assert KEY not in fields
    assert len(urls) > 7
    assert not any(KEY in url for url in urls)
    assert await page.evaluate("Promise.all([indexedDB.databases(), caches.keys()])") == [[], []]
    assert await context.cookies() == []
    await page.reload()
    await expect(page.locator("#unlock")).to_be_visible()
    await expect(page.locator("#opened")).to_be_hidden()


async def test_locking_forgets_the_key_and_the_figures(page: Page, office: Office) -> None:
    await office.database.add(month())
    for view in NAMES:
        await opened(page, view)
    await opened(page, "keys")
    await page.locator("#key-caller").fill("somebody")
    await page.get_by_role("button", name="Lock").click()
    await expect(page.locator("#unlock")).to_be_visible()
    await expect(page.locator("#admin-key")).to_be_focused()
    await expect(page).to_have_title("chukei · administration")
    left = await page.content()
    assert not [name for name in ("team-a", "gpt-4o", "azure") if name in left]
    await expect(page.locator("#key-caller")).to_have_value("")
    await opened(page, "usage")
    await expect(plot(page, "caller")).to_be_visible()


async def test_a_page_that_was_left_is_locked_when_it_comes_back(page: Page, office: Office) -> None:
    await opened(page, "usage")
    await page.goto("about:blank")
    await page.go_back()
    await expect(page.locator("#unlock")).to_be_visible()
    await expect(page.locator("#opened")).to_be_hidden()


async def test_a_key_that_is_changed_meanwhile_locks_the_page(page: Page, watch: Watch, office: Office) -> None:
    watch.expected.append("Failed to load resource")
    await office.database.add(month())
    await opened(page, "usage")
    body = '{"error": {"message": "No.", "type": "authentication_error", "param": null, "code": "invalid_admin_key"}}'
    await page.route("**/admin/usage*", lambda route: route.fulfill(status=401, body=body))
    await page.get_by_label("Time").select_option("7d")
    await expect(page.get_by_role("alert")).to_contain_text("This key does not open the administration.")
    await expect(page.locator("#unlock")).to_be_visible()
    assert "team-a" not in await page.content()


async def test_a_relay_that_is_gone(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await page.context.set_offline(True)
    await unlock(page)
    await expect(page.get_by_role("alert")).to_contain_text("The relay cannot be reached.")
    await expect(page.locator("#admin-key")).to_have_value(KEY)  # nothing was said about the key
    await page.context.set_offline(False)
    await page.locator("#admin-key").press("Enter")
    await expect(page.locator("#opened")).to_be_visible()
    await opened(page, "usage")
    await page.context.set_offline(True)
    await page.get_by_label("Time").select_option("7d")
    await expect(page.get_by_role("alert")).to_contain_text("The relay cannot be reached.")
    await page.context.set_offline(False)
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("alert")).to_have_count(0)


# The addresses.


async def test_a_view_has_an_address_a_title_and_a_heading_with_the_focus(page: Page, office: Office) -> None:
    await page.goto(f"{office.url}#/keys")
    await unlock(page)
    for view, name in NAMES.items():
        await page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        await expect(page).to_have_url(f"{office.url}#/{view}")
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        await expect(page.get_by_role("heading", level=1)).to_be_focused()
        await expect(page).to_have_title(f"{name} · chukei")
        await expect(page.locator("[aria-current]")).to_have_text(name)
        assert await page.locator("#view > :not([hidden])").count() == 1


async def test_an_address_survives_a_reload_and_the_way_back(page: Page, office: Office) -> None:
    await opened(page, "keys")
    await page.reload()
    await unlock(page)
    await expect(page.get_by_role("heading", level=1)).to_have_text(NAMES["keys"])
    await page.get_by_role("link", name="Usage").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Usage")
    await page.go_back()
    await expect(page.get_by_role("heading", level=1)).to_have_text(NAMES["keys"])
    await page.go_forward()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Usage")


@pytest.mark.parametrize("hash", ["", "#", "#/", "#/nothing-like-it", "#/%E0%A4%A", "#/__proto__", "#/<img src=x>"])
async def test_an_address_that_is_none_leads_to_the_first_view(page: Page, office: Office, hash: str) -> None:
    await page.goto(f"{office.url}{hash}")
    await unlock(page)
    first = next(iter(NAMES))
    await expect(page).to_have_url(f"{office.url}#/{first}")
    await expect(page.get_by_role("heading", level=1)).to_have_text(NAMES[first])
    named = hash.removeprefix("#/") != "" and hash.startswith("#/")
    await expect(page.locator(".address-note")).to_contain_text(hash if named else "")


async def test_a_session_ends_after_a_day_although_nobody_touches_the_page(page: Page) -> None:
    await page.clock.install()
    await page.reload()
    await opened(page, "keys")
    await page.clock.fast_forward("23:58:00")
    await settle(page)
    await expect(page.locator("#opened")).to_be_visible()
    await page.clock.fast_forward("03:00")
    await expect(page.get_by_role("alert")).to_contain_text("lasts 24 hours at most. Sign in again.")
    await expect(page.locator("#opened")).to_be_hidden()
    assert await page.locator("#keys-table").text_content() == ""
    await unlock(page)
    await expect(page.locator("#opened")).to_be_visible()
    await page.clock.fast_forward("23:58:00")
    await settle(page)
    await expect(page.locator("#opened")).to_be_visible()


async def test_the_skip_link_leaves_the_address(page: Page, office: Office) -> None:
    await opened(page, "keys")
    await page.keyboard.press("Shift+Tab")
    await page.locator("#skip").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#content")).to_be_focused()
    await expect(page).to_have_url(f"{office.url}#/keys")


# Hostile names.


async def test_names_that_try_to_become_code_stay_text(page: Page, office: Office) -> None:
    payloads = [text.replace("\n", " ") for text in all_payloads()]
    payloads = list(dict.fromkeys(payloads))
    count = len(payloads)
    assert count > 150
    await office.database.add(
        [
            entry(
                caller=name,
                group=payloads[(place + 40) % count],
                model=payloads[(place + 80) % count],
                deployment=payloads[(place + 120) % count],
                end=payloads[(place + 160) % count],
                time=days_ago(place % 30),
                input=place,
            )
            for place, name in enumerate(payloads)
        ]
    )
    for place, name in enumerate(payloads):
        await office.database.add_key(
            Key(f"id{place}", name, payloads[place - 1], b"x" * 32, 0, days_ago(1), None, None, payloads[place - 2])
        )
    await opened(page, "usage")
    for by in ("Group", "Deployment", "End"):
        await plot(page, "own").get_by_label(by, exact=True).check()
    await expect(plot(page, "own").locator("tbody tr").first.locator("th, td")).to_have_count(14)
    await settle(page)
    shown = {cell for row in await cells(plot(page, "own")) for cell in row[:5]}
    kept = {name.replace("\x00", "\ufffd") for name in payloads}
    assert kept <= shown
    await page.mouse.move(300, 300)
    await page.keyboard.press("Tab")
    await settle(page)
    assert await page.evaluate("window.ran") == []
    assert await page.evaluate(scripts.STRANGE) == []
    await opened(page, "keys")
    place, name = next((place, name) for place, name in enumerate(payloads) if "<script>" in name)
    await page.locator("#find-key").fill(name)
    await page.get_by_role("button", name=re.compile(f"^Revoke the key id{place} ")).click()
    await expect(page.locator("#confirm-text")).to_contain_text(name)
    await page.keyboard.press("Escape")
    assert await page.evaluate("window.ran") == []
    assert await page.evaluate(scripts.STRANGE) == []


# For everybody.


FOCUSED = "document.activeElement.id || document.activeElement.textContent.trim().slice(0, 30)"

KEYBOARD = {
    "now": ["pause"],
    "usage": ["range", "measure", "only-kind", "Show", "As a table", "Download as CSV"],
    "keys": ["key-caller", "key-group", "key-days", "key-note", "Make a key", "find-key"],
    "deployments": ["look-again", "azure"],
    "configuration": ["reload", "find-setting", "all-settings"],
}


async def test_all_of_it_by_keyboard(page: Page, office: Office) -> None:
    await office.database.add(month())
    await page.keyboard.type(KEY)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    for view, wanted in KEYBOARD.items():
        await opened(page, view)
        seen: list[str] = []
        for _ in range(30):
            await page.keyboard.press("Tab")
            seen.append(
                await page.evaluate(
                    "document.activeElement.id || document.activeElement.textContent.trim().slice(0, 30)"
                )
            )
        places = [seen.index(name) for name in wanted]
        assert places == sorted(places)


async def test_everything_has_a_name(page: Page, office: Office) -> None:
    await office.database.add(month())
    for view in NAMES:
        await opened(page, view)
        if view == "usage":
            await page.get_by_label("Time").select_option("own")
        if view == "keys":
            await make_key(page, "team-a")
        assert await page.evaluate(scripts.NAMELESS) == []
        assert await violations(page) == []
        levels = [
            int(text[1])
            for text in await page.locator("h1:visible, h2:visible, h3:visible, h4:visible").evaluate_all(
                "all => all.map((each) => each.tagName)"
            )
        ]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


async def test_a_switch_of_language_redraws_everything(page: Page, office: Office) -> None:
    await office.database.add(month())
    for view in NAMES:
        await opened(page, view)
    await page.locator("#language").select_option("ja")
    await expect(page.locator("html")).to_have_attribute("lang", "ja")
    names = {"completed", "timeout", "client_aborted", "English", "chukei", "ID", "gpt-4o", "azure", "UTC", "o3"}
    for view in NAMES:
        await opened(page, view)
        await expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("[ァ-ン一-龠]"))
        english = [
            text
            for text in await page.evaluate(scripts.SPOKEN)
            if re.search(r"[a-z]{4,}", text.replace("Azure", ""))
            and text not in names
            and not re.search("[ぁ-んァ-ン一-龠]", text)
        ]
        assert english == []


# Tables.


async def test_on_a_phone_a_row_is_a_card_and_still_a_row(page: Page, office: Office) -> None:
    await office.database.add_key(Key("id1", "team-a", None, b"x" * 32, 0, days_ago(1), None, None, None))
    await page.set_viewport_size({"width": 390, "height": 844})
    await opened(page, "keys")
    row = page.get_by_role("table").get_by_role("row", name=re.compile("team-a"))
    assert await row.get_by_role("cell").count() == 7
    assert await page.get_by_role("columnheader").count() == 8
    boxes = [await cell.bounding_box() for cell in await row.get_by_role("cell").all()]
    tops = [box["y"] for box in boxes if box is not None]
    assert len(tops) == len(set(tops)) == 7
    drawn = "cell => getComputedStyle(cell, '::before').content"
    assert [await cell.evaluate(drawn) for cell in (await row.get_by_role("cell").all())[:2]] == [
        '"Id" / ""',
        '"Group" / ""',
    ]


# How it looks.


@pytest.mark.parametrize("look", LOOKS)
async def test_how_it_looks(browser: Browser, office: Office, look: str) -> None:
    await office.database.add(
        [
            *month(),
            *(
                each
                for number in range(24)
                for each in used(f"user-{number}@contoso.example", "gpt-4.1-mini", days=number, input=900 - number * 30)
            ),
            *used("a-name-without-any-place-to-break-" + "x" * 90, "m" * 120, input=400, output=300),
        ]
    )
    context = await browser.new_context(**LOOKS[look])
    watch = Watch()
    watch_context(context, watch, office.url)
    page = await context.new_page()
    await page.goto(office.url)
    await holds(page, "document.querySelector('#unlock-text').textContent !== ''")
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"console-{look}-locked.png")
    for view in NAMES:
        await opened(page, view)
        if view == "keys":
            await page.locator("#key-caller").fill("team-a")
            await page.locator("#new-key button").click()
            await expect(page.locator(".secret")).to_be_visible()
            await expect(page.locator("#keys-table table")).to_be_visible()
        if view == "usage":
            await page.locator("#range").select_option("own")
        await page.evaluate("document.activeElement.blur()")
        await assert_legible(page)
        await page.evaluate("scrollTo(0, 0)")
        await page.screenshot(path=SCREENSHOTS / f"console-{look}-{view}.png", full_page=True)
    await opened(page, "keys")
    await page.locator("#keys-table .actions button").nth(1).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await page.evaluate(scripts.OVERFLOWING) == []
    await page.screenshot(path=SCREENSHOTS / f"console-{look}-question.png")
    await context.close()
    assert (watch.unexpected(), watch.foreign, watch.dialogs) == ([], [], [])


def test_every_file_that_the_page_names_exists() -> None:
    names = re.findall(r"(?:src|href)=\"(web/[^\"]+)\"", (WEB / "admin.html").read_text("utf-8"))
    assert len(names) >= 4
    assert [name for name in names if not (WEB.parent / name).is_file()] == []
