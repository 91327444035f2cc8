"""The live page in a real browser, on a real relay with traffic and failures. Leaves screenshots to look at."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec import json as encoding
from msgspec import structs
from playwright.async_api import Browser, BrowserContext, Page, Route, expect
from tests.browser import admin_scripts as scripts
from tests.browser.conftest import RECORD_ANNOUNCEMENTS, Watch, new_page, watch_context
from tests.browser.modules import run_module
from tests.browser.payloads import all_payloads
from tests.browser.steps import settle
from tests.browser.test_admin_page import KEY, LOOKS, RUN_TITLE, SCREENSHOTS, unlock
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
async def watch(context: BrowserContext, relay: InProcessRelay) -> AsyncIterator[Watch]:
    """Fail any test in which the page logs an error, breaks its policy, asks another host or opens a dialog."""
    watch = Watch()
    stop = watch_context(context, watch, relay.url)
    yield watch
    stop()
    watch.assert_nothing_happened()


@pytest.fixture
async def page(context: BrowserContext, watch: Watch, relay: InProcessRelay) -> Page:
    """The page, not opened yet."""
    page = await new_page(context, relay.url)
    await page.add_init_script(RECORD_ANNOUNCEMENTS + RUN_TITLE)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.goto(f"{relay.url}/admin/live")
    return page


async def opened(page: Page) -> None:
    """Unlock, and wait for the first event."""
    await unlock(page)
    await expect(page.locator("[data-place=azure]")).to_be_visible()


async def play(page: Page, *lives: Live) -> None:
    """Have the feed send these views and end, again and again, from now on: the latest of several routes is taken."""
    body = b"".join(b"event: live\ndata: " + encoding.encode(live) + b"\n\n" for live in lives)

    async def answer(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/event-stream", body=body)

    await page.route(FEED, answer)


async def test_it_shows_what_happens(page: Page, relay: InProcessRelay) -> None:
    await opened(page)
    await expect(page.locator("#unlock")).to_be_hidden()
    row = page.locator("#deployments tbody tr", has_text="failing")
    await expect(row).to_contain_text("upstream_500")
    await expect(page.locator("#headline")).not_to_be_empty()
    await expect(page.locator("#reasons")).to_contain_text("model_not_found")
    await expect(page.locator("#failures code").first).to_contain_text("req_")
    before = await page.locator("#deployments tbody tr", has_text="good").inner_text()
    for _ in range(3):
        await post(relay.url, "/v1/chat/completions", ASK)
    await expect(page.locator("#deployments tbody tr", has_text="good")).not_to_have_text(re.compile(re.escape(before)))
    assert await page.locator(".chart svg rect").count() > 3


async def test_a_wrong_key_is_refused_in_words(page: Page, watch: Watch) -> None:
    watch.expected.append("Failed to load resource")
    await unlock(page, "not-the-administrators-key")
    await expect(page.get_by_role("alert")).to_contain_text("This key does not open the administration.")
    await expect(page.locator("#opened")).to_be_hidden()
    await opened(page)


async def test_the_key_is_in_memory_only_and_locking_forgets_it(page: Page) -> None:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    await opened(page)
    assert KEY not in await page.evaluate(scripts.STORES)
    assert KEY not in await page.content()
    assert not [url for url in urls if KEY in url]
    await page.get_by_role("button", name="Lock").click()
    await expect(page.locator("#admin-key")).to_be_focused()
    assert not [name for name in ("upstream_500", "missing") if name in await page.locator("main").inner_text()]
    await settle(page)
    await expect(page.locator("#opened")).to_be_hidden()


async def test_the_pages_lead_to_each_other(page: Page, relay: InProcessRelay) -> None:
    await page.get_by_role("link", name="Administration").click()
    await expect(page).to_have_url(f"{relay.url}/admin")
    await page.get_by_role("link", name="Live").click()
    await expect(page).to_have_url(f"{relay.url}/admin/live")
    await opened(page)


async def test_names_from_outside_cannot_run(page: Page) -> None:
    for payload in all_payloads()[::7]:
        bad = structs.replace(
            LIVE.failures[0], **dict.fromkeys(("request_id", "caller", "model", "code", "rule"), payload)
        )
        verdict = structs.replace(LIVE.verdict, rule="unheard-of", text=payload, values={"deployment": payload})
        finding = structs.replace(LIVE.verdict, values=dict.fromkeys(LIVE.verdict.values, payload))
        live = structs.replace(
            LIVE,
            verdict=verdict,
            findings=[verdict, finding],
            deployments=[structs.replace(LIVE.deployments[0], deployment=payload, codes={payload: 1}, why=payload)],
            callers=[structs.replace(LIVE.callers[0], caller=payload)],
            reasons=[structs.replace(LIVE.reasons[0], code=payload, rule=payload, last=bad)],
            failures=[bad],
        )
        await play(page, live)
        await page.reload()
        await opened(page)
        shown = await page.locator("#headline").text_content()
        assert shown == payload
        await settle(page)
        assert await page.evaluate("window.ran") == []
        assert await page.evaluate(scripts.STRANGE) == []


async def test_a_screen_reader_is_told_the_verdict_when_it_changes(page: Page) -> None:
    calm = structs.replace(LIVE, verdict=structs.replace(LIVE.verdict, rule="normal", subject=None, level="ok"))
    worse = structs.replace(LIVE.verdict, values={**LIVE.verdict.values, "took": "5.0 s"})
    await play(page, LIVE)
    await opened(page)
    await play(page, structs.replace(LIVE, verdict=worse))
    await expect(page.locator("#headline")).to_contain_text("5.0 s")
    await play(page, calm)
    await expect(page.locator("#headline")).to_have_text("Everything is normal.")
    announced: list[list[str]] = await page.evaluate("window.announced")
    texts = [text for _, text in announced]
    assert len(texts) == 2
    assert "takes 4.2 s (p95) to the first token, 6.0× its usual" in texts[0]
    assert texts[1] == "Everything is normal."


async def test_old_figures_are_called_old_and_come_back(page: Page, watch: Watch) -> None:
    watch.expected += ["Failed to load resource", "net::ERR"]
    await page.clock.install()
    await play(page, LIVE)
    await page.reload()
    await opened(page)
    await page.route(FEED, lambda route: route.abort())
    await page.clock.run_for(7000)
    await expect(page.locator("#freshness")).to_have_class(re.compile("stale"))
    await expect(page.locator("#freshness")).to_contain_text("No data for")
    await play(page, LIVE)
    await page.clock.run_for(2000)
    await expect(page.locator("#freshness")).not_to_have_class(re.compile("stale"))


async def test_a_hidden_page_does_not_ask(page: Page, relay: InProcessRelay) -> None:
    await opened(page)
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
    await opened(page)
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
    await opened(page)
    await page.locator("#failures .table-frame").focus()
    before = await page.evaluate(places)
    times = structs.replace(LIVE.times, gap=structs.replace(LIVE.times.gap, p50=0.999))
    rates = structs.replace(LIVE.rates, output=123_456.0, requests=0.0)
    await play(page, structs.replace(LIVE, times=times, rates=rates, lag=12.3))
    await expect(page.locator("[data-place=azure]")).to_contain_text("999 ms")
    assert await page.evaluate(places) == before
    await expect(page.locator("#failures .table-frame")).to_be_focused()


async def test_everything_has_a_name(page: Page) -> None:
    assert await page.evaluate(scripts.NAMELESS) == []
    await opened(page)
    assert await page.evaluate(scripts.NAMELESS) == []


# Its words.


async def test_both_languages_have_all_words(library: Page) -> None:
    same, differing, size = await run_module(library, "live/words.js", scripts.COMPARE_LANGUAGES)
    assert (same, differing) == (True, [])
    assert size > 250


async def test_the_pages_sentences_are_the_relays_own(library: Page) -> None:
    script = """
      const { LIVE_LANGUAGES } = await import(new URL("web/live/words.js", document.baseURI).href);
      const { Words } = await import(new URL("web/i18n.js", document.baseURI).href);
      return ["en", "ja"].map((language) => m.sentence(new Words(language, LIVE_LANGUAGES), arg));
    """
    for rule, (act, _, _) in EXPECTED.items():
        [finding] = found(act(ordinary()), rule)
        english, japanese = await run_module(library, "live/verdict.js", script, json.loads(encoding.encode(finding)))
        assert english.replace("’", "'") == finding.text
        assert "{" not in japanese
        assert re.search("[ぁ-ん]", japanese)


async def test_a_switch_of_language_redraws_everything(page: Page) -> None:
    await opened(page)
    await page.locator("#language").select_option("ja")
    await expect(page.locator("h1")).to_have_text("ライブ")
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
    context = await browser.new_context(**LOOKS[look])  # type: ignore[arg-type]
    stop = watch_context(context, watch, relay.url)
    page = await new_page(context, relay.url)
    await page.goto(f"{relay.url}/admin/live")
    await opened(page)
    await expect(page.locator("#failures tbody tr").first).to_be_visible()
    await page.get_by_role("button").nth(1).evaluate("() => document.activeElement.blur()")
    assert await page.evaluate(scripts.OVERFLOWING) == []
    assert await page.evaluate(scripts.TOO_SMALL) == []
    assert await page.evaluate(scripts.FAINT) == []
    await page.screenshot(path=SCREENSHOTS / f"live-{look}.png", full_page=True)
    stop()
    await context.close()
