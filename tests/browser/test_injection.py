"""Nothing that a model, an upstream or a reader writes runs as code or reaches another host."""

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect
from tests.browser.conftest import Watch, open_chat
from tests.browser.modules import LABELS, run_module
from tests.browser.payloads import ADDRESSES, BREAKOUTS, FORMULAS, HANDLERS, NAMES, TABLES, all_payloads
from tests.browser.scripted_server import Exchange, ScriptedServer, azure_stream, delta
from tests.browser.steps import ask, finished, offered, settle
from tests.rows import rows

pytestmark = pytest.mark.anyio

# Whatever is not on these lists is a finding: elements, attributes, and protocols of links.
INSPECT = """
  const elements = new Set("P H3 H4 H5 H6 UL OL LI BLOCKQUOTE HR BR STRONG EM DEL CODE PRE DIV SPAN A INPUT BUTTON "
    .concat("TABLE THEAD TBODY TR TH TD svg path math semantics annotation mrow mi mn mo mtext mspace mfrac msqrt ")
    .concat("mroot msub msup msubsup munder mover munderover mtable mtr mtd mstyle mphantom").split(" "));
  const attributes = new Set("class href title target rel start type disabled checked scope tabindex role "
    .concat("translate dir aria-label aria-hidden aria-pressed viewBox d display alttext encoding displaystyle ")
    .concat("scriptlevel width mathvariant movablelimits lspace rspace stretchy symmetric minsize maxsize ")
    .concat("fence linethickness accent accentunder").split(" "));
  const findings = (root) => [...root.querySelectorAll("*")].flatMap((found) => [
    ...(elements.has(found.tagName) ? [] : [`element ${found.tagName}`]),
    ...[...found.attributes].filter(({ name }) => !attributes.has(name)).map(({ name }) => `attribute ${name}`),
    ...(found.tagName !== "A" || (["http:", "https:", "mailto:"].includes(found.protocol)
      && found.rel === "noopener noreferrer" && found.target === "_blank") ? [] : [`link ${found.href}`]),
    ...(found.tagName === "INPUT" && found.type !== "checkbox" ? ["input"] : []),
  ]);
"""

DRAW = (
    INSPECT
    + LABELS
    + """
  const draw = (pieces) => {
    const root = document.createElement("div");
    document.body.append(root);
    const stream = new m.MarkdownStream(root, labels);
    const found = [];
    for (const piece of pieces) {
      stream.append(piece);
      found.push(...findings(root));
    }
    stream.finish();
    found.push(...findings(root));
    for (const reached of root.querySelectorAll("*")) {
      reached.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
    }
    return [...new Set(found)];
  };
  const read = (pieces) => {
    const root = document.createElement("div");
    document.body.append(root);
    const stream = new m.MarkdownStream(root, labels);
    for (const piece of pieces) stream.append(piece);
    stream.finish();
    root.remove();
    return [root.textContent, root.querySelectorAll("*").length].join();
  };
"""
)


def test_there_are_enough_payloads() -> None:
    assert len(set(all_payloads())) >= 250


async def test_no_payload_runs_whole_or_by_character(page: Page) -> None:
    """Drawn into the live document, in one piece and cut after every character."""
    body = "return arg.map((text) => [text, draw([text]), draw([...text])]).filter(([, a, b]) => a.length + b.length);"
    assert await run_module(page, "markdown/stream.js", DRAW + body, all_payloads()) == []
    await settle(page)


async def test_a_payload_reads_the_same_wherever_it_is_cut(page: Page) -> None:
    """Cut in two at every place, and after every character."""
    body = """
      return arg.filter((text) => {
        const whole = read([text]);
        const cuts = Array.from(text, (_, at) => [text.slice(0, at), text.slice(at)]);
        return [[...text], ...cuts].some((pieces) => read(pieces) !== whole);
      });
    """
    assert await run_module(page, "markdown/stream.js", DRAW + body, all_payloads()) == []
    await settle(page)


