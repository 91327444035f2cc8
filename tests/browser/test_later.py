"""What is loaded after the first paint: nothing that the reader does before it arrives is lost."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Route, expect
from tests.browser.conftest import Watch, new_page, open_chat
from tests.browser.scripted_server import ScriptedServer
from tests.browser.steps import answers, ask, finished

pytestmark = pytest.mark.anyio


async def test_a_question_before_the_transcript_has_arrived_is_answered(
    context: BrowserContext, watch: Watch, server: ScriptedServer
) -> None:
    arrives = asyncio.Event()

    async def hold(route: Route) -> None:
        await arrives.wait()
        await route.continue_()

    page = await new_page(context, server.url)
    await page.route("**/markdown/stream.js", hold)
    await open_chat(page, server.url)
    await ask(page, "Hello?")
    await expect(page.locator("#welcome")).to_be_hidden()
    arrives.set()
    await expect(page.locator(".question-text")).to_have_text("Hello?")
    await expect(answers(page)).to_have_text("Hello from the server.")
    await finished(page)


async def test_a_failure_to_load_it_is_said_and_can_be_tried_again(
    context: BrowserContext, watch: Watch, server: ScriptedServer
) -> None:
    watch.expected.append("Failed to load resource")
    page = await new_page(context, server.url)
    await page.route("**/markdown/stream.js", lambda route: route.abort())
    await open_chat(page, server.url)
    failure = page.locator("#page-failure")
    await expect(failure.get_by_role("alert")).to_be_visible()
    await ask(page, "Hello?")
    await page.unroute("**/markdown/stream.js")
    await failure.get_by_role("button", name="Try again").click()
    await expect(answers(page)).to_have_text("Hello from the server.")
    await expect(failure).to_be_empty()
