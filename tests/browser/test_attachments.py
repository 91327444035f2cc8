"""Pictures and text files that go along with a question: taken, refused, shown, sent; and the field they are beside."""

import asyncio
import base64
import struct
from typing import Any

import pytest
from playwright.async_api import FilePayload, Locator, Page, expect
from tests.browser.conftest import Watch, open_chat
from tests.browser.scripted_server import Exchange, ScriptedServer
from tests.browser.steps import ask, choose_model, entry, finished, holds, settle
from tests.rows import rows

pytestmark = pytest.mark.anyio

DRAW = """([width, height, type]) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(10, 120, 200)";
  context.fillRect(0, 0, width, height / 2);
  return canvas.toDataURL(type).split(",")[1];
}"""
NOISE = """([width, height]) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  let state = 1;
  for (let at = 0; at < pixels.data.length; at += 1) {
    state = (state * 48271) % 2147483647;
    pixels.data[at] = at % 4 === 3 ? 255 : state % 256;
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""
MEASURE = """(url) => new Promise((done, fail) => {
  const image = new Image();
  image.onload = () => done([image.naturalWidth, image.naturalHeight]);
  image.onerror = fail;
  image.src = url;
})"""
GIVE = """([kind, files, texts]) => {
  const transfer = new DataTransfer();
  for (const { name, mimeType, data } of files) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type: mimeType }));
  }
  for (const [type, text] of Object.entries(texts)) transfer.setData(type, text);
  const settings = { bubbles: true, cancelable: true };
  if (kind === "paste") {
    const pasted = new ClipboardEvent("paste", settings);
    Object.defineProperty(pasted, "clipboardData", { value: transfer }); // Firefox does not take it from the settings
    return !document.querySelector("#prompt").dispatchEvent(pasted);
  }
  return !document.body.dispatchEvent(new DragEvent(kind, { ...settings, dataTransfer: transfer }));
}"""
"""Pastes, drags or drops; returns whether the page took it over from the browser."""


HOLD = """() => {
  const read = Blob.prototype.arrayBuffer;
  Blob.prototype.arrayBuffer = function () {
    return new Promise((done) => { window.goOn = () => done(read.call(this)); });
  };
}"""
"""Each file is read when ``goOn`` is called."""


async def drawn(page: Page, width: int, height: int, kind: str = "image/png") -> bytes:
    return base64.b64decode(await page.evaluate(DRAW, [width, height, kind]))


def file(name: str, data: bytes, kind: str = "") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}


async def attach(page: Page, *files: FilePayload) -> None:
    """Choose files by the button, and wait until they are read."""
    async with page.expect_file_chooser() as chooser:
        await page.locator("#attach").click()
    await (await chooser.value).set_files(list(files))
    await settle(page)
    await expect(page.get_by_text("Reading “")).to_have_count(0)


async def give(page: Page, kind: str, *files: FilePayload, **texts: str) -> bool:
    listed = [{**one, "buffer": None, "data": base64.b64encode(one["buffer"]).decode()} for one in files]
    types = {name.replace("_", "/"): text for name, text in texts.items()}
    return bool(await page.evaluate(GIVE, [kind, listed, types]))


def chips(page: Page) -> Locator:
    return page.locator(".tray .chip:not([hidden])")


def refusals(page: Page) -> Locator:
    return page.locator(".refused li")


def parts(server: ScriptedServer, at: int = -1) -> list[dict[str, Any]]:
    """The content of the last message of a request."""
    content = server.exchanges[at].body["messages"][-1]["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


async def offer(
    page: Page, server: ScriptedServer, relay: dict[str, Any] | None = None, **details: dict[str, Any]
) -> None:
    """Load the page again, with a list that tells more."""
    server.models = list(details) or server.models
    server.details, server.relay = details, relay or {}
    await open_chat(page, server.url)
    await settle(page)


# Taken and sent


async def test_a_picture_by_the_button(page: Page, server: ScriptedServer) -> None:
    await attach(page, file("cat.png", await drawn(page, 300, 200)))
    await expect(chips(page)).to_contain_text("cat.png")
    await expect(page.locator("#prompt")).to_be_focused()
    await ask(page, "What is it?")
    await finished(page)
    text, picture = parts(server)
    assert text == {"type": "text", "text": "What is it?"}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert await page.evaluate(MEASURE, picture["image_url"]["url"]) == [300, 200]
    await expect(chips(page)).to_have_count(0)
    await expect(page.locator(".question .picture img")).to_be_visible()


async def test_a_picture_alone_is_a_question(page: Page, server: ScriptedServer) -> None:
    await attach(page, file("cat.png", await drawn(page, 30, 20)))
    await page.locator("#prompt").press("Enter")
    await finished(page)
    assert [part["type"] for part in parts(server)] == ["image_url"]
    await expect(page.locator(".question-text")).to_have_count(0)
    await page.get_by_role("button", name="Edit").press("Enter")
    await page.keyboard.press("Enter")
    await expect(page.locator(".alternatives").first).to_contain_text("2 / 2")
    await finished(page)
    assert [part["type"] for part in parts(server)] == ["image_url"]


async def test_a_photograph_is_made_smaller_upright_and_loses_what_the_camera_wrote(
    page: Page, server: ScriptedServer
) -> None:
    photograph = with_exif(await drawn(page, 4000, 1000, "image/jpeg"), orientation=6, secret=b"35.6586N 139.7454E")
    assert b"35.6586N" in photograph
    await attach(page, file("photo.jpg", photograph, "image/jpeg"))
    await ask(page, "Where?")
    await finished(page)
    url = parts(server)[1]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    sent = base64.b64decode(url.split(",")[1])
    assert b"35.6586N" not in sent
    assert b"Exif" not in sent
    assert await page.evaluate(MEASURE, url) == [512, 2048]


@rows("kind", ["image/png", "image/jpeg", "image/webp"])
async def test_the_kind_is_told_by_the_content(page: Page, server: ScriptedServer, kind: str) -> None:
    await attach(page, file("notes.txt", await drawn(page, 40, 30, kind), "text/plain"))
    await expect(chips(page).locator("img")).to_have_count(1)
    await page.get_by_role("button", name="Remove “notes.txt”").click()


async def test_a_gif(page: Page, server: ScriptedServer) -> None:
    gif = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==")
    await attach(page, file("dot.gif", gif, "image/gif"))
    await page.locator("#prompt").press("Enter")
    await finished(page)
    assert parts(server)[0]["image_url"]["url"].startswith("data:image/png;base64,")


async def test_an_animation_is_its_first_frame_and_says_so(page: Page, server: ScriptedServer) -> None:
    frame = base64.b64decode("IfkEAAoAAAAsAAAAAAEAAQAAAgJMAQA=")
    head = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///w==")
    await attach(page, file("still.gif", head + frame + b";"), file("moving.gif", head + frame * 2 + b";"))
    sizes = chips(page).locator(".file-size")
    await expect(sizes).to_have_text(["0.1 kB", "0.1 kB · first frame only"])
    await page.locator("#prompt").press("Enter")
    await finished(page)
    assert all(part["image_url"]["url"].startswith("data:image/png;base64,") for part in parts(server))
    await page.reload()
    pictures = page.locator(".question .picture")
    await expect(pictures.first).to_have_attribute("title", "still.gif")
    await expect(pictures.last).to_have_attribute("title", "moving.gif · first frame only")


async def test_text_files_are_written_into_the_question(page: Page, server: ScriptedServer) -> None:
    await attach(
        page,
        file("a.csv", b"x,y\n1,2\n", "text/csv"),
        file("u16.txt", b"\xff\xfe" + "波 🌊".encode("utf-16-le")),
        file("be.txt", b"\xfe\xff" + "big".encode("utf-16-be")),
        file("bom.md", b"\xef\xbb\xbf# Title"),
        file("code", b"print()\r\n", "application/octet-stream"),
        file("drawing.svg", b"<svg onload='alert(1)'/>", "image/svg+xml"),
    )
    await expect(chips(page)).to_have_count(6)
    await ask(page, "Sum up.")
    await finished(page)
    text = parts(server)[0]["text"]
    assert text.startswith('File "a.csv":\n```\nx,y\n1,2\n```\n\nFile "u16.txt":\n```\n波 🌊\n```\n\n')
    assert 'File "be.txt":\n```\nbig\n```' in text
    assert 'File "bom.md":\n```\n# Title\n```' in text
    assert 'File "code":\n```\nprint()\r\n```' in text
    assert "<svg onload='alert(1)'/>" in text
    assert text.endswith("\n\nSum up.")


async def test_files_that_are_dropped(page: Page, server: ScriptedServer) -> None:
    zone = page.locator(".drop-zone")
    picture = file("cat.png", await drawn(page, 30, 20), "image/png")
    await expect(zone).to_be_hidden()
    assert await give(page, "dragover", picture)
    await expect(zone).to_be_visible()
    await expect(zone).to_have_text("Drop pictures or text files")
    await give(page, "dragleave", picture)
    await expect(zone).to_be_hidden()
    await give(page, "dragover", picture)
    assert await give(page, "drop", picture, file("a.md", b"# A"))
    await expect(zone).to_be_hidden()
    await expect(chips(page)).to_have_count(2)
    await expect(chips(page).first).to_contain_text("cat.png")
    assert not await give(page, "dragover", text_plain="words"), "text that is dragged is the browser's"


async def test_what_is_pasted(page: Page, server: ScriptedServer) -> None:
    picture = file("image.png", await drawn(page, 30, 20), "image/png")
    assert await give(page, "paste", picture)
    await expect(chips(page)).to_have_count(1)
    assert not await give(page, "paste", picture, text_plain="1\t2", text_html="<td>1"), "cells are pasted as text"
    assert not await give(page, "paste", text_plain="words")
    await expect(chips(page)).to_have_count(1)


async def test_a_long_text_that_is_pasted_becomes_a_file(page: Page, server: ScriptedServer) -> None:
    text = "long " * 1001
    await page.locator("#prompt").fill("Sum up: ")
    await page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
    await page.keyboard.press("Control+V")
    await expect(chips(page)).to_contain_text("Pasted text.txt")
    await expect(page.locator("#prompt")).to_have_value("Sum up: ")
    await page.keyboard.press("Control+V")
    await expect(chips(page).nth(1)).to_contain_text("Pasted text 2.txt")
    await page.get_by_role("button", name="Remove “Pasted text.txt”").click()
    await page.locator("#prompt").focus()
    await page.keyboard.press("Control+V")
    await expect(chips(page).locator(".file-name")).to_have_text(["Pasted text 2.txt", "Pasted text.txt"])
    await page.get_by_role("button", name="Remove “Pasted text 2.txt”").click()
    await expect(chips(page)).to_have_count(1)
    said = [text for _, text in await page.evaluate("window.announced")]
    assert "Attached as Pasted text.txt. Ctrl + Shift + V pastes into the message." in said
    await page.locator("#prompt").press("Enter")
    await finished(page)
    assert parts(server)[0]["text"] == f'File "Pasted text.txt":\n```\n{text}\n```\n\nSum up: '


async def test_a_long_text_stays_text_where_that_is_wanted(page: Page, server: ScriptedServer) -> None:
    field = page.locator("#prompt")
    text = "long " * 2000
    await page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
    await field.focus()
    await page.keyboard.press("Control+Shift+V")
    await expect(field).to_have_value(text)
    await expect(chips(page)).to_have_count(0)
    box = await page.locator("#composer").bounding_box()
    assert box is not None
    assert box["height"] < 400
    await field.fill("before|after")
    await field.press("Home")
    await page.keyboard.press("Control+V")
    await page.get_by_role("button", name="Put “Pasted text.txt” into the message").press("Enter")
    await expect(field).to_have_value(f"{text}before|after")
    await expect(field).to_be_focused()
    await expect(chips(page)).to_have_count(0)
    await field.fill("")
    await page.keyboard.down("Control")
    await page.keyboard.down("Shift")
    await field.evaluate("(field) => field.blur()")  # as Ctrl + Shift + Tab does, with the keys released elsewhere
    await page.keyboard.up("Shift")
    await page.keyboard.up("Control")
    assert not await give(page, "paste", text_plain="x" * 5000), "about two pages are pasted as ever"
    assert await give(page, "paste", text_plain="x" * 5001)


async def test_what_the_page_puts_into_the_field_is_undone_by_the_keyboard(page: Page, server: ScriptedServer) -> None:
    await ask(page, "asked before")
    await finished(page)
    field = page.locator("#prompt")
    await field.press("ArrowUp")
    await expect(field).to_have_value("asked before")
    await page.keyboard.press("Control+Z")
    await expect(field).to_have_value("")
    text = "long " * 1001
    await page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
    await page.keyboard.type("Sum up this:")
    for _ in "this:":
        await page.keyboard.press("Shift+ArrowLeft")
    await page.keyboard.press("Control+V")
    await expect(field).to_have_value("Sum up ")  # the file is in place of what was selected
    await expect(chips(page)).to_contain_text("Pasted text.txt")
    await page.keyboard.press("Control+Z")
    await expect(field).to_have_value("Sum up this:")
    await page.keyboard.press("End")
    await page.get_by_role("button", name="Put “Pasted text.txt” into the message").press("Enter")
    await expect(field).to_have_value(f"Sum up this:{text}")
    for key, value, count in (("Control+Z", "Sum up this:", 1), ("Control+Shift+Z", f"Sum up this:{text}", 0)) * 2:
        await page.keyboard.press(key)
        await expect(field).to_have_value(value)
        await expect(chips(page)).to_have_count(count)


async def test_a_long_text_that_is_refused_leaves_what_is_selected(page: Page, server: ScriptedServer) -> None:
    field = page.locator("#prompt")
    await field.fill("selected")
    await field.press("Control+A")
    assert await give(page, "paste", text_plain="x" * 5_000_001)
    await expect(refusals(page)).to_have_count(1)
    await expect(field).to_have_value("selected")
    assert await give(page, "paste", text_plain="x" * 5001)
    await expect(field).to_have_value("")


async def test_undo_brings_nothing_from_another_conversation(page: Page, server: ScriptedServer) -> None:
    field = page.locator("#prompt")
    await field.focus()
    await page.keyboard.type("asked")
    await page.keyboard.press("Enter")
    await finished(page)
    await page.keyboard.press("Control+Z")
    await settle(page)
    assert await field.input_value() in ("", "asked")
    await field.press("Control+A")
    await page.keyboard.type("of the first")
    await page.locator("#new-chat").click()
    await expect(field).to_have_value("")
    await page.keyboard.type("n")
    for key, value in (("Control+Z", ""), ("Control+Z", ""), ("Control+Shift+Z", "n"), ("Control+Shift+Z", "n")):
        await page.keyboard.press(key)
        await settle(page)
        await expect(field).to_have_value(value)
    await entry(page, "asked").click()
    await expect(field).to_have_value("of the first")
    await expect(field).to_be_focused()


async def test_half_an_emoji_is_sent_as_text(page: Page, server: ScriptedServer) -> None:
    await give(page, "paste", text_plain="x" * 5000 + "\ud83d")
    field = page.locator("#prompt")
    await field.evaluate("(field) => { field.value = 'cut \\ud83d, whole \\ud83d\\ude00'; }")
    await field.dispatch_event("input")
    await page.locator("#send").click()
    await finished(page)
    assert parts(server)[0]["text"].endswith("x\ufffd\n```\n\ncut \ufffd, whole \U0001f600")


async def test_megabytes_that_are_pasted_never_reach_the_field(page: Page, server: ScriptedServer) -> None:
    assert await give(page, "paste", text_plain="波" * 1_600_000)
    await expect(chips(page)).to_contain_text("4.8 MB")
    await expect(chips(page).get_by_role("button")).to_have_count(1)  # no pen: the field would stand still
    assert await give(page, "paste", text_plain="x" * 5_000_001)
    await expect(refusals(page)).to_have_text(
        ["“Pasted text 2.txt” is not attached. It is longer than the 5 MB of text that a model can read."]
    )
    await expect(page.locator("#prompt")).to_have_value("")


async def test_the_encoding_of_a_text_file_is_said_unless_it_is_usual(page: Page, server: ScriptedServer) -> None:
    await attach(page, file("sjis.csv", "名前,点\nさくら,10\n".encode("cp932")), file("utf8.txt", "さくら".encode()))
    await expect(chips(page).nth(0).locator(".file-size")).to_have_text("0.1 kB · Shift_JIS")
    await expect(chips(page).nth(1).locator(".file-size")).to_have_text("0.1 kB")
    await ask(page, "Hello?")
    await finished(page)
    assert "名前,点\nさくら,10\n" in parts(server)[0]["text"]
    await page.reload()
    await expect(page.locator(".question .file-size").first).to_have_text("0.1 kB · Shift_JIS")


# Refused


async def test_each_file_that_is_not_taken_is_named_with_the_reason(page: Page, server: ScriptedServer) -> None:
    await attach(
        page,
        file("empty.txt", b""),
        file("report.pdf", b"%PDF-1.7\n\xe2\xe3\xcf\xd3\x00", "application/pdf"),
        file("nul.txt", b"a\x00b", "text/plain"),
        file("broken.png", b"\x89PNG\r\n\x1a\n\xff\xff", "image/png"),
        file("book.txt", b"a" * 5_000_001),
        file("good.txt", b"good"),
    )
    await expect(chips(page)).to_have_count(1)
    await expect(refusals(page)).to_have_count(5)
    await expect(refusals(page).nth(0)).to_have_text("“empty.txt” is not attached. The file is empty.")
    for at, name in ((1, "report.pdf"), (2, "nul.txt"), (3, "broken.png")):
        await expect(refusals(page).nth(at)).to_contain_text(f"“{name}” is not attached. It is neither a picture")
    await expect(refusals(page).nth(4)).to_contain_text("It is longer than the 5 MB of text that a model can read.")
    assert "alert" in [role for role, _ in await page.evaluate("window.announced")]
    await page.get_by_role("button", name="Dismiss").click()
    await expect(refusals(page)).to_have_count(0)
    await expect(page.locator("#prompt")).to_be_focused()
    await expect(chips(page)).to_have_count(1)


async def test_a_model_that_takes_no_pictures(page: Page, server: ScriptedServer) -> None:
    await offer(page, server, reader={"input": ["text"]})
    await attach(page, file("cat.png", await drawn(page, 30, 20)), file("a.txt", b"a"))
    await expect(refusals(page)).to_have_text(["“cat.png” is not attached. reader takes no pictures."])
    await expect(chips(page)).to_have_count(1)


async def test_another_model_that_takes_no_pictures_blocks_those_that_are_there(
    page: Page, server: ScriptedServer
) -> None:
    await offer(page, server, seer={"input": ["text", "image"]}, reader={"input": ["text"]})
    await attach(page, file("cat.png", await drawn(page, 30, 20)), file("a.txt", b"a"))
    await choose_model(page, "reader")
    blocked = page.locator("#blocked")
    await expect(blocked).to_have_text("reader takes no pictures. Remove them, or choose another model.")
    await expect(page.locator("#send")).to_have_attribute("aria-disabled", "true")
    await ask(page, "What is it?")
    await settle(page)
    assert server.exchanges == []
    await expect(page.locator("#prompt")).to_have_value("What is it?")
    await page.get_by_role("button", name="Remove “cat.png”").click()
    await expect(blocked).to_be_hidden()
    await page.locator("#prompt").press("Enter")
    await finished(page)
    assert parts(server)[0]["text"].endswith("What is it?")


async def test_no_more_pictures_than_the_model_takes(page: Page, server: ScriptedServer) -> None:
    await offer(page, server, seer={"input": ["text", "image"], "max_images": 2})
    picture = await drawn(page, 30, 20)
    await attach(page, *(file(f"{at}.png", picture) for at in range(3)))
    await expect(chips(page)).to_have_count(2)
    await expect(refusals(page)).to_have_text(["“2.png” is not attached. seer takes 2 pictures at most."])


async def test_no_more_bytes_than_the_relay_takes(page: Page, server: ScriptedServer) -> None:
    await offer(page, server, relay={"max_body_bytes": 300_000})
    noise = base64.b64decode(await page.evaluate(NOISE, [900, 900]))
    assert len(noise) > 2_000_000
    await attach(page, file("noise.png", noise, "image/png"), file("long.txt", b"a" * 300_000))
    await expect(chips(page)).to_have_count(1)
    await expect(refusals(page)).to_have_text(
        ["“long.txt” is not attached. With it, the message would exceed the 300 kB that the relay takes."]
    )
    await ask(page, "a" * 250_000)
    await expect(page.locator("#blocked")).to_have_text("The message exceeds the 300 kB that the relay takes.")
    await ask(page, "What is it?")
    await finished(page)
    assert 100_000 < int(server.exchanges[0].headers["content-length"]) <= 300_000


async def test_a_file_that_is_being_read_holds_the_question_back(page: Page, server: ScriptedServer) -> None:
    await page.evaluate(HOLD)
    await give(page, "paste", file("a.txt", b"a"))
    await expect(chips(page)).to_have_text(["Reading “a.txt”"])
    await ask(page, "Now?")
    await settle(page)
    assert server.exchanges == []
    await page.evaluate("window.goOn()")
    await expect(chips(page)).to_contain_text("0.1 kB")
    await page.locator("#prompt").press("Enter")
    await finished(page)
    assert parts(server)[0]["text"] == 'File "a.txt":\n```\na\n```\n\nNow?'


async def test_files_that_are_still_to_be_read_wait_in_their_conversation(page: Page, server: ScriptedServer) -> None:
    await ask(page, "First")
    await finished(page)
    await page.evaluate(HOLD)
    await give(page, "paste", file("a.txt", b"a"), file("b.txt", b"b"))
    await page.evaluate("window.goOn()")
    await expect(chips(page).last).to_have_text("Reading “b.txt”")
    await page.locator("#new-chat").click()
    await expect(chips(page)).to_have_count(0)
    await page.evaluate("window.goOn()")
    await entry(page, "First").click()
    await expect(chips(page).last).to_have_text("Reading “b.txt”")
    await page.evaluate("window.goOn()")
    await expect(chips(page).locator(".file-name")).to_have_text(["a.txt", "b.txt"])


# Removed, shown, kept


async def test_the_focus_stays_on_a_chip_while_others_come_and_the_words_change(
    page: Page, server: ScriptedServer
) -> None:
    await attach(page, file("a.txt", b"a"))
    remove = page.get_by_role("button", name="Remove “a.txt”")
    await remove.focus()
    await page.evaluate("document.querySelector('#prompt').focus = () => {}")
    await give(page, "paste", file("b.txt", b"b"))
    await expect(chips(page)).to_have_count(2)
    await expect(remove).to_be_focused()
    await page.locator("#language").select_option("ja")
    await expect(page.get_by_role("button", name="「a.txt」を外す")).to_be_visible()
    await expect(chips(page)).to_have_count(2)


async def test_attachments_are_removed_by_keyboard(page: Page, server: ScriptedServer) -> None:
    await attach(page, *(file(f"{name}.txt", b"x") for name in "abc"))
    await page.locator("#prompt").press("Shift+Tab")
    await expect(page.locator("#attach")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Remove “c.txt”")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Remove “b.txt”")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Remove “b.txt”")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#prompt")).to_be_focused()
    await expect(chips(page)).to_have_count(0)
    said = [text for _, text in await page.evaluate("window.announced")]
    assert [text for text in said if "Removed" in text] == ["Removed: c.txt", "Removed: a.txt", "Removed: b.txt"]


async def test_a_picture_is_enlarged_and_closed_by_keyboard(page: Page, server: ScriptedServer) -> None:
    held = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        held.set()
        await exchange.gone.wait()

    await attach(page, file("cat.png", await drawn(page, 300, 200)))
    server.scripts.append(silent)
    await ask(page, "What is it?")
    await held.wait()
    await page.get_by_role("button", name="Enlarge “cat.png”").press("Enter")
    dialog = page.get_by_role("dialog", name="cat.png")
    await expect(dialog.get_by_role("img", name="cat.png")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="Enlarge “cat.png”")).to_be_focused()
    assert not server.exchanges[0].gone.is_set(), "Esc closed the picture, and stopped the answer too"
    await page.keyboard.press("Escape")
    await finished(page)


async def test_hostile_names_and_texts_are_text(page: Page, server: ScriptedServer, watch: Watch) -> None:
    name = "<img src=x onerror=alert(1)>\u202egnp.exe"
    await attach(page, file(name, b"<script>alert(1)</script>\n" + b"x" * 200_000))
    await expect(chips(page).locator(".file-name")).to_have_text(name)
    await ask(page, "Hello?")
    await finished(page)
    shown = page.locator(".question details.file")
    await expect(shown.locator("bdi")).to_have_text(name)
    await expect(shown.locator("pre")).to_have_count(0)
    await shown.locator("summary").press("Enter")
    await expect(shown.locator("pre")).to_contain_text("<script>alert(1)</script>")
    await expect(shown.locator(".hint")).to_have_text("100,026 more characters are not shown.")
    await shown.locator("summary").press("Enter")
    await shown.locator("summary").press("Enter")
    await expect(shown.locator("pre")).to_have_count(1)


async def test_a_draft_waits_in_its_conversation(page: Page, server: ScriptedServer) -> None:
    await ask(page, "First")
    await finished(page)
    await page.locator("#prompt").fill("not yet sent")
    await attach(page, file("a.txt", b"a"))
    await page.locator("#new-chat").click()
    await expect(page.locator("#prompt")).to_have_value("")
    await expect(chips(page)).to_have_count(0)
    await entry(page, "First").click()
    await expect(page.locator("#prompt")).to_have_value("not yet sent")
    await expect(chips(page)).to_contain_text("a.txt")


async def kept(page: Page, count: int) -> None:
    """Wait until so many drafts are in the browser's database."""
    await holds(
        page,
        """(count) => new Promise((resolve) => {
          indexedDB.open("chukei", 1).onsuccess = ({ target: { result } }) => {
            result.transaction("messages").objectStore("messages").getAllKeys().onsuccess = ({ target }) => {
              result.close();
              const names = target.result.map(([name]) => name).filter((name) => name.startsWith("draft "));
              resolve(new Set(names).size === count);
            };
          };
        })""",
        count,
    )


