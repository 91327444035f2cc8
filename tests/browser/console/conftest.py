"""The administrators' console, on a real relay with a real ledger, in place of the chat page."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page
from tests.browser.conftest import RECORD_ANNOUNCEMENTS, Watch, new_page, watch_context
from tests.browser.console.office import RUN_TITLE, WIDE, Office


@pytest.fixture(scope="module")
def place() -> Iterator[socket.socket]:
    """Where the relays of a file's tests listen, one after the other.

    Their pages have one origin, so that the browser has the hundred files of the page, by their digest, from the test
    before: they were a third of the time for a page. ``new_page`` clears what the console keeps.
    """
    with socket.create_server(("127.0.0.1", 0)) as place:
        yield place


@pytest.fixture
async def office(tmp_path: Path, place: socket.socket) -> AsyncIterator[Office]:
    async with Office.serving(tmp_path, place) as office:
        yield office


@pytest.fixture
def origin(office: Office) -> str:
    """Where the console comes from; a file whose relay is another one says so by a fixture of this name."""
    return office.relay.url


@pytest.fixture
async def watch(context: BrowserContext, origin: str) -> AsyncIterator[Watch]:
    """Fail any test in which the page logs an error, breaks its policy, asks another host or opens a dialog."""
    watch = Watch()
    stop = watch_context(context, watch, origin)
    yield watch
    stop()
    watch.assert_nothing_happened()


@pytest.fixture
async def page(context: BrowserContext, watch: Watch, origin: str) -> Page:
    """The console, not opened yet."""
    page = await new_page(context, origin)
    await page.add_init_script(RECORD_ANNOUNCEMENTS + RUN_TITLE)
    await page.set_viewport_size(WIDE)
    await page.goto(f"{origin}/admin")
    return page
