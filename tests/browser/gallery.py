"""The pictures of the README and the documentation: ``python -m tests.browser.gallery`` writes docs/images.

They show a relay on its own simulator, with a ledger of a month that is the same each time but for its dates.
"""

import asyncio
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright, expect
from tests.adapters.ledger_entries import entry
from tests.browser.conftest import FLAGS, chromium_path
from tests.browser.console.office import KEY, opened
from tests.browser.steps import finished, settle
from tests.live.relays import InProcessRelay, RelayProcess, settings_for

from chukei.accounts.ledger import Entry

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 150_000
SIZE: ViewportSize = {"width": 1280, "height": 860}
TALL: ViewportSize = {"width": 1280, "height": 1080}
"""A whole answer fits."""
CALLERS = {"search-team": "research", "support-desk": None, "nightly-batch": "research", "notebook": None}
ENDS = ["completed"] * 90 + ["refused"] * 6 + ["client_aborted"] * 2 + ["timeout"] * 2
LOAD = ["chat"] * 10 + ["gpt-5-mini"] * 3 + ["chat--429-after-5"]


def ledger() -> list[Entry]:
    """What four callers used within a month, more on working days."""
    draw = random.Random(7)
    now = datetime.now(UTC).replace(microsecond=0)
    made = []
    for day in range(30):
        when = now - timedelta(days=day)
        for _ in range(4 if when.weekday() > 4 else 14):
            caller = draw.choices(list(CALLERS), (6, 4, 3, 1))[0]
            end = draw.choice(ENDS)
            tokens = {"input": draw.randrange(4_000, 60_000), "output": draw.randrange(1_000, 15_000)}
            if end != "completed":
                tokens = {"input": 0, "output": 0}
            cost = tokens["input"] * 2 + tokens["output"] * 8
            code = {"refused": "rate_limit_exceeded"}.get(end)
            made.append(
                entry(
                    caller=caller,
                    group=CALLERS[caller],
                    model=draw.choice(["chat", "chat", "gpt-5-mini"]),
                    deployment="simulator",
                    time=when - timedelta(minutes=draw.randrange(1, 600)),
                    end=end,
                    status=429 if code else 200,
                    code=code,
                    cost=cost,
                    reasoning=0,
                    cached=tokens["input"] // 3,
                    **tokens,
                )
            )
    return made


def environment(folder: str) -> dict[str, str]:
    """The configuration of the relay: administrators, a ledger, and a group with a limit."""
    return {
        "CHUKEI_ADMIN__API_KEY": KEY,
        "CHUKEI_STORES__LEDGER": f"sqlite:///{folder}/ledger.db",
        "CHUKEI_ADMIN__CURRENCY": "EUR",
        "CHUKEI_GROUPS__RESEARCH__TOTAL__MONEY_PER_MONTH": "40",
        "CHUKEI_GROUPS__EVERYBODY__LIMITS__REQUESTS_PER_MINUTE": "60",
    }


async def fill(folder: str) -> None:
    """Write the ledger, as a relay would."""
    settings = settings_for("http://127.0.0.1:9", environment(folder) | {"CHUKEI_UPSTREAM__PLAIN_HTTP": "true"})
    async with InProcessRelay(settings) as relay:
        database = relay.relay.accounting.database
        assert database is not None
        await database.add(ledger())


async def save(page: Page, name: str) -> None:
    """Take the picture, small enough for a page that is read."""
    await page.evaluate("document.fonts.ready")
    await page.mouse.move(0, 0)
    await settle(page)
    file = IMAGES / f"{name}.png"
    await page.screenshot(path=file, animations="disabled")
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{file.name} has {file.stat().st_size} bytes, more than {MOST_BYTES}")


async def talk(browser: Browser, url: str) -> None:
    """The chat page, light and dark, with a first conversation."""
    context = await browser.new_context(viewport=TALL, locale="en-GB", reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(url)
    await page.locator("#starters button").nth(1).click()
    await finished(page)
    await page.get_by_role("button", name="New chat").click()
    await page.locator("#starters button").nth(2).click()
    await finished(page)
    await page.evaluate("scrollTo(0, 0)")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await save(page, f"chat-{scheme}")
    await context.close()


async def work(context: BrowserContext, url: str, keys: list[str]) -> None:
    """What the callers do while "now" is looked at, about a minute long."""
    draw = random.Random(7)

    async def call(key: str, model: str) -> None:
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": "Compare APIs"}],
            "stream": True,
        }
        headers = {"authorization": f"Bearer {key}"}
        await context.request.post(f"{url}/v1/chat/completions", data=body, headers=headers)

    for _ in range(12):
        await asyncio.gather(*(call(draw.choice(keys), draw.choice(LOAD)) for _ in range(draw.randrange(2, 7))))


async def administer(browser: Browser, url: str) -> None:
    """The console: now, usage, callers."""
    context = await browser.new_context(viewport=SIZE, locale="en-GB", color_scheme="light", reduced_motion="reduce")
    page = await context.new_page()
    keys = []
    for caller, group in CALLERS.items():
        made = await context.request.post(
            f"{url}/admin/keys", data={"caller": caller, "group": group}, headers={"authorization": f"Bearer {KEY}"}
        )
        keys.append(str((await made.json())["key"]))
    headers = {"authorization": f"Bearer {keys[-1]}"}
    while not (await context.request.get(f"{url}/v1/models", headers=headers)).ok:
        await asyncio.sleep(1)  # the relay looks for new keys now and then
    await page.goto(f"{url}/admin")
    await page.locator("#admin-key").fill(KEY)
    await page.locator("#admin-key").press("Enter")
    await expect(page.locator("#opened")).to_be_visible()
    await work(context, url, keys)
    await save(page, "console-now")
    await opened(page, "usage")
    await save(page, "console-usage")
    await opened(page, "callers")
    await save(page, "console-callers")
    await context.close()


async def take() -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        await fill(folder)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
            with RelayProcess() as relay:
                await talk(browser, relay.url)
            with RelayProcess(environment(folder)) as relay:
                await administer(browser, relay.url)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(take())