async def test_drafts_survive_a_reload_until_they_are_sent(page: Page, server: ScriptedServer) -> None:
    field = page.locator("#prompt")
    await ask(page, "First")
    await finished(page)
    await field.fill("more of it")
    await attach(page, file("a.txt", b"a"))
    await page.locator("#new-chat").click()
    await expect(field).to_have_value("")
    await field.fill("quite new")
    await page.reload()
    await expect(field).to_have_value("quite new")
    await entry(page, "First").click()
    await expect(field).to_have_value("more of it")
    await expect(chips(page)).to_contain_text("a.txt")
    await page.reload()
    await expect(field).to_have_value("more of it")
    await expect(chips(page)).to_contain_text("a.txt")
    await kept(page, 2)
    await field.press("Enter")
    await finished(page, 2)
    await kept(page, 1)
    await page.reload()
    await expect(page.locator(".answer")).to_have_count(2)
    await expect(field).to_have_value("")
    await page.locator("#new-chat").click()
    await expect(field).to_have_value("quite new")
    await field.press("Enter")
    await finished(page)
    await kept(page, 0)
    await page.reload()
    await expect(page.locator(".question-text")).to_have_text("quite new")
    await expect(field).to_have_value("")


async def test_a_new_tab_begins_without_the_draft_of_another(page: Page, server: ScriptedServer) -> None:
    await page.locator("#prompt").fill("in the first tab")
    await kept(page, 1)
    other = await page.context.new_page()
    await open_chat(other, server.url)
    await settle(other)
    await expect(other.locator("#prompt")).to_have_value("")
    await ask(other, "in the second tab")
    await finished(other)
    await page.reload()
    await expect(page.locator("#prompt")).to_have_value("in the first tab")
    await page.close()
    third = await other.context.new_page()
    await open_chat(third, server.url)
    await expect(third.locator("#prompt")).to_have_value("in the first tab")


