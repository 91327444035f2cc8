"""Runs the page's own modules in the browser, without the page around them."""

from typing import Any

from playwright.async_api import Page


async def run_module(page: Page, module: str, body: str, argument: Any = None) -> Any:
    """Evaluate ``body`` with the module's exports as ``m`` and the argument as ``arg``."""
    url = f"web/{module}"
    script = f"async ([url, arg]) => {{ const m = await import(new URL(url, document.baseURI).href); {body} }}"
    return await page.evaluate(script, [url, argument])
