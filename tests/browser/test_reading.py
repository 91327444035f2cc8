"""Keyboard, screen reader, input method, languages."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from tests.browser.conftest import Watch, open_chat, watch_context
from tests.browser.modules import run_module
from tests.browser.scripted_server import Exchange, ScriptedServer, azure_stream, delta, event, refusing, saying
from tests.browser.steps import act, answers, ask, entry, finished, holds, settle
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
    await holds(page, "window.announced.length > 1")
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
    await expect(page.locator(".retry")).to_have_text("Try again")  # it has counted down
    alerts = [text for role, text in await announced(page) if role == "alert"]
    said = ("The model’s service has a fault at the moment.", "Try again in a moment, or choose another model.")
    assert alerts == ["".join([*said, "The service asks to wait 3 seconds."])]
    await page.get_by_role("button", name="New chat").click()
    await entry(page, "Hello?").click()
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
    for count, keys in enumerate(("Control+Enter", "Meta+Enter"), 2):
        await page.keyboard.type("again")
        await page.keyboard.press(keys)
        await expect(prompt).to_have_value("")
        await finished(page, count)
    assert [exchange.body["messages"][-1]["content"] for exchange in server.exchanges] == ["one\ntwo", "again", "again"]


async def test_blank_text_is_not_sent(page: Page, server: ScriptedServer) -> None:
    await ask(page, "  \n ")
    await page.get_by_role("button", name="Send").click(force=True)
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
    await entry(page, "Hello?").click()
    await finished(page)  # what opens moves the focus
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
        "Actions for “Hello?”",
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
    starter = await page.locator("#starters button").first.text_content()
    await act(page, str(starter), "Delete")
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="New chat")).to_be_focused()
    await ask(page, "Hello?")
    await finished(page)
    await page.get_by_role("button", name="Clear history").press("Enter")
    await page.get_by_role("button", name="Undo").press("Enter")
    await expect(entry(page, "Hello?")).to_be_focused()


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
    await expect(page.locator("[data-figure=output]")).to_have_text("出力トークン42")
    await expect(page.locator("#announcer")).to_have_text("回答：Hello from the server.")
    await page.locator("#language").select_option("en")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator("[data-figure=output]")).to_have_text("Tokens out42")
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


@rows(
    ("wanted", "spoken"), [(["ja"], "ja"), (["fr", "ja-JP"], "ja"), (["en-GB", "ja"], "en"), (["fr"], "en"), ([], "en")]
)
async def test_the_choice_of_language(library: Page, wanted: list[str], spoken: str) -> None:
    assert await run_module(library, "i18n.js", "return m.pickLanguage(arg)", wanted) == spoken


def tool_call(index: int, **function: str) -> dict[str, Any]:
    """One piece of a tool call."""
    return {"index": index, "id": "1", "type": "function", "function": function}


async def test_reasoning_and_tool_calls_grow_while_they_are_open(page: Page, server: ScriptedServer) -> None:
    """They are closed at first; what the reader opens stays open, and the page does not move below the reader."""
    go = [asyncio.Event() for _ in range(3)]

    async def script(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.write(delta(reasoning_content="**First** thought.\n\n" + "More.\n\n" * 60))
        await go[0].wait()
        await exchange.write(delta(reasoning_content="Last thought.") + delta(content="Done."))
        await go[1].wait()
        await exchange.write(delta(tool_calls=[tool_call(0, name="get_weather", arguments='{"city"')]))
        await go[2].wait()
        await exchange.write(delta(tool_calls=[tool_call(0, arguments=':"京都"}')]))
        await exchange.write(delta(finish="tool_calls") + b"data: [DONE]\n\n")

    server.scripts.append(script)
    await ask(page, "Hello?")
    reasoning = page.locator(".reasoning")
    await expect(reasoning.locator("summary")).to_have_text("Reasoning…")
    await expect(reasoning.locator(".reasoning-text")).to_be_hidden()
    await reasoning.locator("summary").click()
    await expect(reasoning.locator("strong")).to_be_visible()
    await page.evaluate("window.scrollTo(0, 0)")
    await settle(page)
    go[0].set()
    await expect(answers(page)).to_have_text("Done.")
    await expect(reasoning.locator("p").last).to_have_text("Last thought.")
    await expect(reasoning.locator("summary")).to_have_text(re.compile(r"^Reasoned for \d+(\.\d)? s$"))
    await expect(reasoning).to_have_attribute("open", "")
    assert await page.evaluate("window.scrollY") == 0
    go[1].set()
    call = page.locator(".tool-call")
    await expect(call.locator("summary")).to_have_text("Calling get_weather…")
    await call.locator("summary").click()
    await expect(call.locator("pre")).to_have_text('{"city"')
    go[2].set()
    await finished(page)
    await expect(call.locator("summary")).to_have_text("Called get_weather")
    await expect(call.locator("pre")).to_have_text('{ "city": "京都" }')
    await expect(call).to_have_attribute("open", "")


@rows(
    ("finish", "said", "notice"),
    [
        ("stop", "complete", None),
        ("length", "at the length limit", "The answer reached its length limit and ends here."),
        ("content_filter", "by the content filter", "The content filter stopped this answer."),
        ("tool_calls", "with a tool call", "The model asks for a tool to be called."),
        ("<b>odd</b>", "<b>odd</b>", "The model ended with “<b>odd</b>”."),
    ],
)
async def test_each_way_to_end_is_said(
    page: Page, server: ScriptedServer, finish: str, said: str, notice: str | None
) -> None:
    server.scripts.append(saying("Some text.", finish=finish))
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Hello?")
    await finished(page)
    await expect(page.locator("[data-figure=finish] dd")).to_have_text(said)
    await expect(page.locator(".notice")).to_have_text([] if notice is None else [notice])


async def test_the_figures_are_one_line_that_opens(page: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        details = {"completion_tokens_details": {"reasoning_tokens": 30}}
        usage = {"prompt_tokens": 1234, "completion_tokens": 42, "total_tokens": 1276, **details}
        await exchange.start(headers={"content-type": "text/event-stream", "x-request-id": "req-7"})
        await exchange.write(delta(content="Hello") + delta(finish="stop"))
        await exchange.write(event({"choices": [], "model": "gpt-4o-2024-11-20", "usage": usage}) + b"data: [DONE]\n\n")

    server.scripts.append(script)
    await ask(page, "Hello?")
    await finished(page)
    readout = page.locator(".readout")
    await expect(readout.locator("dl")).to_be_hidden()
    await expect(readout.locator("summary")).to_have_text(re.compile(r"^Figures [\d.]+ s$"))
    await readout.locator("summary").press("Enter")
    await expect(readout.locator("dl")).to_be_visible()
    shown = await readout.locator("dl > div").evaluate_all("(all) => all.map((each) => each.innerText.split('\\n'))")
    assert [name for name, *_ in shown] == [
        "First token",
        "Tokens in",
        "Tokens out",
        "Spent on reasoning",
        "Ended",
        "Model",
        "Request",
    ]
    values = [value for _, value, *_ in shown]
    assert values[1:] == ["1,234", "42", "30", "complete", "gpt-4o-2024-11-20", "req-7"]
    copy = readout.get_by_role("button", name="Copy")
    await copy.press("Enter")
    await expect(readout.get_by_role("button")).to_have_text("Copied")
    await expect(page.locator("#announcer")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "req-7"
    await expect(copy).to_have_text("Copy")  # and is there to be pressed again
    await expect(copy).to_be_focused()


async def test_wide_code_wraps_when_asked_and_so_does_the_next(page: Page, server: ScriptedServer) -> None:
    text = "```js\nconst text = '" + "word " * 80 + "';\n```"
    server.scripts += [saying(text), saying(text)]
    await ask(page, "Hello?")
    await finished(page)
    is_wide = "(found) => found.scrollWidth > found.clientWidth"
    code = page.get_by_role("group", name="js")
    wrap = page.get_by_role("button", name="Wrap lines")
    assert await code.evaluate(is_wide)
    await expect(wrap).to_have_attribute("aria-pressed", "false")
    await wrap.press("Enter")
    await expect(wrap).to_have_attribute("aria-pressed", "true")
    assert not await code.evaluate(is_wide)
    await ask(page, "Hello?")
    await finished(page, 2)
    assert not await code.last.evaluate(is_wide)
    await wrap.last.click()
    assert await code.last.evaluate(is_wide)
    assert not await code.first.evaluate(is_wide)


@rows("text", ["```js\n" + "x" * 300 + "\n```", "|" + " a b c |" * 30 + "\n|" + "-|" * 30])
async def test_what_is_wide_scrolls_by_the_keyboard_and_has_a_name(
    page: Page, server: ScriptedServer, text: str
) -> None:
    server.scripts.append(saying(text))
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "Hello?")
    await finished(page)
    wide = answers(page).get_by_role("group")
    assert await wide.get_attribute("aria-label") in ("js", "Table")
    await wide.focus()
    await page.keyboard.press("ArrowRight")
    await holds(page, "(found) => found.scrollLeft > 0", await wide.element_handle())
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
