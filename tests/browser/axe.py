"""Checks a page with axe (npm's axe-core) against WCAG 2.2 AA."""

from typing import Any

from playwright.async_api import Page
from tests.browser.steps import settle
from tests.live.client_packages import npm_packages

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

RUN = """async ([tags]) => {
  const runOnly = { type: "tag", values: tags };
  const rules = { "heading-order": { enabled: false } }; // the headings of an answer are the model's
  const { violations } = await axe.run(document, { runOnly, rules, resultTypes: ["violations"] });
  const shown = ({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`);
  return violations.flatMap(shown);
}"""


async def violations(page: Page) -> list[str]:
    """Return what axe finds in what the page shows now: the rule, the element, and why."""
    await settle(page)
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate((npm_packages() / "axe-core" / "axe.min.js").read_text())
    found: list[Any] = await page.evaluate(RUN, [TAGS])
    return [str(each) for each in found]
