"""One log line for each request: its level and its fields. ``formats`` writes them as JSON or as text."""

import logging
import time
from typing import Any

from chukei.accounts.ledger import Entry
from chukei.model import End
from chukei.record import Attempt, RequestRecord
from chukei.usage import Usage

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
    trace = record.trace
    if trace is not None:
        fields["trace_id"] = trace.trace_id
        fields["span_id"] = trace.span_id
    if record.who is not None:
        fields["caller"] = record.who.name
    for name in _KNOWN_BEFORE:
        value = getattr(record, name)
        if value is not None:
            fields[name] = value
    if record.finish_reasons:
        fields["finish_reasons"] = list(record.finish_reasons.values())
    _add_usage(fields, record.usage)
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


def log_bill(entry: Entry) -> None:
    """Log the bill of a background response or a batch. The request that began it has had its own line."""
    fields = {name: value for name in _BILLED if (value := getattr(entry, name)) is not None}
    fields["duration_ms"] = round(entry.duration, 1)
    usage = Usage(entry.input, entry.output, entry.cached, entry.reasoning, entry.estimated)
    _add_usage(fields, usage)
    logger.info("settled", extra={"fields": fields})


_BILLED = ("request_id", "caller", "operation", "model", "deployment", "end", "finish_reason")


def _add_usage(fields: dict[str, object], usage: Usage | None) -> None:
    if usage is None:
        return
    fields["input_tokens"] = usage.input
    fields["output_tokens"] = usage.output
    fields["cached_tokens"] = usage.cached
    fields["reasoning_tokens"] = usage.reasoning
    fields["tokens_estimated"] = usage.estimated


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
