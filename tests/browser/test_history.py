"""Conversations: their addresses, their list, their alternatives, their files, and what several tabs do with them."""

import json
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect
from tests.browser.conftest import Watch, open_chat
from tests.browser.scripted_server import ScriptedServer, refusing, saying
from tests.browser.steps import act, answers, ask, assert_stored, entry, finished, holds, settle
from tests.browser.test_chat import Held

pytestmark = pytest.mark.anyio

DAY = 86_400_000


async def talk(page: Page, *texts: str) -> None:
    """One new conversation for each text."""
    for text in texts:
        await page.get_by_role("button", name="New chat").click()
        await ask(page, text)
        await finished(page)


def before(ident: str, text: str, days_ago: float = 0) -> str:
    """A script that leaves a conversation as the page once kept them."""
    answer = {"role": "assistant", "state": "finished", "content": f"Answer to {text}", "toolCalls": []}
    messages = [{"role": "user", "content": text}, answer]
    record = json.dumps({"id": ident, "messages": messages})
    return f"""{{
      const record = {{ ...{record}, updatedAt: Date.now() - {days_ago * DAY} }};
      localStorage.setItem("chukei:conversation:{ident}", JSON.stringify(record));
    }}"""


COUNT_READINGS = """
window.readings = [];
const { getAll } = IDBObjectStore.prototype;
IDBObjectStore.prototype.getAll = function (range) {
  window.readings.push(range?.lower?.[0] ?? this.name);
  return getAll.call(this, range);
};
"""
"""Notes each reading of rows: the conversation whose messages are read, or the store that is read as a whole."""


async def readings(page: Page) -> list[str]:
    """What was read of the database so far, but for drafts."""
    found: list[str] = await page.evaluate("window.readings")
    return [name for name in found if not name.startswith("draft ")]


async def load(page: Page, address: str) -> None:
    """Load the page anew, even where only what follows `#` differs."""
    await page.goto("about:blank")
    await open_chat(page, address)


def entries(page: Page) -> Locator:
    return page.locator(".history-title")


