"""The administrators' page in a real browser, on a real relay with a real ledger. Leaves screenshots to look at."""

import asyncio
import contextlib
import csv
import io
import itertools
import re
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, Route, expect
from playwright.async_api import Error as PlaywrightError
from tests.adapters.ledger_entries import entry
from tests.browser import admin_scripts as scripts
from tests.browser.conftest import RECORD_ANNOUNCEMENTS, Watch, new_page, watch_context
from tests.browser.modules import run_module
from tests.browser.payloads import all_payloads
from tests.browser.scripted_server import WEB
from tests.browser.steps import settle
from tests.live.relays import InProcessRelay, settings_for

from chukei.accounts.ledger import Entry, Key
from chukei.accounts.stores import Database
from chukei.callers.keys import parse

pytestmark = pytest.mark.anyio

KEY = "admin-7d1f03b2c94e58a6-in-memory-only"
SCREENSHOTS = Path(__file__).parent / "screenshots"
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
RUN_TITLE = "window.ran = []; window.alert = (what) => window.ran.push(what); window.print = window.alert;"


@dataclass
class Office:
    """A relay with administrators, and its ledger."""

    relay: InProcessRelay
    database: Database
    file: Path

    @property
    def url(self) -> str:
        return f"{self.relay.url}/admin"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    file = tmp_path / "ledger.db"
    settings = settings_for(
        "http://127.0.0.1:9",
        {
            "CHUKEI_ADMIN__API_KEY": KEY,
            "CHUKEI_STORES__LEDGER": f"sqlite:///{file}",
            "CHUKEI_UPSTREAM__PLAIN_HTTP": "true",
            "CHUKEI_AUTH__FAILURES_PER_MINUTE": "3",
            "CHUKEI_GROUPS__RESEARCH__TOTAL__CONCURRENT": "100",
        },
    )
    async with InProcessRelay(settings) as relay:
        database = relay.relay.accounting.database
        assert database is not None
        await database.keys()  # it is open now
        yield Office(relay, database, file)


@pytest.fixture
async def watch(context: BrowserContext, office: Office) -> AsyncIterator[Watch]:
    """Fail any test in which the page logs an error, breaks its policy, asks another host or opens a dialog."""
    watch = Watch()
    stop = watch_context(context, watch, office.url)
    yield watch
    stop()
    watch.assert_nothing_happened()


@pytest.fixture
async def page(context: BrowserContext, watch: Watch, office: Office) -> Page:
    """The page, not opened yet."""
    page = await new_page(context, office.relay.url)
    await page.add_init_script(RECORD_ANNOUNCEMENTS + RUN_TITLE)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.goto(office.url)
    return page


async def unlock(page: Page, key: str = KEY) -> None:
    await page.locator("#admin-key").fill(key)
    await page.locator("#admin-key").press("Enter")


async def opened(page: Page) -> None:
    """Unlock, and wait until everything is there."""
    await unlock(page)
    await expect(page.locator("#opened")).to_be_visible()
    await expect(page.locator("#report")).not_to_have_attribute("aria-busy", "true")
    await expect(page.locator("#ledger dl")).to_be_visible()
    await expect(page.locator("#keys-table > *").first).to_be_visible()


def days_ago(days: int) -> datetime:
    """A moment of that day of UTC, as long as the test does not run over midnight."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def used(caller: str, model: str, *, days: int = 0, count: int = 1, **fields: Any) -> list[Entry]:
    return [entry(caller=caller, model=model, time=days_ago(days), **fields) for _ in range(count)]


USED = [
    *used("team-a", "gpt-4o", count=3, input=1000, cached=400, output=100, cost=3_000_000, group="research"),
    *used("team-a", "o3", days=1, input=500, output=700, reasoning=600, cost=20_000_000, group="research"),
    *used("team-b", "gpt-4o", days=1, count=2, input=50, output=5, cost=None, end="timeout", group=None),
    *used("team-c", "gpt-4o", days=29, input=7, output=3, cost=1_000, end="client_aborted", estimated=True),
    *used("long-gone", "gpt-4o", days=45, input=1_000_000, output=1, cost=1),
]


async def values(found: Locator) -> list[float]:
    """The values that the parts of a plot stand for."""
    texts = await found.locator(".part").evaluate_all("parts => parts.map((part) => part.dataset.value)")
    return [float(text) for text in texts]


async def drawn_days(page: Page) -> dict[str, list[float]]:
    """What each day's bar shows."""
    found = {}
    for group in await page.locator("[data-plot=day] .bar-group").all():
        title = await group.locator("title").text_content() or ""
        found[title.partition(":")[0]] = await values(group)
    return found


