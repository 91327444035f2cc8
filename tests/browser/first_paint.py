"""How much script each page runs before something is seen, on a device with a sixth of this one's speed.

``python -m tests.browser.first_paint`` loads the pages in turn, each time in a new browser context, from the relay of
this checkout and of others that are named. It prints medians and ranges of what the main thread does until the first
contentful paint. Times are CPU time as Chromium's trace tells it, so that other processes matter little.
"""

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import click
from playwright.async_api import Browser, async_playwright
from tests.browser.conftest import FLAGS, chromium_path
from tests.live.relays import RelayProcess

HERE = Path(__file__).parents[2]
PAGES = {"chat page": "/", "console": "/admin"}
SLOWER = 6
"""The rate of Chromium's throttle, which stops the main thread for five sixths of the time."""

CATEGORIES = ["loading", "devtools.timeline", "blink.user_timing", "v8", "disabled-by-default-v8.compile"]
PARTS = {
    "compiling": {"DocumentModuleScriptFetcher::NotifyFinished", "v8.compile", "v8.compileModule"},
    "running": {"EvaluateScript", "v8.evaluateModule", "v8.run", "FunctionCall", "RunMicrotasks", "TimerFire"},
}
"""Events of the main thread by what they show. All of them together are the script."""

PAINTED = """new Promise((resolve) => {
  const observer = new PerformanceObserver((list) => {
    if (list.getEntriesByName("first-contentful-paint").length > 0) resolve();
  });
  observer.observe({ type: "paint", buffered: true });
})"""

Event = dict[str, Any]


def script_times(events: Sequence[Event]) -> dict[str, float] | None:
    """Return the CPU time of the page's main thread before its first contentful paint, in milliseconds, by part.

    It is None if the trace has no paint, as happens on a busy machine. The paint's own event has the time at which its
    frame was on the screen. The thread goes on until then, so what counts ends with the first painting of the document,
    which waits for the script.
    """
    shown = next((event for event in events if event["name"] == "firstContentfulPaint"), None)
    if shown is None:
        return None
    frame, navigation = shown["args"]["frame"], shown["args"]["data"]["navigationId"]
    thread = [event for event in events if (event["pid"], event["tid"]) == (shown["pid"], shown["tid"])]
    starts = [event for event in thread if event["name"] == "navigationStart"]
    begun = min((event["ts"] for event in starts if event["args"]["data"].get("navigationId") == navigation), default=0)
    painted = min(
        event["ts"]
        for event in thread
        if event["name"] == "Paint" and event["args"]["data"]["frame"] == frame and event["ts"] > begun
    )
    own = [event for event in thread if event.get("ph") == "X" and "tdur" in event and begun < event["ts"] < painted]
    names = {name for part in PARTS.values() for name in part}
    times = {part: _total([event for event in own if event["name"] in found]) for part, found in PARTS.items()}
    return {"script": _total([event for event in own if event["name"] in names]), **times, "all tasks": _total(own)}


def _total(events: Sequence[Event]) -> float:
    """Return the CPU time of events of one thread, in milliseconds; events within others count once."""
    total = end = 0.0
    for event in sorted(events, key=lambda event: event["tts"]):
        last = event["tts"] + event["tdur"]
        total += max(0.0, last - max(end, event["tts"]))
        end = max(end, last)
    return total / 1000


async def load(browser: Browser, url: str, slower: int) -> list[Event]:
    """Load a page in a new context and return the trace until it is idle."""
    context = await browser.new_context()
    page = await context.new_page()
    devtools = await context.new_cdp_session(page)
    await devtools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    await browser.start_tracing(page=page, categories=CATEGORIES)
    await page.goto(url)
    await page.evaluate(PAINTED)
    trace = await browser.stop_tracing()
    await context.close()
    events: list[Event] = json.loads(trace)["traceEvents"]
    return events


def rows(found: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """Return the lines of the table: for each series the median of each part, and its range."""
    for name, loads in found.items():
        values = [
            f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"
            for times in ([each[part] for each in loads] for part in loads[0])
        ]
        yield f"| {name} | " + " | ".join(values) + " |"


async def measure(checkouts: Sequence[Path], loads: int, slower: int) -> dict[str, list[dict[str, float]]]:
    """Load each page of each checkout in turn, ``loads`` times."""
    found: dict[str, list[dict[str, float]]] = {}
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        stack.push_async_callback(browser.close)
        relays = []
        for checkout in checkouts:
            ledger = f"sqlite:///{stack.enter_context(TemporaryDirectory())}/ledger.sqlite"
            environment = {"PYTHONPATH": str(checkout / "src"), "CHUKEI_STORES__LEDGER": ledger}
            relays.append(
                stack.enter_context(RelayProcess({"CHUKEI_ADMIN__API_KEY": "of-administrators", **environment}))
            )
        for turn in range(loads + 1):
            for checkout, relay in zip(checkouts, relays, strict=True):
                for page, path in PAGES.items():
                    times = None
                    while times is None:
                        times = script_times(await load(browser, relay.url + path, slower))
                    if turn > 0:  # the first one also warms the browser and the relay
                        found.setdefault(f"{page}, {checkout.name}", []).append(times)
    return found


@click.command()
@click.option("--loads", default=8, show_default=True, help="Loads of each page.")
@click.option("--slower", default=SLOWER, show_default=True, help="The rate of Chromium's throttle; 1 is none.")
@click.argument("others", nargs=-1, type=click.Path(exists=True, path_type=Path))
def main(loads: int, slower: int, others: tuple[Path, ...]) -> None:
    """Measure the script before the first paint of this checkout, beside that of OTHERS."""
    found = anyio.run(measure, [HERE, *others], loads, slower)
    parts = next(iter(found.values()))[0]
    click.echo(f"Milliseconds of CPU time until the first contentful paint; median and range of {loads} loads.\n")
    click.echo("| page | " + " | ".join(parts) + " |\n|---|" + "---|" * len(parts))
    for line in rows(found):
        click.echo(line)


if __name__ == "__main__":
    main()
