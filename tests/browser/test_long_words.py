"""Long words, as German has them, and scripts from right to left: nothing overflows, is cut off or overlaps."""

import pytest
from playwright.async_api import Page, Route, ViewportSize
from tests.browser import geometry
from tests.browser.chat_states import STATES
from tests.browser.conftest import Watch, open_chat
from tests.browser.scripted_server import ScriptedServer
from tests.browser.steps import settle

pytestmark = pytest.mark.anyio

SIZES: list[ViewportSize] = [
    {"width": 1280, "height": 860},
    {"width": 390, "height": 844},
    {"width": 320, "height": 640},
]

LENGTHEN = """
for (const [key, [english]] of Object.entries(WORDS)) {
  const more = Math.ceil(english.length * 0.4);
  const tail = "verantwortungsgemeinschaft".slice(0, more);
  const rest = more > tail.length ? ` ${"und weiter ".repeat(more).slice(0, more - tail.length)}`.trimEnd() : "";
  WORDS[key] = [english, english.replace(/([\\p{L}]+)([^\\p{L}{}]*)$/u, `$1${tail}$2`) + rest];
}
"""
"""In place of Japanese: each English text, four tenths longer, its last word above all."""

SPEAK = """() => {
  const language = document.querySelector("#language");
  language.value = "ja";
  language.dispatchEvent(new Event("change"));
}"""


async def lengthen(page: Page) -> None:
    """Serve the tables of words with long texts from now on; `SPEAK` chooses them."""

    async def table(route: Route) -> None:
        response = await route.fetch()
        text = await response.text()
        longer = text + LENGTHEN if "export const WORDS" in text else text
        await route.fulfill(response=response, body=longer)

    await page.route("**/words/*.js", table)


async def assert_all_fits(page: Page, what: str) -> None:
    """At each size, from left to right and from right to left."""
    for size in SIZES:
        for direction in ("ltr", "rtl"):
            await page.set_viewport_size(size)
            await page.evaluate("(direction) => { document.documentElement.dir = direction; }", direction)
            await settle(page)
            where = f"{what}, {size['width']} px, {direction}"
            for name, script in (("cut off", geometry.CUT_OFF), ("overlapping", geometry.OVERLAPPING)):
                assert (where, name, await page.evaluate(script)) == (where, name, [])
            assert (where, await page.evaluate(geometry.SMALL)) == (where, [])


@pytest.mark.parametrize("state", STATES)
async def test_the_chat_page(blank: Page, server: ScriptedServer, watch: Watch, state: str) -> None:
    watch.expected.append("Failed to load resource")
    await blank.emulate_media(reduced_motion="reduce")
    await lengthen(blank)
    await open_chat(blank, server.url)
    await STATES[state](blank, server)
    await blank.evaluate(SPEAK)
    await assert_all_fits(blank, state)
