"""Every state of the chat page, and how a reader comes to it. Tests look at each of them in their own way."""

from collections.abc import Awaitable, Callable

from playwright.async_api import Page, expect
from tests.browser.conftest import open_chat
from tests.browser.scripted_server import Exchange, ScriptedServer, delta, refusing, saying
from tests.browser.steps import answers, ask, finished, offered, settle
from tests.browser.test_appearance import RICH
from tests.browser.test_attachments import attach, drawn, file
from tests.browser.test_failures import BLOCKED

State = Callable[[Page, ScriptedServer], Awaitable[None]]

RIGHT_TO_LEFT = """\
## مرحبا

هذا نص مع `code` و **تأكيد**.

1. أولا
2. ثانيا

> اقتباس

| اسم | قيمة |
|---|---|
| واحد | 1 |

An English paragraph.
"""


async def welcome(page: Page, server: ScriptedServer) -> None:
    await expect(page.locator("#welcome")).to_be_visible()


async def connecting(page: Page, server: ScriptedServer) -> None:
    server.simulator = True
    await open_chat(page, server.url)
    await page.locator(".connect summary").press("Enter")
    await expect(page.locator(".connect pre")).to_be_visible()


async def conversation(page: Page, server: ScriptedServer) -> None:
    server.scripts += [saying("Another."), saying(RICH)]
    await ask(page, "Explain backoff")
    await finished(page)
    await page.get_by_role("button", name="Regenerate").press("Enter")
    await expect(page.locator(".alternatives")).to_be_visible()
    await finished(page)


async def reading_right_to_left(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(saying(RIGHT_TO_LEFT))
    await ask(page, "ما هذا؟")
    await finished(page)


async def writing(page: Page, server: ScriptedServer) -> None:
    async def held(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.write(delta(content="Each word appears"))
        await exchange.gone.wait()

    server.scripts.append(held)
    await ask(page, "How does it look while it streams?")
    await expect(answers(page)).to_have_text("Each word appears")


async def thinking(page: Page, server: ScriptedServer) -> None:
    async def script(exchange: Exchange) -> None:
        call = {"index": 0, "id": "1", "function": {"name": "get_weather", "arguments": '{"city":"京都","days":3}'}}
        await exchange.start()
        await exchange.write(delta(reasoning_content="The reader wants the *weather*.") + delta(tool_calls=[call]))
        await exchange.write(delta(content="Sunny.") + delta(finish="stop") + b"data: [DONE]\n\n")

    server.scripts.append(script)
    await ask(page, "Weather?")
    await finished(page)
    for summary in await page.locator(".answer summary:visible").all():
        await summary.press("Enter")
    await settle(page)


async def attachments(page: Page, server: ScriptedServer) -> None:
    picture = file("a-photo.png", await drawn(page, 60, 40), "image/png")
    await attach(page, picture, file("notes.txt", b"one\ntwo", "text/plain"))
    await ask(page, "What is this?")
    await finished(page)
    await attach(page, picture, file("more.txt", b"three", "text/plain"), file("app.bin", b"\x00\x01", "x/y"))
    await expect(page.locator(".refused li")).to_be_visible()


async def editing(page: Page, server: ScriptedServer) -> None:
    await conversation(page, server)
    await page.get_by_role("button", name="Edit").press("Enter")
    await expect(page.locator(".edit-form textarea")).to_be_focused()


async def failure(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(refusing(400, BLOCKED))
    await ask(page, "Explain backoff")
    await finished(page)
    await page.locator(".failure summary").press("Enter")


async def settings(page: Page, server: ScriptedServer) -> None:
    await page.locator("#settings-button").press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.locator("#temperature").fill("7")
    await page.keyboard.press("Tab")


async def model_menu(page: Page, server: ScriptedServer) -> None:
    described = {"description": "Quick answers for everyday questions.", "apis": ["chat"], "context_tokens": 128_000}
    server.models = ["chat", "reasoner", "chat--429"]
    server.details = {
        "chat": described,
        "chat--429": {"description": "Refuses.", "apis": ["chat"], "failure": True},
    }
    await open_chat(page, server.url)
    await expect(offered(page)).to_have_count(3)
    await page.locator("#model").press("Enter")
    await expect(page.get_by_role("listbox")).to_be_visible()


async def sidebar_menu(page: Page, server: ScriptedServer) -> None:
    await ask(page, "first")
    await finished(page)
    await page.locator(".history-more").press("Enter")
    await expect(page.get_by_role("menu")).to_be_visible()


async def searching(page: Page, server: ScriptedServer) -> None:
    await ask(page, "first")
    await finished(page)
    await page.locator("#history-search").fill("server")
    await expect(page.locator("#history-list mark")).to_be_visible()


async def renaming(page: Page, server: ScriptedServer) -> None:
    await ask(page, "first")
    await finished(page)
    await page.locator(".history-more").press("Enter")
    await page.get_by_role("menuitem").first.press("Enter")
    await expect(page.locator(".history-rename")).to_be_focused()


async def deleted(page: Page, server: ScriptedServer) -> None:
    await ask(page, "first")
    await finished(page)
    await page.locator(".history-more").press("Enter")
    await page.get_by_role("menuitem").last.press("Enter")
    await expect(page.locator("#toast")).to_be_visible()


async def access(page: Page, server: ScriptedServer) -> None:
    server.required_key = "k"
    await open_chat(page, server.url)
    await page.locator("#access-key").fill("wrong")
    await page.locator("#access-key").press("Enter")
    await expect(page.locator("#access-refused")).not_to_be_empty()


async def missing(page: Page, server: ScriptedServer) -> None:
    await page.goto("about:blank")
    await open_chat(page, f"{server.url}#/c/0000")
    await expect(page.locator("#missing")).to_be_visible()


STATES: dict[str, State] = {
    "welcome": welcome,
    "connecting": connecting,
    "conversation": conversation,
    "right to left": reading_right_to_left,
    "writing": writing,
    "thinking": thinking,
    "attachments": attachments,
    "editing": editing,
    "failure": failure,
    "settings": settings,
    "model menu": model_menu,
    "sidebar menu": sidebar_menu,
    "searching": searching,
    "renaming": renaming,
    "deleted": deleted,
    "access": access,
    "missing": missing,
}
