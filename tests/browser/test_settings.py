"""The settings: a dialog that behaves as one, and values that are applied or said not to be."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from tests.browser.axe import violations
from tests.browser.conftest import open_chat
from tests.browser.scripted_server import Exchange, ScriptedServer, delta
from tests.browser.steps import ask, choose_model, entry, finished, offered, settle
from tests.rows import rows

pytestmark = pytest.mark.anyio


async def open_settings(page: Page) -> None:
    await page.locator("#settings-button").click()
    await expect(page.get_by_role("heading", name="Settings")).to_be_visible()


async def sent(page: Page, server: ScriptedServer) -> dict[str, Any]:
    """What the next question asks for."""
    count = len(server.exchanges)
    await ask(page, "Hello?")
    await finished(page, count + 1)
    return server.exchanges[count].body


async def test_the_dialog_is_modal_and_begins_at_its_close_button(page: Page) -> None:
    await open_settings(page)
    await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    await expect(page.get_by_role("button", name="Close settings")).to_be_focused()
    for section in ("This conversation", "Answers", "History"):
        await expect(page.get_by_role("region", name=section)).to_be_visible()
    for _ in range(12):
        await page.keyboard.press("Tab")
        outside = "!document.activeElement.closest('dialog') && document.activeElement !== document.body"
        assert not await page.evaluate(outside)


@pytest.mark.parametrize("way", ["escape", "button", "backdrop"])
async def test_closing_gives_the_focus_back(page: Page, way: str) -> None:
    await open_settings(page)
    if way == "escape":
        await page.keyboard.press("Escape")
    elif way == "button":
        await page.get_by_role("button", name="Close settings").click()
    else:
        await page.mouse.click(5, 5)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator("#settings-button")).to_be_focused()


async def test_a_selection_that_ends_outside_closes_nothing(page: Page) -> None:
    await open_settings(page)
    await page.locator("#system").fill("Be brief.")
    box = await page.locator("#system").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 60, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(5, 5)
    await page.mouse.up()
    await expect(page.get_by_role("dialog")).to_be_visible()


async def test_escape_in_the_dialog_stops_no_answer(page: Page, server: ScriptedServer) -> None:
    async def held(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.write(delta(content="On it"))
        await exchange.gone.wait()

    server.scripts.append(held)
    await ask(page, "Hello?")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await open_settings(page)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await page.get_by_role("button", name="Stop").click()


async def test_numbers_are_applied_when_they_are_finished(blank: Page, server: ScriptedServer) -> None:
    server.details = {"chat": {"output_tokens": 4096}}
    page = await open_chat(blank, server.url)
    await expect(offered(page)).to_have_count(2)
    await open_settings(page)
    await expect(page.locator("#temperature-hint")).to_have_text("A number from 0 to 2. Empty: the model’s own.")
    await expect(page.locator("#output-hint")).to_contain_text("A whole number of tokens from 1 to 4,096.")
    await page.get_by_label("Temperature").fill("0,3")
    await page.get_by_label("Output limit").fill("\uff14\uff10\uff10\uff10")  # as a Japanese keyboard writes 4000
    await page.keyboard.press("Escape")
    body = await sent(page, server)
    assert (body["temperature"], body["max_completion_tokens"]) == (0.3, 4000)
    await open_settings(page)
    await expect(page.get_by_label("Temperature")).to_have_value("0.3")
    await page.get_by_label("Temperature").fill("")
    await page.get_by_label("Output limit").fill("")
    await page.keyboard.press("Escape")
    body = await sent(page, server)
    assert not {"temperature", "max_completion_tokens"} & body.keys()


@rows(
    ("label", "typed", "said"),
    [
        ("Temperature", "25", "A number from 0 to 2. Not applied: 0.5 stays in force."),
        ("Temperature", "warm", "A number from 0 to 2. Not applied: 0.5 stays in force."),
        ("Output limit", "0", "A whole number of tokens, at least 1. Not applied: the model’s own stays in force."),
        ("Output limit", "1.5", "A whole number of tokens, at least 1. Not applied: the model’s own stays in force."),
    ],
)
async def test_what_is_not_valid_is_not_applied_and_says_so(page: Page, label: str, typed: str, said: str) -> None:
    preferences = "JSON.parse(localStorage.getItem('chukei:preferences'))"
    await open_settings(page)
    await page.get_by_label("Temperature").fill("0.5")
    await page.keyboard.press("Tab")
    field = page.get_by_label(label)
    await field.fill(typed)
    await page.keyboard.press("Tab")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()
    await expect(field).to_have_accessible_description(said)
    assert await page.evaluate(f"{preferences}.temperature") == 0.5
    assert await page.evaluate(f"{preferences}.maxOutputTokens") is None
    await field.fill("1")
    await expect(page.locator(".field-error").filter(has_text="Not applied")).to_have_count(0)
    assert await field.get_attribute("aria-invalid") is None
    await field.fill("")
    await page.keyboard.press("Escape")


async def test_an_invalid_value_is_seen_before_the_dialog_closes(page: Page) -> None:
    """Once: the second try closes it, and the value is gone."""
    await open_settings(page)
    await page.get_by_label("Temperature").fill("25")
    await page.get_by_role("button", name="Close settings").click()
    await expect(page.get_by_role("alert").filter(has_text="Not applied")).to_be_visible()
    await expect(page.get_by_label("Temperature")).to_be_focused()
    await page.get_by_role("button", name="Close settings").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await open_settings(page)
    await expect(page.get_by_label("Temperature")).to_have_value("")


async def test_a_limit_above_what_another_model_writes(blank: Page, server: ScriptedServer) -> None:
    """It is lowered for that model, and comes back with the first one."""
    server.details = {"chat": {"output_tokens": 16_384}, "reasoner": {"output_tokens": 1000}}
    page = await open_chat(blank, server.url)
    await expect(offered(page)).to_have_count(2)
    await open_settings(page)
    await page.get_by_label("Output limit").fill("8000")
    await page.keyboard.press("Escape")
    assert (await sent(page, server))["max_completion_tokens"] == 8000
    await choose_model(page, "reasoner")
    assert (await sent(page, server))["max_completion_tokens"] == 1000
    await open_settings(page)
    await expect(page.get_by_label("Output limit")).to_have_value("1000")
    await page.keyboard.press("Escape")
    await choose_model(page, "chat")
    assert (await sent(page, server))["max_completion_tokens"] == 8000


async def test_the_errors_are_in_the_readers_language(page: Page) -> None:
    await page.locator("#language").select_option("ja")
    await page.locator("#settings-button").click()
    await page.get_by_label("温度").fill("3")
    await page.keyboard.press("Tab")
    await expect(page.locator("#temperature-error")).to_have_text(
        "0 から 2 までの数値です。 反映していません。モデルの既定値のままです。"
    )


async def test_a_phone_has_the_dialog_on_the_whole_screen(browser: Browser, server: ScriptedServer) -> None:
    context = await browser.new_context(viewport={"width": 320, "height": 600}, has_touch=True, is_mobile=True)
    page = await context.new_page()
    await open_chat(page, server.url)
    await page.locator("#settings-button").tap()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await settle(page)
    box = await page.get_by_role("dialog").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 320, "height": 600}
    assert await page.evaluate("document.activeElement.matches('input, textarea')") is False
    assert await page.get_by_role("dialog").evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")
    await context.close()


async def test_the_system_message_is_the_conversations_own(page: Page, server: ScriptedServer) -> None:
    """It is kept with the conversation; new ones begin with another one only if the reader says so."""
    await open_settings(page)
    await page.get_by_label("System message").fill("Be brief.")
    await page.keyboard.press("Escape")
    assert (await sent(page, server))["messages"][0] == {"role": "system", "content": "Be brief."}
    await page.get_by_role("button", name="New chat").click()
    await open_settings(page)
    await expect(page.get_by_label("System message")).to_have_value("")
    await page.get_by_label("System message").fill("Answer in verse.")
    await page.get_by_role("button", name="Use for new conversations").click()
    await expect(page.get_by_role("status").filter(has_text="New conversations begin with it.")).to_be_visible()
    await page.keyboard.press("Escape")
    await ask(page, "Hello again?")
    await finished(page)
    await page.reload()
    await expect(offered(page)).to_have_count(2)
    await open_settings(page)
    await expect(page.get_by_label("System message")).to_have_value("Answer in verse.")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="New chat").click()
    await open_settings(page)
    await expect(page.get_by_label("System message")).to_have_value("Answer in verse.")
    await page.keyboard.press("Escape")
    await entry(page, "Hello?").click()
    await open_settings(page)
    await expect(page.get_by_label("System message")).to_have_value("Be brief.")


async def test_the_dialog_is_accessible(page: Page) -> None:
    await page.evaluate("sessionStorage.setItem('chukei:access-key', 'k')")
    await page.reload()
    await open_settings(page)
    await page.get_by_label("Temperature").fill("25")
    await page.keyboard.press("Tab")
    assert await violations(page) == []
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert await violations(page) == []
