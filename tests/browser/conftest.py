"""A real Chromium for the chat page's tests, and a page that must stay free of errors."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Playwright,
    Request,
    async_playwright,
    expect,
)
from tests.browser.scripted_server import ScriptedServer

# What a test waits for comes at once or not at all; a busy machine may take its time.
expect.set_options(timeout=60_000)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

# Everything that a screen reader would be told, in order, with the kind of region that says it.
RECORD_ANNOUNCEMENTS = """
window.announced = [];
new MutationObserver((changes) => {
  for (const { target, addedNodes } of changes) {
    const regions = new Set();
    const nearest = (node) => (node instanceof Element ? node : node.parentElement)
      ?.closest('[aria-live], [role="status"], [role="alert"], [role="log"]');
    for (const node of [target, ...addedNodes]) {
      if (nearest(node)) regions.add(nearest(node));
      if (node instanceof Element && node !== target) {
        for (const inner of node.querySelectorAll('[aria-live], [role="status"], [role="alert"], [role="log"]')) {
          regions.add(inner);
        }
      }
    }
    for (const region of regions) {
      if (region.textContent !== "") window.announced.push([region.getAttribute("role"), region.textContent]);
    }
  }
}).observe(document, { childList: true, subtree: true, characterData: true });
"""


@dataclass
class Watch:
    """What must not happen on the page, collected while it is open."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of messages that the test provokes, such as the browser's own note of a failed request."""

    def unexpected(self) -> list[str]:
        """The errors that no test asked for."""
        return [error for error in self.errors if not any(part in error for part in self.expected)]

    def assert_nothing_happened(self) -> None:
        """Fail with what must not have happened."""
        assert self.unexpected() == []
        assert self.foreign == []
        assert self.dialogs == []


CLOSING_SECONDS = 60
"""What closing pages may take on a busy machine. Playwright waits for ever for a Chromium that does not answer."""

CHROMIUMS = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")
"""Names of the system's browser. The first draws no window, which takes two fifths of a whole one's time for a page."""


def chromium_path() -> str | None:
    """The path of the system's browser, if there is one; playwright's own downloads are not used."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = chromium_path()
    if found is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(CHROMIUMS)})")
    return found


@pytest.fixture(scope="package")
async def playwright() -> AsyncIterator[Playwright]:
    """Playwright's own process, which takes as long to start as the browser.

    It belongs to a loop, on which all tests run as long as it does: so it ends after the tests of this package. All
    browsers end with it, also those that do not answer.
    """
    async with async_playwright() as playwright:
        yield playwright


class Chromium:
    """One browser for all files that a test process runs, started when it is first asked for and after a failure."""

    def __init__(self, playwright: Playwright, path: str, closing_seconds: float = CLOSING_SECONDS) -> None:
        self._playwright = playwright
        self._path = path
        self._closing_seconds = closing_seconds
        self._running: Browser | None = None
        self._window: BrowserContext | None = None

    async def running(self) -> Browser:
        """Return the browser; start a new one where none runs."""
        if self._running is None or not self._running.is_connected():
            self._running = await self._playwright.chromium.launch(executable_path=self._path, args=FLAGS)
            self._window = None
        return self._running

    async def window(self) -> BrowserContext:
        """Return a context for all tests of a file: to make one for each would take half of their time."""
        browser = await self.running()
        if self._window is None:
            permissions = ["clipboard-read", "clipboard-write"]
            self._window = await browser.new_context(locale="en-GB", permissions=permissions)
        return self._window

    async def clear(self) -> None:
        """Close every context, so that the next file finds nothing of this one."""
        self._window = None
        contexts = self._running.contexts if self._running is not None else []
        await self.close(*contexts)

    async def close(self, *what: BrowserContext | Page) -> None:
        """Close contexts or pages; where the browser does not, fail, and use another one from now on."""
        try:
            async with asyncio.timeout(self._closing_seconds):
                for each in what:
                    await each.close()
        except TimeoutError:
            self._running = None
            raise


@pytest.fixture(scope="package")
async def shared_chromium(playwright: Playwright, chromium: str) -> Chromium:
    return Chromium(playwright, chromium)


@pytest.fixture(scope="module")
async def cleared_chromium(shared_chromium: Chromium) -> AsyncIterator[Chromium]:
    """That browser, with nothing in it that another file opened."""
    yield shared_chromium
    await shared_chromium.clear()


@pytest.fixture
async def browser(cleared_chromium: Chromium) -> Browser:
    return await cleared_chromium.running()


@pytest.fixture(scope="module")
async def library(cleared_chromium: Chromium) -> AsyncIterator[Page]:
    """A page for tests of single modules: loaded once, without the chat's own state."""
    async with ScriptedServer().serving() as server:
        page = await (await cleared_chromium.running()).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await open_chat(page, server.url)
        yield page
        await cleared_chromium.close(page)
    assert errors == []


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """At an origin of the test's own: to clear an origin's databases ends the connections of the page that follows."""
    async with ScriptedServer().serving() as server:
        yield server


@pytest.fixture
async def context(cleared_chromium: Chromium) -> AsyncIterator[BrowserContext]:
    """The file's context without pages."""
    window = await cleared_chromium.window()
    yield window
    await cleared_chromium.close(*window.pages)
    await window.set_offline(False)


@pytest.fixture
async def watch(context: BrowserContext, server: ScriptedServer) -> AsyncIterator[Watch]:
    """Fail any test in which the page logs an error, breaks its policy, asks another host or opens a dialog."""
    watch = Watch()
    stop = watch_context(context, watch, server.url)
    yield watch
    stop()
    watch.assert_nothing_happened()


def watch_context(context: BrowserContext, watch: Watch, url: str) -> Callable[[], None]:
    """Collect from every page of the context, until what is returned is called."""
    host = urlsplit(url).netloc

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watch.errors.append(message.text)

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != host:
            watch.foreign.append(request.url)

    def on_page(page: Page) -> None:
        page.on("pageerror", lambda error: watch.errors.append(f"uncaught: {error}"))

    def on_dialog(dialog: Dialog) -> None:
        watch.dialogs.append(dialog.message)

    listeners: dict[str, Callable[..., None]] = {
        "console": on_console,
        "request": on_request,
        "page": on_page,
        "dialog": on_dialog,
    }
    for name, listener in listeners.items():
        context.on(name, listener)  # type: ignore[call-overload]

    def stop() -> None:
        for name, listener in listeners.items():
            context.remove_listener(name, listener)

    return stop


async def new_page(context: BrowserContext, url: str) -> Page:
    """A page without what that of an earlier test has left with the browser."""
    page = await context.new_page()
    devtools = await context.new_cdp_session(page)
    origin = url.removesuffix("/")
    await devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    await devtools.detach()
    return page


@pytest.fixture
async def blank(context: BrowserContext, watch: Watch, server: ScriptedServer) -> Page:
    """A page that has not loaded anything: for what must be set before."""
    page = await new_page(context, server.url)
    await page.add_init_script(RECORD_ANNOUNCEMENTS)
    return page


@pytest.fixture
async def page(blank: Page, server: ScriptedServer) -> Page:
    """The chat page, loaded, with its models."""
    return await open_chat(blank, server.url)


async def open_chat(page: Page, url: str) -> Page:
    """Load the page, wait until it knows the models, and return it."""
    async with page.expect_response("**/v1/models"):
        await page.goto(url)
    return page
