"""Talking: tokens arrive, stop, again, edit, and the list of conversations."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Page, expect
from tests.browser.conftest import Watch, open_chat
from tests.browser.scripted_server import Exchange, ScriptedServer, azure_stream, delta, event, saying
from tests.browser.steps import (
    act,
    answers,
    ask,
    assert_stored,
    choose_model,
    entry,
    finished,
    holds,
    offered,
    place_at_rest,
)
from tests.rows import rows

pytestmark = pytest.mark.anyio


class Held:
    """An answer that goes on when the test says so."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.go_on = asyncio.Event()
        self.exchange: Exchange | None = None

    async def __call__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        events = azure_stream(*self.texts)
        await exchange.start()
        await exchange.write(b"".join(events[:3]))
        waiters = {asyncio.create_task(self.go_on.wait()), asyncio.create_task(exchange.gone.wait())}
        _, pending = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if self.go_on.is_set():
            await exchange.write(b"".join(events[3:]))


async def test_tokens_appear_as_they_arrive(page: Page, server: ScriptedServer) -> None:
    held = Held("The first", " and the *second*.")
    server.scripts.append(held)
    await ask(page, "Hello?")
    await expect(answers(page)).to_have_text("The first")
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "true")
    held.go_on.set()
    await finished(page)
    await expect(answers(page)).to_have_text("The first and the second.")
    await expect(answers(page).locator("em")).to_have_text("second")


