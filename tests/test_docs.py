"""The documentation holds what the code holds: settings, errors, routes, commands, log fields. Its links resolve."""

import ast
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from tests import markdown
from tests.markdown import Fence
from tests.rows import rows

from chukei import __version__, config
from chukei.accounts.limits import RATES, Limit
from chukei.adapters.audit.entry import Content, line_of
from chukei.adapters.audit.folder import AuditFolder
from chukei.adapters.audit.sink import AuditSink
from chukei.adapters.http import connection
from chukei.adapters.logs.requests import fields_of
from chukei.azure import OPERATIONS
from chukei.cli import main
from chukei.config import NEEDS_RESTART, ConfigError, MetricsSettings
from chukei.hosts.http import states
from chukei.metrics import definitions
from chukei.model import Caller, CallerKind, End
from chukei.pool import breaker, verdicts
from chukei.record import Attempt, RequestRecord
from chukei.request.routes import Page, find
from chukei.simulator.faults import table
from chukei.stream.stream import TRANSITIONS
from chukei.trace import TraceContext
from chukei.usage import Usage

SOURCES = sorted((markdown.ROOT / "src" / "chukei").rglob("*.py"))
CONFIGURATION = markdown.read("docs/configuration.md")
ERRORS = markdown.read("docs/errors.md")
HTTP = markdown.read("docs/http.md")

SECRETS = {
    "AOAI_EASTUS_KEY": "one",
    "AOAI_SWEDEN_KEY": "two",
    "AOAI_WESTUS_KEY": "three",
    "RELAY_KEY": "four",
    "METRICS_KEY": "of sixteen or more",
}
"""The variables that the documentation tells its readers to set."""

SECTIONS = {
    "server": "[server]\n{}",
    "defaults": "[defaults]\n{}",
    "models.NAME": "[models.x]\n{}",
    "deployments.NAME": "[deployments.x]\n{}",
    "sockets": "[sockets]\n{}",
    "stream": "[stream]\n{}",
    "upstream": "[upstream]\n{}",
    "pool": "[pool]\n{}",
    "stores": "[stores]\n{}",
    "auth": "[auth]\n{}",
    "auth.entra": "[auth.entra]\n{}",
    "callers.NAME": "[callers.x]\n{}",
    "groups.NAME": "[groups.x]\n{}",
    "models.NAME.prices": "[models.x.prices]\n{}",
    "ledger": "[ledger]\n{}",
    "admin": "[admin]\n{}",
    "admin.entra": "[admin.entra]\n{}",
    "metrics": "[metrics]\n{}",
    "log": "[log]\n{}",
    "objects": "[objects]\n{}",
    "reload": "[reload]\n{}",
    "audit": "[audit]\n{}",
    "telemetry": "[telemetry]\n{}",
    "simulator": "[simulator]\n{}",
}
TOGETHER = {"callers.NAME": "`[callers.NAME]`, `[groups.NAME]`", "groups.NAME": "`[callers.NAME]`, `[groups.NAME]`"}
"""The headings of sections that are explained with another; a key says which of them it is not for."""

ONLY = {"callers.NAME": "callers only: ", "groups.NAME": "groups only: "}


def known_keys(folder: Path, section: str) -> set[str]:
    """Ask the reader itself, which lists a table's keys when it meets one that it does not know."""
    file = folder / "strange.toml"
    file.write_text(SECTIONS[section].format("zzzzzzzz = 1\n"), "utf-8")
    with pytest.raises(ConfigError) as raised:
        config.load(file, {})
    messages = [problem.message for problem in raised.value.problems if problem.key.endswith("zzzzzzzz")]
    found = re.fullmatch(r"is not a known key; known here: (.+)", messages[0])
    assert found is not None
    return set(found[1].split(", "))


