"""What a reader does on the page, in words."""

from playwright.async_api import Locator, Page, expect


async def ask(page: Page, text: str) -> None:
    """Send one message from the keyboard."""
    await page.locator("#prompt").fill(text)
    await page.locator("#prompt").press("Enter")


def answers(page: Page) -> Locator:
    """The texts of the answers on the page."""
    return page.locator(".answer-text")


async def finished(page: Page, count: int = 1) -> None:
    """Wait until so many answers are there and none is being written."""
    await expect(page.locator(".answer")).to_have_count(count)
    await expect(page.locator("[aria-busy]")).to_have_count(0)
    await expect(page.locator(".answer .message-foot")).to_have_count(count)


async def settle(page: Page) -> None:
    """Two frames and a task: what the page has scheduled by now has happened."""
    await page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )
