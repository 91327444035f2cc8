"""The browser that the files of a test process share."""

import os
import signal

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
        await (await shared.running()).close()


async def test_one_that_does_not_answer_is_left_for_a_new_one(playwright: Playwright, chromium: str) -> None:
    shared = Chromium(playwright, chromium, closing_seconds=0.5)
    window, browser = await shared.window(), await shared.running()
    session = await browser.new_browser_cdp_session()
    processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
    (process,) = [each["id"] for each in processes if each["type"] == "browser"]
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            await shared.close(window)
        assert await (await (await shared.window()).new_page()).evaluate("1 + 1") == 2
    finally:
        os.kill(process, signal.SIGKILL)
        await (await shared.running()).close()