def documented_keys(section: str) -> dict[str, list[str]]:
    text = markdown.section(CONFIGURATION, TOGETHER.get(section, f"`[{section}]`"))
    own = re.split(r"^#{3,} ", text.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    others = tuple(mark for place, mark in ONLY.items() if place != section)
    rows = [row for row in markdown.rows(own) if len(row) == 5]
    return {row[0].strip("`"): row for row in rows if section not in ONLY or not row[3].startswith(others)}


def tables_below(section: str) -> set[str]:
    """Return the tables of a section that have a section of their own."""
    return {name.removeprefix(f"{section}.") for name in SECTIONS if name.startswith(f"{section}.")}


class TestConfiguration:
    @rows("fence", markdown.configurations())
    def test_every_sample_is_accepted(self, fence: Fence, tmp_path: Path) -> None:
        file = tmp_path / "sample.toml"
        file.write_text(fence.text, "utf-8")
        settings = config.load(file, SECRETS)
        assert settings.models or "[models" not in fence.text
        assert settings.notices == ()

    @rows("section", SECTIONS)
    def test_every_key_is_explained_and_no_other(self, section: str, tmp_path: Path) -> None:
        assert set(documented_keys(section)) | tables_below(section) == known_keys(tmp_path, section)

    def test_every_limit_is_explained_and_no_other(self, tmp_path: Path) -> None:
        text = markdown.section(CONFIGURATION, TOGETHER["groups.NAME"])
        limits = {row[0].strip("`"): row[2] for row in markdown.rows(text) if len(row) == 3}
        assert limits == {limit.value: "429" if limit in RATES else "403" for limit in Limit}

    def test_every_section_is_explained(self, tmp_path: Path) -> None:
        file = tmp_path / "strange.toml"
        file.write_text("zzzzzzzz = 1\n", "utf-8")
        with pytest.raises(ConfigError) as raised:
            config.load(file, {})
        known = raised.value.problems[0].message.partition("known here: ")[2].split(", ")
        assert set(known) == {section.partition(".")[0] for section in SECTIONS}

    @rows("section", SECTIONS)
    def test_every_variable_is_named_as_the_loader_reads_it(self, section: str) -> None:
        tables = [section, *TOGETHER] if section in TOGETHER else [section]
        prefixes = "|".join("CHUKEI_" + table.upper().replace(".", "__") for table in tables)
        for key, row in documented_keys(section).items():
            # Of a table that is not free of form, one of its own keys is shown.
            assert re.fullmatch(f"({prefixes})__{key.upper()}(__[0-9]+)?", markdown.codes(row[4])[0])

    @rows("section", ["server", "stream", "upstream", "pool", "ledger", "admin", "log", "reload", "audit", "simulator"])
    def test_every_default_is_the_real_one(self, section: str) -> None:
        settings = getattr(config.load(None, {}), section)
        for key, row in documented_keys(section).items():
            value = getattr(settings, key)
            if value is None:
                assert not row[2].startswith("`"), key
            elif row[2].startswith("all "):
                assert list(value) == markdown.codes(row[3])[: len(value)], key
            else:
                shown = tomllib.loads(f"value = {row[2].strip('`')}")["value"]
                assert shown == (list(value) if isinstance(value, tuple) else value), key

    @rows("section", SECTIONS)
    def test_every_key_that_needs_a_restart_is_marked(self, section: str) -> None:
        rows = documented_keys(section)
        marked = {key for key, row in rows.items() if row[3].endswith("; *restart*")}
        assert marked == NEEDS_RESTART.get(section, frozenset()) & set(rows)

    def test_the_page_about_reloads_lists_what_needs_a_restart(self) -> None:
        text = markdown.read("docs/reload.md").partition("<!-- restart -->")[2].partition("<!-- end -->")[0]
        settings = config.load(None, {})
        whole = {name for name, keys in NEEDS_RESTART.items() if keys == set(getattr(settings, name).__slots__)}
        names = {f"{section}.{key}" for section in NEEDS_RESTART.keys() - whole for key in NEEDS_RESTART[section]}
        assert set(markdown.codes(text)) == names | whole

    def test_every_variable_in_the_code_is_explained(self) -> None:
        text = "".join(path.read_text("utf-8") for path in SOURCES if path.parent.name == "config")
        names = set(re.findall(r'"((?:CHUKEI|AZURE|OPENAI)_[A-Z_]*[A-Z])"', text))
        assert len(names) > 8
        assert {name for name in names if f"`{name}`" not in CONFIGURATION} == set()


def raised_codes() -> set[str]:
    """Collect the error codes that the relay's source gives to its errors."""
    found: set[str] = set()
    for path in SOURCES:
        if "simulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {
                    "CallerError": 1,
                    "Unavailable": 0,
                    "UpstreamError": 0,
                    "_unavailable": 0,
                    "failure": 0,
                }.get(node.func.id)
                if place is not None:
                    given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                    found |= _strings(given[0] if given else node.args[place])
    return found


def _strings(node: ast.expr) -> set[str]:
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.JoinedStr():
            return {"".join(str(part.value) if isinstance(part, ast.Constant) else "STATUS" for part in node.values)}
        case ast.IfExp():
            return _strings(node.body) | _strings(node.orelse)
        case ast.BoolOp():
            return set().union(*map(_strings, node.values))
    return set()