async def cells(table: Locator) -> list[list[str]]:
    """A table's rows as text."""
    script = "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    rows: list[list[str]] = await table.locator("tbody tr").evaluate_all(script)
    return rows


def plot(page: Page, name: str) -> Locator:
    return page.locator(f"[data-plot={name}]")


# The key.


async def test_a_wrong_key_is_refused_in_words(page: Page, watch: Watch, office: Office) -> None:
    watch.expected.append("Failed to load resource")
    await expect(page.locator("#admin-key")).to_be_focused()
    await unlock(page, "not the administrators' key at all".replace(" ", "-"))
    await expect(page.get_by_role("alert")).to_contain_text("This key does not open the administration.")
    await expect(page.locator("#opened")).to_be_hidden()
    await expect(page.locator("#admin-key")).to_be_focused()
    await expect(page.locator("#admin-key")).to_have_value("")
    await opened(page)
    await expect(page.locator("#unlock")).to_be_hidden()
    assert {record.operation for record in office.relay.records} <= {"admin", "admin_page", "asset"}


async def test_a_key_that_no_header_can_carry_is_not_even_sent(page: Page, office: Office) -> None:
    for key in ("鍵", "two words", "tab\there"):
        await unlock(page, key)
        await expect(page.get_by_role("alert")).to_contain_text("does not open")
    assert {record.operation for record in office.relay.records} <= {"admin_page", "asset"}


