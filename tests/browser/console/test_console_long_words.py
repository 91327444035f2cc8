"""The console with long words, and from right to left."""

import pytest
from playwright.async_api import Page
from tests.browser.console.office import LOADED, Office, month, opened
from tests.browser.test_long_words import SPEAK, assert_all_fits, lengthen

pytestmark = pytest.mark.anyio


async def test_every_view_of_the_console(page: Page, office: Office) -> None:
    await office.database.add(month())
    await page.emulate_media(reduced_motion="reduce")
    await lengthen(page)
    await page.goto(office.url)
    await page.evaluate(SPEAK)
    await assert_all_fits(page, "locked")
    for view in LOADED:
        await opened(page, view)
        await assert_all_fits(page, view)
