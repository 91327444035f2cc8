"""The page as `chukei serve` serves it, talking to the built-in simulator."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import Watch, open_chat, watch_context
from tests.browser.steps import answers, ask, choose_model, finished
from tests.live.relays import RelayProcess, eventually

pytestmark = pytest.mark.anyio


class Served:
    """A relay in a process of its own, and what it logs."""

    def __init__(self, relay: RelayProcess) -> None:
        self.url = f"{relay.url}/"
        self._log = relay.log
        self._read = 0

    async def logged(self, operation: str) -> dict[str, Any]:
        """The next request of this kind, as the relay has logged it."""
        while True:
            await eventually(lambda: len(self._log) > self._read)
            line = self._log[self._read]
            self._read += 1
            entry: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if entry.get("operation") == operation:
                return entry


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with RelayProcess() as relay:
        yield Served(relay)


@pytest.fixture
async def chat(browser: Browser, served: Served) -> AsyncIterator[Page]:
    context = await browser.new_context(locale="en-GB")
    watch = Watch(expected=["Failed to load resource"])
    watch_context(context, watch, served.url)
    page = await context.new_page()
    await open_chat(page, served.url)
    yield page
    await context.close()
    assert watch.unexpected() == []
    assert watch.foreign == []


async def test_an_answer_streams_from_the_simulator(chat: Page, served: Served) -> None:
    await expect(chat.locator("#simulator")).to_be_visible()
    await chat.evaluate(
        """() => {
          window.lengths = new Set();
          const note = () => window.lengths.add(document.querySelector(".answer-text")?.textContent.length ?? 0);
          new MutationObserver(note).observe(document.body, { childList: true, subtree: true, characterData: true });
        }"""
    )
    await ask(chat, "Explain server-sent events as you would to a colleague")
    await expect(chat.locator(".answer .message-foot")).to_be_visible()
    await finished(chat)
    assert await chat.evaluate("window.lengths.size") > 10, "the tokens did not arrive one by one"
    for figure in ("first", "speed", "input", "output", "finish", "model"):
        await expect(chat.locator(f"[data-figure={figure}] dd")).not_to_be_empty()
    await expect(chat.locator("[data-figure=finish] dd")).to_have_text("complete")
    await expect(chat.locator("#simulator")).to_be_visible()
    assert (await served.logged("responses"))["end"] == "completed"


async def test_stop_reaches_the_relay(chat: Page, served: Served) -> None:
    await choose_model(chat, "Slow answer")
    await ask(chat, "Explain server-sent events as you would to a colleague")
    await expect(answers(chat)).not_to_be_empty()
    await chat.keyboard.press("Escape")
    await finished(chat)
    assert (await served.logged("responses"))["end"] == "client_aborted"


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("Rate limited (429)", "Too many requests at the moment."),
        ("Server error (500)", "service has a fault"),
        ("Answer cut short", "cut short"),
        ("Question blocked by the content filter", "The content filter blocked this message."),
        ("Answer stopped by the content filter", "The content filter stopped this answer."),
    ],
)
async def test_faults_are_shown_in_place(chat: Page, model: str, text: str) -> None:
    await choose_model(chat, model)
    await ask(chat, "Hello?")
    await finished(chat)
    await expect(chat.locator(".extras")).to_contain_text(text)


async def test_every_failure_is_named_in_words(chat: Page) -> None:
    for language in ("en", "ja"):
        await chat.locator("#language").select_option(language)
        await expect(chat.locator("html")).to_have_attribute("lang", language)
        await expect(chat.locator("#model-list .model-option-name").last).not_to_be_empty()
        names = await chat.locator("#model-list .model-option-name").all_text_contents()
        assert len(names) > 5
        assert [name for name in names if "--" in name] == []


async def test_a_relay_that_wants_a_key(browser: Browser) -> None:
    with RelayProcess({"CHUKEI_API_KEY": "ck_test_5f2b9c"}) as relay:
        context = await browser.new_context(locale="en-GB")
        page = await context.new_page()
        await page.goto(relay.url)
        field = page.locator("#access").get_by_label("Access key")
        await expect(field).to_be_focused()
        for key in ("not-the-key", "ck_test_5f2b9c"):
            await field.fill(key)
            await field.press("Enter")
            if key == "not-the-key":
                await expect(page.get_by_role("alert").filter(has_text="did not accept")).to_be_visible()
        await expect(page.locator("#access")).to_be_hidden()
        await ask(page, "repeat: it is me")
        await finished(page)
        await expect(answers(page)).to_have_text("it is me")
        await context.close()
    assert not any("ck_test_5f2b9c" in line for line in relay.log)
