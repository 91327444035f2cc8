"""Keyboard, screen reader, input method, languages."""

from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from tests.browser.conftest import Watch, open_chat, watch_context
from tests.browser.modules import run_module
from tests.browser.scripted_server import Exchange, ScriptedServer, azure_stream, refusing, saying
from tests.browser.steps import answers, ask, finished, settle
from tests.rows import rows

pytestmark = pytest.mark.anyio


async def announced(page: Page) -> list[Any]:
    """What every live region of the page has said so far, as [role, text]."""
    said: list[Any] = await page.evaluate("window.announced")
    return said


async def test_a_screen_reader_hears_the_whole_answer_once(page: Page, server: ScriptedServer) -> None:
    words = ["# Title\n\n", "Some ", "**bold** ", "text.\n\n", "```py\n", "x = 1\n", "```\n\n", "- a\n- b"]
    server.scripts.append(saying(*words))
    await ask(page, "Hello?")
    await finished(page)
    await settle(page)
    assert await announced(page) == [
        ["status", "Generating"],
        ["status", "Answer: Title\nSome bold text.\nx = 1\nab"],
    ]


async def test_a_failure_is_announced_once_and_not_again_when_shown_again(
    page: Page, server: ScriptedServer, watch: Watch
) -> None:
    watch.expected.append("Failed to load resource")
    server.scripts.append(refusing(500, {"message": "Sorry."}, {"retry-after": "3"}))
    await ask(page, "Hello?")
    await expect(page.locator(".retry")).to_have_text("Try again", timeout=10_000)  # it has counted down
    alerts = [text for role, text in await announced(page) if role == "alert"]
    assert alerts == ["The relay answered with an error.Sorry.The service asks to wait 3 s."]
    await page.get_by_role("button", name="New chat").click()
    await page.get_by_role("button", name="Hello?", exact=True).click()
    await expect(page.locator(".failure")).to_be_visible()
    await expect(page.locator(".failure [role=alert]")).to_have_count(0)


async def test_enter_sends_and_shift_enter_does_not(page: Page, server: ScriptedServer) -> None:
    prompt = page.locator("#prompt")
    await expect(prompt).to_be_focused()
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await expect(prompt).to_have_value("one\ntwo")
    await page.keyboard.press("Enter")
    await finished(page)
    await expect(prompt).to_have_value("")
    for keys in ("Control+Enter", "Meta+Enter"):
        await page.keyboard.type("again")
        await page.keyboard.press(keys)
        await expect(prompt).to_have_value("")
        await expect(page.locator("[aria-busy]")).to_have_count(0)
    assert [exchange.body["messages"][-1]["content"] for exchange in server.exchanges] == ["one\ntwo", "again", "again"]


async def test_blank_text_is_not_sent(page: Page, server: ScriptedServer) -> None:
    await ask(page, "  \n ")
    await page.get_by_role("button", name="Send").click()
    await settle(page)
    assert server.exchanges == []


