"""Both pages in Firefox and in WebKit: what engines do in their own way.

Input is the browser's own, but for what no driver has: what is dragged from another program.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.browser.console.office import KEY, LOADED, Office, month
from tests.browser.engines import Engine, firefox, until, webkit
from tests.browser.payloads import all_payloads
from tests.browser.scripted_server import ScriptedServer, saying
from tests.browser.test_attachments import DRAW as DRAW_PICTURE
from tests.browser.test_attachments import GIVE, MEASURE, with_exif
from tests.browser.test_chat import Held
from tests.browser.test_injection import DRAW
from tests.browser.test_math import ALIGNED, PLACED, SAY

pytestmark = pytest.mark.anyio

ENGINES: dict[str, Callable[..., AbstractAsyncContextManager[Engine]]] = {"firefox": firefox, "webkit": webkit}
WITHOUT_STORAGE = {f"{name} without storage": partial(start, storage=False) for name, start in ENGINES.items()}

ENTRIES = "[...document.querySelectorAll('.history-title')].map((found) => found.textContent)"
CHIPS = "document.querySelectorAll('.tray .chip:not([hidden])').length"
FOCUSED = "document.activeElement.id"
PROMPT = "document.querySelector('#prompt').value"
UNDO = "document.execCommand('undo')"
"""As in the menu: the keys of WebKit's driver have no such meaning."""


@pytest.fixture(scope="module", params=ENGINES)
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """One browser at a time: of WebKit, a second one does not start."""
    async with (ENGINES | WITHOUT_STORAGE)[request.param]() as engine:
        yield engine


@pytest.fixture
async def engine(shared: Engine) -> AsyncIterator[Engine]:
    """A browser that must have nothing to complain of, with a tab of the test's own, which has the keyboard."""
    async with shared.tab():
        yield shared
    assert await shared.errors() == []


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """At an origin of the test's own: nothing clears what these browsers keep."""
    async with ScriptedServer().serving() as server:
        yield server


@pytest.fixture
async def page(engine: Engine, server: ScriptedServer) -> Engine:
    """The browser with the chat page."""
    await engine.open(server.url)
    await engine.sees(FOCUSED, "prompt")
    return engine


async def ask(page: Engine, text: str) -> None:
    """Send one message from the keyboard."""
    await page.click("#prompt")
    await page.write(text)
    await page.press("Enter")


async def finished(page: Engine, count: int = 1) -> None:
    """Wait until so many answers are there, and none is being written."""
    state = "['.answer .message-foot', '[aria-busy]'].map((each) => document.querySelectorAll(each).length)"
    await page.sees(state, [count, 0])


async def talk(page: Engine, *texts: str) -> None:
    """One new conversation for each text."""
    for text in texts:
        await page.click("#new-chat")
        await ask(page, text)
        await finished(page)


async def run_module(page: Engine, module: str, body: str, argument: Any) -> Any:
    """Evaluate ``body`` with the module's exports as ``m`` and the argument as ``arg``."""
    load = f"const m = await import(new URL('web/{module}', document.baseURI).href);"
    return await page.run(f"{load} const [arg] = given; {body}", argument)


def text_of(selector: str) -> str:
    """The last element's text, as an expression."""
    return f"[...document.querySelectorAll({json.dumps(selector)})].at(-1)?.textContent"


async def test_tokens_appear_as_they_arrive_until_they_are_stopped(page: Engine, server: ScriptedServer) -> None:
    first, second = Held("The first", " and the *second*."), Held("Half", " never")
    server.scripts += [first, second]
    await ask(page, "Hello?")
    await page.sees(text_of(".answer-text"), "The first")
    first.go_on.set()
    await finished(page)
    await page.sees(text_of(".answer-text"), "The first and the second.")
    await ask(page, "More")
    await page.sees(text_of(".answer-text"), "Half")
    await page.click("#stop")
    await page.sees(text_of(".notice"), "You stopped this answer.")
    assert second.exchange is not None
    await second.exchange.gone.wait()
    await page.sees(FOCUSED, "prompt")


