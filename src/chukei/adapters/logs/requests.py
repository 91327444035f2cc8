"""One log line for each request: JSON for machines, or a short text for people at a terminal."""

import logging
import sys
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import msgspec

from chukei.adapters.logs.line_limit import LineLimit
from chukei.adapters.logs.line_writer import LineWriter
from chukei.model import End
from chukei.record import Attempt, RequestRecord

logger = logging.getLogger("chukei.request")

_QUIET = frozenset({"live", "ready", "asset", "metrics"})
_WARN = frozenset(
    {
        End.NO_DEPLOYMENT,
        End.UPSTREAM_STATUS,
        End.UPSTREAM_ERROR,
        End.CONNECT_ERROR,
        End.TLS_ERROR,
        End.UPSTREAM_LOST,
        End.UNEXPECTED_ANSWER,
        End.TRUNCATED,
        End.TRUNCATED_AFTER_FINISH,
        End.EVENT_TOO_LARGE,
        End.TIMEOUT,
        End.CLIENT_STALLED,
    }
)
MAX_PATH = 200
_encode = msgspec.json.Encoder().encode


_COMPLETED = End.COMPLETED


def log_request(record: RequestRecord) -> None:
    """Log a record. Probes and page files are logged only at debug level, unless they fail."""
    level = logging.INFO
    if record.end is End.INTERNAL_ERROR:
        level = logging.ERROR
    elif record.end is not _COMPLETED and record.end in _WARN:
        level = logging.WARNING
    elif record.operation in _QUIET and record.status == 200:
        level = logging.DEBUG
    if logger.isEnabledFor(level):
        if logging.getLogRecordFactory() is logging.LogRecord:
            logger.handle(_Line(level, fields_of(record)))
        else:
            logger.log(level, "request", extra={"fields": fields_of(record)})


class _Line(logging.LogRecord):
    """A request's log record. Attributes that are the same in all records are computed once. It names no thread."""

    def __init__(self, level: int, fields: dict[str, object]) -> None:
        self.__dict__ = {**_USUAL, "levelno": level, "levelname": logging.getLevelName(level), "fields": fields}
        now = time.time()  # noqa: TID251 - log records have Unix time
        self.created = now
        self.msecs = int(now % 1 * 1000)
        self.relativeCreated += (now - _USUAL["created"]) * 1000


def _usual() -> dict[str, Any]:
    made = logging.LogRecord(logger.name, logging.INFO, __file__, 0, "request", None, None, log_request.__name__)
    nobody = dict.fromkeys(("thread", "threadName", "process", "processName", "taskName"))
    return made.__dict__ | {name: value for name, value in nobody.items() if name in made.__dict__}


_USUAL = _usual()


def fields_of(record: RequestRecord) -> dict[str, object]:
    """Return the log fields of a request, in the order of its path; unknown ones are left out."""
    fields: dict[str, object] = {
        "request_id": record.request_id,
        "method": record.method,
        "path": record.path[:MAX_PATH],
    }
    if record.who is not None:
        fields["caller"] = record.who.name
    for name in _KNOWN_BEFORE:
        value = getattr(record, name)
        if value is not None:
            fields[name] = value
    if record.finish_reasons:
        fields["finish_reasons"] = list(record.finish_reasons.values())
    usage = record.usage
    if usage is not None:
        fields["input_tokens"] = usage.input
        fields["output_tokens"] = usage.output
        fields["cached_tokens"] = usage.cached
        fields["reasoning_tokens"] = usage.reasoning
        fields["tokens_estimated"] = usage.estimated
    if record.first_token is not None:
        fields["first_token_ms"] = round(record.first_token * 1000, 1)
    fields["duration_ms"] = round(record.duration * 1000, 1)
    fields["request_bytes"] = record.request_bytes
    fields["answer_bytes"] = record.answer_bytes
    if record.count > 1:
        fields["count"] = record.count
    if record.spilled:
        fields["spilled_over"] = True
    if len(record.tries) > 1:
        fields["tries"] = [_fields_of_try(attempt) for attempt in record.tries]
    return fields


_KNOWN_BEFORE = (
    "operation",
    "model",
    "deployment",
    "region",
    "upstream_request_id",
    "stream",
    "status",
    "end",
    "code",
)


def _fields_of_try(attempt: Attempt) -> dict[str, object]:
    fields: dict[str, object | None] = {
        "deployment": attempt.deployment,
        "code": attempt.code or "answered",
        "duration_ms": round(attempt.seconds * 1000, 1),
        "hedge": attempt.hedge or None,
        "input_tokens": attempt.usage.input if attempt.usage and attempt.code else None,
    }
    return {key: value for key, value in fields.items() if value is not None}


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
        return _encode(line).decode()


class TextFormatter(logging.Formatter):
    """Writes a short line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = getattr(record, "fields", None)
        if fields is None:
            text = record.getMessage()
        else:
            tokens = f"{fields.get('input_tokens', 0)}+{fields.get('output_tokens', 0)} tokens"
            parts = [
                str(fields.get("status", "-")),
                str(fields.get("method", record.getMessage())),
                str(fields.get("path", "")),
                str(fields.get("caller", "")),
                str(fields.get("model", "")),
                f"at {fields['deployment']}" if "deployment" in fields else "",
                f"{len(tries)} tries" if isinstance(tries := fields.get("tries"), list) else "",
                str(fields.get("end", "")),
                str(fields.get("code", "")),
                tokens if "input_tokens" in fields else "",
                f"first {fields['first_token_ms']:.0f} ms" if "first_token_ms" in fields else "",
                f"{fields['duration_ms']:.0f} ms" if "duration_ms" in fields else "",
                f"{fields['count']} alike" if "count" in fields else "",
                str(fields.get("request_id", "")),
            ]
            text = _printable("  ".join(part for part in parts if part))
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S} {record.levelname.lower():7} {text}"


def _printable(text: str) -> str:
    """Escape all characters except printable ASCII, since names and codes come from clients and upstreams."""
    return ascii(text)[1:-1].replace("\\'", "'").replace("\\\\", "\\")


def is_text(form: str, *, terminal: bool) -> bool:
    """Whether lines are for people."""
    return form == "text" or (form == "auto" and terminal)


def log_crashes() -> None:
    """Log warnings and uncaught errors, which would be printed otherwise."""
    logging.captureWarnings(True)
    crashes = logging.getLogger("chukei.crash")

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        crashes.critical("the process ends by an error", exc_info=(kind, error, trace))

    def thread_crashed(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            crashes.error("a thread ends by an error", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            what = args.err_msg or "an error could not be raised"
            crashes.error("%s", what, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = crashed, thread_crashed, unraisable


def configure_logging(form: str, level: str, *, terminal: bool) -> None:
    """Send the process's logs to standard error in the chosen format. It may be called again with another format."""
    root = logging.getLogger()
    handler = next((each for each in root.handlers if isinstance(each, LineWriter)), None)
    if handler is None:
        handler = LineWriter()
        handler.addFilter(LineLimit(apart=logger.name))
    as_text = is_text(form, terminal=terminal)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # do not print errors of logging itself
    # uvicorn's informational lines repeat the relay's own; its warnings remain.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("azure").setLevel(logging.WARNING)


def write_through() -> None:
    """Write the collected log lines, and every later line immediately: the event loop is about to end."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineWriter):
            handler.write_through()
