"""The browser that the files of a test process share."""

import pytest
from playwright.async_api import Error, Playwright
from tests.browser.conftest import Chromium

pytestmark = pytest.mark.anyio


async def test_after_a_crash_there_is_a_new_one(playwright: Playwright, chromium: str) -> None:
    shared = Chromium(playwright, chromium)
    try:
        window, browser = await shared.window(), await shared.running()
        assert await shared.window() is window
        assert await shared.running() is browser
        session = await browser.new_browser_cdp_session()
        with pytest.raises(Error):
            await session.send("Browser.crash")
        page = await (await shared.window()).new_page()
        assert await page.evaluate("1 + 1") == 2
        await shared.clear()
        assert (await shared.running()).contexts == []
    finally:
        await shared.close()