async def test_an_address_survives_reload_and_back(page: Engine, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    await page.reload()
    await page.sees(text_of(".question-text"), "second")
    await page.sees("document.title", "second · chukei")
    await page.click(".history-entry", "first")
    await page.sees(text_of(".question-text"), "first")
    await page.back()
    await page.sees(text_of(".question-text"), "second")


async def test_tabs_share_what_they_write(page: Engine, server: ScriptedServer) -> None:
    await talk(page, "first")
    address = await page.run("return location.href")
    async with page.tab():
        await page.open(address)
        await page.sees(text_of(".answer-text"), "Hello from the server.")
        await ask(page, "more")
        await finished(page, 2)
    await page.sees(text_of(".question-text"), "more")
    await finished(page, 2)


async def test_a_photograph_and_a_text_file(page: Engine, server: ScriptedServer, tmp_path: Path) -> None:
    """The photograph is made smaller, stands upright, and loses what the camera wrote."""
    photograph, table = tmp_path / "photo.jpg", tmp_path / "a.csv"
    jpeg = base64.b64decode(await page.run(f"return ({DRAW_PICTURE})(given[0])", [4000, 1000, "image/jpeg"]))
    photograph.write_bytes(with_exif(jpeg, orientation=6, secret=b"35.6586N 139.7454E"))
    table.write_text("x,y\n1,2\n")
    await page.choose("#composer input[type=file]", photograph, table)
    await page.sees(CHIPS, 2)
    await ask(page, "Where?")
    await finished(page)
    text, picture = server.exchanges[0].body["messages"][-1]["content"]
    assert text["text"] == 'File "a.csv":\n```\nx,y\n1,2\n```\n\nWhere?'
    url = picture["image_url"]["url"]
    assert b"Exif" not in base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
    assert await page.run(f"return ({MEASURE})(given[0])", url) == [512, 2048]
    await page.sees("document.querySelector('.question .picture img').naturalHeight", 2048)


async def test_a_picture_is_pasted_and_one_is_dropped(page: Engine, server: ScriptedServer) -> None:
    png = await page.run(f"return ({DRAW_PICTURE})([30, 20, 'image/png'])")
    file = {"name": "cat.png", "mimeType": "image/png", "data": png}
    for kind in ("dragover", "drop", "paste"):
        assert await page.run(f"return ({GIVE})(given)", kind, [file], {}) is True
    await page.sees(CHIPS, 2)
    await page.click("#send:not([aria-disabled=true])")
    await finished(page)
    assert len(server.exchanges[0].body["messages"][-1]["content"]) == 2


async def test_what_the_page_puts_into_the_field_is_undone(page: Engine, server: ScriptedServer) -> None:
    await ask(page, "before")
    await finished(page)
    await page.press("ArrowUp")
    await page.sees(PROMPT, "before")
    await page.run(UNDO)
    await page.sees(PROMPT, "")
    text = "long " * 1001
    await page.write("this")
    await page.press("Control+a")
    assert await page.run(f"return ({GIVE})(given)", "paste", [], {"text/plain": text}) is True
    await page.sees(PROMPT, "")
    await page.run(UNDO)
    await page.sees(PROMPT, "this")
    await page.click(".chip button", "Put “Pasted text.txt” into the message")
    await page.sees(PROMPT, text)
    await page.run(UNDO)
    await page.sees(PROMPT, "this")
    await page.sees(CHIPS, 1)


async def test_settings_by_keyboard(page: Engine, server: ScriptedServer) -> None:
    await page.run("document.querySelector('#settings-button').focus()")
    await page.press("Enter")
    await page.sees("document.activeElement.ariaLabel", "Close settings")
    for _ in range(8):
        await page.press("Tab")
        assert await page.run("return document.activeElement.closest('dialog, body').localName") in ("dialog", "body")
    await page.click("#temperature")
    await page.write("0.5")
    await page.press("Escape")
    await page.sees("document.querySelector('dialog') === null")
    await page.sees(FOCUSED, "settings-button")
    await page.run("document.querySelector('#model').focus()")
    await page.press("ArrowDown")
    await page.sees("document.querySelector('#model-list')?.checkVisibility()")
    await page.press("ArrowDown", "Enter")
    await page.sees("document.querySelector('#model-list')?.checkVisibility() ?? false", False)
    await ask(page, "Hello?")
    await finished(page)
    body = server.exchanges[0].body
    assert (body["temperature"], body["model"]) == (0.5, "reasoner")


async def test_what_is_copied_can_be_pasted(page: Engine, server: ScriptedServer) -> None:
    server.scripts.append(saying("Take **this**:\n\n```js\nconst x = 1;\n```\n"))
    await ask(page, "Hello?")
    await finished(page)
    for place, text in {
        ".answer-text": "const x = 1;",
        ".message-foot": "Take **this**:\n\n```js\nconst x = 1;\n```",
    }.items():
        await page.click(f".answer {place} button", "Copy")
        await page.click("#prompt")
        await page.press("Control+a", "Control+v")
        await page.sees(f"{PROMPT}.trim()", text)


async def test_formulas_tables_and_code_are_drawn(page: Engine, server: ScriptedServer) -> None:
    for body, text in (ALIGNED, PLACED):
        assert set(await run_module(page, "markdown/stream.js", SAY + body, text)) == {True}
    server.scripts.append(saying("$x^2$\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```js\nconst x = 1;\n```\n"))
    await ask(page, "Hello?")
    await finished(page)
    kinds = (
        "['math msup', 'td', 'pre code span'].map((each) => document.querySelectorAll(`.answer-text ${each}`).length)"
    )
    await page.sees(f"{kinds}.map(Boolean)", [True] * 3)
    await page.sees(
        "/right|end/.test(getComputedStyle(document.querySelector('.answer-text td:last-child')).textAlign)"
    )


async def test_theme_and_language_are_kept(page: Engine, server: ScriptedServer) -> None:
    await page.click("#theme")
    await page.click("#theme")
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    await page.sees("document.documentElement.dataset.theme", "dark")
    dark = await page.run(f"return {colour}")
    await page.run("document.querySelector('#language').focus()")
    await page.press("ArrowDown")
    await page.reload()
    await page.sees("document.documentElement.lang", "ja")
    await page.sees(text_of("#new-chat"), "新しい会話")
    await page.sees(colour, dark)
    await page.click("#theme")
    await page.sees(f"{colour} !== {json.dumps(dark)}")


async def test_history_is_searched_deleted_and_brought_back(page: Engine, server: ScriptedServer) -> None:
    await talk(page, "What is it?", "Relay race")
    await page.click("#history-search")
    await page.write("RELAY")
    await page.sees("[...document.querySelectorAll('#history-list mark')].map((found) => found.textContent)", ["Relay"])
    await page.press("Escape")
    await page.sees(ENTRIES, ["Relay race", "What is it?"])
    await page.click(".history-more", "Actions for “Relay race”")
    await page.sees("document.activeElement.textContent", "Rename")
    await page.press("ArrowUp")
    await page.sees("document.activeElement.textContent", "Delete")
    await page.press("Enter")
    await page.sees(ENTRIES, ["What is it?"])
    await page.sees("document.activeElement.textContent", "Undo")
    await page.press("Enter")
    await page.sees(ENTRIES, ["Relay race", "What is it?"])
    await page.reload()
    await page.sees(ENTRIES, ["Relay race", "What is it?"])


async def test_a_conversation_is_exported_and_imported(page: Engine, server: ScriptedServer) -> None:
    await talk(page, "What is 5/3?")
    await page.click(".history-more", "Actions for “What is 5/3?”")
    await page.click("[role=menuitem]", "Export as JSON")
    saved = page.downloads / "What is 5 3.json"
    await until(lambda: asyncio.to_thread(saved.is_file), lambda: "nothing was saved")
    await page.click("#clear-history")
    await page.sees(ENTRIES, [])
    await page.choose("#import-file", saved)
    await page.sees(text_of(".answer-text"), "Hello from the server.")
    await page.sees(ENTRIES, ["What is 5/3?"])


async def test_no_payload_runs(page: Engine, server: ScriptedServer) -> None:
    body = "return arg.map((text) => [text, draw([text])]).filter(([, found]) => found.length > 0);"
    assert await run_module(page, "markdown/stream.js", DRAW + body, all_payloads()) == []
    server.scripts.append(saying("\n\n".join(all_payloads())))
    await ask(page, "Hello?")
    await finished(page)
    findings = DRAW + "return findings(document.querySelector('.answer-text'));"
    assert await run_module(page, "markdown/stream.js", findings, None) == []


async def test_what_must_not_happen_is_noticed(page: Engine) -> None:
    """The other tests would see each kind of it."""
    await page.run(
        """
        const image = document.createElement("img");
        image.src = "http://evil.invalid/x.png";
        document.body.append(image);
        try { image.innerHTML = "<b>"; } catch { /* Trusted Types */ }
        console.error("said");
        setTimeout(() => { throw new Error("thrown"); });
        Promise.reject(new Error("rejected"));
        await new Promise((done) => setTimeout(done, 100));
        """
    )
    errors = "\n".join(await page.errors())
    assert [
        each for each in ("img-src", "require-trusted-types-for", "said", "thrown", "rejected") if each not in errors
    ] == []


@pytest.mark.parametrize("shared", WITHOUT_STORAGE, indirect=True)
async def test_without_storage(page: Engine, server: ScriptedServer) -> None:
    await talk(page, "first", "second")
    await page.click(".history-entry", "first")
    await page.sees(text_of(".question-text"), "first")
    await page.sees(text_of("#history-unkept"), "Not kept: gone when this page closes.")


async def test_the_console(engine: Engine, tmp_path: Path) -> None:
    async with Office.serving(tmp_path) as office:
        await office.database.add(month())
        await engine.open(office.url)
        await engine.sees(FOCUSED, "admin-key")
        await engine.write(KEY)
        await engine.press("Enter")
        for view, selector in LOADED.items():
            await engine.sees("find('#opened') !== undefined")
            await engine.run("location.hash = given[0]", f"#/{view}")
            await engine.sees(f"find({json.dumps(selector.removesuffix(' >> visible=true'))}) !== undefined")
        await engine.run("location.hash = '#/callers/team-a'")
        await engine.click("button", "Change limits or groups")
        await engine.click("#set-limits-tokens_per_minute")
        await engine.write("500")
        await engine.press("Enter")
        await engine.sees("document.querySelector('[data-part=limits]')?.textContent.includes('tokens_per_minute')")
        assert set(await office.database.rules()) == {"caller:team-a"}


STORE = """
  const { openDatabase } = await import(new URL("web/storage/database.js", document.baseURI));
  const database = await openDatabase();
  const row = (conversation, id) => ({ conversation, message: { id, role: "user", content: id } });
  const ids = (rows) => rows.map(({ message }) => message.id);
  const headings = ["x", "y"].map((id) => ({ id, title: "", updatedAt: 1 }));
  const rows = [row("x", "1"), row("x", "2"), row("y", "3"), row("draft x", "d"), row("draft x", "e")];
  await database.write({ headings, rows });
  await database.write({ headings: [], rows: [], gone: [["draft x", "e"]] });
  await database.amend("x", (one, own) => ({ ...one, opening: ids(own).join() }));
  const { opening } = (await database.headings()).find(({ id }) => id === "x");
  const read = [ids(await database.rows(["x", "none"])), await database.keys("draft "), opening];
  const taken = ids(await database.take(["x", "draft x"]));
  return [...read, taken, ids(await database.rows(["x"])), ids(await database.clear()), await database.headings()];
"""


async def test_the_database(page: Engine) -> None:
    """What is taken comes back though the transaction was committed before."""
    assert await page.run(STORE) == [["1", "2"], [["draft x", "d"]], "1,2", ["1", "2", "d"], [], ["3"], []]
