"""The model menu: what it says of each model, the keyboard, and what it does not do: jump, spill, forget."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect
from tests.browser.axe import violations
from tests.browser.conftest import Watch, open_chat, watch_context
from tests.browser.scripted_server import ScriptedServer, delta
from tests.browser.steps import ask, choose_model, finished, offered
from tests.rows import rows

pytestmark = pytest.mark.anyio


def about(**said: Any) -> dict[str, Any]:
    return {"description": None, "apis": ["chat"], "input": ["text"], "failure": False, **said}


DETAILS = {
    "gpt-4o": about(description="Good at most things.", input=["text", "image"], context_tokens=128_000),
    "gpt-5-mini": about(description="Small and quick.", context_tokens=400_000),
    "o4-mini": about(),
    "chat--429": about(failure=True),
    "chat--filter-completion-after-3": about(failure=True),
    "chat--unheard-of": about(failure=True, description="Nobody knows."),
}


@pytest.fixture
async def menu(blank: Page, server: ScriptedServer) -> Page:
    server.models = list(DETAILS)
    server.details = DETAILS
    await open_chat(blank, server.url)
    await expect(offered(blank)).to_have_count(len(DETAILS))
    return blank


def active(page: Page) -> Any:
    return page.locator("#model-list .active .model-option-name")


async def test_what_is_said_of_each_model(menu: Page) -> None:
    await menu.get_by_role("combobox", name="Model").click()
    models = menu.get_by_role("group", name="Models").get_by_role("option")
    await expect(models).to_have_text(
        [
            "gpt-4oGood at most things.128K tokens of context · takes pictures",
            "gpt-5-miniSmall and quick.400K tokens of context",
            "o4-mini",
        ]
    )
    failures = menu.get_by_role("group", name="Try a failure").get_by_role("option")
    await expect(failures).to_have_text(
        [
            "Rate limited (429)chat--429",
            "Answer stopped by the content filterchat--filter-completion-after-3",
            "chat--unheard-ofNobody knows.",
        ]
    )
    await expect(models.first).to_have_attribute("aria-selected", "true")
    await expect(models.first).to_have_accessible_name(
        "gpt-4o Good at most things. 128K tokens of context · takes pictures"
    )


async def test_models_that_do_not_chat_are_left_out(page: Page, server: ScriptedServer) -> None:
    server.models = ["embedder", "claude", "gpt-4o"]
    server.details = {"embedder": about(apis=["embeddings"]), "claude": about(apis=["messages"])}
    await page.reload()
    await expect(offered(page)).to_have_text(["gpt-4o"])
    await expect(page.locator("#model")).to_have_text("gpt-4o")


async def test_a_relay_that_tells_only_names(page: Page) -> None:
    await page.locator("#model").click()
    await expect(offered(page)).to_have_text(["chat", "reasoner"])
    await expect(page.get_by_role("group", name="Models")).to_have_count(0)


@rows(
    ("keys", "chosen"),
    [
        (["Enter", "ArrowDown", "Enter"], "gpt-5-mini"),
        ([" ", "ArrowDown", "ArrowDown", " "], "o4-mini"),
        (["ArrowDown", "End", "ArrowDown", "Enter"], "chat--unheard-of"),
        (["ArrowUp", "End", "Home", "ArrowUp", "Enter"], "gpt-4o"),
        (["End", "Alt+ArrowUp"], "chat--unheard-of"),
        (["PageDown", "Enter", "PageDown", "Enter"], "chat--unheard-of"),
        (["r", "Enter"], "Rate limited (429)"),
        (["Enter", "End", "Tab"], "chat--unheard-of"),
        (["Enter", "End", "Escape"], "gpt-4o"),
        (["Enter", "Control+End", "Enter"], "gpt-4o"),
    ],
)
async def test_the_keyboard(menu: Page, keys: list[str], chosen: str) -> None:
    """The focus stays on the button, which names what is active."""
    button = menu.locator("#model")
    await choose_model(menu, "gpt-4o")
    await button.focus()
    for key in keys:
        await button.press(key)
    await expect(menu.locator("#model-list")).to_be_hidden()
    await expect(button).to_have_attribute("aria-expanded", "false")
    await expect(button).to_have_text(chosen)
    if "Tab" in keys:
        await expect(menu.locator("#settings-button")).to_be_focused()
    else:
        await expect(button).to_be_focused()


async def test_what_is_active_is_told(menu: Page) -> None:
    button = menu.locator("#model")
    await button.press("Enter")
    await expect(button).to_have_attribute("aria-expanded", "true")
    for name in ("gpt-4o", "gpt-5-mini", "o4-mini", "Rate limited (429)"):
        await expect(active(menu)).to_have_text(name)
        id = await button.get_attribute("aria-activedescendant")
        await expect(menu.locator(f"#{id} .model-option-name")).to_have_text(name)
        await button.press("ArrowDown")
    await button.press("Escape")
    assert await button.get_attribute("aria-activedescendant") is None


async def test_a_click_outside_closes_and_changes_nothing(menu: Page) -> None:
    await menu.locator("#model").click()
    await menu.get_by_role("option", name="o4-mini").hover()
    await menu.locator("#prompt").click()
    await expect(menu.locator("#model-list")).to_be_hidden()
    await expect(menu.locator("#model")).to_have_text("gpt-4o")
    await menu.locator("#model").click()
    await menu.locator("#model-list .eyebrow").first.click()  # a heading is no option
    await expect(menu.locator("#model-list")).to_be_visible()
    await menu.locator("#model").click()
    await expect(menu.locator("#model-list")).to_be_hidden()


async def test_escape_closes_the_list_and_stops_no_answer(menu: Page, server: ScriptedServer) -> None:
    async def held(exchange: Any) -> None:
        await exchange.start()
        await exchange.write(delta(content="On it"))
        await exchange.gone.wait()

    server.scripts.append(held)
    await ask(menu, "Hello?")
    await expect(menu.get_by_role("button", name="Stop")).to_be_visible()
    await menu.locator("#model").click()
    await menu.keyboard.press("Escape")
    await expect(menu.locator("#model-list")).to_be_hidden()
    await expect(menu.get_by_role("button", name="Stop")).to_be_visible()
    await menu.keyboard.press("Escape")
    await expect(menu.get_by_role("button", name="Send")).to_be_visible()


async def test_the_choice_is_sent_and_outlives_the_page(menu: Page, server: ScriptedServer) -> None:
    await choose_model(menu, "o4-mini")
    await ask(menu, "Hello?")
    await finished(menu)
    assert server.exchanges[0].body["model"] == "o4-mini"
    await menu.reload()
    await expect(menu.locator("#model")).to_have_text("o4-mini")


async def test_a_model_that_is_gone(menu: Page, server: ScriptedServer) -> None:
    """It is said once, beside the menu, and the wish is kept until another choice."""
    await choose_model(menu, "gpt-5-mini")
    server.models = ["gpt-4o", "o4-mini"]
    await menu.reload()
    note = menu.locator(".model-note")
    await expect(note).to_have_text("“gpt-5-mini” is no longer offered.")
    await expect(menu.locator("#model")).to_have_text("gpt-4o")
    await menu.locator("#language").select_option("ja")
    await expect(note).to_have_text("「gpt-5-mini」は提供されなくなりました。")
    server.models = list(DETAILS)
    await menu.reload()
    await expect(offered(menu)).to_have_count(len(DETAILS))
    await expect(menu.locator("#model")).to_have_text("gpt-5-mini")
    server.models = ["gpt-4o", "o4-mini"]
    await menu.reload()
    await expect(note).not_to_be_empty()
    await choose_model(menu, "gpt-4o")
    await expect(note).to_be_empty()


async def test_japanese(menu: Page) -> None:
    await menu.locator("#language").select_option("ja")
    await menu.locator("#model").click()
    await expect(menu.get_by_role("group", name="失敗を試す").get_by_role("option").first).to_have_text(
        "レート制限（429）chat--429"
    )
    await expect(offered(menu).first).to_contain_text("コンテキスト 12.8万トークン · 画像に対応")


BOXES = """() => ["#model", "#settings-button", "#composer", ".welcome h2", "#starters"]
  .map((name) => document.querySelector(name).getBoundingClientRect())
  .map(({ left, top }) => [left, top])"""


@pytest.mark.parametrize("simulator", [False, True])
async def test_nothing_jumps_when_the_models_arrive(menu: Page, server: ScriptedServer, simulator: bool) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await go_on.wait()
        await route.continue_()

    server.simulator = simulator
    await menu.route("**/v1/models", hold)
    await menu.reload()
    await asked.wait()
    before = await menu.evaluate(BOXES)
    go_on.set()
    await expect(menu.locator("#model")).to_have_text("gpt-4o")
    await expect(menu.locator("#simulator-note")).to_be_visible(visible=simulator)
    assert await menu.evaluate(BOXES) == before


async def test_a_hundred_models_with_long_names_on_a_phone(browser: Browser, server: ScriptedServer) -> None:
    """Nothing is wider than the screen, and the active one is in sight wherever the keyboard goes."""
    server.models = [f"team-{number:03}-{'x' * 120 if number % 9 == 0 else 'model'}" for number in range(100)]
    server.details = {name: about(description="w" * 200) for name in server.models[::10]}
    context = await browser.new_context(viewport={"width": 320, "height": 600}, has_touch=True, is_mobile=True)
    watch = Watch()
    watch_context(context, watch, server.url)
    page = await context.new_page()
    await open_chat(page, server.url)
    await expect(offered(page)).to_have_count(100)
    button = page.locator("#model")
    await button.press("Enter")
    inside = """() => {
      const list = document.querySelector("#model-list").getBoundingClientRect();
      const option = document.querySelector("#model-list .active").getBoundingClientRect();
      const wide = document.documentElement.scrollWidth > innerWidth;
      return !wide && list.left >= 0 && list.right <= innerWidth && list.bottom <= innerHeight
        && option.top >= list.top && option.bottom <= list.bottom && option.width <= list.width;
    }"""
    for key, name in [("End", "team-099"), ("PageUp", "team-089"), ("ArrowDown", "team-090"), ("Home", "team-000")]:
        await button.press(key)
        await expect(active(page)).to_have_text(re.compile(name))
        assert await page.evaluate(inside), key
    assert await page.evaluate("document.querySelector('#settings-button').getBoundingClientRect().right <= innerWidth")
    await offered(page).nth(1).tap()
    await expect(button).to_have_text("team-001-model")
    await context.close()
    assert watch.errors == []


async def test_descriptions_are_asked_for_in_the_readers_language(page: Page, server: ScriptedServer) -> None:
    async def describe(route: Route) -> None:
        language = (await route.request.all_headers())["accept-language"]
        said = {"ja": "速い", "en": "Quick"}[language]
        await route.fulfill(json={"data": [{"id": "chat", "chukei": about(description=said)}]})

    await page.route("**/v1/models", describe)
    await page.reload()
    await expect(offered(page)).to_have_text("chatQuick")
    await page.locator("#language").focus()
    await page.locator("#language").select_option("ja")
    await expect(offered(page)).to_have_text("chat速い")
    await expect(page.locator("#language")).to_be_focused()


async def test_the_note_of_a_model_that_is_gone_fits_on_a_phone(browser: Browser, server: ScriptedServer) -> None:
    """It has a row below the bar's buttons, which stay in one row."""
    context = await browser.new_context(viewport={"width": 320, "height": 600}, has_touch=True, is_mobile=True)
    page = await context.new_page()
    await page.add_init_script(
        f"localStorage.setItem('chukei:preferences', JSON.stringify({{model: '{'gone-' * 20}', keepHistory: true}}))"
    )
    await open_chat(page, server.url)
    await expect(page.locator(".model-note")).to_contain_text("is no longer offered")
    tops = """() => ["#model", "#settings-button", ".model-note"]
      .map((name) => document.querySelector(name).getBoundingClientRect().top)"""
    button, settings, note = await page.evaluate(tops)
    assert button == settings < note
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await context.close()