async def test_the_request_is_what_the_relay_expects(page: Page, server: ScriptedServer) -> None:
    await ask(page, "Hello?")
    await finished(page)
    await ask(page, "  And\nnow? ")
    await finished(page, 2)
    first, second = (exchange.body for exchange in server.exchanges)
    assert first == {
        "model": "chat",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert second["messages"] == [
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Hello from the server."},
        {"role": "user", "content": "  And\nnow? "},
    ]
    assert "authorization" not in server.exchanges[0].headers


async def test_model_system_message_and_temperature(page: Page, server: ScriptedServer) -> None:
    await choose_model(page, "reasoner")
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("System message").fill("Be brief.")
    await page.get_by_label("Temperature").fill("0.3")
    await page.keyboard.press("Escape")
    await ask(page, "Hello?")
    await finished(page)
    body = server.exchanges[0].body
    assert (body["model"], body["temperature"]) == ("reasoner", 0.3)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    await page.reload()
    await expect(page.locator("#model")).to_have_text("reasoner")


async def test_the_figures_under_an_answer(page: Page, server: ScriptedServer) -> None:
    async def slow(exchange: Exchange) -> None:
        events = azure_stream("a", "b")
        await exchange.start()
        await exchange.write(b"".join(events[:3]))
        await answers(page).filter(has_text="a").wait_for()
        await asyncio.sleep(0.1)  # the figure that is shown is a duration
        await exchange.write(b"".join(events[3:]))

    server.scripts.append(slow)
    await ask(page, "Hello?")
    await finished(page)
    readout = page.locator(".readout")
    await readout.locator("summary").click()
    await expect(readout.locator("[data-figure=input]")).to_have_text("Tokens in23")
    await expect(readout.locator("[data-figure=output]")).to_have_text("Tokens out42")
    await expect(readout.locator("[data-figure=finish]")).to_have_text("Endedcomplete")
    await expect(readout.locator("[data-figure=model]")).to_have_text("Modelgpt-4o-2024-11-20")
    first = await readout.locator("[data-figure=first] dd").inner_text()
    speed = await readout.locator("[data-figure=speed] dd").inner_text()
    assert float(first.removesuffix(" s")) >= 0
    assert 0 < float(speed.removesuffix(" tok/s").replace(",", "")) <= 41 / 0.05


@pytest.mark.parametrize("way", ["button", "escape"])
async def test_stop_closes_the_connection(page: Page, server: ScriptedServer, way: str) -> None:
    held = Held("As far as this", " never")
    server.scripts.append(held)
    await ask(page, "Hello?")
    await expect(answers(page)).to_have_text("As far as this")
    if way == "button":
        await page.get_by_role("button", name="Stop").click()
    else:
        await page.keyboard.press("Escape")
    assert held.exchange is not None
    async with asyncio.timeout(60):
        await held.exchange.gone.wait()
    await finished(page)
    await expect(answers(page)).to_have_text("As far as this")
    await expect(page.locator(".notice")).to_have_text("You stopped this answer.")
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(page.locator("#prompt")).to_be_focused()


async def test_stop_before_the_first_byte(page: Page, server: ScriptedServer) -> None:
    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await exchange.gone.wait()

    server.scripts.append(silent)
    await ask(page, "Hello?")
    await arrived.wait()
    await expect(page.locator(".waiting")).to_be_visible()
    await page.keyboard.press("Escape")
    async with asyncio.timeout(60):
        await server.exchanges[0].gone.wait()
    await expect(page.locator(".notice")).to_have_text("You stopped this answer.")
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_regenerate_asks_the_same_again(page: Page, server: ScriptedServer) -> None:
    server.scripts += [saying("One"), saying("Two")]
    await ask(page, "Hello?")
    await finished(page)
    await page.get_by_role("button", name="Regenerate").click()
    await expect(answers(page)).to_have_text("Two")
    await finished(page)
    assert server.exchanges[0].body == server.exchanges[1].body


async def test_edit_and_send_again(page: Page, server: ScriptedServer) -> None:
    server.scripts += [saying(text) for text in ("One", "Two", "Three")]
    for count, text in enumerate(("first", "second"), 1):
        await ask(page, text)
        await finished(page, count)
    question = page.locator(".question").first
    await question.hover()
    await question.get_by_role("button", name="Edit").click()
    field = page.get_by_label("Edit message")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("first")
    await field.fill("better")
    await page.get_by_role("button", name="Send again").click()
    await expect(answers(page)).to_have_text(["Three"])
    await expect(page.locator(".question-text")).to_have_text(["better"])
    assert server.exchanges[2].body["messages"] == [{"role": "user", "content": "better"}]


async def test_an_edit_can_be_dropped(page: Page, server: ScriptedServer) -> None:
    await ask(page, "first")
    await finished(page)
    await page.locator(".question").hover()
    await page.get_by_role("button", name="Edit").click()
    await page.get_by_label("Edit message").fill("other")
    await page.keyboard.press("Escape")
    await expect(page.locator(".question-text")).to_have_text("first")
    await expect(page.get_by_role("button", name="Edit")).to_be_focused()
    assert len(server.exchanges) == 1


async def test_conversations_are_kept_opened_deleted_and_cleared(page: Page, server: ScriptedServer) -> None:
    await ask(page, "first")
    await finished(page)
    await page.get_by_role("button", name="New chat").click()
    await expect(page.locator("#welcome")).to_be_visible()
    await ask(page, "second")
    await finished(page)
    await open_chat(page, server.url)
    await expect(page.locator(".history-entry")).to_have_text(["second", "first"])
    await entry(page, "first").click()
    await expect(page.locator(".question-text")).to_have_text("first")
    await expect(answers(page)).to_have_text("Hello from the server.")
    await act(page, "first", "Delete")
    await expect(page.locator(".history-entry")).to_have_text(["second"])
    await expect(page.locator("#welcome")).to_be_visible()
    await page.get_by_role("button", name="Clear history").click()
    await expect(page.locator(".history-entry")).to_have_count(0)
    await assert_stored(page)


async def test_history_can_be_kept_out_of_the_browser(page: Page, server: ScriptedServer) -> None:
    await ask(page, "kept")
    await finished(page)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Keep history in this browser").uncheck()
    await page.keyboard.press("Escape")
    await ask(page, "secret")
    await finished(page, 2)
    await assert_stored(page)
    await expect(page.get_by_text("Not kept: gone when this page closes.")).to_be_visible()


async def test_an_answer_goes_on_in_a_conversation_that_is_left(page: Page, server: ScriptedServer) -> None:
    held = Held("Slowly", " but surely.")
    server.scripts.append(held)
    await ask(page, "first")
    await expect(answers(page)).to_have_text("Slowly")
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "second")
    await finished(page)
    await expect(answers(page)).to_have_text("Hello from the server.")
    await entry(page, "first").click()
    await expect(answers(page)).to_have_text("Slowly")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    held.go_on.set()
    await finished(page)
    await expect(answers(page)).to_have_text("Slowly but surely.")