async def test_drafts_go_with_the_history_and_come_back_with_it(page: Page, server: ScriptedServer) -> None:
    field = page.locator("#prompt")
    await ask(page, "First")
    await finished(page)
    await field.fill("not sent")
    await page.reload()
    await expect(field).to_have_value("not sent")
    await page.get_by_role("button", name="Settings").click()
    for check, count in ((False, 0), (True, 1)):
        await page.get_by_label("Keep history in this browser").set_checked(check)
        await kept(page, count)
    await page.keyboard.press("Escape")
    await page.reload()
    await expect(field).to_have_value("not sent")
    await page.get_by_role("button", name="Clear history").press("Enter")
    await kept(page, 0)
    await page.get_by_role("button", name="Undo").press("Enter")
    await expect(field).to_have_value("not sent")
    await kept(page, 1)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Keep history in this browser").uncheck()
    await kept(page, 0)
    await page.keyboard.press("Escape")
    await field.fill("a secret")
    await page.reload()
    await expect(page.get_by_text("Not kept: gone when this page closes.")).to_be_visible()
    await expect(field).to_have_value("")


async def test_clearing_the_history_empties_the_field_until_it_is_undone(page: Page, server: ScriptedServer) -> None:
    field = page.locator("#prompt")
    await ask(page, "First")
    await finished(page)
    await page.locator("#new-chat").click()
    await field.fill("quite new")
    await attach(page, file("a.txt", b"a"))
    await kept(page, 1)
    for text in ("", "written meanwhile"):
        await page.locator("#clear-history").click()
        await expect(field).to_have_value("")
        await expect(chips(page)).to_have_count(0)
        await kept(page, 0)
        await field.fill(text)
        await page.get_by_role("button", name="Undo").press("Enter")
        await expect(field).to_have_value(text or "quite new")
        await expect(chips(page)).to_have_count(0 if text else 1)
        await kept(page, 1)
    await page.reload()
    await expect(field).to_have_value("written meanwhile")


