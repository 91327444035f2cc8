"""One line for each request: JSON for machines, or a short text for a person at a terminal."""

import logging
from datetime import UTC, datetime

import msgspec

from chukei.model import End
from chukei.telemetry import RequestRecord, Try

logger = logging.getLogger("chukei.request")

_QUIET = frozenset({"live", "ready", "asset"})
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


def log_request(record: RequestRecord) -> None:
    """Write a record. Probes and page files are logged at debug level only, unless they fail."""
    level = logging.INFO
    if record.end is End.INTERNAL_ERROR:
        level = logging.ERROR
    elif record.end in _WARN:
        level = logging.WARNING
    elif record.operation in _QUIET and record.status == 200:
        level = logging.DEBUG
    if logger.isEnabledFor(level):
        logger.log(level, "request", extra={"fields": fields_of(record)})


def fields_of(record: RequestRecord) -> dict[str, object]:
    """Return what is known of a request, in the order of its path; unknown things are left out."""
    usage = record.usage
    fields: dict[str, object | None] = {
        "request_id": record.request_id,
        "method": record.method,
        "path": record.path[:MAX_PATH],
        "caller": record.caller,
        "operation": record.operation,
        "model": record.model,
        "deployment": record.deployment,
        "region": record.region,
        "upstream_request_id": record.upstream_request_id,
        "stream": record.stream,
        "status": record.status,
        "end": record.end,
        "code": record.code,
        "finish_reasons": list(record.finish_reasons.values()) or None,
        "input_tokens": usage.input if usage else None,
        "output_tokens": usage.output if usage else None,
        "cached_tokens": usage.cached if usage else None,
        "reasoning_tokens": usage.reasoning if usage else None,
        "tokens_estimated": usage.estimated if usage else None,
        "first_token_ms": round(record.first_token * 1000, 1) if record.first_token is not None else None,
        "duration_ms": round(record.duration * 1000, 1),
        "request_bytes": record.request_bytes,
        "answer_bytes": record.answer_bytes,
        "spilled_over": record.spilled or None,
        "tries": [_fields_of_try(attempt) for attempt in record.tries] if len(record.tries) > 1 else None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _fields_of_try(attempt: Try) -> dict[str, object]:
    fields: dict[str, object | None] = {
        "deployment": attempt.deployment,
        "code": attempt.code or "answered",
        "duration_ms": round(attempt.seconds * 1000, 1),
        "hedge": attempt.hedge or None,
        "input_tokens": attempt.usage.input if attempt.usage and attempt.code else None,
    }
    return {key: value for key, value in fields.items() if value is not None}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; JSON escapes control characters, so a header cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """A short line for people."""

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
                str(fields.get("model", "")),
                f"{len(tries)} tries" if isinstance(tries := fields.get("tries"), list) else "",
                str(fields.get("end", "")),
                str(fields.get("code", "")),
                tokens if "input_tokens" in fields else "",
                f"first {fields['first_token_ms']:.0f} ms" if "first_token_ms" in fields else "",
                f"{fields['duration_ms']:.0f} ms" if "duration_ms" in fields else "",
            ]
            text = _printable("  ".join(part for part in parts if part))
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S} {record.levelname.lower():7} {text}"


def _printable(text: str) -> str:
    """Escape what is no printable ASCII: names and codes come from clients and upstreams."""
    return ascii(text)[1:-1].replace("\\'", "'").replace("\\\\", "\\")


def configure_logging(form: str, level: str, *, terminal: bool) -> None:
    """Send the process's logs to standard error in the chosen form."""
    handler = logging.StreamHandler()
    as_text = form == "text" or (form == "auto" and terminal)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The server's own chatter repeats what the relay says better; its problems remain.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("azure").setLevel(logging.WARNING)