async def test_the_inspection_can_find_something(page: Page) -> None:
    """The test above would see each of the things that it looks for."""
    body = """
      const root = document.createElement("div");
      const image = document.createElement("img");
      image.setAttribute("data-planted", "");
      const link = document.createElement("a");
      link.href = "javascript:0";
      root.append(image, link);
      return findings(root);
    """
    found = await run_module(page, "markdown/render.js", INSPECT + body)
    assert found == ["element IMG", "attribute data-planted", "link javascript:0"]


@rows("payload", [HANDLERS[0], HANDLERS[29], f"[x]({ADDRESSES[0]})", *BREAKOUTS[10:13], FORMULAS[0], TABLES[0]])
async def test_a_payload_streamed_byte_by_byte(page: Page, server: ScriptedServer, payload: str) -> None:
    """Through the whole page: connection, event parser, JSON, markdown."""

    async def by_byte(exchange: Exchange) -> None:
        await exchange.start()
        for byte in b"".join(azure_stream(*payload)):
            await exchange.write(bytes([byte]))

    server.scripts.append(by_byte)
    await page.get_by_role("button", name="New chat").click()
    await ask(page, "go")
    await finished(page)
    body = INSPECT + "return findings(document.querySelector('.answer-text'));"
    assert await run_module(page, "markdown/render.js", body) == []
    await settle(page)


async def refused(exchange: Exchange) -> None:
    await exchange.refuse(400, {"message": HANDLERS[0], "code": HANDLERS[4], "type": HANDLERS[29]})


async def broken(exchange: Exchange) -> None:
    await exchange.start(headers={"content-type": "text/event-stream", "x-request-id": HANDLERS[0]})
    await exchange.write(delta(content="text"))
    await exchange.write(b'data: {"error":{"message":"<img src=x onerror=alert(1)>"}}\n\n')


async def tools_and_more(exchange: Exchange) -> None:
    await exchange.start()
    reasoning = "\n\n".join([*HANDLERS, *BREAKOUTS, *FORMULAS, *TABLES])
    for at in range(0, len(reasoning), 50):
        await exchange.write(delta(reasoning_content=reasoning[at : at + 50], model=HANDLERS[0]))
    for index, name in enumerate(NAMES):
        for part in ({"name": name}, *({"arguments": char} for char in name)):
            await exchange.write(delta(tool_calls=[{"index": index, "id": "1", "function": part}]))
    await exchange.write(delta(refusal=HANDLERS[0], finish=HANDLERS[0]))
    await exchange.write(b"data: [DONE]\n\n")


@pytest.mark.parametrize("script", [refused, broken, tools_and_more])
async def test_what_is_not_markdown_is_only_text(
    blank: Page, server: ScriptedServer, watch: Watch, script: Callable[[Exchange], Awaitable[None]]
) -> None:
    """Error messages, request ids, codes, reasoning, refusals, tools, models, titles, questions."""
    watch.expected.append("Failed to load resource")
    server.models = [HANDLERS[0], "second"]
    server.scripts.append(script)
    page = await open_chat(blank, server.url)
    await expect(offered(page).first).to_have_text(HANDLERS[0])
    await ask(page, HANDLERS[0])
    await expect(page.locator(".question-text")).to_have_text(HANDLERS[0])
    await expect(page.locator(".history-entry")).to_have_text(HANDLERS[0])
    await finished(page)
    for summary in await page.locator(".answer details:not([hidden]) > summary").all():
        await summary.click()
    inside = (
        INSPECT
        + """
      const roots = document.querySelectorAll(".reasoning-text, .tool-call pre, .answer summary, .readout dd");
      return [document.querySelectorAll(".tool-call pre").length, [...roots].flatMap(findings)];
    """
    )
    calls = len(NAMES) if script is tools_and_more else 0
    assert await run_module(page, "markdown/render.js", inside) == [calls, []]
    assert await page.locator("#page img, script:not([src]), iframe").count() == 0
    await settle(page)
