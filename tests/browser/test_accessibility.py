"""The chat page for everybody: what axe says of each state, and the whole page by keyboard."""

from typing import Any

import pytest
from playwright.async_api import Page
from tests.browser.axe import violations
from tests.browser.chat_states import STATES, conversation
from tests.browser.conftest import Watch
from tests.browser.scripted_server import ScriptedServer
from tests.browser.steps import settle

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _failed_requests_are_expected(watch: Watch) -> None:
    watch.expected.append("Failed to load resource")


@pytest.mark.parametrize("state", STATES)
async def test_axe_finds_nothing(page: Page, server: ScriptedServer, state: str) -> None:
    await STATES[state](page, server)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = await violations(page)
        # A model's name is the label of its option; what else stands there is its description.
        assert [each for each in found if not each.startswith("label-content-name-mismatch: #model-option")] == []


WHERE = """() => {
  const at = document.activeElement;
  if (at === document.body) return null;
  const frame = at.id === "prompt" ? at.closest(".composer") : at;
  const { outlineStyle, boxShadow } = getComputedStyle(frame);
  const box = at.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, Math.max(box.top, 0) / 2 + Math.min(box.bottom, innerHeight) / 2];
  const spots = [[x, y], [x, box.top + 3], [x, box.bottom - 3], [box.left + 3, y], [box.right - 3, y]];
  const covered = spots.filter(([left, top]) => {
    const there = document.elementFromPoint(left, top);
    return there === null || !(at.contains(there) || there.contains(at) || at.labels?.[0]?.contains(there));
  });
  return {
    name: at.id || at.getAttribute("aria-label") || at.textContent.trim().slice(0, 40),
    marked: outlineStyle !== "none" || boxShadow !== "none",
    hidden: covered.length === spots.length,
  };
}"""
"""What has the focus, whether that is seen, and whether all of it lies under something else (WCAG 2.4.11)."""

REACHABLE = """() => [...document.querySelectorAll("button, select, input, textarea, summary, a[href], [tabindex='0']")]
  .filter((found) => found.checkVisibility({ visibilityProperty: true }) && found.tabIndex >= 0 && !found.disabled)
  .filter((found) => found.id !== "latest")
  .map((found) => found.id || found.getAttribute("aria-label") || found.textContent.trim().slice(0, 40))"""
"""Everything but the way to the end, which is there only while the end is not."""


async def walk(page: Page, key: str) -> list[Any]:
    """Press the key until the focus leaves the page, and return where it was."""
    steps: list[Any] = []
    while (found := await page.evaluate(WHERE)) is not None:
        steps.append(found)
        assert len(steps) < 200, f"a trap: {[step['name'] for step in steps[-6:]]}"
        await page.keyboard.press(key)
        await settle(page)
    return steps


@pytest.mark.parametrize("size", [(1280, 860), (1280, 420), (390, 844)])
async def test_the_whole_page_by_tab_and_back(page: Page, server: ScriptedServer, size: tuple[int, int]) -> None:
    await page.emulate_media(reduced_motion="reduce")
    await conversation(page, server)
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.evaluate("scrollTo(0, 0)")
    await settle(page)
    there = sorted(await page.evaluate(REACHABLE))
    await page.locator(".skip").focus()
    forth = await walk(page, "Tab")
    names = [step["name"] for step in forth if step["name"] != "latest"]
    assert sorted(names) == there
    await page.locator("#prompt").focus()
    while (await page.evaluate(WHERE)) is not None:
        await page.keyboard.press("Tab")
    await page.keyboard.press("Shift+Tab")
    back = await walk(page, "Shift+Tab")
    assert [step["name"] for step in back if step["name"] != "latest"] == names[::-1]
    for step in (*forth, *back):
        assert (step["name"], step["marked"], step["hidden"]) == (step["name"], True, False)