async def test_a_tab_that_is_duplicated_has_a_draft_of_its_own(page: Page, server: ScriptedServer) -> None:
    await page.locator("#prompt").fill("begun")
    await kept(page, 1)
    async with page.expect_popup() as opening:
        await page.evaluate("window.open(location.href)")  # with a copy of the session, as a tab that is duplicated
    copy = await opening.value
    await expect(copy.locator("#prompt")).to_have_value("begun")
    await kept(page, 2)
    await copy.locator("#prompt").fill("changed in the copy")
    await copy.reload()
    await page.reload()
    await expect(copy.locator("#prompt")).to_have_value("changed in the copy")
    await expect(page.locator("#prompt")).to_have_value("begun")


async def test_attachments_go_along_when_the_question_is_asked_again(page: Page, server: ScriptedServer) -> None:
    await attach(page, file("a.txt", b"a"))
    await ask(page, "First")
    await finished(page)
    await page.locator(".regenerate").click()
    await settle(page)
    await finished(page)
    assert len(server.exchanges) == 2
    assert parts(server, 0) == parts(server, 1)


# The field


async def test_the_button_says_whether_there_is_something_to_send(page: Page, server: ScriptedServer) -> None:
    send, field = page.locator("#send"), page.locator("#prompt")
    for text, disabled in (("", "true"), (" \n", "true"), ("a", "false"), ("", "true")):
        await field.fill(text)
        await expect(send).to_have_attribute("aria-disabled", disabled)
    await attach(page, file("a.txt", b"a"))
    await expect(send).to_have_attribute("aria-disabled", "false")
    await send.click()
    await finished(page)
    await expect(send).to_have_attribute("aria-disabled", "true")


