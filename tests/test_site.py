"""The documentation as a site: whole, the same as on GitHub, and without a request to another server."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests import markdown
from tests.rows import rows

if find_spec("material") is None or find_spec("markdown_it") is None:
    pytest.skip("MkDocs, its theme or markdown-it is not installed here", allow_module_level=True)
if not (markdown.ROOT / "mkdocs.yml").is_file():
    pytest.skip("this is a source distribution, which has no mkdocs.yml", allow_module_level=True)

from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browser.conftest import CHROMIUMS, FLAGS, chromium_path

PAGES = sorted(markdown.DOCS.rglob("*.md"))
REPOSITORY = "https://code.example/somebody/chukei"
JAPANESE = markdown.read("docs/ja/index.md")
README = markdown.read("README.md")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def build(target: Path, *arguments: str, **addresses: str) -> subprocess.CompletedProcess[str]:
    """Build the site as scripts/site does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target), *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in ("SITE_URL", "REPO_URL")}
    environment |= {"NO_MKDOCS_2_WARNING": "1", **addresses}
    return subprocess.run(command, cwd=markdown.ROOT, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is published: its own address and that of the repository are known."""
    target = tmp_path_factory.mktemp("site")
    done = build(target, SITE_URL="https://docs.example/chukei/", REPO_URL=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built at home: no address is known."""
    target = tmp_path_factory.mktemp("local")
    done = build(target)
    assert done.returncode == 0, done.stderr
    return target


def html_of(site: Path, page: Path) -> str:
    """Return the file that a page of docs/ became."""
    name = page.relative_to(markdown.DOCS)
    folder = name.parent if name.name in ("index.md", "README.md") else name.with_suffix("")
    return (site / folder / "index.html").read_text("utf-8")


def article(site: Path, page: Path) -> str:
    """Return what a page itself says, without what is around it."""
    text = html_of(site, page)
    return text[text.index("<article") : text.index("</article>")]


class Shape(HTMLParser):
    """How many parts of each kind a text in HTML has, what its cells say, and which addresses it loads from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.parts: Counter[str] = Counter()
        self.cells: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self._within = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"blockquote", "code", "em", "img", "li", "ol", "pre", "strong", "table", "td", "th", "tr", "ul"}:
            self.parts[tag] += 1
        if tag in {"td", "th"}:
            self.cells.append("")
            self._within = True
        if given.get("id"):
            self.ids.add(str(given["id"]))
        if tag != "a" and not (tag == "link" and given.get("rel") in ("canonical", "next", "prev")):
            self.loaded += [str(given[name]) for name in ("src", "href", "srcset", "poster", "data") if given.get(name)]

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._within:
            self.cells[-1] += " ".join(data.split()) and data


class TestContent:
    @rows("page", PAGES)
    def test_a_page_is_built_as_github_shows_it(self, site: Path, page: Path) -> None:
        """Its lists, tables, code and emphasis; Python-Markdown has other rules than CommonMark."""
        expected = Shape(MarkdownIt("commonmark").enable("table").render(page.read_text("utf-8")))
        built = Shape(article(site, page))
        assert built.parts == expected.parts
        assert [" ".join(cell.split()) for cell in built.cells] == [" ".join(cell.split()) for cell in expected.cells]

    @rows("page", PAGES)
    def test_headings_have_the_anchors_that_github_gives_them(self, site: Path, page: Path) -> None:
        assert markdown.anchors(page.read_text("utf-8")) <= Shape(article(site, page)).ids

    def test_the_index_by_task_leads_to_every_page(self) -> None:
        linked = {link.partition("#")[0] for link in markdown.links(markdown.read("docs/index.md"))}
        names = {str(page.relative_to(markdown.DOCS)) for page in PAGES}
        listed = {name for name in names if not re.match(r"decisions/\d", name)} - {"index.md"}
        assert listed - linked == set()

    def test_a_page_without_a_place_and_a_link_to_nowhere_are_refused(self, tmp_path: Path) -> None:
        for part in ("docs", "website", "mkdocs.yml", "README.md", "src/chukei/web/icon.svg"):
            source, copied = markdown.ROOT / part, tmp_path / part
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copied) if source.is_dir() else shutil.copy(source, copied)
        (tmp_path / "docs" / "stray.md").write_text("# Stray\n\n[away](nowhere.md), [up](logs.md#no-such-heading)\n")
        done = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
        assert done.returncode == 1
        for complaint in ('not included in the "nav"', "'nowhere.md'", "'logs.md#no-such-heading'"):
            assert complaint in done.stderr


class TestLinks:
    def test_links_that_leave_the_documentation_lead_to_the_repository(self, site: Path) -> None:
        shown = article(site, markdown.DOCS / "architecture.md")
        assert f'href="{REPOSITORY}/blob/main/src/chukei/ports.py"' in shown
        assert f'href="{REPOSITORY}/tree/main/src/chukei"' in shown
        speed = f'href="{REPOSITORY}/blob/main/CONTRIBUTING.md#speed"'
        assert speed in article(site, markdown.DOCS / "performance.md")

    def test_they_are_text_where_the_repository_has_no_address(self, local: Path) -> None:
        shown = article(local, markdown.DOCS / "architecture.md")
        assert "two small protocols of <span>ports.py</span>" in shown
        assert "edit/main" not in "".join(html_of(local, page) for page in PAGES)

    def test_the_readme_is_a_page_whose_links_stay_on_the_site(self, site: Path) -> None:
        shown = (site / "readme" / "index.html").read_text("utf-8")
        assert "Sixty seconds" in shown
        assert "flowchart" not in shown
        assert 'href="../clients/"' in shown
        assert 'href="readme/#sixty-seconds"' in article(site, markdown.DOCS / "index.md")

    def test_a_page_can_be_edited_where_the_repository_has_an_address(self, site: Path) -> None:
        assert f'href="{REPOSITORY}/edit/main/docs/logs.md"' in html_of(site, markdown.DOCS / "logs.md")


class TestOtherServers:
    def test_no_page_loads_anything_from_another_server(self, site: Path) -> None:
        files = sorted(site.rglob("*.html"))
        assert len(files) > len(PAGES)
        foreign = {
            f"{path.relative_to(site)}: {address}"
            for path in files
            for address in Shape(path.read_text("utf-8")).loaded
            if re.match(r"[a-z]+:|//", address) and not address.startswith("data:")
        }
        assert foreign == set()

    def test_no_style_loads_anything_from_another_server(self, site: Path) -> None:
        styles = sorted(site.rglob("*.css"))
        assert styles
        for path in styles:
            assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:[a-z]+:)?//", path.read_text("utf-8")), path

    def test_no_page_has_what_makes_the_theme_ask_another_server(self, site: Path) -> None:
        """A diagram makes it load mermaid from unpkg.com, a link to GitHub ask api.github.com for stars."""
        for path in site.rglob("*.html"):
            text = path.read_text("utf-8")
            assert 'class="mermaid"' not in text, path
            assert 'data-md-component="source"' not in text, path


class TestJapanese:
    def test_its_commands_and_programs_are_those_of_the_readme(self) -> None:
        shown = [fence for fence in FENCE.findall(README) if not fence.startswith("```mermaid")]
        assert FENCE.findall(JAPANESE) == shown

    def test_it_names_the_same_commands_files_and_settings(self) -> None:
        assert set(markdown.codes(FENCE.sub("", JAPANESE))) <= set(markdown.codes(FENCE.sub("", README)))

    def test_it_says_as_many_things_of_what_the_relay_does(self) -> None:
        said, meant = markdown.section(JAPANESE, "できること"), markdown.section(README, "What it does")
        assert len(re.findall("^- ", said, re.MULTILINE)) == len(re.findall("^- ", meant, re.MULTILINE))

    def test_its_language_is_known_to_browsers(self, site: Path) -> None:
        assert '<html lang="ja"' in html_of(site, markdown.DOCS / "ja" / "index.md")
        assert '<html lang="en"' in html_of(site, markdown.DOCS / "index.md")

    def test_it_is_in_the_index_of_the_search(self, site: Path) -> None:
        index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
        assert index["config"]["lang"] == ["en", "ja"]
        assert "最初の一分" in {entry["title"] for entry in index["docs"]}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = chromium_path()
    if found is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(CHROMIUMS)})")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that must have no errors and ask nobody else."""
    wrong: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert wrong == []


class TestInABrowser:
    @rows(
        ("asked", "found"),
        [
            ("circuit breaker", "Many deployments behind one name"),
            ("no_deployment_available", "Runbook"),
            ("first_token_seconds", "Configuration"),
            ("予算", "中継 chukei"),
            ("バックプレッシャー", "中継 chukei"),
        ],
    )
    def test_the_search_finds_english_names_and_japanese(
        self, page: Page, address: str, asked: str, found: str
    ) -> None:
        page.goto(address)
        expect(page.get_by_text("Type to start searching")).to_be_attached(timeout=60_000)
        page.fill(".md-search__input", asked)
        page.keyboard.press("End")  # the search looks at the text when a key is released
        expect(page.locator(".md-search-result__item h1", has_text=found).first).to_be_attached(timeout=60_000)

    @rows("name", ["", "ja/", "readme/", "configuration/", "decisions/"])
    def test_a_page_fits_a_phone(self, page: Page, address: str, name: str) -> None:
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(address + name)
        assert page.evaluate("document.documentElement.scrollWidth") == 390

    def test_it_is_dark_where_the_system_is(self, page: Page, address: str) -> None:
        background = "getComputedStyle(document.body).backgroundColor"
        page.emulate_media(color_scheme="light")
        page.goto(address)
        assert page.evaluate(background) == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="dark")
        page.goto(address)
        assert page.evaluate(background) == "rgb(21, 24, 27)"
