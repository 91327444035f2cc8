"""Runs the page's own modules in the browser, without the page around them."""

from typing import Any

from playwright.async_api import Page


async def run_module(page: Page, module: str, body: str, argument: Any = None) -> Any:
    """Evaluate ``body`` with the module's exports as ``m`` and the argument as ``arg``."""
    url = f"web/{module}"
    script = f"async ([url, arg]) => {{ const m = await import(new URL(url, document.baseURI).href); {body} }}"
    return await page.evaluate(script, [url, argument])


RATIO = """
  const ratio = (cost, hostile, plain, most) => {
    const best = [Infinity, Infinity];
    for (let turn = 0; turn < 1 || (best[0] > most * best[1] && turn < 30); turn += 1) {
      best[0] = Math.min(best[0], cost(hostile));
      best[1] = Math.min(best[1], cost(plain));
    }
    return best[0] / best[1];
  };
  const timed = (work) => { const began = performance.now(); work(); return performance.now() - began; };
"""
"""``ratio`` compares the least times that ``cost`` takes for two inputs, which take turns. A page has no CPU clock, and
a pause of a busy machine can lengthen the time of one input only: above ``most`` it tries again, up to 30 times."""

LABELS = """
  const labels = {
    copy: "Copy", code: "Code", formula: "Formula", image: "Image", table: "Table", task: "Task", wrap: "Wrap lines",
  };
"""
"""The words that the markdown renderer adds."""
