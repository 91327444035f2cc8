"""How findings are printed, and the exit code."""

import asyncio
import re
from dataclasses import fields

import click
import msgspec
import pytest
from tests import markdown
from tests.rows import rows

from chukei.doctor.finding import EXIT_CODES, Finding, Kind, Status, Subject, bounded
from chukei.doctor.report import SCHEMA, WIDTH, Report

pytestmark = pytest.mark.anyio

HERE = Subject(Kind.MACHINE, "this machine")
THERE = Subject(Kind.DEPLOYMENT, "fast -> east")
FINDINGS = [
    HERE.ok("files", "many"),
    HERE.warning("clock", "late", "set it", skew_seconds=7.0),
    THERE.failed("credential", "status 401", "copy the key again", status=401),
    THERE.skipped("responses", "not asked"),
]


@rows(
    ("findings", "code"),
    [
        (FINDINGS[:2], 0),
        (FINDINGS, 4),
        ([HERE.failed("files", "few", "more")], 1),
        ([HERE.failed("files", "few", "more"), *FINDINGS], 4),
        ([Subject(Kind.CONFIGURATION, "x").failed("x", "wrong", "right")], 3),
        ([], 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst_failure(findings: list[Finding], code: int) -> None:
    assert Report(findings).exit_code == code


def test_each_kind_has_an_exit_code() -> None:
    assert EXIT_CODES.keys() == set(Kind)


def test_text_is_aligned_and_grouped() -> None:
    text = click.unstyle(Report(FINDINGS, table="model  deployment").text())
    assert text == (
        "this machine\n"
        "  ok       files       many\n"
        "  warning  clock       late\n"
        "                       -> set it\n"
        "\n"
        "fast -> east\n"
        "  failed   credential  status 401\n"
        "                       -> copy the key again\n"
        "  skipped  responses   not asked\n"
        "\n"
        "model  deployment\n"
        "\n"
        "1 ok, 1 warning, 1 failed, 1 skipped"
    )


def test_long_texts_are_wrapped() -> None:
    text = click.unstyle(Report([HERE.failed("files", "few " * 60, "more " * 60)]).text())
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("few") == text.count("more") == 60


def test_a_servers_words_do_not_control_the_terminal() -> None:
    assert "\x1b[2J" not in click.unstyle(Report([HERE.ok("files", "\x1b[2Jx\x07")]).text())
    assert "?[2Jx?" in Report([HERE.ok("files", "\x1b[2Jx\x07")]).text()


def test_json_has_everything() -> None:
    report = msgspec.json.decode(Report(FINDINGS, deployments=[{"model": "fast"}]).json())
    assert report["schema"] == SCHEMA
    assert (report["status"], report["exit_code"], report["deployments"]) == ("failed", 4, [{"model": "fast"}])
    assert report["counts"] == {"ok": 1, "warning": 1, "failed": 1, "skipped": 1}
    assert report["findings"][2] == {
        "kind": "deployment",
        "subject": "fast -> east",
        "check": "credential",
        "status": "failed",
        "seen": "status 401",
        "remedy": "copy the key again",
        "measured": {"status": 401},
    }
    assert msgspec.json.decode(Report(FINDINGS[:1]).json())["status"] == Status.OK


async def test_a_check_that_breaks_or_hangs_is_a_finding() -> None:
    async def breaks() -> list[Finding]:
        raise ZeroDivisionError("planted-secret")

    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    broken = await bounded(HERE, "files", 60, breaks())
    assert [(each.status, each.seen) for each in broken] == [
        (Status.FAILED, "the check itself failed with ZeroDivisionError")
    ]
    hanging = await bounded(HERE, "files", 0, hangs())
    assert hanging[0].seen == "no result within 0 s"


def test_each_check_and_member_is_documented() -> None:
    """By the literals in the code that name checks."""
    page = markdown.read("docs/doctor.md")
    source = "".join(path.read_text("utf-8") for path in (markdown.ROOT / "src/chukei/doctor").glob("*.py"))
    checks = set(re.findall(r'\.(?:ok|warning|failed|skipped)\(\s*"([a-z ]+)"', source))
    checks |= set(re.findall(r'Row\(\s*"([a-z_ ]+)"', source))
    assert len(checks) > 25
    assert {check for check in checks if f"`{check}`" not in page} == set()
    members = {field.name for field in fields(Finding)} | msgspec.json.decode(Report([]).json()).keys()
    assert {member for member in members if f"`{member}`" not in page} == set()