async def test_enter_that_accepts_a_conversion_does_not_send(
    page: Page, context: BrowserContext, server: ScriptedServer
) -> None:
    """A real composition, as an input method makes it."""
    devtools = await context.new_cdp_session(page)
    await page.locator("#prompt").focus()
    await devtools.send("Input.imeSetComposition", {"text": "ちゅうけい", "selectionStart": 5, "selectionEnd": 5})
    await expect(page.locator("#prompt")).to_have_value("ちゅうけい")
    key = {"type": "rawKeyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    await devtools.send("Input.dispatchKeyEvent", key)
    await devtools.send("Input.insertText", {"text": "中継"})
    await settle(page)
    assert server.exchanges == []
    await expect(page.locator("#prompt")).to_have_value("中継")
    await page.keyboard.press("Enter")
    await finished(page)
    assert server.exchanges[0].body["messages"][0]["content"] == "中継"


@rows("event", ["{isComposing: true}", "{keyCode: 229}"])
async def test_enter_while_composing_in_any_browser(page: Page, server: ScriptedServer, event: str) -> None:
    """Safari has ended the composition when the key event comes, and marks it by key code only."""
    await page.locator("#prompt").fill("ちゅうけい")
    init = f"Object.assign({{key: 'Enter', bubbles: true, cancelable: true}}, {event})"
    send = f"(field) => field.dispatchEvent(new KeyboardEvent('keydown', {init}))"
    assert await page.locator("#prompt").evaluate(send) is True  # not taken: the browser goes on with it
    await settle(page)
    assert server.exchanges == []


async def test_escape_during_a_composition_stops_nothing(page: Page, server: ScriptedServer) -> None:
    async def held(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.gone.wait()

    server.scripts.append(held)
    await ask(page, "Hello?")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    escape = "new KeyboardEvent('keydown', {key: 'Escape', isComposing: true, bubbles: true})"
    await page.locator("#prompt").evaluate(f"(field) => field.dispatchEvent({escape})")
    await settle(page)
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    assert not server.exchanges[0].gone.is_set()


async def test_everything_can_be_reached_and_seen_with_the_keyboard(page: Page, server: ScriptedServer) -> None:
    await ask(page, "Hello?")
    await finished(page)
    await page.reload()
    await page.get_by_role("button", name="Hello?", exact=True).click()
    await page.locator(".skip").focus()
    await page.keyboard.press("Shift+Tab")  # leaves the page: nothing comes before
    assert await page.evaluate("document.activeElement === document.body")
    await page.locator(".skip").focus()
    reached: list[str] = []
    describe = """() => {
      const at = document.activeElement;
      const ring = getComputedStyle(at.id === "prompt" ? at.closest(".composer") : at);
      const seen = ring.outlineStyle !== "none" || ring.boxShadow !== "none";
      return [at.id || at.getAttribute("aria-label") || at.textContent, seen];
    }"""
    while not reached or (reached[-1] != "send" and len(reached) < 30):
        name, seen = await page.evaluate(describe)
        reached.append(name)
        assert seen, f"no visible focus on {name}"
        await page.keyboard.press("Tab")
    for name in (
        "new-chat",
        "Hello?",
        "Delete “Hello?”",
        "clear-history",
        "language",
        "theme",
        "model",
        "settings-button",
        "Edit",
        "Copy",
        "Regenerate",
        "prompt",
        "send",
    ):
        assert name in reached


async def test_the_focus_is_never_lost(page: Page, server: ScriptedServer) -> None:
    """Buttons that vanish when they are pressed pass the focus on."""
    prompt = page.locator("#prompt")
    await page.locator("#starters button").first.press("Enter")
    await expect(prompt).to_be_focused()
    await finished(page)
    await page.get_by_role("button", name="Regenerate").press("Enter")
    await expect(prompt).to_be_focused()
    await finished(page)
    await page.get_by_role("button", name="Edit").press("Enter")
    await page.get_by_role("button", name="Send again").press("Enter")
    await expect(prompt).to_be_focused()
    await finished(page)
    await page.get_by_role("button", name="Delete").press("Enter")
    await expect(page.get_by_role("button", name="New chat")).to_be_focused()
    await ask(page, "Hello?")
    await finished(page)
    await page.get_by_role("button", name="Clear history").press("Enter")
    await page.get_by_role("button", name="Press again to clear").press("Enter")
    await expect(prompt).to_be_focused()


async def test_landmarks_and_names(page: Page) -> None:
    for role in ("main", "navigation", "complementary", "banner"):
        await expect(page.get_by_role(role)).to_have_count(1)
    nameless = """() => [...document.querySelectorAll("button, input, select, textarea")]
      .filter((found) => found.checkVisibility())
      .filter((found) => !(found.getAttribute("aria-label") || found.textContent.trim() || found.labels?.length))
      .map((found) => found.outerHTML)"""
    assert await page.evaluate(nameless) == []


async def test_the_language_is_the_readers(browser: Browser, server: ScriptedServer) -> None:
    context = await browser.new_context(locale="ja-JP")
    watch = Watch()
    watch_context(context, watch, server.url)
    page = await context.new_page()
    await open_chat(page, server.url)
    await expect(page.locator("html")).to_have_attribute("lang", "ja")
    await expect(page.get_by_role("heading", name="問えば、言葉が届く。")).to_be_visible()
    await expect(page.get_by_placeholder("メッセージを入力")).to_be_visible()
    await ask(page, "こんにちは")
    await finished(page)
    await expect(page.locator("[data-figure=tokens]")).to_have_text("トークン入力 23 · 出力 42")
    await expect(page.locator("#announcer")).to_have_text("回答：Hello from the server.")
    await page.locator("#language").select_option("en")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator("[data-figure=tokens]")).to_have_text("Tokens23 in · 42 out")
    await open_chat(page, server.url)
    await expect(page.locator("html")).to_have_attribute("lang", "en")  # the choice outlives the page
    await context.close()
    assert watch.errors == []


async def test_the_language_may_change_while_an_answer_streams(page: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        events = azure_stream("Before", " and after")
        await exchange.start()
        await exchange.write(b"".join(events[:3]))
        await page.locator("html[lang=ja]").wait_for()
        await exchange.write(b"".join(events[3:]))

    server.scripts.append(script)
    await ask(page, "Hello?")
    await expect(answers(page)).to_have_text("Before")
    await page.locator("#language").select_option("ja")
    await finished(page)
    await expect(answers(page)).to_have_text("Before and after")
    await expect(page.get_by_role("button", name="もう一度生成")).to_be_visible()


async def test_both_languages_say_the_same_things(library: Page) -> None:
    body = """
      const blanks = (text) => (text.match(/\\{\\w+\\}/g) ?? []).sort().join();
      const keys = new Set([...Object.keys(m.ENGLISH), ...Object.keys(m.JAPANESE)]);
      return [keys.size, [...keys].filter((key) => !m.ENGLISH[key] || !m.JAPANESE[key]
        || blanks(m.ENGLISH[key]) !== blanks(m.JAPANESE[key]))];
    """
    size, differing = await run_module(library, "words.js", body)
    assert size > 100
    assert differing == []


@rows(
    ("wanted", "spoken"), [(["ja"], "ja"), (["fr", "ja-JP"], "ja"), (["en-GB", "ja"], "en"), (["fr"], "en"), ([], "en")]
)
async def test_the_choice_of_language(library: Page, wanted: list[str], spoken: str) -> None:
    assert await run_module(library, "i18n.js", "return m.pickLanguage(arg)", wanted) == spoken
