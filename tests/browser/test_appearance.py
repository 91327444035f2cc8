"""Light, dark, phone: nothing overflows, everything is large and clear enough. Leaves screenshots to look at."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from tests.browser.conftest import Watch, open_chat, watch_context
from tests.browser.scripted_server import Exchange, ScriptedServer, azure_stream, delta, refusing, saying
from tests.browser.steps import answers, ask, finished, offered
from tests.browser.test_failures import BLOCKED, BUSY

pytestmark = pytest.mark.anyio

SCREENSHOTS = Path(__file__).parent / "screenshots"

WIDE = {"width": 1280, "height": 860}
PHONE = {"width": 360, "height": 740}

RICH = """\
## Retrying with backoff

Retry only what **may succeed later**, wait a little longer each time, and add *jitter* so that clients do not
return all at once. See [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#name-retry-after) on `Retry-After`.

```python
import random
import time


def retry(call, attempts=5, base=0.5):
    \"\"\"Try, and wait longer after each failure.\"\"\"
    for attempt in range(attempts):
        try:
            return call()
        except ConnectionError:  # nothing else is worth repeating
            time.sleep(base * 2**attempt + random.uniform(0, base))
    raise TimeoutError(f"gave up after {attempts} attempts, the last of them a moment ago")
```

1. Wait **base × 2ⁿ** seconds
2. Never retry what may be charged twice:
   - payments
   - messages that were sent
3. Honour the server's own wish

| Status | Meaning | Retry |
|---|---|:-:|
| 429 | too many requests | yes |
| 503 | not available just now | yes |
| 400 | the request itself is wrong | no |

> A retry is a request like any other: it costs the server as much as the first one.
"""

JAPANESE = """\
## 中継とは

**「中継」**は、モデルの言葉を*そのまま*届けることです。`data:` で始まる行が一つずつ
流れ、読み手はそれを待たずに読めます。

1. クライアントが問いを送る
2. 中継が認証し、割り当てを確かめる
3. 言葉が届いたそばから渡す

| 状態 | 意味 |
|---|---|
| 429 | リクエストが多すぎる |
| 503 | 一時的に利用できない |
"""

WIDE_THINGS = (
    "https://x.test/"
    + "long" * 60
    + "\n\n"
    + "w" * 200
    + "\n\n`"
    + "c" * 120
    + "`\n\n```\n"
    + "x" * 300
    + "\n```\n\n"
    + "|"
    + " a long heading |" * 9
    + "\n|"
    + "-|" * 9
    + "\n|"
    + " cell |" * 9
    + "\n\n- - - - - deep\n\n> > > "
    + "q" * 90
    + "\n\n# "
    + "H" * 80
)


@pytest.fixture(autouse=True)
def _failed_requests_are_expected(watch: Watch) -> None:
    watch.expected.append("Failed to load resource")


@pytest.fixture
async def views(browser: Browser, server: ScriptedServer, watch: Watch) -> AsyncIterator["Views"]:
    views = Views(browser, server, watch)
    yield views
    for context in views.contexts:
        await context.close()


class Views:
    """Opens the page in the shapes that readers have."""

    def __init__(self, browser: Browser, server: ScriptedServer, watch: Watch) -> None:
        self.browser = browser
        self.server = server
        self.watch = watch
        self.contexts: list[BrowserContext] = []

    async def open(
        self, scheme: Literal["light", "dark"] = "light", phone: bool = False, locale: str = "en-GB"
    ) -> Page:
        context = await self.browser.new_context(
            viewport=PHONE if phone else WIDE,  # type: ignore[arg-type]
            device_scale_factor=2 if phone else 1,
            has_touch=phone,
            is_mobile=phone,
            color_scheme=scheme,
            locale=locale,
        )
        self.contexts.append(context)
        watch_context(context, self.watch, self.server.url)
        page = await context.new_page()
        await open_chat(page, self.server.url)
        await expect(offered(page)).to_have_count(2)
        return page

    async def say(self, page: Page, question: str, *texts: str) -> None:
        async def paced(exchange: Exchange) -> None:
            await exchange.start()
            for piece in azure_stream(*texts):
                await exchange.write(piece)
                await asyncio.sleep(0.005)  # so that the speed shown is one of this world

        count = await page.locator(".answer").count()
        self.server.scripts.append(paced)
        await page.locator("#prompt").fill(question)
        await page.locator("#send").click()
        await finished(page, count + 1)


async def shoot(page: Page, name: str) -> None:
    """Save what the reader sees, after checking what every picture must hold."""
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.evaluate("document.fonts.ready")
    await page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
    assert await faint_texts(page) == []
    assert await small_targets(page) == []


async def small_targets(page: Page) -> list[Any]:
    """Controls under 44 px either way (WCAG 2.5.5); links within text are exempt there too."""
    found: list[Any] = await page.evaluate(
        """() => [...document.querySelectorAll("button, select, textarea, summary, input:not([type=checkbox])")]
          .filter((control) => control.checkVisibility({ visibilityProperty: true }))
          .map((control) => [control.id || control.className, control.getBoundingClientRect()])
          .filter(([, box]) => box.width < 44 || box.height < 44)
          .map(([name, box]) => [name, box.width, box.height])"""
    )
    return found


async def faint_texts(page: Page) -> list[Any]:
    """Texts with a contrast under 4.5 to 1 against the nearest painted background (WCAG 1.4.3)."""
    found: list[Any] = await page.evaluate(
        """() => {
          const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const rgba = (colour) => {
            brush.clearRect(0, 0, 1, 1);
            brush.fillStyle = colour;
            brush.fillRect(0, 0, 1, 1);
            return [...brush.getImageData(0, 0, 1, 1).data];
          };
          const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
            .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
          const ground = (element) => {
            for (let at = element; at; at = at.parentElement) {
              const colour = rgba(getComputedStyle(at).backgroundColor);
              if (colour[3] > 200) return colour;
            }
            return rgba("white");
          };
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          const faint = [];
          while (walker.nextNode()) {
            const parent = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || !parent.checkVisibility({ opacityProperty: true })) continue;
            if (parent.closest(".visually-hidden, .skip, noscript, option")) continue;
            const [a, b] = [light(rgba(getComputedStyle(parent).color)), light(ground(parent))];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < 4.5) faint.push([walker.currentNode.data.slice(0, 30), contrast]);
          }
          return faint;
        }"""
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_wide_screen(views: Views, scheme: Literal["light", "dark"]) -> None:
    views.server.simulator = True
    page = await views.open(scheme)
    await shoot(page, f"welcome-{scheme}")
    await views.say(page, "How do I retry a failed request?", *(RICH[at : at + 4] for at in range(0, len(RICH), 4)))
    await shoot(page, f"answer-{scheme}")
    await page.mouse.move(640, 300)
    await page.mouse.wheel(0, -5000)
    await expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    await shoot(page, f"answer-top-{scheme}")
    dark = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert dark == ("rgb(247, 245, 240)" if scheme == "light" else "rgb(21, 24, 27)")


async def test_the_theme_can_be_chosen(views: Views) -> None:
    page = await views.open("light")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    for name, colour in [
        ("Theme: as the system", "rgb(247, 245, 240)"),
        ("Theme: light", "rgb(247, 245, 240)"),
        ("Theme: dark", "rgb(21, 24, 27)"),
    ]:
        await expect(page.get_by_role("button", name=name)).to_be_visible()
        assert await page.evaluate(background) == colour
        await page.locator("#theme").click()
    await page.get_by_role("button", name="Theme: as the system").click()
    await page.get_by_role("button", name="Theme: light").click()
    await open_chat(page, views.server.url)
    assert await page.evaluate(background) == "rgb(21, 24, 27)"  # the choice outlives the page


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_errors_and_notices(views: Views, scheme: Literal["light", "dark"]) -> None:
    page = await views.open(scheme)

    async def half(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.write(delta(content="The relay sends each event on as soon as it is whole. When the"))

    async def tool(exchange: Exchange) -> None:
        call = {"index": 0, "id": "1", "function": {"name": "get_weather", "arguments": '{"city":"京都","days":3}'}}
        await exchange.start()
        await exchange.write(delta(reasoning_content="The reader wants the weather.") + delta(tool_calls=[call]))
        await exchange.write(delta(finish="tool_calls") + b"data: [DONE]\n\n")

    views.server.scripts += [
        half,
        refusing(400, BLOCKED),
        tool,
        saying("Once upon a time", finish="length"),
        refusing(429, BUSY, {"retry-after": "22"}),
    ]
    for count, question in enumerate(("What is a relay?", "Something bad", "Weather?", "A story", "And now?"), 1):
        await ask(page, question)
        await finished(page, count)
    await shoot(page, f"errors-{scheme}")
    gaps = await page.locator(".answer-text:not(:empty) ~ .extras > :is(.failure, .notice)").evaluate_all(
        """(ends) => ends.map((end) => {
          const text = end.closest(".answer").querySelector(".answer-text");
          return end.getBoundingClientRect().top - text.getBoundingClientRect().bottom;
        })"""
    )
    assert len(gaps) == 2
    assert min(gaps) >= 12
    await page.screenshot(path=SCREENSHOTS / f"errors-{scheme}-whole.png", full_page=True, animations="disabled")


async def test_settings_and_access(views: Views) -> None:
    page = await views.open()
    await page.get_by_role("button", name="Settings").click()
    await shoot(page, "settings-light")
    views.server.required_key = "k"
    await open_chat(page, views.server.url)
    await expect(page.locator("#access")).to_be_visible()
    await shoot(page, "access-light")


async def test_writing_and_editing(views: Views) -> None:
    page = await views.open()
    arrived = asyncio.Event()

    async def held(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.write(delta(content="Each word appears the moment it"))
        arrived.set()
        await exchange.gone.wait()

    await views.say(page, "What is a relay?", "A relay passes on what it receives, and nothing else.")
    await page.locator(".question").hover()
    await page.get_by_role("button", name="Edit").click()
    await shoot(page, "editing-light")
    await page.keyboard.press("Escape")
    views.server.scripts.append(held)
    await ask(page, "How does it look while it streams?")
    await arrived.wait()
    await expect(answers(page).last).to_have_text("Each word appears the moment it")
    await shoot(page, "streaming-light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone(views: Views, scheme: Literal["light", "dark"]) -> None:
    views.server.simulator = True
    page = await views.open(scheme, phone=True)
    await shoot(page, f"phone-welcome-{scheme}")
    await views.say(page, "How do I retry a failed request?", RICH)
    await shoot(page, f"phone-answer-{scheme}")
    await page.evaluate("scrollTo(0, 0)")
    await shoot(page, f"phone-answer-top-{scheme}")
    await page.get_by_role("button", name="Settings").click()
    await shoot(page, f"phone-settings-{scheme}")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Open conversations").click()
    await expect(page.get_by_role("button", name="New chat")).to_be_focused()
    await expect(page.locator("#page")).to_have_attribute("inert", "")
    await page.locator("#sidebar").evaluate("(bar) => Promise.all(bar.getAnimations().map((one) => one.finished))")
    await shoot(page, f"phone-history-{scheme}")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Open conversations")).to_be_focused()
    await expect(page.locator("#sidebar")).to_be_hidden()


async def test_nothing_is_wider_than_a_phone(views: Views) -> None:
    views.server.models = ["m" * 80, "chat"]
    page = await views.open(phone=True)
    await views.say(page, "q" * 300, WIDE_THINGS)
    error = {"message": "e" * 300, "code": "c" * 100}
    views.server.scripts.append(refusing(429, error, {"x-request-id": "r" * 200}))
    await page.locator("#prompt").fill("And now?")
    await page.locator("#send").click()
    await finished(page, 2)
    await shoot(page, "phone-wide-things")
    views.server.required_key = "k"
    await open_chat(page, views.server.url)
    await expect(page.locator("#access")).to_be_visible()
    await shoot(page, "phone-access")


@pytest.mark.parametrize("phone", [False, True])
async def test_japanese(views: Views, phone: bool) -> None:
    page = await views.open(phone=phone, locale="ja-JP")
    shape = "phone-" if phone else ""
    await shoot(page, f"{shape}japanese-welcome")
    await views.say(page, "中継とは何ですか？", *JAPANESE)
    await shoot(page, f"{shape}japanese-answer")


NARROW = """() => {
  const paragraph = document.querySelector("#simulator-note");
  paragraph.hidden = false;
  paragraph.textContent = "内蔵のシミュレーターがチャットを、ちょっとキャッシュします。".repeat(3);
  const [{ firstChild: text }, range, first] = [paragraph, document.createRange(), new Set()];
  for (let width = 10; width < 20; width += 1) {
    paragraph.style.width = `${width}em`;
    for (let at = 0, top = Infinity; at < text.length; at += 1, top = range.getBoundingClientRect().top) {
      range.setStart(text, at);
      range.setEnd(text, at + 1);
      if (range.getBoundingClientRect().top > top) first.add(text.data[at]);
    }
  }
  return [...first].join("");
}"""
"""What lines begin with, at several widths."""


async def test_no_line_begins_with_a_small_kana(views: Views) -> None:
    page = await views.open(phone=True, locale="ja-JP")
    first = await page.evaluate(NARROW)
    assert len(first) > 2
    assert not set(first) & set("ゃゅょっャュョッー、。")


async def test_reduced_motion(browser: Browser, server: ScriptedServer) -> None:
    context = await browser.new_context(reduced_motion="reduce")
    page = await context.new_page()
    await open_chat(page, server.url)

    async def held(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.gone.wait()

    server.scripts.append(held)
    await ask(page, "Hello?")
    await expect(page.locator("[aria-busy] .mark-line")).to_have_count(1)
    assert await page.evaluate("document.getAnimations().length") == 0
    await context.close()
