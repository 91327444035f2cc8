"""What a reader does on the page, in words."""

from typing import Any

import anyio
from playwright.async_api import Locator, Page, expect


async def ask(page: Page, text: str) -> None:
    """Send one message from the keyboard."""
    await page.locator("#prompt").fill(text)
    await page.locator("#prompt").press("Enter")


def answers(page: Page) -> Locator:
    """The texts of the answers on the page."""
    return page.locator(".answer-text")


def entry(page: Page, title: str) -> Locator:
    """The link to a conversation in the list."""
    return page.locator("#history-list").get_by_role("link", name=title, exact=True)


async def act(page: Page, title: str, action: str) -> None:
    """Choose an action from the menu of a conversation in the list."""
    button = page.get_by_role("button", name=f"Actions for “{title}”")
    await button.press("Enter")
    await page.get_by_role("menuitem", name=action).press("Enter")


async def stored(page: Page) -> dict[str, list[Any]]:
    """What the browser's database holds, once the page has changed it: conversations and messages."""
    await settle(page)
    found: dict[str, list[Any]] = await page.evaluate(
        """async () => {
          const over = (request) => new Promise((resolve, reject) => {
            request.onsuccess = () => resolve(request.result);
            request.onerror = () => reject(request.error);
          });
          const database = await over(indexedDB.open("chukei", 1));
          const [conversations, messages] = await Promise.all(["conversations", "messages"].map(
            (name) => over(database.transaction(name).objectStore(name).getAll())));
          database.close();
          return { conversations, messages: messages.map(({ message }) => message) };
        }"""
    )
    return found


async def assert_stored(page: Page, *contents: str) -> None:
    """Wait until the browser's database holds messages with just these contents; without any, nothing at all."""
    for attempt in range(200):
        found = await stored(page)
        held = sorted(row["content"] for row in found["messages"])
        if held == sorted(contents) and (contents or not found["conversations"]):
            return
        await anyio.sleep(attempt / 1000)
    assert (held, found["conversations"]) == (sorted(contents), [])


async def holds(page: Page, script: str, arg: object = None) -> None:
    """Wait until an expression or a function is true, for a minute.

    ``Page.wait_for_function`` takes a promise for true, and asks again by ``eval``, which the pages' policy forbids.
    """
    for attempt in range(350):
        if await page.evaluate(script, arg):
            return
        await anyio.sleep(attempt / 1000)
    raise AssertionError(f"never true: {script} with {arg}")


async def finished(page: Page, count: int = 1) -> None:
    """Wait until so many answers are there, none is being written and the view has followed the last."""
    await expect(page.locator(".answer")).to_have_count(count)
    await expect(page.locator("[aria-busy]")).to_have_count(0)
    await expect(page.locator(".answer .message-foot")).to_have_count(count)
    await settle(page)


async def settle(page: Page) -> None:
    """Two frames and a task, and the end of each transition: what the page has scheduled by now has happened."""
    await page.evaluate(
        """async () => {
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
          const ending = document.getAnimations().filter((each) => each instanceof CSSTransition);
          await Promise.allSettled(ending.map((each) => each.finished));
        }"""
    )


async def place_at_rest(page: Page) -> float:
    """How far the page is scrolled, once that has been the same for ten frames: a wheel's way goes over many."""
    place: float = await page.evaluate(
        """() => new Promise((done) => {
          let [place, frames] = [scrollY, 0];
          const look = () => {
            frames = scrollY === place ? frames + 1 : 0;
            place = scrollY;
            if (frames < 10) requestAnimationFrame(look);
            else done(place);
          };
          look();
        })"""
    )
    return place


def offered(page: Page) -> Locator:
    """The entries of the model menu, whether it is open or not."""
    return page.locator("#model-list [role=option]")


async def choose_model(page: Page, name: str) -> None:
    """Choose a model by its name in the menu."""
    await page.locator("#model").click()
    await offered(page).filter(has=page.get_by_text(name, exact=True)).first.click()
