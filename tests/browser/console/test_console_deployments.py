"""Deployments as the relay that answers sees them, in the console."""

import json
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect
from tests.browser import admin_scripts as scripts
from tests.browser.conftest import Watch
from tests.browser.console.office import Office, cells, opened
from tests.browser.payloads import all_payloads
from tests.browser.steps import settle

pytestmark = pytest.mark.anyio

READY: dict[str, Any] = {
    "deployment": "east",
    "priority": 1,
    "weight": 1,
    "status": "ready",
    "seconds": 0.0,
    "why": None,
    "outstanding": 0,
    "outstanding_tokens": 0,
    "answered": 1041,
    "failed": 0,
    "last_error": None,
    "left_out_for": 0,
    "first_token_p50": 0.412,
    "first_token_p95": 1.2,
    "max_concurrent": None,
    "quota_group": None,
    "pressed_seconds": 0.0,
    "large_tokens": None,
    "large_seconds": 0.0,
}
COOLING = {
    **READY,
    "deployment": "west",
    "status": "cooling",
    "seconds": 16.2,
    "why": "upstream_429",
    "outstanding": 3,
    "max_concurrent": 20,
    "answered": 7,
    "failed": 3,
    "last_error": "upstream_timeout",
    "left_out_for": 2,
    "quota_group": "eu",
    "pressed_seconds": 4.0,
    "large_tokens": 40_000,
    "large_seconds": 9.0,
}


async def play(page: Page, models: dict[str, list[dict[str, Any]]]) -> None:
    """Have the relay say this of its deployments."""
    body = json.dumps({"models": models})
    await page.unroute_all()
    await page.route("**/admin/deployments", lambda route: route.fulfill(content_type="application/json", body=body))


async def test_the_state_is_looked_at_again(page: Page) -> None:
    await opened(page, "deployments")
    [row] = await cells(page.locator("#deployments"))
    assert row[:3] == ["azure", "gpt-4o", "ready"]
    await expect(page.locator("#ledger")).to_contain_text("writes")
    await page.get_by_role("button", name="Look again").click()
    await expect(page.locator("#announcer")).to_have_text("Looked again.")


async def test_it_is_looked_at_again_by_itself_while_it_is_shown(page: Page) -> None:
    await page.clock.install()
    await play(page, {"gpt-4o": [READY]})
    await opened(page, "deployments")
    await page.get_by_role("link", name="east").focus()
    await play(page, {"gpt-4o": [{**READY, "answered": 2000}]})
    await page.clock.run_for(5100)
    await expect(page.locator("#deployments")).to_contain_text("2,000")
    await expect(page.get_by_role("link", name="east")).to_be_focused()
    asked: list[str] = []
    await page.get_by_role("link", name="Configuration").click()
    await expect(page.locator("#settings table").first).to_be_visible()
    page.on("request", lambda request: asked.append(request.url))
    await page.clock.run_for(20_000)
    await settle(page)
    assert asked == []


async def test_a_failure_is_said_once_until_somebody_tries_again(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await page.clock.install()
    await play(page, {"gpt-4o": [READY]})
    await opened(page, "deployments")
    asked: list[str] = []

    async def fail(route: Route) -> None:
        asked.append(route.request.url)
        await route.abort()

    await page.route("**/admin/deployments", fail)
    await page.clock.run_for(5100)
    await expect(page.get_by_role("alert")).to_contain_text("The relay cannot be reached.")
    await expect(page.locator("#deployments")).to_have_css("filter", "grayscale(1)")
    await page.clock.run_for(20_000)
    assert len(asked) == 1
    await play(page, {"gpt-4o": [{**READY, "answered": 2000}]})
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("#deployments")).to_contain_text("2,000")
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(page.locator("#deployments")).to_have_css("filter", "none")


async def test_the_state_is_said_in_words(page: Page) -> None:
    await play(page, {"gpt-4o": [READY, COOLING], "o3": [COOLING]})
    await opened(page, "deployments")
    west, east = await cells(page.locator("#deployments"))
    assert west[:2] == ["west", "gpt-4o, o3"]
    assert "cooling" in west[2]
    assert "for 17 s" in west[2]
    assert "Azure’s quota is used up for now" in west[2]
    assert "left alone for callers: 2" in west[2]
    assert west[3] == "3 of 20"
    assert west[8] == "Azure took too longupstream_timeout"
    assert east[:4] == ["east", "gpt-4o", "ready", "0"]
    assert east[6:] == ["0.41 s", "1.20 s", "–"]


async def test_each_has_an_address_with_its_details(page: Page, office: Office) -> None:
    await play(page, {"gpt-4o": [READY, COOLING, {**READY, "deployment": "north", "quota_group": "eu"}]})
    await opened(page, "deployments")
    await page.get_by_role("link", name="west").click()
    await expect(page).to_have_url(f"{office.url}#/deployments/west")
    await expect(page.get_by_role("heading", level=1)).to_have_text("west")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await expect(page).to_have_title("west · chukei")
    shown = page.locator("#deployments")
    for text in (
        "cooling for 17 s",
        "Azure has asked to wait",
        "whose requests fail there: 2.",
        "for 4 s others are preferred",
        "For 9 s it gets no requests of 40,000 tokens or more",
        "3 of 20",
        "Room for more requests17",
        "3 (30.0 %)",
        "Azure took too long",
    ):
        await expect(shown).to_contain_text(text)
    await shown.get_by_role("link", name="north").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("north")
    await page.go_back()
    await page.get_by_role("link", name="Its settings in force").click()
    await expect(page).to_have_url(f"{office.url}#/configuration?find=deployments.west")
    await expect(page.locator("#find-setting")).to_have_value("deployments.west")
    await page.evaluate("location.hash = '#/deployments/gone'")
    await expect(shown).to_contain_text("There is no deployment of this name.")
    await page.get_by_role("link", name="All deployments").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Deployments")


async def test_names_that_try_to_become_code_stay_text(page: Page, context: BrowserContext) -> None:
    payloads = all_payloads()[::5]
    rows = [{**COOLING, "deployment": name, "why": name, "last_error": name[::-1], "status": name} for name in payloads]
    await play(page, {name: [row] for name, row in zip(payloads, rows, strict=True)})
    await opened(page, "deployments")
    await expect(page.locator("#deployments tbody tr")).to_have_count(len({*payloads}))
    assert await page.evaluate(scripts.STRANGE) == []
    for link in (await page.locator("#deployments a").all())[:6]:
        address = await link.get_attribute("href")
        await page.evaluate("address => { location.hash = address; }", address)
        await expect(page.locator("#deployments .details").first).to_be_visible()
        assert await page.evaluate(scripts.STRANGE) == []
        await opened(page, "deployments")
    await settle(page)
    assert await page.evaluate("window.ran") == []
