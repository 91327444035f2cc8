"""The access key: asked for in place, sent as a bearer token, kept in the tab and nowhere else."""

import pytest
from playwright.async_api import BrowserContext, Page, expect
from tests.browser.conftest import Watch
from tests.browser.scripted_server import ScriptedServer
from tests.browser.steps import answers, ask, finished

pytestmark = pytest.mark.anyio

KEY = "ck_test_5f2b9c"


@pytest.fixture(autouse=True)
def _refusals_are_expected(watch: Watch) -> None:
    watch.expected.append("Failed to load resource")


async def give_key(page: Page, key: str) -> None:
    field = page.locator("#access").get_by_label("Access key")
    await expect(field).to_be_focused()
    await field.fill(key)
    await field.press("Enter")


async def test_the_key_is_asked_for_at_once(page: Page, server: ScriptedServer) -> None:
    server.required_key = KEY
    await page.reload()
    await expect(page.get_by_role("heading", name="This relay asks for an access key")).to_be_visible()
    await give_key(page, "wrong")
    await expect(page.get_by_role("alert").filter(has_text="did not accept")).to_be_visible()
    await give_key(page, KEY)
    await expect(page.locator("#access")).to_be_hidden()
    await expect(page.locator("#model option")).to_have_count(2)
    await expect(page.locator("#prompt")).to_be_focused()
    await ask(page, "Hello?")
    await finished(page)
    assert server.exchanges[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_key_that_is_revoked_in_mid_conversation(page: Page, server: ScriptedServer) -> None:
    """The question is not lost: it is sent again when the key is right."""
    server.required_key = KEY
    await ask(page, "Hello?")
    await expect(page.get_by_role("alert").filter(has_text="An access key is needed.")).to_be_visible()
    await give_key(page, KEY)
    await expect(answers(page)).to_have_text("Hello from the server.")
    await finished(page)
    await expect(page.locator(".failure")).to_have_count(0)
    assert [exchange.headers["authorization"] for exchange in server.exchanges] == [f"Bearer {KEY}"]


async def test_the_key_is_in_the_tab_only(page: Page, context: BrowserContext, server: ScriptedServer) -> None:
    server.required_key = KEY
    await page.reload()
    await give_key(page, KEY)
    await expect(page.locator("#access")).to_be_hidden()
    await ask(page, "Hello?")
    await finished(page)
    assert KEY not in await page.evaluate("JSON.stringify(Object.entries(localStorage)) + document.cookie")
    assert KEY not in await page.evaluate("document.documentElement.outerHTML + location.href")
    assert await page.evaluate("JSON.stringify(Object.entries(sessionStorage))") == f'[["chukei:access-key","{KEY}"]]'
    await page.reload()
    await expect(page.locator("#model option")).to_have_count(2)  # a reload keeps the tab's key
    other = await context.new_page()
    await other.goto(server.url)
    await expect(other.locator("#access")).to_be_visible()


async def test_the_key_can_be_changed_and_forgotten(page: Page, server: ScriptedServer) -> None:
    server.required_key = KEY
    await page.reload()
    await give_key(page, KEY)
    await page.get_by_role("button", name="Settings").click()
    await expect(page.locator("#settings-key")).to_have_value(KEY)
    await page.get_by_role("button", name="Forget key").click()
    assert await page.evaluate("sessionStorage.length") == 0
    await ask(page, "Hello?")
    await expect(page.locator("#access")).to_be_visible()