async def test_leaving_the_page_keeps_what_has_arrived(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(Held("Half an answer", " never"))
    await ask(page, "first")
    await expect(answers(page)).to_have_text("Half an answer")
    await open_chat(page, server.url)
    await entry(page, "first").click()
    await expect(answers(page)).to_have_text("Half an answer")
    await expect(page.locator(".notice")).to_have_text("The page was closed while this answer was being written.")
    await page.get_by_role("button", name="Regenerate").click()
    await finished(page)
    await expect(answers(page)).to_have_text("Hello from the server.")


async def test_copying_a_message_and_a_code_block(page: Page, server: ScriptedServer) -> None:
    text = "Look:\n\n```python\nx = 1\n```\n"
    server.scripts.append(saying(text))
    await ask(page, "Hello?")
    await finished(page)
    await answers(page).get_by_role("button", name="Copy").click()
    await expect(page.locator("#announcer")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "x = 1"
    await page.locator(".answer .message-foot").get_by_role("button", name="Copy").click()
    await expect(page.locator(".answer .message-foot")).to_contain_text("Copied")
    await holds(page, "(text) => navigator.clipboard.readText().then((copied) => copied === text)", text)


async def test_reasoning_refusal_and_tool_calls(page: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        call = {"index": 0, "id": "1", "type": "function", "function": {"name": "weather", "arguments": ""}}
        rest = [{"index": 0, "function": {"arguments": part}} for part in ('{"city"', ':"京都"}')]
        await exchange.start()
        await exchange.write(delta(reasoning_content="Let me ", role=None))
        await exchange.write(delta(reasoning_content="think.") + delta(refusal="I would rather not."))
        await exchange.write(delta(tool_calls=[call]) + b"".join(delta(tool_calls=[part]) for part in rest))
        await exchange.write(delta(finish="tool_calls") + b"data: [DONE]\n\n")

    server.scripts.append(script)
    await ask(page, "Hello?")
    await finished(page)
    await expect(page.locator(".reasoning-text")).to_be_hidden()
    await page.locator(".reasoning summary").click()
    await expect(page.locator(".reasoning-text")).to_have_text("Let me think.")
    await expect(page.locator(".refusal")).to_contain_text("I would rather not.")
    await expect(page.locator(".tool-call")).to_contain_text("weather")
    await expect(page.locator(".tool-call pre")).to_have_text('{ "city": "京都" }')
    await expect(page.locator(".notice").last).to_have_text("The model asks for a tool to be called.")


async def test_annotations_and_heartbeats_add_nothing(page: Page, server: ScriptedServer) -> None:
    """Azure's asynchronous filter sends choices without a delta, even after the finish."""

    async def script(exchange: Exchange) -> None:
        choice = {"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 1}}
        note = event({"id": "", "model": "", "object": "", "choices": [choice]})
        events = azure_stream("Hello", " there")
        await exchange.start()
        await exchange.write(b": waiting\n\n" + b"".join(events[:3]) + note + b":\n\n" + events[3] + events[4] + note)
        await exchange.write(b"".join(events[5:]))

    server.scripts.append(script)
    await ask(page, "Hello?")
    await finished(page)
    await expect(answers(page)).to_have_text("Hello there")
    await expect(page.locator("[data-figure=finish] dd")).to_have_text("complete")


async def test_the_welcome_is_read_from_its_beginning(blank: Page, server: ScriptedServer) -> None:
    await blank.set_viewport_size({"width": 640, "height": 360})
    page = await open_chat(blank, server.url)
    assert await place_at_rest(page) == 0
    server.scripts.append(saying("line\n\n" * 60))
    await ask(page, "Hello?")
    await finished(page)
    assert await place_at_rest(page) > 0
    await page.go_back()
    await expect(answers(page)).to_have_count(0)
    assert await place_at_rest(page) == 0
    await expect(page.get_by_role("button", name="Jump to latest")).to_be_hidden()


async def test_the_view_follows_though_the_page_became_shorter(page: Page, server: ScriptedServer) -> None:
    """The welcome, in which the reader has scrolled, goes; the browser says so after the answer has grown."""
    await page.set_viewport_size({"width": 640, "height": 360})
    await page.evaluate("scrollTo(0, 90)")
    assert await place_at_rest(page) == 90
    held = Held("line\n\n" * 60, "line\n\n" * 60)
    server.scripts.append(held)
    await page.evaluate(
        """() => {
          const field = document.querySelector("#prompt");
          field.value = "Hello?";
          field.dispatchEvent(new Event("input"));
          document.querySelector("#send").click();
          document.querySelector("#transcript").lastElementChild.style.minHeight = "2000px";
          document.documentElement.getBoundingClientRect();
        }"""
    )
    await expect(answers(page).locator("p")).to_have_count(60)
    await holds(page, "() => document.documentElement.scrollHeight - innerHeight - scrollY < 48")
    held.go_on.set()
    await finished(page)
    await holds(page, "() => document.documentElement.scrollHeight - innerHeight - scrollY < 48")


async def test_the_view_follows_until_the_reader_scrolls_up(page: Page, server: ScriptedServer) -> None:
    held = Held("line\n\n" * 60, "line\n\n" * 60)
    server.scripts.append(held)
    await ask(page, "Hello?")
    await expect(answers(page).locator("p")).to_have_count(60)
    await place_at_rest(page)
    bottom = "document.documentElement.scrollHeight - innerHeight - scrollY"
    assert await page.evaluate(bottom) <= 1
    await page.mouse.move(700, 300)
    await page.mouse.wheel(0, -600)
    await expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    place = await place_at_rest(page)
    held.go_on.set()
    await finished(page)
    assert await page.evaluate("scrollY") == place
    await page.get_by_role("button", name="Jump to latest").click()
    await expect(page.get_by_role("button", name="Jump to latest")).to_be_hidden()
    await place_at_rest(page)
    assert await page.evaluate(bottom) <= 1


@rows("simulator", [True, False])
async def test_a_simulator_is_named(blank: Page, server: ScriptedServer, simulator: bool) -> None:
    server.simulator = simulator
    page = await open_chat(blank, server.url)
    await expect(offered(page)).to_have_count(2)
    await expect(page.locator("#simulator")).to_be_visible(visible=simulator)
    await expect(page.locator("#simulator-note")).to_be_visible(visible=simulator)


async def test_the_page_works_under_a_path_prefix(
    context: BrowserContext, watch: Watch, server: ScriptedServer
) -> None:
    server.prefix = "/tools/relay"
    page = await context.new_page()
    await open_chat(page, f"{server.url}tools/relay/")
    await expect(offered(page)).to_have_count(2)
    await ask(page, "Hello?")
    await finished(page)
    await expect(answers(page)).to_have_text("Hello from the server.")


BROKEN_STORAGE = {
    "refused": """for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
      Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
    }
    window.BroadcastChannel = class { constructor() { throw new DOMException("no", "SecurityError"); } };""",
    "full": """Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
    IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };""",
    "broken": """IDBObjectStore.prototype.getAll = () => { throw new DOMException("broken", "UnknownError"); };""",
}


@pytest.mark.parametrize("script", BROKEN_STORAGE.values(), ids=BROKEN_STORAGE.keys())
async def test_the_page_works_without_storage(blank: Page, server: ScriptedServer, script: str) -> None:
    await blank.add_init_script(script)
    page = await open_chat(blank, server.url)
    for count, text in enumerate(("first", "second"), 1):
        await ask(page, text)
        await finished(page, count)
    await page.get_by_role("button", name="New chat").click()
    await entry(page, "first").click()
    await expect(answers(page)).to_have_count(2)


async def test_a_long_answer_is_not_drawn_again_and_again(page: Page, server: ScriptedServer) -> None:
    """A hundred kilobytes in five bursts: what has been drawn stays, so that the cost grows with the text only."""
    text = "Some **bold** words, `code` and a [link](https://x.test/) again and again.\n\n- item\n\n"

    async def bursts(exchange: Exchange) -> None:
        await exchange.start()
        for burst in range(1, 6):
            await exchange.write(delta(content=text) * 250)
            await expect(answers(page).locator("ul")).to_have_count(250 * burst)
        await exchange.write(b"data: [DONE]\n\n")

    server.scripts.append(bursts)
    await page.evaluate(
        """() => {
          window.removed = 0;
          new MutationObserver((changes) => {
            for (const { removedNodes } of changes) window.removed += removedNodes.length;
          }).observe(document.querySelector("#transcript"), { childList: true, subtree: true });
        }"""
    )
    await ask(page, "Hello?")
    await expect(page.locator(".message-foot .readout")).to_be_visible()
    # Each burst may draw its last blocks a few times; drawing everything anew would remove thousands.
    assert 0 < await page.evaluate("window.removed") < 1_000