class TestErrors:
    def test_every_code_is_explained_and_no_other(self) -> None:
        tables = markdown.section(ERRORS, "Before the answer has begun: an HTTP status")
        tables += markdown.section(ERRORS, "After the answer has begun: an event in the stream")
        documented = {name for row in markdown.rows(tables) for name in markdown.codes(row[0]) if " " not in name}
        documented.discard("/api/chat-stream")
        # This one is named by its End where an answer breaks the rules of HTTP.
        assert documented == raised_codes() | {End.UNEXPECTED_ANSWER.value}

    def test_every_status_is_the_one_that_is_sent(self) -> None:
        shown = {
            code: row[1]
            for row in markdown.rows(markdown.section(ERRORS, "The request"))
            for code in markdown.codes(row[0])
            if row[1].isdigit()
        }
        text = "".join(path.read_text("utf-8") for path in SOURCES)
        sent = re.findall(r'CallerError\(\s*(\d{3}),\s*"(\w+)"', text)
        assert len(sent) > 20
        assert {(shown[code], code) for _, code in sent} == set(sent)

    def test_every_end_is_explained(self) -> None:
        listed = markdown.section(ERRORS, "How a request ended: `end` in the log")
        assert [row[0].strip("`") for row in markdown.rows(listed)] == [end.value for end in End]


class TestVerdicts:
    def test_the_table_is_the_codes_own(self) -> None:
        text = markdown.section(markdown.read("docs/balancing.md"), "What a failure means")
        shown = [line for line in text.splitlines() if line.startswith("| `") and line.count(" | ") == 6]
        assert shown == verdicts.table()

    def test_every_affair_is_explained(self) -> None:
        text = markdown.section(markdown.read("docs/balancing.md"), "What a failure means")
        explained = [row[0].strip("`") for row in markdown.rows(text) if len(row) == 2 and row[0].startswith("`")]
        assert explained == [fault.value for fault in verdicts.Fault]

    def test_every_status_of_a_code_is_that_of_its_row(self) -> None:
        rows = markdown.rows(markdown.section(ERRORS, "Azure OpenAI and the way to it"))
        shown = {row[0].strip("`"): row[1] for row in rows}
        for row in verdicts.TABLE:
            if row.status >= 500 and row.kind in shown:
                assert shown[row.kind] == str(row.status), row.kind


class TestRoutes:
    def documented(self) -> list[tuple[str, str]]:
        """Return method and path of what the table of routes lists, with names put in for placeholders."""
        found = []
        for row in markdown.rows(markdown.section(HTTP, "Routes")):
            method = ""
            for code in markdown.codes(row[0]):
                method, _, path = code.rpartition(" ") if " " in code else (method, "", code)
                path = path.partition("?")[0].replace("{model}", "gpt-4o").replace("{id}", "gpt-4o")
                found.append((method, path.replace("…", "chat/completions")))
        return found

    def test_every_documented_route_exists(self) -> None:
        documented = self.documented()
        assert len(documented) > 15
        for method, path in documented:
            find(method, path, "")

    def test_every_route_is_documented(self) -> None:
        routes = [find(method, path, "") for method, path in self.documented()]
        assert {route.operation.path for route in routes if route.operation} == set(OPERATIONS)
        assert {route.page for route in routes if route.page} == set(Page) - {Page.ASSET}
        assert "`/web/`" in HTTP

    def test_every_header_that_comes_down_is_documented(self) -> None:
        tree = ast.parse(Path(markdown.ROOT / "src/chukei/azure.py").read_text("utf-8"))
        names = {
            item.value.decode()
            for node in ast.walk(tree)
            if isinstance(node, ast.Set)
            for item in node.elts
            if isinstance(item, ast.Constant) and isinstance(item.value, bytes)
        }
        assert len(names) > 8
        assert {name for name in names if f"`{name}`" not in HTTP} == set()


def test_the_families_of_metrics_are_the_codes_own() -> None:
    text = markdown.section(markdown.read("docs/metrics.md"), "All families")
    assert [line for line in text.splitlines() if line.startswith("| `")] == definitions.table()
    bound = f"at most {definitions.most_lines(MetricsSettings().max_rows):,} lines"
    assert bound in markdown.read("docs/metrics.md")


def test_the_states_of_a_breaker_are_the_codes_own() -> None:
    text = markdown.section(markdown.read("docs/balancing.md"), "The circuit breaker")
    rows = [f"| {was} | {event.value} | {then} |" for (was, event), then in breaker.TRANSITIONS.items()]
    assert "\n".join(["|---|---|---|", *rows, ""]) in text


