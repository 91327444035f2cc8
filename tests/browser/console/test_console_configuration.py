"""The configuration in force, in the console of a relay with a file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from tests.browser import admin_scripts as scripts
from tests.browser.conftest import Watch
from tests.browser.console.office import KEY, cells, opened
from tests.browser.payloads import all_payloads
from tests.browser.steps import settle
from tests.live.relays import InProcessRelay

from chukei.config import Settings
from chukei.hosts.asgi import checked_settings

pytestmark = pytest.mark.anyio

SECRETS = {"ADMIN": KEY, "AZURE": "upstream-secret-key"}


class Site:
    """A relay that reads a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "relay.toml"
        self._ledger = folder / "ledger.db"
        self.write()

    def write(self, more: str = "", attempts: int = 4) -> None:
        """Replace the file."""
        self.file.write_text(f"""
            [reload]
            watch_seconds = 0
            [admin]
            api_key = {{ env = "ADMIN" }}
            [stores]
            ledger = "sqlite:///{self._ledger}"
            [pool]
            attempts = {attempts}
            [deployments.east]
            endpoint = "https://east.openai.azure.com"
            api_key = {{ env = "AZURE" }}
            [callers.team-a.limits]
            tokens_per_minute = 50000
            {more}
        """)

    def settings(self) -> Settings:
        return checked_settings(str(self.file), {**SECRETS, "CHUKEI_POOL__RETRY_SHARE": "0.5"})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def relay(site: Site) -> AsyncIterator[InProcessRelay]:
    async with InProcessRelay(site.settings(), site.settings) as relay:
        yield relay


@pytest.fixture
def origin(relay: InProcessRelay) -> str:
    return relay.url


async def settings(page: Page) -> dict[str, list[str]]:
    """The settings that are shown: value and place by section and name."""
    found = {}
    for table in await page.locator("#settings .table-frame").all():
        section = (await table.get_attribute("aria-label") or "").removeprefix("Settings of ")
        for key, value, place in await cells(table):
            found[f"{section}.{key.removesuffix('needs a restart')}"] = [value, place]
    return found


async def test_what_is_set_is_shown_with_its_place_and_without_secrets(page: Page, site: Site) -> None:
    await opened(page, "configuration")
    shown = await settings(page)
    assert shown["pool.attempts"] == ["4", "the file"]
    assert shown["pool.retry_share"] == ["0.5", "CHUKEI_POOL__RETRY_SHARE"]
    assert shown["admin.api_key"] == ["set, not shown", "the file"]
    assert shown["deployments.east.endpoint"] == ["https://east.openai.azure.com", "the file"]
    assert shown["deployments.east.api_key"] == ["set, not shown", "the file"]
    assert shown["callers.team-a.limits.tokens_per_minute"] == ["50000", "the file"]
    assert "pool.cooldown_seconds" not in shown
    await expect(page.locator("#view .details")).to_contain_text(str(site.file))
    await page.get_by_label("Defaults too").check()
    shown = await settings(page)
    assert shown["pool.cooldown_seconds"] == ["10", "default"]
    assert shown["metrics.api_key"] == ["not set", "default"]
    text = await page.content()
    assert not [secret for secret in SECRETS.values() if secret in text]


async def test_a_search_finds_defaults_too_and_is_in_the_address(page: Page, relay: InProcessRelay) -> None:
    await opened(page, "configuration")
    await page.get_by_label("Find a setting").fill("COOLDOWN seconds")
    await expect(page.locator("#settings")).to_contain_text("Settings: 2.")
    assert [*await settings(page)] == ["pool.cooldown_seconds", "pool.max_cooldown_seconds"]
    await expect(page).to_have_url(f"{relay.url}/admin#/configuration?find=COOLDOWN+seconds")
    await expect(page.get_by_label("Find a setting")).to_be_focused()
    await page.reload()
    await page.locator("#admin-key").fill(KEY)
    await page.locator("#admin-key").press("Enter")
    await expect(page.get_by_label("Find a setting")).to_have_value("COOLDOWN seconds")
    await expect(page.locator("#settings")).to_contain_text("Settings: 2.")
    await page.get_by_label("Find a setting").fill("nothing like it")
    await expect(page.locator("#settings")).to_have_text("Settings: 0.")


async def test_it_is_read_again_and_says_what_has_changed(page: Page, site: Site) -> None:
    await opened(page, "configuration")
    site.write(attempts=5, more="[ledger]\nretention_days = 7\n[callers.team-b.limits]\nconcurrent = 2")
    await page.get_by_role("button", name="Reload").click()
    outcome = page.locator("#outcome")
    for text in ("Changedpool.attempts", "Addedcallers.team-b", "only after a restartledger.retention_days"):
        await expect(outcome).to_contain_text(text)
    await expect(page.locator("#announcer")).to_have_text("The configuration was read again.")
    await expect(page.locator("#settings")).to_contain_text("team-b.limits.concurrent")
    shown = await settings(page)
    assert shown["pool.attempts"] == ["5", "the file"]
    assert "ledger.retention_days" not in shown  # it stays as it was
    await page.get_by_role("button", name="Reload").click()
    await expect(outcome).not_to_contain_text("pool.attempts")


async def test_a_configuration_with_mistakes_is_refused_with_all_of_them(page: Page, site: Site, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await opened(page, "configuration")
    site.write(attempts=0, more="[sever]\nport = 1")
    await page.get_by_role("button", name="Reload").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("The new configuration has mistakes. The old one stays in force.")
    await expect(alert).to_contain_text("pool.attempts")
    await expect(alert).to_contain_text("sever")
    assert (await settings(page))["pool.attempts"] == ["4", "the file"]


async def test_names_that_try_to_become_code_stay_text(page: Page) -> None:
    payloads = [*dict.fromkeys(all_payloads()[::3])]
    body = {
        "version": payloads[0],
        "path": payloads[1],
        "files": payloads[1:4],
        "simulated": True,
        "notices": payloads[:3],
        "settings": {"models": {name: {"system": name, name: [name]} for name in payloads}},
        "places": [{"path": ["models", name], "place": name} for name in payloads],
        "restart": [],
    }
    await page.route("**/admin/configuration", lambda route: route.fulfill(json=body))
    await opened(page, "configuration")
    await settle(page)
    assert {row[1] for row in (await settings(page)).values()} >= {*payloads[2:20]}
    assert await page.evaluate("window.ran") == []
    assert await page.evaluate(scripts.STRANGE) == []


async def test_thousands_of_settings_do_not_freeze_it(page: Page) -> None:
    callers = {f"user-{number}": {"limits": {"concurrent": number}} for number in range(20_000)}
    places = [{"path": ["callers", name, "limits", "concurrent"], "place": "relay.toml"} for name in callers]
    body = {
        "version": "0",
        "path": "relay.toml",
        "files": ["relay.toml"],
        "simulated": False,
        "notices": [],
        "settings": {"callers": callers},
        "places": places,
        "restart": [],
    }
    await page.route("**/admin/configuration", lambda route: route.fulfill(json=body))
    await opened(page, "configuration")
    await expect(page.locator("#settings tbody tr")).to_have_count(400)
    await expect(page.locator("#settings")).to_contain_text("400 of 20,000 settings are shown")
    await page.get_by_label("Find a setting").fill("user-19999")
    await expect(page.locator("#settings tbody tr")).to_have_count(1)
