"""What happens now, in the console of a relay with traffic and failures. Leaves screenshots to look at."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec import json as encoding
from msgspec import structs
from playwright.async_api import Browser, Locator, Page, Route, expect
from tests.browser import admin_scripts as scripts
from tests.browser.conftest import Watch, new_page, watch_context
from tests.browser.console.office import KEY, LOOKS, SCREENSHOTS, assert_legible, cells, opened, unlock
from tests.browser.modules import run_module
from tests.browser.payloads import all_payloads
from tests.browser.steps import settle
from tests.live.plain_http import post
from tests.live.pools import pool_settings
from tests.live.relays import InProcessRelay
from tests.live.simulated import SimulatorThread
from tests.liveview.test_verdict import EXPECTED, found, ordinary

from chukei.admin.live_example import LIVE
from chukei.config import AdminSettings, Secret
from chukei.liveview.schema import Live
from chukei.simulator import SimulatorSettings

pytestmark = pytest.mark.anyio

ASK = b'{"messages":[{"role":"user","content":"count to 9"}],"stream":true}'
FEED = "**/admin/live/events"
AS_OF = f"{LIVE.at:%H:%M:%S}"


@pytest.fixture(scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcessRelay]:
    """A relay with three deployments, of which one fails and one is not there, after some requests."""
    folder = tmp_path_factory.mktemp("live-page")
    with SimulatorThread(SimulatorSettings(first_token_seconds=0.02, inter_token_seconds=0.001)) as simulator:
        table = {
            "good": {"endpoint": simulator.url},
            "failing": {"endpoint": simulator.url, "deployment": "fault-500"},
            "missing": {"endpoint": "http://127.0.0.1:9"},
        }
        settings = pool_settings(folder, table, pool={"breaker_failures": 0})
        admin = AdminSettings(api_key=Secret(KEY))
        stores = replace(settings.stores, ledger=Secret(f"sqlite:///{folder}/ledger.db"))
        async with InProcessRelay(replace(settings, admin=admin, stores=stores)) as relay:
            for _ in range(30):
                await post(relay.url, "/v1/chat/completions", ASK)
            await post(relay.url, "/v1/chat/completions", ASK.replace(b"{", b'{"model":"nothing-like-it",', 1))
            yield relay


@pytest.fixture
def origin(relay: InProcessRelay) -> str:
    return relay.url


async def play(page: Page, *lives: Live) -> None:
    """Have the feed send these views and end, again and again, from now on: the latest of several routes is taken."""
    body = b"".join(b"event: live\ndata: " + encoding.encode(live) + b"\n\n" for live in lives)

    async def answer(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/event-stream", body=body)

    await page.route(FEED, answer)


def table(page: Page, name: str) -> Locator:
    return page.locator(f"[data-now={name}]")


async def test_it_shows_what_happens(page: Page, relay: InProcessRelay) -> None:
    await opened(page, "now")
    row = table(page, "deployments").locator("tbody tr", has_text="failing")
    await expect(row).to_contain_text("Azure failed (HTTP 500)")
    await expect(row).to_contain_text("upstream_500")
    await expect(page.locator("#headline")).not_to_be_empty()
    good = table(page, "deployments").locator("tbody tr", has_text="good")
    before = await good.inner_text()
    for _ in range(3):
        await post(relay.url, "/v1/chat/completions", ASK)
    await expect(good).not_to_have_text(re.compile(re.escape(before)))
    assert await page.locator(".wide-chart svg rect").count() > 0
    await row.get_by_role("link", name="failing").click()
    await expect(page).to_have_url(f"{relay.url}/admin#/deployments/failing")


async def test_refusals_stand_apart_from_failures(page: Page) -> None:
    refused = structs.replace(
        LIVE.failures[0], outcome="refused", request_id="req_of_a_refusal", code="model_not_found"
    )
    reason = structs.replace(LIVE.reasons[0], outcome="refused", code="model_not_found", count=17, last=refused)
    await play(page, structs.replace(LIVE, failures=[refused, *LIVE.failures], reasons=[reason, *LIVE.reasons]))
    await opened(page, "now")
    shown = {
        name: await cells(table(page, name)) for name in ("failures", "refusals", "last-failures", "last-refusals")
    }
    assert {name: len(rows) for name, rows in shown.items()} == dict.fromkeys(shown, 1)
    assert shown["failures"][0][:2] == ["Azure took too longupstream_timeout", "4"]
    assert shown["refusals"][0][:2] == ["There is no such modelmodel_not_found", "17"]
    assert shown["last-failures"][0][0] == LIVE.failures[0].request_id
    assert shown["last-refusals"][0][0] == "req_of_a_refusal"


async def test_the_address_of_before_leads_here(page: Page, relay: InProcessRelay) -> None:
    for path in ("/admin/live", "/admin/live/"):
        await page.goto(f"{relay.url}{path}")
        await expect(page).to_have_url(f"{relay.url}/admin#/now")
    await unlock(page)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Now")


async def test_a_relay_that_cannot_be_asked_yet(page: Page, watch: Watch) -> None:
    watch.expected += ["Failed to load resource", "net::ERR"]
    await page.route(FEED, lambda route: route.abort())
    await page.evaluate("location.hash = '#/now'")
    await unlock(page)
    await expect(page.get_by_role("alert")).to_contain_text("The relay cannot be reached.")
    await play(page, LIVE)
    await expect(page.locator("[data-place=azure]")).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_only_the_view_that_is_shown_asks(page: Page, relay: InProcessRelay) -> None:
    await opened(page, "now")
    before = feeds(relay)
    async with asyncio.timeout(60):
        await page.get_by_role("link", name="Usage").click()
        while feeds(relay) == before:  # the relay has seen its end
            await asyncio.sleep(0.01)
    async with page.expect_request(FEED):
        await page.get_by_role("link", name="Now").click()


async def test_a_feed_that_refuses_the_key_locks_the_console(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await opened(page, "now")
    body = '{"error": {"message": "No.", "type": "authentication_error", "param": null, "code": "invalid_admin_key"}}'
    await page.route(FEED, lambda route: route.fulfill(status=401, body=body))
    await page.get_by_role("link", name="Usage").click()
    await page.get_by_role("link", name="Now").click()
    await expect(page.get_by_role("alert")).to_contain_text("This key does not open the administration.")
    await expect(page.locator("#admin-key")).to_be_focused()
    assert "upstream_500" not in await page.content()


async def test_names_from_outside_cannot_run(page: Page) -> None:
    payloads = [*dict.fromkeys(all_payloads()[::6])]
    bad = [
        structs.replace(LIVE.failures[0], **dict.fromkeys(("request_id", "caller", "model", "code", "rule"), payload))
        for payload in payloads
    ]
    live = structs.replace(
        LIVE,
        deployments=[
            structs.replace(LIVE.deployments[0], deployment=each, codes={each: 1}, why=each) for each in payloads
        ],
        callers=[structs.replace(LIVE.callers[0], caller=each) for each in payloads],
        reasons=[structs.replace(LIVE.reasons[0], code=each.code, rule=each.rule, last=each) for each in bad],
        failures=[*bad, *(structs.replace(each, outcome="refused") for each in bad)],
    )
    for payload in payloads[::10]:  # of a verdict there is one at a time
        verdict = structs.replace(LIVE.verdict, rule="unheard-of", text=payload, values={"deployment": payload})
        finding = structs.replace(LIVE.verdict, values=dict.fromkeys(LIVE.verdict.values, payload))
        await play(page, structs.replace(live, verdict=verdict, findings=[verdict, finding]))
        await page.reload()
        await opened(page, "now")
        assert await page.locator("#headline").text_content() == payload
        for name in ("deployments", "callers", "failures", "last-failures", "last-refusals"):
            await expect(table(page, name).locator("tbody tr")).to_have_count(len(payloads))
        await settle(page)
        assert await page.evaluate("window.ran") == []
        assert await page.evaluate(scripts.STRANGE) == []


async def test_a_screen_reader_is_told_the_verdict_when_it_changes(page: Page) -> None:
    calm = structs.replace(LIVE, verdict=structs.replace(LIVE.verdict, rule="normal", subject=None, level="ok"))
    worse = structs.replace(LIVE.verdict, values={**LIVE.verdict.values, "took": "5.0 s"})
    await play(page, LIVE)
    await opened(page, "now")
    await play(page, structs.replace(LIVE, verdict=worse))
    await expect(page.locator("#headline")).to_contain_text("5.0 s")
    await play(page, calm)
    await expect(page.locator("#headline")).to_have_text("Everything is normal.")
    announced: list[list[str]] = await page.evaluate("window.announced")
    texts = [text for _, text in announced]
    assert len(texts) == 2
    assert "takes 4.2 s (p95) to the first token, 6.0× its usual" in texts[0]
    assert texts[1] == "Everything is normal."


async def test_old_figures_look_old_and_are_fresh_when_the_relay_is_back(page: Page, watch: Watch) -> None:
    watch.expected += ["Failed to load resource", "net::ERR"]
    await page.clock.install()
    await play(page, LIVE)
    await page.reload()
    await opened(page, "now")
    await page.evaluate("window.announced.length = 0")
    await page.route(FEED, lambda route: route.abort())
    await page.clock.run_for(7000)
    freshness, verdict = page.locator("#freshness"), page.locator(".verdict")
    await expect(freshness).to_contain_text(re.compile(rf"As of {AS_OF} UTC: no data for \d+ s"))
    await expect(freshness).to_contain_text("The relay cannot be reached.")
    await expect(verdict).to_have_css("border-top-style", "dashed")
    await expect(page.locator("[data-now=deployments]")).to_have_css("filter", "grayscale(1)")
    assert await page.evaluate(scripts.FAINT) == []
    await table(page, "last-refusals").scroll_into_view_if_needed()
    await expect(freshness).to_be_in_viewport()
    await page.clock.run_for(30_000)
    await expect(freshness).to_contain_text(re.compile(r"no data for (3|4|5)\d s"))
    await page.locator("#language").select_option("ja")
    await expect(freshness).to_contain_text(f"{AS_OF} UTC の状態です")
    await page.locator("#language").select_option("en")
    await play(page, LIVE)
    await page.clock.run_for(2000)
    await expect(freshness).to_contain_text("processes")
    await expect(verdict).to_have_css("border-top-style", "solid")
    said = [text for _, text in await page.evaluate("window.announced")]
    lost = f"The relay sends no data. The figures are as of {AS_OF} UTC."
    assert [text for text in said if "figures" in text] == [lost, "The figures are current again."]


async def test_a_connection_that_dies_without_a_word_is_made_again(page: Page) -> None:
    await page.clock.install()
    await play(page, LIVE)
    await page.reload()
    await opened(page, "now")
    await page.route(FEED, lambda _: None)  # never answered
    await page.clock.run_for(2000)
    await play(page, LIVE)
    async with page.expect_request(FEED):
        await page.clock.run_for(10_000)
    await expect(page.locator("#freshness")).to_contain_text("processes")


async def test_a_view_that_is_shown_again_does_not_pass_its_figures_off_as_new(page: Page) -> None:
    await page.clock.install()
    await play(page, LIVE)
    await page.reload()
    await opened(page, "now")
    await page.get_by_role("link", name="Usage").click()
    await page.clock.run_for(60_000)
    await page.route(FEED, lambda _: None)
    await page.evaluate("window.announced.length = 0")
    await page.get_by_role("link", name="Now").click()
    await expect(page.locator("#freshness")).to_contain_text("As of")
    assert [text for _, text in await page.evaluate("window.announced") if "figures" in text] == []


async def test_a_hidden_page_does_not_ask(page: Page, relay: InProcessRelay) -> None:
    await opened(page, "now")
    before = feeds(relay)
    hide = "Object.defineProperty(document, 'hidden', { value: %s, configurable: true });"
    event = "document.dispatchEvent(new Event('visibilitychange'));"
    async with asyncio.timeout(60):
        await page.evaluate(hide % "true" + event)
        while feeds(relay) == before:  # the relay has seen its end
            await asyncio.sleep(0.01)
    async with page.expect_request(FEED):
        await page.evaluate(hide % "false" + event)


def feeds(relay: InProcessRelay) -> int:
    return sum(record.path == "/admin/live/events" for record in relay.records)


async def test_a_pause_holds_the_figures(page: Page) -> None:
    await play(page, LIVE)
    await opened(page, "now")
    await page.get_by_role("button", name="Pause").click()
    await play(page, structs.replace(LIVE, lag=0.999))
    async with page.expect_request(FEED):
        pass
    await settle(page)
    await expect(page.locator("[data-place=relay]")).to_contain_text("2 ms")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("[data-place=relay]")).to_contain_text("999 ms")


async def test_nothing_moves_when_figures_change(page: Page) -> None:
    places = """() => [...document.querySelectorAll("main section, .place, .chart")]
      .map((found) => found.getBoundingClientRect()).map(({ x, y, width }) => [x, y, width])"""
    await play(page, LIVE)
    await opened(page, "now")
    await page.locator("[data-now=last-failures] .table-frame").focus()
    before = await page.evaluate(places)
    times = structs.replace(LIVE.times, gap=structs.replace(LIVE.times.gap, p50=0.999))
    rates = structs.replace(LIVE.rates, output=123_456.0, requests=0.0)
    await play(page, structs.replace(LIVE, times=times, rates=rates, lag=12.3))
    await expect(page.locator("[data-place=azure]")).to_contain_text("999 ms")
    assert await page.evaluate(places) == before
    await expect(page.locator("[data-now=last-failures] .table-frame")).to_be_focused()


async def test_everything_has_a_name(page: Page) -> None:
    await opened(page, "now")
    assert await page.evaluate(scripts.NAMELESS) == []


# Its words.


async def test_the_pages_sentences_are_the_relays_own(library: Page) -> None:
    script = """
      const { ADMIN_WORDS } = await import(new URL("web/admin/words.js", document.baseURI).href);
      const { Words } = await import(new URL("web/i18n.js", document.baseURI).href);
      return ["en", "ja"].map((language) => m.sentence(new Words(language, ...ADMIN_WORDS), arg));
    """
    for rule, (act, _, _) in EXPECTED.items():
        [finding] = found(act(ordinary()), rule)
        english, japanese = await run_module(
            library, "admin/views/now/verdict.js", script, json.loads(encoding.encode(finding))
        )
        assert english.replace("’", "'") == finding.text
        assert "{" not in japanese
        assert re.search("[ぁ-ん]", japanese)


async def test_a_switch_of_language_redraws_everything(page: Page) -> None:
    await opened(page, "now")
    await page.locator("#language").select_option("ja")
    await expect(page.get_by_role("heading", level=1)).to_have_text("現在")
    names = {"English", "chukei", "Azure"}
    english = [
        text
        for text in await page.evaluate(scripts.SPOKEN)
        if re.search(r"[a-z]{4,}", text) and text not in names and not re.search("[ぁ-んァ-ン一-龠]", text)
    ]
    assert english == []


# How it looks.


@pytest.mark.parametrize("look", LOOKS)
async def test_how_it_looks(look: str, browser: Browser, relay: InProcessRelay, watch: Watch) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    context = await browser.new_context(**LOOKS[look])
    stop = watch_context(context, watch, relay.url)
    page = await new_page(context, relay.url)
    await page.goto(f"{relay.url}/admin")
    await opened(page, "now")
    await page.evaluate("document.activeElement.blur()")
    await assert_legible(page)
    await page.screenshot(path=SCREENSHOTS / f"console-{look}-now.png", full_page=True)
    stop()
    await context.close()