async def test_guessing_is_told_to_wait(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    for number in range(4):
        async with page.expect_response("**/admin/ledger"):
            await unlock(page, f"guess-{number}")
    await expect(page.get_by_role("alert")).to_contain_text("Too many wrong keys came from your address.")
    await expect(page.get_by_role("alert")).to_contain_text("asks to wait")
    await opened(page)


async def test_the_key_is_in_memory_only(page: Page, context: BrowserContext, office: Office) -> None:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    await opened(page)
    assert KEY not in await page.evaluate(scripts.STORES)
    assert KEY not in await page.content()
    fields: list[str] = await page.locator("input").evaluate_all("fields => fields.map((field) => field.value)")
    assert KEY not in fields
    assert len(urls) > 7
    assert not any(KEY in url for url in urls)
    assert await page.evaluate("Promise.all([indexedDB.databases(), caches.keys()])") == [[], []]
    assert await context.cookies() == []
    await page.reload()
    await expect(page.locator("#unlock")).to_be_visible()
    await expect(page.locator("#opened")).to_be_hidden()


async def test_locking_forgets_the_key_and_the_figures(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    await page.locator("#key-caller").fill("somebody")
    await page.get_by_role("button", name="Lock").click()
    await expect(page.locator("#unlock")).to_be_visible()
    await expect(page.locator("#admin-key")).to_be_focused()
    left = await page.content()
    assert not [name for name in ("team-a", "gpt-4o", "azure") if name in left]
    await expect(page.locator("#key-caller")).to_have_value("")
    await opened(page)
    await expect(plot(page, "caller")).to_be_visible()


async def test_an_answer_that_comes_after_locking_is_not_shown(page: Page, office: Office) -> None:
    await office.database.add_key(Key("id1", "team-late", None, b"x" * 32, 0, days_ago(1), None, None, None))
    locked, asked = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await locked.wait()
        with contextlib.suppress(PlaywrightError):  # the page does not wait for it any more
            await route.continue_()

    await page.route("**/admin/keys", late)
    await unlock(page)
    await asked.wait()
    await page.get_by_role("button", name="Lock").click()
    locked.set()
    await page.unroute_all(behavior="wait")
    await settle(page)
    assert "team-late" not in await page.content()


async def test_a_page_that_was_left_is_locked_when_it_comes_back(page: Page, office: Office) -> None:
    await opened(page)
    await page.goto("about:blank")
    await page.go_back()
    await expect(page.locator("#unlock")).to_be_visible()
    await expect(page.locator("#opened")).to_be_hidden()


# Figures.


async def test_the_plots_show_what_was_used(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    days = await drawn_days(page)
    today, yesterday, first = (days_ago(number).date().isoformat() for number in (0, 1, 29))
    assert len(days) == 30
    assert list(days) == sorted(days)
    assert {day: parts for day, parts in days.items() if any(parts)} == {
        today: [3000, 300],
        yesterday: [600, 710],
        first: [7, 3],
    }
    heights = (
        await plot(page, "day")
        .locator(".part-0")
        .evaluate_all("parts => parts.map((part) => part.height.baseVal.value)")
    )
    assert heights[-1] / heights[-2] == pytest.approx(5, rel=0.01)
    assert [row[0] for row in await cells(plot(page, "caller"))] == ["team-a", "team-b", "team-c"]
    assert await values(plot(page, "caller")) == [3500, 1000, 100, 10, 7, 3]
    assert [(row[0], row[2]) for row in await cells(plot(page, "model"))] == [("gpt-4o", "3,420"), ("o3", "1,200")]
    assert [(row[0], row[2]) for row in await cells(plot(page, "end-reason"))] == [
        ("completed", "4"),
        ("timeout", "2"),
        ("client_aborted", "1"),
    ]
    totals = [
        await page.locator(f"[data-total={name}] .big").inner_text() for name in ("requests", "input", "output", "cost")
    ]
    assert totals == ["7", "3,607", "1,013", "29.00"]
    await expect(page.locator("[data-total=requests]")).to_contain_text("2 failed (28.6 %)")
    await expect(page.locator("[data-total=cost]")).to_contain_text("models without a price, 2")
    await expect(page.locator("#report")).to_contain_text("since Azure had not counted them: 1.")


async def test_every_plot_has_a_table_that_says_the_same(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    await plot(page, "day").get_by_text("As a table").click()
    rows = await cells(plot(page, "day"))
    assert [row[0] for row in rows] == list(await drawn_days(page))
    assert [(row[3], row[5]) for row in rows[-2:]] == [("600", "710"), ("3,000", "300")]
    for name in ("caller", "model", "end-reason"):
        assert await plot(page, name).locator("table caption").count() == 1
        assert await plot(page, name).locator("svg:not([aria-hidden])").count() == 0
    label = await plot(page, "day").get_by_role("img").get_attribute("aria-label")
    assert label == "Tokens by day"


async def test_what_is_measured_can_be_chosen(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    await page.get_by_label("Measure").select_option("cost")
    days = list((await drawn_days(page)).values())
    assert days[-2:] == [[20], [9]]
    assert await values(plot(page, "model")) == [20, 9.001]
    assert [row[0] for row in await cells(plot(page, "model"))] == ["o3", "gpt-4o"]
    await page.get_by_label("Measure").select_option("requests")
    days = list((await drawn_days(page)).values())
    assert days[-2:] == [[1, 2], [3, 0]]
    assert await plot(page, "day").get_by_role("img").get_attribute("aria-label") == "Requests by day"


async def test_the_time_can_be_chosen(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    await page.get_by_label("Time").select_option("90")
    await expect(page.locator("[data-total=input] .big")).to_have_text("1,003,607")
    assert len(await drawn_days(page)) == 90
    await page.get_by_label("Time").select_option("1")
    await expect(page.locator("[data-total=input] .big")).to_have_text("3,000")
    await page.get_by_label("Time").select_option("own")
    day = days_ago(1).date().isoformat()
    await page.get_by_label("From").fill(day)
    await page.get_by_label("To", exact=True).fill(day)
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("[data-total=input] .big")).to_have_text("600")
    assert list(await drawn_days(page)) == [day]
    await page.get_by_label("To", exact=True).fill(days_ago(3).date().isoformat())
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("alert")).to_contain_text("The last day is before the first.")


async def test_more_days_than_can_be_drawn(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    await page.get_by_label("Time").select_option("own")
    await page.get_by_label("From").fill("2020-01-01")
    await page.get_by_role("button", name="Show").click()
    await expect(plot(page, "day")).to_contain_text("Only the first 400 days are drawn.")
    await expect(plot(page, "day").locator(".bar-group")).to_have_count(400)
    await expect(page.locator("[data-total=input] .big")).to_have_text("1,003,607")
    for day in ("1999-12-31", "9999-12-31", "275760-09-13"):
        await page.get_by_label("To", exact=True).fill(day)
        await page.get_by_role("button", name="Show").click()
        assert await page.evaluate("document.querySelector('#to').matches(':invalid')")


async def test_one_caller_group_or_model(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    for kind, name, tokens in [("caller", "team-b", "100"), ("group", "research", "3,507"), ("model", "o3", "500")]:
        await page.get_by_label("Only").select_option(kind)
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("Name").press("Enter")
        await expect(page.locator("[data-total=input] .big")).to_have_text(tokens)
    await page.get_by_label("Name").fill("nobody & nothing?")
    await page.get_by_label("Name").press("Enter")
    await expect(page.locator("#report")).to_contain_text("Nothing was used in that time.")
    await page.get_by_label("Only").select_option("")
    await expect(page.locator("[data-total=input] .big")).to_have_text("3,607")


async def test_an_empty_ledger(page: Page) -> None:
    await opened(page)
    await expect(page.locator("#report")).to_contain_text("Nothing was used in that time.")
    await expect(page.locator("#keys-table")).to_contain_text("There are no keys yet.")


async def test_in_detail_and_as_a_file(page: Page, office: Office) -> None:
    await office.database.add([*USED, *used('=cmd|"/C calc"!A0', "gpt-4o", input=1, output=1)])
    await opened(page)
    detail = plot(page, "own")
    assert (await cells(detail))[0][:3] == ["team-a", "gpt-4o", "3"]
    await detail.get_by_label("Caller").uncheck()
    await detail.get_by_label("Model").click()
    await expect(detail.get_by_label("Model")).to_be_checked()  # something must remain to sum by
    await detail.get_by_label("Group").check()
    await expect(detail.locator("tbody tr")).to_have_count(3)
    assert [row[:2] for row in await cells(detail)] == [["research", "gpt-4o"], ["research", "o3"], ["none", "gpt-4o"]]
    await detail.get_by_label("Caller").check()
    await expect(detail.locator("tbody tr")).to_have_count(5)
    async with page.expect_download() as downloading:
        await detail.get_by_role("button", name="Download as CSV").click()
    download = await downloading.value
    first, last = (days_ago(number).date().isoformat() for number in (29, 0))
    assert download.suggested_filename == f"usage-{first}-{last}.csv"
    path = await download.path()
    head, *lines = csv.reader(io.StringIO(path.read_text("utf-8")))
    assert head[:4] == ["caller", "group", "model", "requests"]
    assert lines[0][:4] == ["team-a", "research", "gpt-4o", "3"]
    assert '\'=cmd|"/C calc"!A0' in [line[0] for line in lines]


async def test_a_hundred_thousand_callers_do_not_freeze_it(page: Page, office: Office) -> None:
    entries = [entry(caller=f"user-{number:06}", time=days_ago(0), input=number) for number in range(100_000)]
    for start in range(0, len(entries), 5000):
        await office.database.add(entries[start : start + 5000])
    await unlock(page)
    await expect(plot(page, "caller")).to_be_visible(timeout=120_000)
    assert (await cells(plot(page, "caller")))[0][0] == "user-099999"
    await expect(plot(page, "caller").locator("tbody tr")).to_have_count(20)
    await expect(plot(page, "caller")).to_contain_text("The first 20 of 100,000.")
    await expect(plot(page, "own").locator("tbody tr")).to_have_count(200)
    await expect(plot(page, "own")).to_contain_text("200 of 100,000 rows are shown; the file has them all")
    await expect(page.locator("[data-total=requests] .big")).to_have_text("100,000")
    async with page.expect_download(timeout=120_000) as downloading:
        await page.get_by_role("button", name="Download as CSV").click()
    path = await (await downloading.value).path()
    assert len(path.read_text("utf-8").splitlines()) == 100_001


# Hostile names.


async def test_names_that_try_to_become_code_stay_text(page: Page, office: Office) -> None:
    payloads = [text.replace("\n", " ") for text in all_payloads()]
    payloads = list(dict.fromkeys(payloads))
    count = len(payloads)
    assert count > 150
    await office.database.add(
        [
            entry(
                caller=name,
                group=payloads[(place + 40) % count],
                model=payloads[(place + 80) % count],
                deployment=payloads[(place + 120) % count],
                end=payloads[(place + 160) % count],
                time=days_ago(place % 30),
                input=place,
            )
            for place, name in enumerate(payloads)
        ]
    )
    for place, name in enumerate(payloads):
        await office.database.add_key(
            Key(f"id{place}", name, payloads[place - 1], b"x" * 32, 0, days_ago(1), None, None, payloads[place - 2])
        )
    await opened(page)
    for by in ("Group", "Deployment", "End"):
        await plot(page, "own").get_by_label(by, exact=True).check()
    await expect(plot(page, "own").locator("tbody tr").first.locator("th, td")).to_have_count(13)
    await settle(page)
    shown = {cell for row in await cells(plot(page, "own")) for cell in row[:5]}
    kept = {name.replace("\x00", "\ufffd") for name in payloads}
    assert kept <= shown
    await page.mouse.move(300, 300)
    await page.keyboard.press("Tab")
    await settle(page)
    assert await page.evaluate("window.ran") == []
    assert await page.evaluate(scripts.STRANGE) == []
    await page.locator("#find-key").fill("<script>")
    await expect(page.locator("#keys-table tbody tr").first).to_contain_text("<script>")
    await page.get_by_role("button", name=re.compile("^Revoke the key id")).first.click()
    await expect(page.locator("#confirm-text")).to_contain_text("<")
    await page.keyboard.press("Escape")
    assert await page.evaluate("window.ran") == []


# Callers' keys.


async def make_key(page: Page, caller: str) -> str:
    await page.locator("#key-caller").fill(caller)
    await page.get_by_role("button", name="Make a key").click()
    await expect(page.get_by_role("heading", name=f"A key for {caller}")).to_be_visible()
    return await page.locator(".secret").inner_text()


async def test_a_key_is_made_shown_once_and_copied(page: Page, office: Office) -> None:
    await opened(page)
    await page.locator("#key-group").fill("research")
    await page.locator("#key-note").fill("for the nightly jobs")
    key = await make_key(page, "team-a")
    parts = parse(key.encode())
    assert parts is not None
    await expect(page.get_by_role("button", name="Copy")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#announcer")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == key
    [row] = await cells(page.locator("#keys-table"))
    assert row[:4] == ["team-a", parts.id, "research", "active"]
    assert row[6] == "for the nightly jobs"
    [kept] = await office.database.keys()
    assert kept.expires is not None
    assert abs(kept.expires - kept.created - timedelta(days=90)) < timedelta(minutes=1)
    await page.get_by_role("button", name="Done").click()
    await expect(page.locator("#key-caller")).to_be_focused()
    assert key not in await page.content()
    announced: Sequence[Any] = await page.evaluate("window.announced")
    assert key not in str(announced)


async def test_a_key_is_replaced(page: Page, office: Office) -> None:
    await opened(page)
    first = await make_key(page, "team-a")
    await page.get_by_role("button", name="Done").click()
    await page.get_by_role("button", name=re.compile("^Replace the key .* of team-a$")).click()
    await page.get_by_label("The old key still works for").select_option("3600")
    await page.locator("#confirm-yes").click()
    await expect(page.locator(".secret")).not_to_have_text(first)
    await expect(page.locator("#keys-table tbody tr")).to_have_count(2)
    old = next(key for key in await office.database.keys() if key.id in first)
    assert old.expires is not None
    assert timedelta(minutes=58) < old.expires - datetime.now(UTC) <= timedelta(hours=1)


async def test_a_key_is_revoked_after_a_question(page: Page, office: Office) -> None:
    await opened(page)
    await make_key(page, "team-a")
    revoke = page.get_by_role("button", name=re.compile("^Revoke the key .* of team-a$"))
    for refuse in ("Escape", "Enter"):  # Esc, and the button that has the focus, which is the one that does nothing
        await revoke.click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press(refuse)
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await expect(revoke).to_be_focused()
    assert [key.revoked for key in await office.database.keys()] == [None]
    await revoke.click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.locator("#keys-table .state")).to_have_text("revoked")
    await expect(revoke).to_have_count(0)
    assert all(key.revoked for key in await office.database.keys())


async def test_a_key_is_found_among_many(page: Page, office: Office) -> None:
    for number in range(250):
        await office.database.add_key(
            Key(f"id{number:03}", f"team-{number}", None, b"x" * 32, 0, days_ago(number % 7), None, None, None)
        )
    await opened(page)
    await expect(page.locator("#keys-table")).to_contain_text("200 of 250 keys are shown")
    await page.get_by_label("Find a key").fill("TEAM-249")
    await expect(page.locator("#keys-table tbody tr")).to_have_count(1)


async def test_what_is_wrong_with_a_new_key_is_said(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await opened(page)
    await page.locator("#key-caller").fill("a\u202eb")
    await page.get_by_role("button", name="Make a key").click()
    await expect(page.get_by_role("alert")).to_contain_text("must have 1 to 128 letters, digits")
    await expect(page.locator("#key-caller")).to_have_value("a\u202eb")


# What goes wrong.


async def test_a_ledger_that_cannot_be_asked(page: Page, watch: Watch, office: Office) -> None:
    watch.expected.append("Failed to load resource")
    await office.database.add(USED)
    await opened(page)
    other = sqlite3.connect(office.file, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        await page.locator("#key-caller").fill("locked-out")
        await page.get_by_role("button", name="Make a key").click()
        await expect(page.get_by_role("alert")).to_contain_text("The ledger’s database cannot be asked at the moment.")
    finally:
        other.close()
    await expect(page.locator("#opened")).to_be_visible()


async def test_a_key_that_is_changed_meanwhile_locks_the_page(page: Page, watch: Watch, office: Office) -> None:
    watch.expected.append("Failed to load resource")
    await office.database.add(USED)
    await opened(page)
    body = '{"error": {"message": "No.", "type": "authentication_error", "param": null, "code": "invalid_admin_key"}}'
    await page.route("**/admin/usage*", lambda route: route.fulfill(status=401, body=body))
    await page.get_by_label("Time").select_option("7")
    await expect(page.get_by_role("alert")).to_contain_text("This key does not open the administration.")
    await expect(page.locator("#unlock")).to_be_visible()
    assert "team-a" not in await page.content()


async def test_a_relay_that_is_gone(page: Page, watch: Watch, office: Office) -> None:
    watch.expected.append("Failed to load resource")
    await opened(page)
    await page.context.set_offline(True)
    await page.get_by_label("Time").select_option("7")
    await expect(page.get_by_role("alert")).to_contain_text("The relay cannot be reached.")
    await page.context.set_offline(False)
    await page.locator("#usage-failure").get_by_role("button", name="Try again").click()
    await expect(page.locator("#usage-failure")).to_be_empty()


async def test_the_state_is_looked_at_again(page: Page) -> None:
    await opened(page)
    [row] = await cells(page.locator("#deployments"))
    assert row[:3] == ["gpt-4o", "azure", "ready"]
    await expect(page.locator("#ledger")).to_contain_text("writes")
    await page.get_by_role("button", name="Look again").click()
    await expect(page.locator("#announcer")).to_have_text("Looked again.")


# For everybody.


async def test_all_of_it_by_keyboard(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await page.keyboard.type(KEY)
    await page.keyboard.press("Enter")
    await expect(plot(page, "own")).to_be_visible()
    seen: list[str] = []
    for _ in range(60):
        await page.keyboard.press("Tab")
        seen.append(
            await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 30)")
        )
    wanted = [
        "range",
        "measure",
        "only-kind",
        "Show",
        "As a table",
        "Download as CSV",
        "key-caller",
        "Make a key",
        "find-key",
        "refresh-state",
    ]
    places = [seen.index(name) for name in wanted]
    assert places == sorted(places)


async def test_everything_has_a_name(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    await make_key(page, "team-a")
    await page.get_by_label("Time").select_option("own")
    assert await page.evaluate(scripts.NAMELESS) == []
    levels = [
        int(text[1])
        for text in await page.locator("h1:visible, h2:visible, h3:visible").evaluate_all(
            "all => all.map((each) => each.tagName)"
        )
    ]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


async def test_both_languages_have_all_words(page: Page) -> None:
    same, differing, size = await run_module(page, "admin/words.js", scripts.COMPARE_LANGUAGES)
    assert same
    assert differing == []
    assert size > 200


async def test_round_ends_of_a_scale(page: Page) -> None:
    for value, top in [(0, 1), (-1, 1), (1, 1), (1.01, 2), (3300, 4000), (62_000, 80_000), (999, 1000), (0.03, 0.04)]:
        found = await run_module(page, "admin/bars.js", "return m.niceCeiling(arg);", value)
        assert found == pytest.approx(top)


async def test_a_switch_of_language_redraws_everything(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    await page.locator("#language").select_option("ja")
    await expect(page.locator("html")).to_have_attribute("lang", "ja")
    await expect(page.get_by_role("heading", level=1)).to_have_text("管理")
    await expect(plot(page, "day").locator("h3")).to_have_text("日別のトークン")
    names = {"completed", "timeout", "client_aborted", "English", "chukei", "ID", "gpt-4o", "azure", "UTC", "o3"}
    english = [
        text
        for text in await page.evaluate(scripts.SPOKEN)
        if re.search(r"[a-z]{4,}", text.replace("Azure", "")) and text not in names
    ]
    assert english == []


# How it looks.


LOOKS = {
    "wide-light": {"viewport": WIDE, "color_scheme": "light", "locale": "en-GB"},
    "wide-dark": {"viewport": WIDE, "color_scheme": "dark", "locale": "en-GB"},
    "phone-light": {"viewport": PHONE, "color_scheme": "light", "locale": "en-GB", "has_touch": True},
    "phone-dark-ja": {"viewport": PHONE, "color_scheme": "dark", "locale": "ja-JP", "has_touch": True},
    "wide-ja": {"viewport": WIDE, "color_scheme": "light", "locale": "ja-JP"},
}


@pytest.mark.parametrize("look", LOOKS)
async def test_how_it_looks(browser: Browser, office: Office, look: str) -> None:
    await office.database.add(
        [
            *USED,
            *(
                each
                for number in range(24)
                for each in used(f"user-{number}@contoso.example", "gpt-4.1-mini", days=number, input=900 - number * 30)
            ),
            *used("a-name-without-any-place-to-break-" + "x" * 90, "m" * 120, input=400, output=300),
        ]
    )
    context = await browser.new_context(**LOOKS[look])  # type: ignore[arg-type]
    watch = Watch()
    watch_context(context, watch, office.url)
    page = await context.new_page()
    await page.goto(office.url)
    await page.wait_for_function("document.querySelector('#unlock-text').textContent !== ''")
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"admin-{look}-locked.png")
    await opened(page)
    await page.locator("#key-caller").fill("team-a")
    await page.locator("#new-key button").click()
    await expect(page.locator(".secret")).to_be_visible()
    await expect(page.locator("#keys-table table")).to_be_visible()
    await page.locator("#range").select_option("own")
    await settle(page)
    await page.evaluate("document.activeElement.blur()")
    assert await page.evaluate(scripts.OVERFLOWING) == []
    assert await page.evaluate(scripts.TOO_SMALL) == []
    assert await page.evaluate(scripts.FAINT) == []
    await page.evaluate("scrollTo(0, 0)")
    await page.screenshot(path=SCREENSHOTS / f"admin-{look}.png", full_page=True)
    await page.locator("#keys-table .actions button").nth(1).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await page.evaluate(scripts.OVERFLOWING) == []
    await page.screenshot(path=SCREENSHOTS / f"admin-{look}-question.png")
    await context.close()
    assert (watch.unexpected(), watch.foreign, watch.dialogs) == ([], [], [])


async def test_the_plot_follows_the_width_of_the_window(page: Page, office: Office) -> None:
    await office.database.add(USED)
    await opened(page)
    before = float(await page.locator(".bars").get_attribute("width") or 0)
    await page.set_viewport_size({"width": 500, "height": 800})
    await expect(page.locator(".bars")).not_to_have_attribute("width", f"{before:.0f}")
    assert float(await page.locator(".bars").get_attribute("width") or 0) < 500


def test_every_file_that_the_page_names_exists() -> None:
    names = re.findall(r"(?:src|href)=\"(web/[^\"]+)\"", (WEB / "admin.html").read_text("utf-8"))
    assert len(names) >= 4
    assert [name for name in names if not (WEB.parent / name).is_file()] == []
