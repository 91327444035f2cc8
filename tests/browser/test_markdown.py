"""What the markdown renderer draws, whole and while it streams."""

import pytest
from playwright.async_api import Page
from tests.browser.modules import LABELS, RATIO, run_module
from tests.rows import rows

pytestmark = pytest.mark.anyio

RENDER = (
    LABELS
    + """
  const render = (pieces) => {
    const root = document.createElement("div");
    const stream = new m.MarkdownStream(root, labels);
    for (const piece of pieces) stream.append(piece);
    stream.finish();
    for (const other of root.querySelectorAll(".code-bar, .copy-source, annotation")) other.remove();
    return root.innerHTML.replace(/ (class|tabindex|role|aria-label|translate|target|rel|dir)="[^"]*"/g, "");
  };
"""
)

# (markdown, what is drawn, without classes and roles)
CASES: list[tuple[str, str]] = [
    ("Hello", "<p>Hello</p>"),
    ("a\nb", "<p>a\nb</p>"),
    ("a  \nb", "<p>a<br>b</p>"),
    ("a\\\nb", "<p>a<br>b</p>"),
    ("a<br>b", "<p>a<br>b</p>"),
    ("# A\n## B #\n###### C", "<h3>A</h3><h4>B</h4><h6>C</h6>"),
    ("#hashtag", "<p>#hashtag</p>"),
    (
        "*a* _b_ **c** __d__ ***e*** ~~f~~",
        "<p><em>a</em> <em>b</em> <strong>c</strong> <strong>d</strong> <em><strong>e</strong></em> <del>f</del></p>",
    ),
    ("snake_case_name and 2*3*4", "<p>snake_case_name and 2<em>3</em>4</p>"),
    ("**unclosed *and* ~", "<p>**unclosed <em>and</em> ~</p>"),
    (
        "これは**「重要」**です。**注意：**必ず",
        "<p>これは<strong>「重要」</strong>です。<strong>注意：</strong>必ず</p>",
    ),
    ("`a *b*` ``c ` d`` `open", "<p><code>a *b*</code> <code>c ` d</code> `open</p>"),
    (r"\*a\* \\ \q", "<p>*a* \\ \\q</p>"),
    ("&lt;b&gt; &amp; &#9731; &nope;", "<p>&lt;b&gt; &amp; ☃ &amp;nope;</p>"),
    ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>"),
    ('[a](https://x.test/p?q=1 "T")', '<p><a href="https://x.test/p?q=1" title="T">a</a></p>'),
    ("[**b** c](<https://x.test/a b>)", '<p><a href="https://x.test/a%20b"><strong>b</strong> c</a></p>'),
    ("[w](https://x.test/a_(b))", '<p><a href="https://x.test/a_(b)">w</a></p>'),
    (
        "[a](mailto:a@b.test) <https://x.test/>",
        '<p><a href="mailto:a@b.test">a</a> <a href="https://x.test/">https://x.test/</a></p>',
    ),
    (
        "See https://x.test/a). 次https://x.test/b。",
        '<p>See <a href="https://x.test/a">https://x.test/a</a>). 次'
        '<a href="https://x.test/b">https://x.test/b</a>。</p>',
    ),
    ("[a](javascript:alert(1)) [b](/v1/models) [c][d]", "<p>a b [c][d]</p>"),
    ("![alt](https://x.test/i.png)", '<p><a href="https://x.test/i.png">Image: alt</a></p>'),
    (
        "- a\n- b\n  - c\n    - d\n- e",
        "<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p>"
        "<ul><li><p>d</p></li></ul></li></ul></li><li><p>e</p></li></ul>",
    ),
    ("1. a\n  - b\n2. c", "<ol><li><p>a</p><ul><li><p>b</p></li></ul></li><li><p>c</p></li></ol>"),
    ("3. a\n4. b", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol>'),
    ("- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    ("- a\n\n  b\n- c", "<ul><li><p>a</p><p>b</p></li><li><p>c</p></li></ul>"),
    (
        "- [ ] a\n- [x] b",
        '<ul><li><input type="checkbox" disabled=""><p>a</p></li>'
        '<li><input type="checkbox" disabled="" checked=""><p>b</p></li></ul>',
    ),
    ("text\n- a\n\nafter", "<p>text</p><ul><li><p>a</p></li></ul><p>after</p>"),
    ("text\n2024. was a year\n-5 degrees", "<p>text\n2024. was a year\n-5 degrees</p>"),
    (
        "1. a\n\n   ```py\n   x = 1\n   ```\n2. b",
        "<ol><li><p>a</p><div><pre><code>x = <span>1</span></code></pre></div></li><li><p>b</p></li></ol>",
    ),
    ("```text\n<i>\n  *x*\n```\nz", "<div><pre><code>&lt;i&gt;\n  *x*</code></pre></div><p>z</p>"),
    ("~~~\n```\n~~~", "<div><pre><code>```</code></pre></div>"),
    ("````md\n```\n````", "<div><pre><code>```</code></pre></div>"),
    ("```text\nnot closed", "<div><pre><code>not closed</code></pre></div>"),
    (
        "> a\n> - b\n>\n> > c",
        "<blockquote><p>a</p><ul><li><p>b</p></li></ul><blockquote><p>c</p></blockquote></blockquote>",
    ),
    ("a\n\n---\n\n* * *", "<p>a</p><hr><hr>"),
    (
        "| a | b |\n|:--|--:|\n| `x` | **y** |\n| 1 |\n\nz",
        '<div><table><thead><tr><th scope="col">a</th>'
        '<th scope="col">b</th></tr></thead><tbody><tr><td><code>x</code></td><td><strong>y</strong></td></tr>'
        "<tr><td>1</td><td></td></tr></tbody></table></div><p>z</p>",
    ),
    (
        r"| a \| b |" "\n|---|\n| c |",
        '<div><table><thead><tr><th scope="col">a | b</th></tr></thead>'
        "<tbody><tr><td>c</td></tr></tbody></table></div>",
    ),
    ("a | b\nno table", "<p>a | b\nno table</p>"),
    ("言葉が\n届く。\n日本 and\n中継", "<p>言葉が届く。日本 and\n中継</p>"),
    ("a\r\n\r\nb\rc", "<p>a</p><p>b\nc</p>"),
    (
        "[![alt](https://x.test/i.png) *b*](https://x.test/)",
        '<p><a href="https://x.test/">Image: alt <em>b</em></a></p>',
    ),
]


@rows(("text", "expected"), CASES, ids=[text[:24] for text, _ in CASES])
async def test_what_is_drawn_whole_and_by_character(library: Page, text: str, expected: str) -> None:
    drawn = await run_module(library, "markdown/stream.js", RENDER + "return [render([arg]), render([...arg])];", text)
    assert drawn == [expected, expected]


async def test_the_drawing_does_not_depend_on_the_cuts(library: Page) -> None:
    """All cases in one document, cut in two at every place."""
    body = """
      const whole = render([arg]);
      const differing = [];
      for (let cut = 1; cut < arg.length; cut += 1) {
        if (render([arg.slice(0, cut), arg.slice(cut)]) !== whole) differing.push(arg.slice(cut - 20, cut));
      }
      return [whole.length, differing];
    """
    text = "\n\n".join(text for text, _ in CASES if "not closed" not in text and "\r" not in text)
    length, differing = await run_module(library, "markdown/stream.js", RENDER + body, text)
    assert length > 1000
    assert differing == []


async def test_blocks_that_cannot_change_are_left_alone(library: Page) -> None:
    """A long answer stays cheap: appending to it touches only its last block."""
    body = """
      const root = document.createElement("div");
      const stream = new m.MarkdownStream(root, labels);
      for (let n = 0; n < 300; n += 1) stream.append(`Paragraph ${n} with **bold** text.\\n\\n- item\\n\\n`);
      const before = [...root.children].slice(0, -1);
      stream.append("The end");
      stream.append(" is near.");
      const changed = before.filter((node, index) => root.children[index] !== node);
      return [before.length, changed.length, root.children.length];
    """
    assert await run_module(library, "markdown/stream.js", RENDER + body) == [599, 0, 601]


async def test_a_growing_code_block_is_appended_to(library: Page) -> None:
    body = """
      const root = document.createElement("div");
      const stream = new m.MarkdownStream(root, labels);
      stream.append("```python\\n");
      for (let n = 0; n < 50; n += 1) stream.append("x = 1\\n");
      const code = root.querySelector("code");
      const lines = [...code.childNodes].slice(0, -1);
      stream.append("y = 2");
      const same = root.querySelector("code") === code && lines.every((line, at) => code.childNodes[at] === line);
      const plain = code.textContent;
      stream.append("\\n```\\n");
      stream.finish();
      const grown = same && lines.length > 40;
      return [grown, plain.endsWith("x = 1\\ny = 2"), root.querySelectorAll(".token-number").length];
    """
    assert await run_module(library, "markdown/stream.js", RENDER + body) == [True, True, 51]


MIXED = """- *a* **b** `c` [d](https://e.test/ "f")

> g

| h | i |
|---|---|
| j | k |

1. l
2. m

n &amp; o
"""
"""What models write."""

HOSTILE = {
    "open brackets": "[" * 20_000,
    "open links": "[a](" * 10_000,
    "images": "![" * 20_000,
    "stars": "*" * 40_000 + "a" + "*" * 40_000,
    "emphasis": "*a " * 20_000 + "a* " * 20_000,
    "alternating": "*a_b" * 20_000,
    "backticks": "".join("`" * (n % 300) + "a" for n in range(600)),
    "quotes": "> " * 5_000 + "a",
    "lists": "".join("  " * n + "- a\n" for n in range(400)),
    "hashes": "# " * 40_000,
    "pipes": "|" * 30_000 + "\n" + "|-" * 30_000,
    "rules": "- " * 40_000 + "x",
    "spaces": " " * 80_000 + "a",
    "angles": "<" * 60_000,
    "entities": "&#" * 40_000,
    "addresses": "http://" * 10_000,
    "fences": "```\n" * 10_000,
}


@rows("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_no_text_is_slow_to_draw(library: Page, text: str) -> None:
    """Twice as much of what models write is the measure; a quadratic step would take minutes on some of these."""
    body = """
      const [hostile, unit] = arg;
      return ratio((text) => timed(() => render([text])), hostile, unit.repeat(Math.ceil(160000 / unit.length)), 4);
    """
    assert await run_module(library, "markdown/stream.js", RENDER + RATIO + body, [text, MIXED]) <= 4


async def test_only_web_and_mail_addresses_become_links(library: Page) -> None:
    targets = [
        "https://a.test/",
        "HTTP://a.test",
        "mailto:a@b",
        "javascript:alert(1)",
        " java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://a/x",
        "//a.test",
        "/v1",
        "#x",
        "",
    ]
    safe = await run_module(library, "markdown/render.js", "return arg.map((target) => m.safeTarget(target));", targets)
    assert safe == ["https://a.test/", "http://a.test/", "mailto:a@b", *[None] * 10]
