"""A relay with administrators and its ledger, and what they do in the console, in words."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, ViewportSize, expect
from tests.adapters.ledger_entries import entry
from tests.browser import admin_scripts as scripts
from tests.browser.steps import settle
from tests.live.relays import InProcessRelay, settings_for

from chukei.accounts.ledger import Entry
from chukei.accounts.stores import Database

KEY = "admin-7d1f03b2c94e58a6-in-memory-only"
SCREENSHOTS = Path(__file__).parent.parent / "screenshots"
WIDE: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}
RUN_TITLE = "window.ran = []; window.alert = (what) => window.ran.push(what); window.print = window.alert;"

LOOKS: dict[str, dict[str, Any]] = {
    "wide-light": {"viewport": WIDE, "color_scheme": "light", "locale": "en-GB"},
    "wide-dark": {"viewport": WIDE, "color_scheme": "dark", "locale": "en-GB"},
    "phone-dark-ja": {"viewport": PHONE, "color_scheme": "dark", "locale": "ja-JP", "has_touch": True},
    "small": {"viewport": {"width": 320, "height": 640}, "color_scheme": "light", "locale": "en-GB", "has_touch": True},
}
"""Each width, scheme and language: what fits the narrower screen, fits the wider one in the same layout as well."""

LOADED = {
    "now": "[data-place=azure]",
    "usage": "#report:not([aria-busy])",
    "callers": ":is(#callers-table, #caller):not([aria-busy]) > * >> visible=true",
    "keys": "#keys-table > *",
    "deployments": "#ledger dl",
    "audit": "#audit-table > *",
    "configuration": "#settings table",
}
"""What is there when a view has loaded."""


@dataclass
class Office:
    """A relay with administrators, and its ledger."""

    relay: InProcessRelay
    database: Database
    file: Path

    @property
    def url(self) -> str:
        return f"{self.relay.url}/admin"

    @classmethod
    @asynccontextmanager
    async def serving(cls, folder: Path, place: socket.socket | None = None) -> AsyncIterator["Office"]:
        """Run it with an empty ledger in a folder until the block ends; on a free port, or where ``place`` listens."""
        file = folder / "ledger.db"
        settings = settings_for(
            "http://127.0.0.1:9",
            {
                "CHUKEI_ADMIN__API_KEY": KEY,
                "CHUKEI_STORES__LEDGER": f"sqlite:///{file}",
                "CHUKEI_UPSTREAM__PLAIN_HTTP": "true",
                "CHUKEI_AUTH__FAILURES_PER_MINUTE": "3",
                "CHUKEI_GROUPS__RESEARCH__TOTAL__CONCURRENT": "100",
            },
        )
        async with InProcessRelay(settings, place=place) as relay:
            database = relay.relay.accounting.database
            assert database is not None
            await database.keys()  # it is open now
            yield cls(relay, database, file)


async def unlock(page: Page, key: str = KEY) -> None:
    """Send a key."""
    await page.locator("#admin-key").fill(key)
    await page.locator("#admin-key").press("Enter")


async def opened(page: Page, view: str) -> None:
    """Show a view, unlock if that is needed, and wait until everything is there."""
    await page.evaluate("hash => { location.hash = hash; }", f"#/{view}")
    await expect(page.locator("#unlock:visible, #opened:visible")).to_have_count(1)  # a page that loads shows neither
    if await page.locator("#unlock").is_visible():
        await unlock(page)
    await expect(page.locator("#opened")).to_be_visible()
    await expect(page.locator(LOADED[view.partition("?")[0].partition("/")[0]]).first).to_be_visible()


def days_ago(days: int) -> datetime:
    """A moment of that day of UTC, as long as the test does not run over midnight."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def used(caller: str, model: str, *, days: int = 0, count: int = 1, **fields: Any) -> list[Entry]:
    """Entries of the ledger."""
    return [entry(caller=caller, model=model, time=days_ago(days), **fields) for _ in range(count)]


def month() -> list[Entry]:
    """What four callers used in the thirty days until now, and one before them."""
    return [
        *used("team-a", "gpt-4o", count=3, input=1000, cached=400, output=100, cost=3_000_000, group="research"),
        *used("team-a", "o3", days=1, input=500, output=700, reasoning=600, cost=20_000_000, group="research"),
        *used("team-b", "gpt-4o", days=1, count=2, input=50, output=5, cost=None, end="timeout", group=None),
        *used("team-c", "gpt-4o", days=29, input=7, output=3, cost=1_000, end="client_aborted", estimated=True),
        *used("long-gone", "gpt-4o", days=45, input=1_000_000, output=1, cost=1),
    ]


async def loaded(page: Page) -> None:
    """Wait until what was asked for is there and drawn. An address that has changed is read in a task of its own."""
    await settle(page)
    await expect(page.locator("#view [aria-busy]:visible")).to_have_count(0)
    await settle(page)


async def assert_legible(page: Page) -> None:
    """Check that nothing is wider than the page, too small to be pressed or too faint to be read."""
    await settle(page)
    for script in (scripts.OVERFLOWING, scripts.TOO_SMALL, scripts.FAINT):
        assert await page.evaluate(script) == []


async def cells(table: Locator) -> list[list[str]]:
    """A table's rows as text, once they are loaded."""
    await loaded(table.page)
    script = "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    rows: list[list[str]] = await table.locator("tbody tr").evaluate_all(script)
    return rows


def plot(page: Page, name: str) -> Locator:
    """One of the plots of what was used."""
    return page.locator(f"[data-plot={name}]")


async def make_key(page: Page, caller: str) -> str:
    """Make a key for a caller and return it."""
    await page.locator("#key-caller").fill(caller)
    await page.get_by_role("button", name="Make a key").click()
    await expect(page.get_by_role("heading", name=f"A key for {caller}")).to_be_visible()
    return await page.locator(".secret").inner_text()