async def test_the_list_is_accessible(menu: Page) -> None:
    await menu.locator("#model").press("Enter")
    assert await violations(menu) == []
    await menu.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert await violations(menu) == []


async def test_a_failure_is_tried_in_one_chat_only(menu: Page) -> None:
    button = menu.locator("#model")
    await choose_model(menu, "o4-mini")
    await choose_model(menu, "Rate limited (429)")
    await menu.locator("#language").select_option("ja")
    await menu.locator("#language").select_option("en")
    await expect(button).to_have_text("Rate limited (429)")
    await ask(menu, "Hello?")
    await finished(menu)
    await expect(button).to_have_text("Rate limited (429)")
    await menu.get_by_role("button", name="New chat").click()
    await expect(button).to_have_text("o4-mini")
    await choose_model(menu, "Rate limited (429)")
    await menu.reload()
    await expect(button).to_have_text("o4-mini")


async def test_a_failure_that_an_older_page_has_kept_is_not_chosen(menu: Page) -> None:
    await menu.evaluate("localStorage.setItem('chukei:preferences', JSON.stringify({ model: 'chat--429' }))")
    await menu.reload()
    await expect(menu.locator("#model")).to_have_text("gpt-4o")
    await expect(menu.locator(".model-note")).to_have_text("")