@pytest.mark.parametrize(
    ("heading", "table"),
    [("The server's side of HTTP", states.TRANSITIONS), ("Upstream connections", connection.TRANSITIONS)],
)
def test_the_states_of_a_connection_are_the_codes_own(heading: str, table: dict[tuple[str, str], str]) -> None:
    text = markdown.section(markdown.read("docs/architecture.md"), heading)
    rows = [f"| {was} | {event} | {then} |" for (was, event), then in table.items()]
    assert "\n".join(["|---|---|---|", *rows, ""]) in text


def test_the_states_of_a_stream_are_the_codes_own() -> None:
    page = (markdown.ROOT / "docs/architecture.md").read_text("utf-8")
    rows = [f"| {was.name}: {was.value} | {sign.value} | {then.name} |" for (was, sign), then in TRANSITIONS.items()]
    assert "\n".join(["|---|---|---|", *rows, ""]) in page


def every_command(group: click.Group, above: str = "") -> dict[str, click.Command]:
    """Return each command, those of groups included, by what is typed."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= every_command(command, f"{above}{name} ")
        else:
            found[f"{above}{name}"] = command
    return found


COMMANDS = every_command(main)


class TestCommands:
    @rows("name", COMMANDS)
    def test_every_command_and_option_is_explained(self, name: str) -> None:
        text = markdown.read("docs/commands.md")
        usages = [code for code in markdown.codes(text) if code.startswith(f"chukei {name}")]
        assert usages
        options = [option for option in COMMANDS[name].params if isinstance(option, click.Option)]
        for option in options:
            assert any(option.opts[0] in usage for usage in usages), option.opts

    def test_every_script_is_explained(self) -> None:
        text = markdown.read("docs/commands.md")
        scripts = {path.name for path in (markdown.ROOT / "scripts").iterdir() if path.is_file()} - {"install"}
        assert {name for name in scripts if f"`scripts/{name}`" not in text} == set()


def test_every_field_of_the_log_line_is_explained() -> None:
    values: dict[str, Any] = {"usage": Usage(), "finish_reasons": {0: "stop"}, "end": End.COMPLETED}
    values |= {
        "tries": [Attempt("a"), Attempt("b")],
        "spilled": True,
        "trace": TraceContext("a", "b"),
        "who": Caller("team-b", CallerKind.KEY, ("research",)),
    }
    record = RequestRecord("id", "GET", "/", count=2)
    for field in fields(RequestRecord):
        if getattr(record, field.name) in (None, {}, [], False):
            setattr(record, field.name, values.get(field.name, 1))
    logged = fields_of(record)
    text = markdown.section(markdown.read("docs/logs.md"), "The line of a request")
    documented = {name for row in markdown.rows(text) for name in markdown.codes(row[0])}
    assert documented - {"time", "level", "logger", "event"} == set(logged)


def test_every_field_of_the_audit_is_explained() -> None:
    record = RequestRecord("id", "POST", "/")
    about = AuditSink(config.AuditSettings(), AuditFolder(Path(), max_file_bytes=1, max_bytes=1), None).about(record)
    whole, _ = line_of(about, Content(b"", 0, ""), Content(b"", 0, ""), 0, None)
    failed, _ = line_of(about, Content(b"", 0, ""), Content(b"", 0, ""), 0, lambda entry: 7)  # type: ignore[arg-type, return-value]
    text = markdown.section(markdown.read("docs/logs.md"), "The audit")
    documented = {name for row in markdown.rows(text) for name in markdown.codes(row[0])}
    assert documented == msgspec.json.decode(whole).keys() | msgspec.json.decode(failed).keys()


def test_the_faults_are_those_of_the_simulator() -> None:
    assert table() in markdown.read("docs/simulator.md")


def test_the_changelog_speaks_of_this_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)} ", markdown.read("CHANGELOG.md"), re.MULTILINE)


@rows("page", markdown.pages())
def test_every_relative_link_resolves(page: Path) -> None:
    for link in markdown.links(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in markdown.anchors(target.read_text("utf-8")), link


def test_the_image_copies_what_exists_and_is_not_ignored() -> None:
    lines = markdown.read("Dockerfile").replace("\\\n", " ")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", lines, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources
    ignored = markdown.read(".dockerignore").split("\n")
    for source in sources:
        assert (markdown.ROOT / source).exists(), source
        assert f"!{source.partition('/')[0]}" in ignored, source