async def test_earlier_prompts_come_back_with_the_arrow_keys(page: Page, server: ScriptedServer) -> None:
    for count, text in enumerate(("first", "second\nline"), 1):
        await ask(page, text)
        await finished(page, count)
    field = page.locator("#prompt")
    for key, text in (
        ("ArrowDown", ""),
        ("ArrowUp", "second\nline"),
        ("ArrowUp", "first"),
        ("ArrowUp", "first"),
        ("ArrowDown", "second\nline"),
        ("ArrowDown", ""),
        ("ArrowDown", ""),
        ("ArrowUp", "second\nline"),
    ):
        await field.press(key)
        await expect(field).to_have_value(text)
    await field.press("End")
    await field.press("!")
    await field.press("ArrowUp")
    await expect(field).to_have_value("second\nline!")
    await field.fill("my own")
    await field.press("ArrowUp")
    await expect(field).to_have_value("my own")


async def test_the_arrow_keys_of_an_input_method_are_its_own(page: Page, server: ScriptedServer) -> None:
    await ask(page, "first")
    await finished(page)
    for init in ("{ isComposing: true }", "{ keyCode: 229 }"):
        taken = await page.evaluate(
            f"""() => !document.querySelector("#prompt").dispatchEvent(
              new KeyboardEvent("keydown", {{ key: "ArrowUp", bubbles: true, cancelable: true, ...{init} }}))"""
        )
        assert not taken
    await expect(page.locator("#prompt")).to_have_value("")


def with_exif(jpeg: bytes, orientation: int, secret: bytes) -> bytes:
    """A JPEG as a camera writes it: turned by a tag, with the place where it was taken."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0)), (0x010E, 2, len(secret), struct.pack("<I", 38))]
    entries.sort()
    tags = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + tags + b"\x00\x00\x00\x00" + secret
    segment = b"Exif\x00\x00" + tiff
    assert jpeg.startswith(b"\xff\xd8")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