async def test_an_address_survives_reload_back_and_forward(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    second = page.url
    assert second.startswith(f"{server.url}#/c/")
    await page.reload()
    await expect(page.locator(".question-text")).to_have_text("second")
    await expect(page).to_have_title("second · chukei")
    await expect(page.locator("[aria-current=page]")).to_have_text("second")
    await entry(page, "first").click()
    await expect(page.locator(".question-text")).to_have_text("first")
    await expect(page.locator("#prompt")).to_be_focused()
    await page.go_back()
    await expect(page.locator(".question-text")).to_have_text("second")
    await expect(page).to_have_url(second)
    await page.go_back()
    await expect(page.locator("#welcome")).to_be_visible()
    await expect(page).to_have_title("chukei")
    await page.go_forward()
    await expect(page.locator(".question-text")).to_have_text("second")
    await page.get_by_role("button", name="New chat").click()
    await expect(page).to_have_url(f"{server.url}#/")


async def test_a_link_opens_another_tab(page: Page, context: BrowserContext, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    async with context.expect_page() as opened:
        await entry(page, "first").click(modifiers=["ControlOrMeta"])
    other = await opened.value
    await expect(other.locator(".question-text")).to_have_text("first")
    await expect(page.locator(".question-text")).to_have_text("second")


async def test_an_unknown_address_says_so_and_offers_a_new_chat(page: Page, server: ScriptedServer) -> None:
    for address in ("#/c/unknown", "#/c/%E0%A4%A"):
        await page.goto(f"{server.url}{address}")
        await page.reload()
        await expect(page.get_by_role("heading", name="This conversation is not here")).to_be_visible()
        await expect(page.locator("#welcome")).to_be_hidden()
        assert page.url.endswith(address)
    await page.locator("#missing-new").click()
    await expect(page.locator("#missing")).to_be_hidden()
    await expect(page.locator("#prompt")).to_be_focused()
    await page.go_back()
    await ask(page, "first")
    await finished(page)
    await expect(page.locator("#missing")).to_be_hidden()
    await expect(page).not_to_have_url(f"{server.url}#/c/%E0%A4%A")


async def test_skipping_to_the_message_field_leaves_the_address(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first")
    address = page.url
    await page.locator(".skip").press("Enter")
    await expect(page.locator("#prompt")).to_be_focused()
    assert page.url == address


async def test_conversations_of_before_are_taken_over_once(page: Page, server: ScriptedServer) -> None:
    await page.evaluate(before("old", "Hello?"))
    await page.evaluate("localStorage.setItem('chukei:conversation:odd', '{')")
    for _ in range(2):
        await load(page, f"{server.url}#/c/old")
        await expect(entries(page)).to_have_text(["Hello?"])
        await expect(answers(page)).to_have_text("Answer to Hello?")
        await holds(page, "Object.keys(localStorage).every((key) => !key.includes('conversation'))")


async def test_a_stored_conversation_of_unknown_shape_breaks_nothing(page: Page, server: ScriptedServer) -> None:
    await talk(page, "good")
    await page.evaluate(
        """() => new Promise((resolve) => {
          indexedDB.open("chukei", 1).onsuccess = ({ target: { result: database } }) => {
            const transaction = database.transaction(["conversations", "messages"], "readwrite");
            const [headings, messages] = ["conversations", "messages"].map((name) => transaction.objectStore(name));
            headings.put({ id: "odd", title: 5, updatedAt: "never" });
            headings.put({ id: "far", title: "of no day", updatedAt: 1e300 });
            headings.put({ id: "later", title: {}, updatedAt: Date.now(), chosen: 1, folder: "x" });
            const answer = { role: "assistant", content: {}, state: "?", toolCalls: 5, failure: { kind: "new" } };
            const question = { role: "user", content: "from later" };
            const unknown = { role: "narrator" };
            for (const [id, message] of Object.entries({ a: question, b: { ...answer, parent: "a" }, c: unknown })) {
              messages.put({ conversation: "later", message: { id, ...message } });
            }
            transaction.oncomplete = () => { database.close(); resolve(); };
          };
        })"""
    )
    await load(page, f"{server.url}#/c/later")
    await expect(entries(page)).to_have_text(["from later", "good"])
    await expect(page.locator(".answer")).to_have_count(1)
    await page.get_by_role("button", name="Regenerate").click()
    await expect(answers(page)).to_have_text("Hello from the server.")


async def test_alternatives_of_an_answer(page: Page, server: ScriptedServer) -> None:
    server.scripts += [saying(text) for text in ("One", "Two", "Three", "After two")]
    await ask(page, "Hello?")
    await finished(page)
    await expect(page.locator(".alternatives")).to_have_count(0)
    for text in ("Two", "Three"):
        await page.get_by_role("button", name="Regenerate").click()
        await expect(answers(page)).to_have_text(text)
        await finished(page)
    await expect(page.get_by_role("group", name="Version 3 of 3")).to_have_text("3 / 3")
    await page.get_by_role("button", name="Next version").press("Enter")
    await expect(answers(page)).to_have_text("Three")
    await page.get_by_role("button", name="Previous version").press("Enter")
    await expect(answers(page)).to_have_text("Two")
    await expect(page.locator("#announcer")).to_have_text("Version 2 of 3")
    await expect(page.get_by_role("button", name="Previous version")).to_be_focused()
    await ask(page, "And?")
    await finished(page, 2)
    texts = [message["content"] for message in server.exchanges[-1].body["messages"]]
    assert texts == ["Hello?", "Two", "And?"]
    await page.reload()
    await expect(answers(page)).to_have_text(["Two", "After two"])  # the choice is kept
    await page.get_by_role("button", name="Next version").click()
    await expect(answers(page)).to_have_text(["Three"])
    await expect(page.get_by_role("button", name="Next version")).to_be_focused()


async def test_alternatives_of_a_question(page: Page, server: ScriptedServer) -> None:
    server.scripts += [saying(text) for text in ("One", "Two", "Three")]
    for count, text in enumerate(("first", "second"), 1):
        await ask(page, text)
        await finished(page, count)
    await page.get_by_role("button", name="Edit").first.press("Enter")
    await page.get_by_label("Edit message").fill("better")
    await page.get_by_role("button", name="Send again").press("Enter")
    await expect(answers(page)).to_have_text(["Three"])
    await finished(page)
    question = page.locator(".question").first
    await expect(question.get_by_role("group", name="Version 2 of 2")).to_be_visible()
    await question.get_by_role("button", name="Previous version").press("Enter")
    await expect(page.locator(".question-text")).to_have_text(["first", "second"])
    await expect(answers(page)).to_have_text(["One", "Two"])


async def test_a_failure_that_was_retried_is_no_alternative(page: Page, server: ScriptedServer, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    server.scripts += [refusing(500, {"message": "Sorry."}), saying("Better")]
    await ask(page, "Hello?")
    await finished(page)
    await page.get_by_role("button", name="Try again").click()
    await expect(answers(page)).to_have_text("Better")
    await finished(page)
    await expect(page.locator(".alternatives")).to_have_count(0)


@pytest.mark.parametrize(("key", "title"), [("Enter", "Renamed"), ("Escape", "first")])
async def test_renaming(page: Page, server: ScriptedServer, key: str, title: str) -> None:
    await talk(page, "first")
    await act(page, "first", "Rename")
    field = page.get_by_label("Title")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("first")
    await page.keyboard.type("Renamed")
    await page.keyboard.press(key)
    await expect(entries(page)).to_have_text([title])
    await expect(entry(page, title)).to_be_focused()
    await expect(page).to_have_title(f"{title} · chukei")
    await page.reload()
    await expect(entries(page)).to_have_text([title])


async def test_a_name_that_is_being_written_outlives_the_end_of_an_answer(page: Page, server: ScriptedServer) -> None:
    held = Held("Slowly", " done.")
    server.scripts.append(held)
    await ask(page, "first")
    await expect(answers(page)).to_have_text("Slowly")
    await act(page, "first", "Rename")
    await page.keyboard.type("Mine")
    held.go_on.set()
    await finished(page)
    await expect(page.get_by_label("Title")).to_have_value("Mine")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Actions for “Mine”").press("Enter")
    await page.get_by_role("menuitem", name="Rename").press("Enter")
    await page.get_by_label("Title").fill("")
    await page.keyboard.press("Enter")
    await expect(entries(page)).to_have_text(["first"])  # without a name of its own


async def test_the_menu_by_keyboard(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first")
    button = page.get_by_role("button", name="Actions for “first”")
    await button.press("Enter")
    await expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await expect(button).to_have_attribute("aria-expanded", "true")
    for key, item in (("ArrowUp", "Delete"), ("ArrowDown", "Rename"), ("End", "Delete"), ("Home", "Rename")):
        await page.keyboard.press(key)
        await expect(page.get_by_role("menuitem", name=item)).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    await expect(button).to_have_attribute("aria-expanded", "false")
    await expect(page.get_by_role("menu")).to_be_hidden()


async def test_the_list_is_grouped_by_day(page: Page, server: ScriptedServer) -> None:
    for ident, days in (("a", 0), ("b", 1), ("c", 3), ("d", 400)):
        await page.evaluate(before(ident, f"from {days} days ago", days))
    await open_chat(page, server.url)
    headings = page.locator("#history-list h3")
    await expect(headings.nth(2)).to_have_text("Last 7 days")
    texts = await headings.all_text_contents()
    assert texts[:3] == ["Today", "Yesterday", "Last 7 days"]
    assert " 20" in texts[3]  # a month of another year
    await page.locator("#language").select_option("ja")
    await expect(headings.first).to_have_text("今日")


async def test_the_list_has_room_in_a_low_window(page: Page, server: ScriptedServer) -> None:
    """As 1280 × 720 pixels at a zoom of 200 %."""
    await talk(page, "one", "two")
    await page.set_viewport_size({"width": 640, "height": 360})
    await page.get_by_role("button", name="Open conversations").click()
    shown = "(list) => [list.clientHeight, list.scrollHeight]"
    height, needed = await page.locator(".history").evaluate(shown)
    assert height >= needed > 88
    await page.get_by_role("button", name="Clear history").click()
    await expect(entries(page)).to_have_count(0)


async def test_searching_titles_and_texts(page: Page, server: ScriptedServer) -> None:
    server.scripts += [saying("A relay passes on what it receives."), saying("Nothing of the kind.")]
    await talk(page, "What is it?", "Relay race")
    search = page.get_by_role("searchbox", name="Search conversations")
    await search.fill("RELAY")
    await expect(page.locator("#history-list mark")).to_have_text(["Relay", "relay"])
    await expect(page.locator("#announcer")).to_have_text("Found: 2")
    await search.fill("relay passes")
    await expect(entries(page)).to_have_text(["What is it?"])
    await entry(page, "What is it? A relay passes on what it receives.").click()
    await expect(answers(page)).to_have_text("A relay passes on what it receives.")
    await search.fill("absent")
    await expect(page.get_by_role("heading", name="Nothing found.")).to_be_visible()
    await search.press("Escape")
    await expect(search).to_have_value("")
    await expect(entries(page)).to_have_count(2)


async def test_messages_are_read_when_they_are_needed(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first", "second", "third")
    third = page.url.rpartition("/")[2]
    await page.add_init_script(COUNT_READINGS)
    await load(page, server.url)
    await expect(entries(page)).to_have_text(["third", "second", "first"])
    await settle(page)
    assert await readings(page) == ["conversations"]
    await entry(page, "third").click()
    await expect(answers(page)).to_have_text("Hello from the server.")
    assert await readings(page) == ["conversations", third]
    await page.get_by_role("searchbox", name="Search conversations").fill("from the server")
    await expect(page.locator("#announcer")).to_have_text("Found: 3")
    assert len(await readings(page)) == 4
    await page.get_by_role("searchbox", name="Search conversations").fill("from the")
    await expect(page.locator("#announcer")).to_have_text("Found: 3")
    assert len(await readings(page)) == 4


async def test_what_was_not_opened_is_deleted_and_exported_whole(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    await load(page, server.url)
    async with page.expect_download() as download:
        await act(page, "first", "Export as Markdown")
    assert "Hello from the server." in (await (await download.value).path()).read_text()
    await act(page, "first", "Delete")
    await page.get_by_role("button", name="Undo").press("Enter")
    await expect(entries(page)).to_have_count(2)
    await page.get_by_role("button", name="Clear history").press("Enter")
    await expect(entries(page)).to_have_count(0)
    await page.get_by_role("button", name="Undo").press("Enter")
    await expect(entries(page)).to_have_text(["second", "first"])
    await page.reload()
    for text in ("first", "second"):
        await entry(page, text).click()
        await expect(page.locator(".question-text")).to_have_text(text)
        await expect(answers(page)).to_have_text("Hello from the server.")
    await assert_stored(page, "first", "second", *["Hello from the server."] * 2)


async def test_turning_history_off_leaves_everything_until_the_pages_close(
    page: Page, context: BrowserContext, server: ScriptedServer
) -> None:
    await talk(page, "first", "second")
    other = await context.new_page()
    for tab in (page, other):
        await load(tab, server.url)
        await expect(entries(tab)).to_have_count(2)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Keep history in this browser").uncheck()
    await page.keyboard.press("Escape")
    await expect(other.get_by_text("Not kept: gone when this page closes.")).to_be_visible()
    for tab in (page, other):
        await entry(tab, "first").click()
        await expect(answers(tab)).to_have_text("Hello from the server.")
    await assert_stored(page)


async def test_deleting_can_be_undone(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    address = page.url
    await act(page, "second", "Delete")
    await expect(page.get_by_role("status").filter(has_text="Deleted: second")).to_be_visible()
    await expect(page.locator("#welcome")).to_be_visible()
    await expect(page).to_have_url(f"{server.url}#/")
    await assert_stored(page, "first", "Hello from the server.")
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(entries(page)).to_have_text(["second", "first"])
    await expect(entry(page, "second")).to_be_focused()
    await expect(page.locator(".question-text")).to_have_text("second")
    await expect(page).to_have_url(address)
    await page.reload()
    await expect(answers(page)).to_have_text("Hello from the server.")
    await expect(entries(page)).to_have_text(["second", "first"])


async def test_the_way_back_goes_by_itself_but_not_under_the_readers_hand(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    await page.clock.install()
    await act(page, "second", "Delete")
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await page.clock.run_for(60_000)
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await page.locator("#prompt").focus()
    await page.clock.run_for(9_000)
    await expect(page.locator("#toast")).to_be_visible()
    await page.clock.run_for(2_000)
    await expect(page.locator("#toast")).to_be_hidden()
    await expect(page.locator("#prompt")).to_be_focused()


async def test_an_edit_waits_while_another_conversation_or_language_is_shown(
    page: Page, server: ScriptedServer
) -> None:
    await talk(page, "first", "second")
    await page.get_by_role("button", name="Edit").press("Enter")
    await page.get_by_label("Edit message").fill("second, better")
    await entry(page, "first").click()
    await expect(page.locator(".question-text")).to_have_text("first")
    await entry(page, "second").click()
    await expect(page.get_by_label("Edit message")).to_have_value("second, better")
    await page.locator("#language").select_option("ja")
    await expect(page.locator(".edit-form textarea")).to_have_value("second, better")
    await page.locator(".edit-form textarea").press("Escape")
    await expect(page.locator(".question-text")).to_have_text("second")
    await entry(page, "first").click()
    await entry(page, "second").click()
    await expect(page.locator(".question-text")).to_have_text("second")


async def test_clearing_everything_can_be_undone(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    await page.get_by_role("button", name="Clear history").press("Enter")
    await expect(page.get_by_text("Nothing yet.")).to_be_visible()
    await assert_stored(page)
    await page.get_by_role("button", name="Undo").press("Enter")
    await expect(entries(page)).to_have_text(["second", "first"])
    await assert_stored(page, "first", "second", *["Hello from the server."] * 2)


async def test_a_deleted_conversation_does_not_come_back_with_its_answer(page: Page, server: ScriptedServer) -> None:
    held = Held("Half", " never")
    server.scripts.append(held)
    await ask(page, "first")
    await expect(answers(page)).to_have_text("Half")
    await act(page, "first", "Delete")
    assert held.exchange is not None
    await held.exchange.gone.wait()
    await settle(page)
    await assert_stored(page)
    await page.get_by_role("button", name="Undo").press("Enter")
    await expect(answers(page)).to_have_text("Half")
    await expect(page.locator(".notice")).to_have_text("You stopped this answer.")


async def test_export_and_import(page: Page, server: ScriptedServer, tmp_path: Path) -> None:
    server.scripts += [saying("One"), saying("Two")]
    await ask(page, "What is 5/3?")
    await finished(page)
    await page.get_by_role("button", name="Regenerate").click()
    await expect(answers(page)).to_have_text("Two")
    await finished(page)
    async with page.expect_download() as download:
        await act(page, "What is 5/3?", "Export as Markdown")
    markdown = await download.value
    assert markdown.suggested_filename == "What is 5 3.md"
    assert (await markdown.path()).read_text() == (
        "# What is 5/3?\n\n## You\n\nWhat is 5/3?\n\n## Assistant · gpt-4o-2024-11-20\n\nTwo\n\n> *One of 2 versions*\n"
    )
    async with page.expect_download() as download:
        await act(page, "What is 5/3?", "Export as JSON")
    saved = tmp_path / "saved.json"
    await (await download.value).save_as(saved)
    assert {message["content"] for message in json.loads(saved.read_text())["conversation"]["messages"][1:]} == {
        "One",
        "Two",
    }
    await page.get_by_role("button", name="Clear history").click()
    await page.locator("#import-file").set_input_files(saved)
    await expect(answers(page)).to_have_text("Two")
    await page.get_by_role("button", name="Previous version").click()
    await expect(answers(page)).to_have_text("One")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    await page.locator("#import-file").set_input_files(broken)
    await expect(page.locator("#toast", has_text="This file holds no conversation.")).to_be_visible()
    broken.write_text(saved.read_text().replace('"version": 1', '"version": 2'))
    await page.locator("#import-file").set_input_files(broken)
    await expect(page.locator("#toast", has_text="a version that this page does not know")).to_be_visible()
    await expect(entries(page)).to_have_count(1)
    await page.locator("#import-file").set_input_files(saved)
    await expect(entries(page)).to_have_count(2)
    await expect(page.locator("#toast")).to_be_hidden()


async def test_tabs_share_what_they_write(page: Page, context: BrowserContext, server: ScriptedServer) -> None:
    await talk(page, "first")
    other = await context.new_page()
    await open_chat(other, page.url)
    await expect(answers(other)).to_have_text("Hello from the server.")
    held = Held("Slowly", " but surely.")
    server.scripts.append(held)
    await ask(page, "more")
    await expect(answers(other).last).to_have_text("Slowly")
    await expect(other.get_by_role("button", name="Stop")).to_be_visible()
    held.go_on.set()
    await expect(answers(other).last).to_have_text("Slowly but surely.")
    await finished(other, 2)
    await ask(other, "and more")
    await finished(other, 3)
    await expect(page.locator(".question-text")).to_have_text(["first", "more", "and more"])
    await finished(page, 3)
    await page.reload()
    await expect(page.locator(".question-text")).to_have_text(["first", "more", "and more"])
    await act(other, "first", "Delete")
    await expect(page.get_by_role("heading", name="This conversation is not here")).to_be_visible()
    await other.get_by_role("button", name="Undo").press("Enter")
    await expect(page.locator(".question-text")).to_have_text(["first", "more", "and more"])


async def test_a_new_tab_knows_what_another_is_writing_and_can_stop_it(
    page: Page, context: BrowserContext, server: ScriptedServer
) -> None:
    held = Held("Slowly", " never")
    server.scripts.append(held)
    await ask(page, "first")
    await expect(answers(page)).to_have_text("Slowly")
    other = await context.new_page()
    await open_chat(other, page.url)
    await expect(other.locator(".answer")).to_have_attribute("aria-busy", "true")
    await other.get_by_role("button", name="Stop").click()
    assert held.exchange is not None
    await held.exchange.gone.wait()
    for tab in (page, other):
        await expect(tab.locator(".notice")).to_have_text("You stopped this answer.")


async def test_what_is_set_in_one_tab_holds_in_the_other(
    page: Page, context: BrowserContext, server: ScriptedServer
) -> None:
    other = await context.new_page()
    await open_chat(other, server.url)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Keep history in this browser").uncheck()
    await expect(other.get_by_text("Not kept: gone when this page closes.")).to_be_visible()
    await ask(other, "secret")
    await finished(other)
    await assert_stored(other)
    await expect(entries(page)).to_have_count(0)


async def test_what_was_written_when_the_browser_was_killed_is_kept(
    page: Page, context: BrowserContext, server: ScriptedServer
) -> None:
    """Nothing says that the page goes away."""
    server.scripts.append(Held("Half an answer", " never"))
    await ask(page, "first")
    await expect(answers(page)).to_have_text("Half an answer")
    await holds(
        page,
        """() => new Promise((resolve) => {
          indexedDB.open("chukei", 1).onsuccess = ({ target: { result } }) => {
            result.transaction("messages").objectStore("messages").getAll().onsuccess = ({ target }) => {
              result.close();
              resolve(target.result.some(({ message }) => message.content === "Half an answer"));
            };
          };
        })""",
    )
    address = page.url
    await page.evaluate("window.addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true)")
    other = await context.new_page()
    await page.close()
    await open_chat(other, address)
    await expect(answers(other)).to_have_text("Half an answer")
    await expect(other.locator(".notice")).to_have_text("The page was closed while this answer was being written.")


async def test_earlier_prompts_come_back_by_the_arrow_key(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    await page.get_by_role("button", name="New chat").click()
    for text in ("second", "first"):
        await page.locator("#prompt").press("ArrowUp")
        await expect(page.locator("#prompt")).to_have_value(text)


async def test_a_system_message_belongs_to_its_conversation(page: Page, server: ScriptedServer) -> None:
    await talk(page, "first")
    await page.get_by_role("button", name="New chat").click()
    await entry(page, "first").click()
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("System message").fill("Be kind.")
    await page.get_by_role("button", name="Use for new conversations").click()
    await page.get_by_label("System message").fill("Be brief.")
    await page.keyboard.press("Escape")
    await talk(page, "second")
    assert server.exchanges[-1].body["messages"][0] == {"role": "system", "content": "Be kind."}
    await entry(page, "first").click()
    await expect(page.locator(".question-text")).to_have_text("first")
    await page.reload()
    await expect(page.locator(".question-text")).to_have_text("first")
    await ask(page, "more")
    await finished(page, 2)
    assert server.exchanges[-1].body["messages"][0] == {"role": "system", "content": "Be brief."}
