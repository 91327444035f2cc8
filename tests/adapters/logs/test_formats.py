"""The two forms of a line: JSON that no value can break, and text that fits a terminal and cannot control it."""

import json
import logging
import re

import pytest
from tests.rows import rows

from chukei.adapters.logs.formats import JsonFormatter, TextFormatter, is_text, wants_colour
from chukei.adapters.logs.requests import fields_of
from chukei.model import Caller, CallerKind, End
from chukei.record import Attempt, RequestRecord
from chukei.trace import TraceContext
from chukei.usage import Usage

HOSTILE = 'x"\n{"forged":true}\r\x1b[31m\x00\u2028\u202e\x9b31m'
ID = "9f86d081884c7d659a2feaa0c55ad015"


def entry(known: dict[str, object], level: int = logging.INFO) -> logging.LogRecord:
    """Return the log record of a request."""
    request = RequestRecord(ID, "POST", "/v1/chat/completions", status=200, end=End.COMPLETED, duration=1.23456)
    for name, value in known.items():
        setattr(request, name, value)
    made = logging.makeLogRecord(
        {"name": "chukei.request", "msg": "request", "levelno": level, "levelname": logging.getLevelName(level)}
    )
    made.fields = fields_of(request)
    return made


def text(made: logging.LogRecord, *, colour: bool = False) -> str:
    """Return a line of text without its time."""
    line = TextFormatter(colour=colour).format(made)
    assert re.match(r"(\x1b\[2m)?\d\d:\d\d:\d\d(\x1b\[0m)? ", line)
    return line.partition(" ")[2]


USUAL: dict[str, object] = {
    "operation": "chat",
    "model": "gpt-4o",
    "deployment": "sweden",
    "who": Caller("team-a", CallerKind.KEY),
    "usage": Usage(1234, 567),
    "first_token": 0.25,
}
FAILED: dict[str, object] = {
    "operation": "embeddings",
    "model": "small",
    "deployment": "west",
    "who": Caller("team-b", CallerKind.KEY),
    "status": 502,
    "end": End.UPSTREAM_LOST,
    "code": "upstream_lost",
    "tries": [Attempt("east", code="upstream_429"), Attempt("west", code="upstream_lost")],
    "count": 37,
    "duration": 123.4,
    "trace": TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),
}


def test_a_request_is_in_columns_and_what_is_special_follows() -> None:
    usual, failed = text(entry(USUAL)), text(entry(FAILED, logging.WARNING))
    assert usual == f"info  200  1.23s first 250ms  1234+567 tok team-a       gpt-4o@sweden     {ID}"
    assert failed == (
        f"warn  502   123s {' ' * 26}team-b       small@west        "
        f"embeddings  2 tries  upstream_lost  37 alike  trace 4bf92f35  {ID}"
    )
    assert len("12:30:05 req_" + usual) <= 120


def test_a_request_without_a_model_says_what_was_asked_for() -> None:
    assert text(entry({"status": None, "end": None, "duration": 0.0004, "path": "/v1/models"})) == (
        f"info  ---    0ms {' ' * 26}-            POST /v1/models   {ID}"
    )


@rows("field", ["path", "code", "method"])
def test_a_request_cannot_forge_a_line_of_text(field: str) -> None:
    line = text(entry({field: HOSTILE}))
    assert line.isascii()
    assert line.isprintable()
    assert "\\n" in line


def test_neither_can_another_message_nor_a_traceback() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        known = {"name": "x", "msg": "中継 %s", "args": (HOSTILE,), "levelname": "ERROR"}
        made = logging.makeLogRecord(known | {"exc_info": (type(error), error, None)})
    first, *others = text(made).split("\n")
    assert first.startswith("error 中継 x")
    assert all(line.startswith("    ") for line in others)
    assert all(line.isprintable() for line in (first, *others))
    assert any("ValueError" in line for line in others)
    line = JsonFormatter().format(made)
    assert line.isprintable() or "\u2028" in line
    assert HOSTILE in json.loads(line)["event"]
    assert "ValueError" in json.loads(line)["exception"]


def test_a_name_that_is_no_unicode_can_be_written() -> None:
    made = logging.makeLogRecord({"name": "x", "msg": "no \udcff", "levelname": "INFO"})
    assert json.loads(JsonFormatter().format(made))["event"] == "no \udcff"


@pytest.mark.parametrize(("status", "colour"), [(200, "32"), (404, "33"), (502, "31")])
def test_colour_marks_the_status_and_changes_no_width(status: int, colour: str) -> None:
    made = entry(USUAL | {"status": status}, logging.ERROR)
    coloured = text(made, colour=True)
    assert f"\x1b[{colour}m{status}\x1b[0m" in coloured
    assert "\x1b[31merror\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == text(made)


@rows(
    ("terminal", "environment", "wanted"),
    [
        (True, {"TERM": "xterm-256color"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),  # no-color.org: present and not an empty string
        (True, {"TERM": "xterm", "NO_COLOR": "0"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (False, {"TERM": "xterm", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_that_can_and_people_who_want_it(
    terminal: bool, environment: dict[str, str], wanted: bool
) -> None:
    assert wants_colour(environment, terminal=terminal) is wanted


@rows(
    ("form", "terminal", "wanted"),
    [("json", True, False), ("text", False, True), ("auto", True, True), ("auto", False, False)],
)
def test_the_form_follows_the_setting_and_the_terminal(form: str, terminal: bool, wanted: bool) -> None:
    assert is_text(form, terminal=terminal) is wanted
