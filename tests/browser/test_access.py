"""The access key: asked for in place, sent as a bearer token, kept in the tab and nowhere else."""

import pytest
from playwright.async_api import BrowserContext, Page, expect
from tests.browser.axe import violations
from tests.browser.conftest import Watch, open_chat
from tests.browser.scripted_server import ScriptedServer
from tests.browser.steps import answers, ask, finished, offered
from tests.rows import rows

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


async def test_the_key_is_asked_for_at_once(blank: Page, server: ScriptedServer) -> None:
    server.required_key = KEY
    page = await open_chat(blank, server.url)
    await expect(page.get_by_role("heading", name="This relay asks for an access key")).to_be_visible()
    await give_key(page, "wrong")
    await expect(page.get_by_role("alert").filter(has_text="did not accept")).to_be_visible()
    await give_key(page, KEY)
    await expect(page.locator("#access")).to_be_hidden()
    await expect(offered(page)).to_have_count(2)
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


async def test_the_key_is_in_the_tab_only(blank: Page, context: BrowserContext, server: ScriptedServer) -> None:
    server.required_key = KEY
    page = await open_chat(blank, server.url)
    await give_key(page, KEY)
    await expect(page.locator("#access")).to_be_hidden()
    await ask(page, "Hello?")
    await finished(page)
    assert KEY not in await page.evaluate("JSON.stringify(Object.entries(localStorage)) + document.cookie")
    assert KEY not in await page.evaluate("document.documentElement.outerHTML + location.href")
    held = "(key) => Object.entries(sessionStorage).filter(([, value]) => value.includes(key))"
    assert await page.evaluate(held, KEY) == [["chukei:access-key", KEY]]
    await page.reload()
    await expect(offered(page)).to_have_count(2)  # a reload keeps the tab's key
    other = await context.new_page()
    await other.goto(server.url)
    await expect(other.locator("#access")).to_be_visible()


async def test_nothing_is_said_of_keys_where_none_is_needed(page: Page) -> None:
    await expect(page.locator("#access")).to_be_hidden()
    await page.get_by_role("button", name="Settings").click()
    await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    await expect(page.get_by_role("dialog").get_by_text("key", exact=False)).to_have_count(0)


async def test_a_wrong_key_stays_to_be_corrected_and_is_not_kept(blank: Page, server: ScriptedServer) -> None:
    server.required_key = KEY
    page = await open_chat(blank, server.url)
    await expect(page.locator("#access")).to_contain_text("Whoever gave you this address")
    await give_key(page, KEY[:-1])
    await expect(page.get_by_role("alert").filter(has_text="did not accept")).to_be_visible()
    field = page.locator("#access-key")
    await expect(field).to_have_value(KEY[:-1])
    assert await page.evaluate("sessionStorage.getItem('chukei:access-key')") is None
    await field.press("End")
    await field.press("c")
    await field.press("Enter")
    await expect(page.locator("#access")).to_be_hidden()


@rows(
    ("code", "said"),
    [
        ("invalid_api_key", "did not accept this key"),
        ("key_expired", "no longer valid"),
        ("key_revoked", "no longer valid"),
        ("token_expired", "no longer valid"),
    ],
)
async def test_why_a_key_is_refused(page: Page, server: ScriptedServer, code: str, said: str) -> None:
    error = {"message": "No.", "type": "authentication_error", "code": code}
    await page.evaluate("(key) => sessionStorage.setItem('chukei:access-key', key)", KEY)
    await page.route("**/v1/models", lambda route: route.fulfill(status=401, json={"error": error}))
    await page.reload()
    await expect(page.locator("#access-refused")).to_contain_text(said)


async def test_the_form_can_be_closed(blank: Page, server: ScriptedServer) -> None:
    server.required_key = KEY
    page = await open_chat(blank, server.url)
    await page.locator("#access").get_by_role("button", name="Close").click()
    await expect(page.locator("#access")).to_be_hidden()
    await expect(page.locator("#prompt")).to_be_focused()
    await ask(page, "Hello?")
    await expect(page.locator("#access-key")).to_be_focused()  # it is asked for again where it is missed
    await give_key(page, KEY)
    await expect(answers(page)).to_have_text("Hello from the server.")


async def test_the_key_can_be_changed_and_forgotten(blank: Page, server: ScriptedServer) -> None:
    server.required_key = KEY
    page = await open_chat(blank, server.url)
    await give_key(page, KEY)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("button", name="Change key").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await give_key(page, KEY)
    await expect(page.locator("#access")).to_be_hidden()
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("button", name="Forget key").click()
    await expect(page.get_by_role("button", name="Enter key")).to_be_focused()
    assert await page.evaluate("sessionStorage.getItem('chukei:access-key')") is None
    await page.keyboard.press("Escape")
    await ask(page, "Hello?")
    await expect(page.locator("#access")).to_be_visible()


async def test_the_form_is_accessible(blank: Page, server: ScriptedServer) -> None:
    server.required_key = KEY
    server.simulator = True
    page = await open_chat(blank, server.url)
    await give_key(page, "wrong")
    await expect(page.locator("#access-refused")).not_to_be_empty()
    assert await violations(page) == []
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert await violations(page) == []
