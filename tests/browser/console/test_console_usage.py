"""Who used what, in the console."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Locator, Page, expect
from tests.adapters.ledger_entries import entry
from tests.browser.console.office import Office, cells, days_ago, loaded, month, opened, plot, unlock, used
from tests.browser.modules import run_module

from chukei.accounts.ledger import Entry

pytestmark = pytest.mark.anyio


async def values(found: Locator) -> list[float]:
    """The values that the parts of a plot stand for, once they are loaded."""
    await loaded(found.page)
    texts = await found.locator(".part").evaluate_all("parts => parts.map((part) => part.dataset.value)")
    return [float(text) for text in texts]


async def drawn(page: Page) -> dict[str, list[float]]:
    """What the bar of each day or hour shows, once it is loaded."""
    await loaded(page)
    script = """groups => groups.map((group) => [
      group.querySelector("title").textContent.split(": ")[0],
      [...group.querySelectorAll(".part")].map((part) => Number(part.dataset.value)),
    ])"""
    return dict(await page.locator("[data-plot=time] .bar-group").evaluate_all(script))


async def test_the_plots_show_what_was_used(page: Page, office: Office) -> None:
    await office.database.add(month())
    await opened(page, "usage")
    days = await drawn(page)
    today, yesterday, first = (days_ago(number).date().isoformat() for number in (0, 1, 29))
    assert len(days) == 30
    assert list(days) == sorted(days)
    assert {day: parts for day, parts in days.items() if any(parts)} == {
        today: [3000, 300],
        yesterday: [600, 710],
        first: [7, 3],
    }
    heights = (
        await plot(page, "time")
        .locator(".part-input")
        .evaluate_all("parts => parts.map((part) => part.height.baseVal.value)")
    )
    assert heights[-1] / heights[-2] == pytest.approx(5, rel=0.01)
    assert [row[0] for row in await cells(plot(page, "caller"))] == ["team-a", "team-b", "team-c"]
    assert await values(plot(page, "caller")) == [3500, 1000, 100, 10, 7, 3]
    assert [(row[0], row[2]) for row in await cells(plot(page, "model"))] == [("gpt-4o", "3,420"), ("o3", "1,200")]
    assert [(row[0], row[2]) for row in await cells(plot(page, "end-reason"))] == [
        ("Completecompleted", "4"),
        ("Azure took too longtimeout", "2"),
        ("The caller leftclient_aborted", "1"),
    ]
    totals = [
        await page.locator(f"[data-total={name}] .big").inner_text() for name in ("requests", "input", "output", "cost")
    ]
    assert totals == ["7", "3,607", "1,013", "29.00"]
    await expect(page.locator("[data-total=requests]")).to_contain_text("2 failed (28.6%)")
    await expect(page.locator("[data-total=cost]")).to_contain_text("models without a price, 2")
    await expect(page.locator("#report")).to_contain_text("since Azure had not counted them: 1.")


async def test_every_plot_has_a_table_that_says_the_same(page: Page, office: Office) -> None:
    await office.database.add(month())
    await opened(page, "usage")
    await plot(page, "time").get_by_text("As a table").click()
    rows = await cells(plot(page, "time"))
    assert [row[0] for row in rows] == list(await drawn(page))
    assert [(row[4], row[6]) for row in rows[-2:]] == [("600", "710"), ("3,000", "300")]
    for name in ("caller", "model", "end-reason"):
        assert await plot(page, name).locator("table caption").count() == 1
        assert await plot(page, name).locator("svg:not([aria-hidden])").count() == 0
    label = await plot(page, "time").get_by_role("img").get_attribute("aria-label")
    assert label == "Tokens by day"


async def test_what_is_measured_can_be_chosen(page: Page, office: Office) -> None:
    await office.database.add(month())
    await opened(page, "usage")
    await page.get_by_label("Measure").select_option("cost")
    days = list((await drawn(page)).values())
    assert days[-2:] == [[20], [9]]
    assert await values(plot(page, "model")) == [20, 9.001]
    assert [row[0] for row in await cells(plot(page, "model"))] == ["o3", "gpt-4o"]
    await page.get_by_label("Measure").select_option("requests")
    days = list((await drawn(page)).values())
    assert days[-2:] == [[1, 0, 2], [3, 0, 0]]
    assert await plot(page, "time").get_by_role("img").get_attribute("aria-label") == "Requests by day"


async def test_the_time_can_be_chosen(page: Page, office: Office) -> None:
    await office.database.add(month())
    await opened(page, "usage")
    await page.get_by_label("Time").select_option("90d")
    await expect(page.locator("[data-total=input] .big")).to_have_text("1,003,607")
    assert len(await drawn(page)) == 90
    await page.get_by_label("Time").select_option("own")
    day = days_ago(1).date().isoformat()
    await page.get_by_label("From").fill(day)
    await page.get_by_label("To", exact=True).fill(day)
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("[data-total=input] .big")).to_have_text("600")
    assert list(await drawn(page)) == [f"{day} {hour:02}:00" for hour in range(24)]
    await page.get_by_label("To", exact=True).fill(days_ago(3).date().isoformat())
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("alert")).to_contain_text("The last day is before the first.")


async def test_more_days_than_can_be_drawn(page: Page, office: Office) -> None:
    await office.database.add(month())
    await opened(page, "usage")
    await page.get_by_label("Time").select_option("own")
    await page.get_by_label("From").fill("2020-01-01")
    await page.get_by_role("button", name="Show").click()
    await expect(plot(page, "time")).to_contain_text("Only the first 400 days are drawn.")
    await expect(plot(page, "time").locator(".bar-group")).to_have_count(400)
    await expect(page.locator("[data-total=input] .big")).to_have_text("1,003,607")
    for day in ("1999-12-31", "9999-12-31", "275760-09-13"):
        await page.get_by_label("To", exact=True).fill(day)
        await page.get_by_role("button", name="Show").click()
        assert await page.evaluate("document.querySelector('#to').matches(':invalid')")


async def test_one_caller_group_or_model(page: Page, office: Office) -> None:
    await office.database.add(month())
    await opened(page, "usage")
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
    await opened(page, "usage")
    await expect(page.locator("#report")).to_contain_text("Nothing was used in that time.")


async def test_in_detail_and_as_a_file(page: Page, office: Office) -> None:
    await office.database.add([*month(), *used('=cmd|"/C calc"!A0', "gpt-4o", input=1, output=1)])
    await opened(page, "usage")
    detail = plot(page, "own")
    await expect(detail.locator("tbody tr")).to_have_count(5)
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
    first, after = (days_ago(number).date().isoformat() for number in (29, -1))
    assert download.suggested_filename == f"usage-{first}-to-{after}.csv"
    path = await download.path()
    head, *lines = csv.reader(io.StringIO(path.read_text("utf-8")))
    assert head[:4] == ["caller", "group", "model", "requests"]
    assert lines[0][:4] == ["team-a", "research", "gpt-4o", "3"]
    assert '\'=cmd|"/C calc"!A0' in [line[0] for line in lines]


async def test_a_hundred_thousand_callers_do_not_freeze_it(page: Page, office: Office) -> None:
    entries = [entry(caller=f"user-{number:06}", time=days_ago(0), input=number) for number in range(100_000)]
    for start in range(0, len(entries), 5000):
        await office.database.add(entries[start : start + 5000])
    await page.goto(f"{office.url}#/usage")
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


async def test_round_ends_of_a_scale(page: Page) -> None:
    for value, top in [(0, 1), (-1, 1), (1, 1), (1.01, 2), (3300, 4000), (62_000, 80_000), (999, 1000), (0.03, 0.04)]:
        found = await run_module(page, "admin/bars.js", "return m.niceCeiling(arg);", value)
        assert found == pytest.approx(top)


async def test_the_plot_follows_the_width_of_the_window(page: Page, office: Office) -> None:
    await office.database.add(month())
    await opened(page, "usage")
    before = float(await page.locator(".bars").get_attribute("width") or 0)
    await page.set_viewport_size({"width": 500, "height": 800})
    await expect(page.locator(".bars")).not_to_have_attribute("width", f"{before:.0f}")
    assert float(await page.locator(".bars").get_attribute("width") or 0) < 500


NOTHING = {"input": 0, "output": 0, "cost": 0}


def refusals() -> list[Entry]:
    """43 refused requests, one that failed, and one that was answered."""
    return [
        *used("team-a", "gpt-4o", count=2, end="refused", status=429, code="rate_limit_exceeded", **NOTHING),
        *used("team-a", "gpt-4o", end="upstream_status", status=400, code="SomethingOfAzure", **NOTHING),
        *used("team-b", "o3", end="refused", status=403, code="insufficient_quota", requests=40, **NOTHING),
        *used("team-b", "o3", end="timeout", status=504, code="upstream_timeout", **NOTHING),
        *used("team-c", "o3", input=900, output=100),
    ]


async def test_who_caused_the_refusals(page: Page, office: Office) -> None:
    await office.database.add(refusals())
    await opened(page, "usage?since=24h&measure=requests")
    requests = page.locator("[data-total=requests]")
    await expect(requests).to_contain_text("45")
    await expect(requests).to_contain_text("1 failed (2.2%)")
    assert sum(parts[1] for parts in (await drawn(page)).values()) == 43
    await requests.get_by_role("link", name="43 refused (95.6%)").click()
    await expect(plot(page, "causes").get_by_role("heading")).to_have_text("Who was refused, and why")
    assert await cells(plot(page, "causes")) == [
        ["team-b", "A limit by day, month or money is used upinsufficient_quota", "40"],
        ["team-a", "Over a limit per minute, or of concurrent requestsrate_limit_exceeded", "2"],
        ["team-a", "SomethingOfAzure", "1"],
    ]
    await expect(page.locator("#report")).to_be_focused()
    assert [row[0] for row in await cells(plot(page, "caller"))] == ["team-b", "team-a"]
    await page.get_by_label("Outcome").select_option("failed")
    await expect(plot(page, "causes").get_by_role("heading")).to_have_text("Whose requests failed, and why")
    assert await cells(plot(page, "causes")) == [["team-b", "Azure took too longupstream_timeout", "1"]]
    await page.go_back()
    await expect(plot(page, "causes").get_by_role("heading")).to_have_text("Who was refused, and why")


async def test_refused_and_failed_differ_without_their_colours(page: Page, office: Office) -> None:
    await office.database.add(refusals())
    await opened(page, "usage?since=24h&measure=requests")
    look = "part => { const style = getComputedStyle(part); return [style.fill, style.stroke]; }"
    [well, refused, failed] = [
        await page.locator(f"[data-plot=time] .part-{name}:not([data-value='0'])").first.evaluate(look)
        for name in ("well", "refused", "failed")
    ]
    card = await page.locator("[data-plot=time]").evaluate("card => getComputedStyle(card).backgroundColor")
    assert refused[0] == card
    assert refused[1] != "none"
    assert (well[1], failed[1]) == ("none", "none")
    assert card not in (well[0], failed[0])


async def test_an_address_shows_the_same_to_somebody_else(page: Page, office: Office) -> None:
    await office.database.add(refusals())
    await opened(page, "usage")
    await page.get_by_label("Time").select_option("yesterday")
    await expect(page.locator("#report")).to_contain_text("Nothing was used in that time.")
    await page.get_by_label("Time").select_option("24h")
    await page.get_by_label("Measure").select_option("cost")
    await page.get_by_label("Only").select_option("caller")
    await page.get_by_label("Name").fill("team-a")
    await page.get_by_label("Name").press("Enter")
    await expect(page.locator("[data-total=requests] .big")).to_have_text("3")
    await plot(page, "own").get_by_label("Reason").check()
    await expect(plot(page, "own").locator("tbody tr")).to_have_count(2)
    await expect(plot(page, "own").get_by_label("Reason")).to_be_focused()
    address = await page.evaluate("location.hash")
    assert address == "#/usage?since=24h&measure=cost&only=caller%3Ateam-a&by=caller%2Cmodel%2Ccode"
    await page.reload()
    await opened(page, address.removeprefix("#/"))
    await expect(page.locator("[data-total=requests] .big")).to_have_text("3")
    chosen = [await page.get_by_label(name).input_value() for name in ("Time", "Measure", "Only", "Name")]
    assert chosen == ["24h", "cost", "caller", "team-a"]
    await expect(plot(page, "own").locator("tbody tr")).to_have_count(2)


async def test_figures_add_up_wherever_the_reader_is(page: Page, office: Office) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight - timedelta(days=back) for back in (3, 2, 1)]
    for day in days:
        for key, model in (("k1", "m"), ("k2", "m"), ("k1", None)):
            early, late = day + timedelta(minutes=30), day + timedelta(hours=23, minutes=30)
            await office.database.add([entry(caller="a", key_id=key, model=model, time=time) for time in (early, late)])
    devtools = await page.context.new_cdp_session(page)
    for zone in ("Asia/Kolkata", "America/Los_Angeles"):
        await devtools.send("Emulation.setTimezoneOverride", {"timezoneId": zone})
        await page.reload()
        await opened(page, "usage?since=7d&measure=requests")
        total = page.locator("[data-total=requests] .big")
        await expect(total).to_have_text("18")
        by_day = {row[0]: row[1] for row in await cells(plot(page, "time"))}
        assert [by_day[f"{day:%Y-%m-%d}"] for day in days] == ["6", "6", "6"]
        assert sorted(by_day.values()) == ["0"] * 4 + ["6"] * 3, "a day without requests is there too"
        assert [row[2] for row in await cells(plot(page, "model"))] == ["12", "6"]
        for day in days:
            await opened(page, f"usage?since={day:%Y-%m-%d}&to={day:%Y-%m-%d}&measure=requests")
            await expect(total).to_have_text("6")


async def test_an_address_that_makes_no_sense_is_corrected_and_that_is_said(page: Page, office: Office) -> None:
    await office.database.add(refusals())
    hostile = "usage?since=toString&to=x&measure=constructor&outcome=__proto__&only=%3Cimg%3E:x&by=<b>,caller"
    await opened(page, hostile)
    await expect(page.locator("[data-total=requests] .big")).to_have_text("45")
    chosen = [await page.get_by_label(name).input_value() for name in ("Time", "Measure", "Outcome", "Only")]
    assert chosen == ["30d", "tokens", "", ""]
    assert [row[0] for row in await cells(plot(page, "own"))] == ["team-c", "team-a", "team-b"]
    await expect(page).to_have_url(f"{office.url}#/usage")
    note = page.locator(".address-note")
    await expect(note).to_contain_text(
        "was left out: since=toString, to=x, measure=constructor, outcome=__proto__, only=<img>:x"
    )
    await page.get_by_label("Time", exact=True).select_option("7d")
    await expect(page).to_have_url(re.compile("since=7d"))
    await expect(note).to_be_hidden()
    await page.goto(f"{office.url}#/usage?since=7d&since=90d&measure=cost&to=2026-11-29")
    await expect(note).to_contain_text("left out: since=90d, to=2026-11-29")
    await expect(page).to_have_url(f"{office.url}#/usage?since=7d&measure=cost")
    await page.locator("#language").select_option("ja")
    await expect(note).to_contain_text("除きました：since=90d, to=2026-11-29")


async def test_the_time_to_the_first_token_by_hour(page: Page, office: Office) -> None:
    await office.database.add([*used("a", "m", first_token=300.0), *used("a", "m", first_token=500.0)])
    await opened(page, "usage?since=24h&measure=first")
    assert list((await drawn(page)).values())[-1] == [400]
    assert (await cells(plot(page, "caller")))[0] == ["a", "", "400"]


async def test_groups_are_chosen_from_those_configured(page: Page, office: Office) -> None:
    await opened(page, "usage")
    await page.get_by_label("Only").select_option("group")
    await expect(page.locator("#only-names option")).to_have_count(1)
    await expect(page.locator("#only-names option")).to_have_attribute("value", "research")
