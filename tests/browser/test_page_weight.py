"""What the pages weigh, and that a browser asks for all of it at once."""

import pytest
from playwright.async_api import Browser
from tests import markdown
from tests.browser.page_weight import PAGES, files, modules, with_preloads, zipped
from tests.browser.scripted_server import WEB
from tests.live.relays import InProcessRelay, settings_for

from chukei.adapters.assets import digest

BUDGETS = {"index.html": (65, 160_000), "admin.html": (75, 125_000)}
"""Modules of each page, and bytes of all its files as the relay sends them. docs/performance.md states them."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_keeps_its_budget(page: str) -> None:
    most_modules, most_bytes = BUDGETS[page]
    assert len(modules(page)) <= most_modules
    assert zipped(files(page)) <= most_bytes


def test_the_documentation_states_the_budgets() -> None:
    text = markdown.read("docs/performance.md")
    stated = [f"{count} modules, {size // 1000} KB" for count, size in BUDGETS.values()]
    assert [budget for budget in stated if budget not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_module_is_preloaded(page: str) -> None:
    """``python -m tests.browser.page_weight`` writes them."""
    assert (WEB / page).read_text("utf-8") == with_preloads(page)


@pytest.mark.anyio
async def test_a_second_visit_asks_for_no_file_again(browser: Browser) -> None:
    settings = settings_for("http://127.0.0.1:9", {"CHUKEI_UPSTREAM__PLAIN_HTTP": "true"})
    async with InProcessRelay(settings) as relay:
        page = await browser.new_page()
        await page.goto(relay.url, wait_until="networkidle")
        first = {record.path for record in relay.records if record.status == 200}
        expected = {f"/web/{digest()}/{path.relative_to(WEB).as_posix()}" for path in files("index.html")[1:]}
        assert expected <= first
        for visit in (page.reload, lambda **how: page.goto(f"{relay.url}/?again", **how)):
            relay.records.clear()
            await visit(wait_until="networkidle")
            asked = [(record.path, record.status) for record in relay.records]
            assert sorted(asked) == [("/", 304 if visit == page.reload else 200), ("/v1/models", 200)]
        await page.close()
