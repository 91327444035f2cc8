"""Which API is asked, with what, and how its answer arrives: from a scripted server, and from the relay's simulator."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Request, expect
from tests.browser.conftest import Watch, open_chat, watch_context
from tests.browser.scripted_server import Exchange, ScriptedServer, response_event, response_stream
from tests.browser.steps import answers, ask, finished, settle
from tests.live.relays import RelayProcess

pytestmark = pytest.mark.anyio

BOTH = {"apis": ["chat", "responses"]}
DOT = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==")
REFUSAL = {
    "message": "Unsupported parameter: 'reasoning.summary' is not supported with this model.",
    "type": "invalid_request_error",
    "param": "reasoning.summary",
    "code": "unsupported_parameter",
}


async def responding(exchange: Exchange, *pieces: bytes) -> None:
    await exchange.start()
    await exchange.write(b"".join(pieces))


@pytest.fixture
async def both(blank: Page, server: ScriptedServer) -> Page:
    """The page, with a model that serves both APIs."""
    server.models, server.details = ["chat"], {"chat": BOTH}
    await open_chat(blank, server.url)
    await settle(blank)
    return blank


async def attach(page: Page, name: str, data: bytes) -> None:
    await page.locator("#composer input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": data})
    await expect(page.locator(".tray .chip bdi")).to_have_text(name)


async def test_a_response_with_its_reasoning(both: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        await responding(exchange, *response_stream("It is ", "*a dot*.", thoughts=("Look", "ing.")))

    server.scripts.append(script)
    await attach(both, "dot.gif", DOT)
    await ask(both, "What is it?")
    await finished(both)
    await expect(answers(both)).to_have_text("It is a dot.")
    await expect(both.locator(".reasoning-text")).to_have_text("Looking.")
    (exchange,) = server.exchanges
    assert exchange.path == "/v1/responses"
    text, picture = exchange.body.pop("input")[0]["content"]
    assert text == {"type": "input_text", "text": "What is it?"}
    assert picture["type"] == "input_image"
    assert picture["image_url"].startswith("data:image/png;base64,")
    assert exchange.body == {"model": "chat", "reasoning": {"summary": "auto"}, "store": False, "stream": True}


async def test_the_conversation_is_sent_again(both: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        await responding(exchange, *response_stream("Yes."))

    server.scripts += [script, script]
    for count, text in enumerate(("Is it?", "Sure?"), 1):
        await ask(both, text)
        await finished(both, count)
    assert server.exchanges[1].body["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "Is it?"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Sure?"}]},
    ]


async def test_a_model_without_reasoning_answers_all_the_same(both: Page, server: ScriptedServer, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")

    async def refuse(exchange: Exchange) -> None:
        await exchange.refuse(400, REFUSAL)

    async def answer(exchange: Exchange) -> None:
        await responding(exchange, *response_stream("Yes."))

    server.scripts += [refuse, answer, answer]
    for count in (1, 2):
        await ask(both, "Is it?")
        await finished(both, count)
    await expect(answers(both)).to_have_text(["Yes.", "Yes."])
    assert ["reasoning" in exchange.body for exchange in server.exchanges] == [True, False, False]


async def test_a_response_that_is_cut_is_recognised(both: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        await responding(exchange, *response_stream("Half an")[:-1])

    server.scripts.append(script)
    await ask(both, "Hello?")
    await finished(both)
    await expect(answers(both)).to_have_text("Half an")
    await expect(both.locator(".failure")).to_contain_text("cut short")


async def test_a_response_that_fails_says_so(both: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        error = {"code": "stream_incomplete", "message": "The upstream broke off."}
        failed = response_event("error", sequence_number=2, error=error)
        await responding(exchange, *response_stream("Half an")[:-1], failed)

    server.scripts.append(script)
    await ask(both, "Hello?")
    await finished(both)
    await expect(answers(both)).to_have_text("Half an")
    await expect(both.locator(".failure")).to_contain_text("The upstream broke off.")
    await expect(both.locator(".failure")).to_contain_text("stream_incomplete")


async def test_a_response_byte_by_byte(both: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.start()
        for byte in b"".join(response_stream("波 🌊", thoughts=("考える",))):
            await exchange.write(bytes([byte]))

    server.scripts.append(script)
    await ask(both, "Hello?")
    await finished(both)
    await expect(answers(both)).to_have_text("波 🌊")
    await expect(both.locator(".reasoning-text")).to_have_text("考える")


# The relay itself


@pytest.fixture(scope="module")
def relay() -> Any:
    with RelayProcess({}) as relay:
        yield relay


@pytest.fixture
async def served(browser: Browser, relay: RelayProcess) -> AsyncIterator[tuple[Page, list[Request]]]:
    """The page of the relay, whose list says that its models serve both APIs, and what the page asks."""
    context = await browser.new_context(locale="en-GB")
    watch = Watch()
    watch_context(context, watch, relay.url)
    page = await context.new_page()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)

    await open_chat(page, relay.url)
    yield page, asked
    await context.close()
    watch.assert_nothing_happened()


async def test_the_simulator_answers_over_responses(served: tuple[Page, list[Request]]) -> None:
    page, asked = served
    await attach(page, "dot.gif", DOT)
    await ask(page, "repeat: a picture and words")
    await finished(page)
    await attach(page, "notes.txt", b"some notes")
    await ask(page, "repeat: and a file")
    await finished(page, 2)
    assert [request.url.rsplit("/v1/", 1)[1] for request in asked] == ["responses", "responses"]
    body = json.loads(asked[1].post_data or "")
    kinds = [[part["type"] for part in message["content"]] for message in body["input"]]
    assert kinds == [["input_text", "input_image"], ["output_text"], ["input_text"]]
    await expect(answers(page).first).to_contain_text("a picture and words")
    await expect(page.locator(".failure")).to_have_count(0)


async def test_the_simulator_answers_over_chat_completions(browser: Browser, relay: RelayProcess) -> None:
    context = await browser.new_context(locale="en-GB")
    page = await context.new_page()
    await page.route("**/v1/models", lambda route: route.fulfill(json={"data": [{"id": "chat"}]}))
    await open_chat(page, relay.url)
    await attach(page, "dot.gif", DOT)
    async with page.expect_request("**/v1/chat/completions"):
        await ask(page, "repeat: a picture and words")
    await finished(page)
    await expect(answers(page)).to_contain_text("a picture and words")
    await expect(page.locator(".failure")).to_have_count(0)
    await context.close()
