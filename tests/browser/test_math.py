"""Formulas as the reader sees them: MathML in its place, the source where it is wanted."""

import pytest
from playwright.async_api import Page, expect
from tests.browser.modules import LABELS, run_module
from tests.browser.scripted_server import ScriptedServer, saying
from tests.browser.steps import answers, ask, finished, holds
from tests.rows import rows

pytestmark = pytest.mark.anyio

SAY = (
    LABELS
    + """
  const root = document.createElement("div");
  root.className = "prose";
  document.body.append(root);
  const stream = new m.MarkdownStream(root, labels);
  stream.append(arg);
  stream.finish();
"""
)


@rows(
    ("text", "shown"),
    [
        ("$x$", "inline"),
        (r"\(x\)", "inline"),
        ("$$x$$", "block"),
        ("$$\nx\n$$", "block"),
        (r"\[x\]", "block"),
        ("\\[\nx\n\\]", "block"),
        ("- a\n\n  $$\n  x\n  $$", "block"),
        ("> $$\n> x\n> $$", "block"),
        ("| $x$ |\n|---|", "inline"),
        ("**$x$**", "inline"),
    ],
)
async def test_formulas_are_mathml(library: Page, text: str, shown: str) -> None:
    """In the namespace of MathML, drawn by the browser, with the source for those who do not see it."""
    body = """
      const found = [...root.querySelectorAll("math")].map((math) => [
        math instanceof MathMLElement, math.getAttribute("display"), math.getAttribute("alttext"),
        math.querySelector("annotation").textContent, math.querySelector("mi").textContent,
        math.getBoundingClientRect().width > 0,
      ]);
      root.remove();
      return found;
    """
    found = await run_module(library, "markdown/stream.js", SAY + body, text)
    assert found == [[True, shown, "x", "x", "x", True]]


@rows(
    "text", ["It costs $5 and $10.", "Between $5-$10, or 5$ and 6$.", "`$x$`", r"\$x\$", "$ x $", "$$", "```\n$x$\n```"]
)
async def test_dollars_that_are_no_formula(library: Page, text: str) -> None:
    body = "const count = root.querySelectorAll('math').length; root.remove(); return count;"
    assert await run_module(library, "markdown/stream.js", SAY + body, text) == 0


async def test_what_is_not_known_is_shown_as_source(library: Page) -> None:
    body = "const found = root.querySelector('p > code').textContent; root.remove(); return found;"
    assert await run_module(library, "markdown/stream.js", SAY + body, r"$\unknown{x} + 1$") == r"\unknown{x} + 1"


ALIGNED = (
    """
      const rows = [...root.querySelectorAll("mtr")].map((row) => [...row.children].map((cell) =>
        [...cell.querySelectorAll("mi, mo")].map((sign) => sign.getBoundingClientRect())));
      const [[left, first], [other, second]] = rows;
      root.remove();
      const isNear = (one, two) => Math.abs(one - two) < 1;
      return [
        isNear(left.at(-1).right, other.at(-1).right), isNear(first[0].left, second[0].left),
        left[0].left < other[0].left - 1,
      ];
    """,
    "$$\\begin{aligned} abcdefgh &= b \\\\ c &= defghi \\end{aligned}$$",
)
"""Equations aligned at their signs: the columns of MathML are aligned by style, which browsers do each in their way."""

PLACED = (
    """
      const [top, bottom] = root.querySelector("mfrac").children;
      const [sum, below, above] = root.querySelector("munderover").children;
      const [base, power] = root.querySelector("msup").children;
      const at = (found) => found.getBoundingClientRect();
      const result = [
        at(top).bottom <= at(bottom).top, at(above).bottom <= at(sum).top + 2, at(below).top >= at(sum).bottom - 2,
        at(power).height < at(base).height * 1.2 && at(power).left >= at(base).right - 1,
      ];
      root.remove();
      return result;
    """,
    r"$$\frac{a}{b} + \sum_{i=1}^{n} c + x^y$$",
)
"""Scripts, limits and fractions: a browser that only strings the signs together has none of this."""


@rows(("body", "text"), [ALIGNED, PLACED])
async def test_formulas_are_drawn_in_two_dimensions(library: Page, body: str, text: str) -> None:
    assert set(await run_module(library, "markdown/stream.js", SAY + body, text)) == {True}


LONG = "$$ " + " + ".join(f"x_{{{n}}}" for n in range(60)) + " $$"


async def test_a_long_formula_scrolls_by_itself_and_its_source_is_copied(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(saying(LONG))
    await ask(page, "Hello?")
    await finished(page)
    scroll = page.get_by_role("group", name="Formula")
    assert await scroll.evaluate("(found) => found.scrollWidth > found.clientWidth")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await scroll.focus()
    await page.keyboard.press("ArrowRight")
    await holds(page, "(found) => found.scrollLeft > 0", await scroll.element_handle())
    await answers(page).get_by_role("button", name="Copy").focus()
    await page.keyboard.press("Enter")
    await expect(answers(page).get_by_role("button")).to_contain_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == LONG.strip("$ ")


async def test_a_screen_reader_hears_the_source(page: Page, server: ScriptedServer) -> None:
    server.scripts.append(saying("So ", "$a_1", "^2$", " it is."))
    await ask(page, "Hello?")
    await finished(page)
    await expect(page.locator("#announcer")).to_have_text("Answer: So a_1^2 it is.")


async def test_a_formula_is_shown_when_it_is_complete(library: Page) -> None:
    body = f"""
      {LABELS}
      const root = document.createElement("div");
      const stream = new m.MarkdownStream(root, labels);
      return [...arg].map((char) => (stream.append(char), root.querySelectorAll("math").length));
    """
    seen = await run_module(library, "markdown/stream.js", body, "$$\n- a\n- b\n$$\n")
    assert seen == [0] * 12 + [1] * 2
    assert await run_module(library, "markdown/stream.js", body, "a $b$ c") == [0, 0, 0, 0, 1, 1, 1]
