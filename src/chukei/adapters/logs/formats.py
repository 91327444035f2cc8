"""The two forms of a log line: JSON for machines, text for people.

Names, codes and messages come from clients and upstreams too. So neither form writes a control character: nobody can
forge a line, or control a terminal.
"""

import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

_encode = msgspec.json.Encoder().encode

SHORT_TRACE = 8
"""Hexadecimal digits of a trace id in a line of text."""

_LEVELS = {"debug": "debug", "info": "info", "warning": "warn", "error": "error", "critical": "crit"}
_RESET, _DIM, _RED, _GREEN, _YELLOW = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
_COLOURS = {"debug": _DIM, "info": "", "warning": _YELLOW, "error": _RED, "critical": _RED}


class JsonFormatter(logging.Formatter):
    """Writes one JSON object a line. JSON escapes control characters, so a header field cannot forge a line."""

    _written = (-1, "")  # a second and its text

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        second, milliseconds = divmod(round(record.created * 1_000_000) // 1000, 1000)
        known, written = self._written
        if second != known:
            written = datetime.fromtimestamp(second, UTC).isoformat()[:19]
            self._written = (second, written)
        line: dict[str, object] = {
            "time": f"{written}.{milliseconds:03d}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return _encode(line).decode()
        except UnicodeEncodeError:  # a file's name that is not UTF-8 has lone surrogates
            import json

            return json.dumps(line)


class TextFormatter(logging.Formatter):
    """Writes a line for people: columns for what every request has, then what is special about it, then its id.

    Numbers come first, so that a long name moves none of them.
    """

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. The lines of a traceback are indented, so that none looks like another line of the log."""
        fields = getattr(record, "fields", {})
        text = self._request(fields) if "request_id" in fields else printable(record.getMessage())
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            text += "".join(f"\n    {printable(line)}" for line in trace)
        level = record.levelname.lower()
        moment = f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S}"
        word = f"{_LEVELS.get(level, level):5}"
        return f"{self._in(_DIM, moment)} {self._in(_COLOURS.get(level, ''), word)} {text}"

    def _request(self, fields: Mapping[str, object]) -> str:
        status = fields.get("status")
        columns = (
            self._in(_colour_of(status), f"{status or '---'!s:3}"),
            f"{_duration(fields.get('duration_ms')):>6}",
            f"{_first(fields):>11}",
            f"{_tokens(fields):>13}",
            f"{_ascii(fields.get('caller') or '-'):12}",
            f"{_target(fields):16}",
        )
        id = self._in(_DIM, _ascii(fields["request_id"]))
        return "  ".join([" ".join(columns), *_special(fields), id])

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour else text


def _target(fields: Mapping[str, object]) -> str:
    """Return the model and the deployment that answered; without a model, what was asked for."""
    model, deployment = fields.get("model"), fields.get("deployment")
    if model is None:
        return _ascii(f"{fields.get('method', '')} {fields.get('path', '')}")
    return _ascii(f"{model}@{deployment}" if deployment is not None else model)


def _tokens(fields: Mapping[str, object]) -> str:
    return f"{fields['input_tokens']}+{fields.get('output_tokens')} tok" if "input_tokens" in fields else ""


def _first(fields: Mapping[str, object]) -> str:
    return f"first {_duration(fields['first_token_ms'])}" if "first_token_ms" in fields else ""


def _special(fields: Mapping[str, object]) -> list[str]:
    """Return what is not so for a usual request."""
    tries, end, code, operation = (fields.get(name) for name in ("tries", "end", "code", "operation"))
    parts = [
        f"{operation}" if "model" in fields and operation not in (None, "chat") else "",
        f"{len(tries)} tries" if isinstance(tries, list) else "",
        str(end) if end is not None and end != "completed" else "",
        str(code) if code is not None and code != end else "",
        f"{fields['count']} alike" if "count" in fields else "",
        f"trace {str(fields['trace_id'])[:SHORT_TRACE]}" if "trace_id" in fields else "",
    ]
    return [_ascii(part) for part in parts if part]


def _duration(milliseconds: object) -> str:
    if not isinstance(milliseconds, int | float):
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f}ms"
    return f"{milliseconds / 1000:.2f}s" if milliseconds < 100_000 else f"{milliseconds / 1000:.0f}s"


def _colour_of(status: object) -> str:
    if not isinstance(status, int):
        return ""
    return _GREEN if status < 400 else _YELLOW if status < 500 else _RED


def _ascii(value: object) -> str:
    """Escape all but printable ASCII: names and codes come from clients and upstreams, and letters can look alike."""
    return ascii(str(value))[1:-1].replace("\\'", "'").replace("\\\\", "\\")


def printable(text: str) -> str:
    """Escape control characters, line ends, and characters that change the direction of writing."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def is_text(form: str, *, terminal: bool) -> bool:
    """Whether lines are for people."""
    return form == "text" or (form == "auto" and terminal)


def wants_colour(environment: Mapping[str, str] = os.environ, *, terminal: bool) -> bool:
    """Whether to colour lines: on a terminal that can, unless NO_COLOR is set and not empty (https://no-color.org)."""
    return terminal and not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb"
