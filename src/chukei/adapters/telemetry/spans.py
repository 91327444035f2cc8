"""A finished request as spans: one for the request, and one below it for each attempt at a deployment. Pure.

The request's span follows the conventions for HTTP servers, an attempt's those for generative AI and HTTP clients. An
attempt's span ends with the attempt, that of the answering one with the request.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from chukei.adapters.telemetry import genai
from chukei.adapters.telemetry.genai import Names
from chukei.azure import OPERATIONS
from chukei.model import End
from chukei.record import Attempt, RequestRecord
from chukei.request.routes import Page
from chukei.trace import TraceContext
from chukei.upstream.attempt import CANCELLED

Value = str | int | float | bool | tuple[str, ...]
Attributes = dict[str, Value]

SERVER, CLIENT = 2, 3
"""The kinds of spans, by OTLP's numbers."""

FIRST_TOKEN, ENDED = "chukei.first_token", "chukei.end"
"""The events of spans."""

REQUEST_ID, AZURE_REQUEST_ID = "chukei.request_id", "chukei.azure.request_id"

MAX_PATH = 200
"""Characters of a path; a client may send any."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_DEPLOYMENTS = "/openai/deployments/"
_PREFIXES = ("/openai/v1/", "/openai/", "/models/", "/v1/")
_PATHS = {operation.name: operation.path for operation in OPERATIONS.values()}
_NO_FAILURES = frozenset({CANCELLED, "hedge_lost"})
_HARMLESS = frozenset({None, End.COMPLETED, End.LENGTH, End.CONTENT_FILTER, End.REFUSED, End.CLIENT_ABORTED})
_NANO = 1_000_000_000


class Span(NamedTuple):
    """One span. Times are nanoseconds since 1970.

    ``remote`` says that the parent is in another process. ``state`` is the ``tracestate``. ``failed`` sets the
    status to an error.
    """

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str | None
    remote: bool
    state: str
    start: int
    end: int
    attributes: Attributes
    events: list[tuple[str, int, Attributes]]
    failed: bool


class Spans:
    """Makes spans of records. ``place`` returns the host and port of a deployment; ``callers`` adds callers' names."""

    def __init__(self, names: Names, place: Callable[[str], tuple[str, int] | None], *, callers: bool) -> None:
        self._names = names
        self._place = place
        self._callers = callers

    def of(self, record: RequestRecord, now: int) -> list[Span]:
        """Return the spans of a request; none if it is not sampled, or for a page of the relay's own.

        ``now`` is the time of its end. A record that stands for several requests has no spans.
        """
        trace = record.trace
        if trace is None or not trace.sampled or trace.foreign:
            return []
        if record.count > 1 or isinstance(record.operation, Page):
            return []
        end = now if record.ended is None else int(record.ended.timestamp() * _NANO)
        start = end - int(record.duration * _NANO)
        spans = [self._request(record, trace, start, end)]
        spans += [self._attempt(record, trace, attempt, start, end) for attempt in record.tries if attempt.span_id]
        return spans

    def _request(self, record: RequestRecord, trace: TraceContext, start: int, end: int) -> Span:
        method = record.method if record.method in _METHODS else "_OTHER"
        attributes: Attributes = {
            "http.request.method": method,
            "url.scheme": "http",
            "url.path": record.path[:MAX_PATH],
            REQUEST_ID: record.request_id,
        }
        name = "HTTP" if method == "_OTHER" else method
        route = _route(record)
        if route is not None:
            attributes["http.route"] = route
            name = f"{name} {route}"
        if record.status is not None:
            attributes["http.response.status_code"] = record.status
        if record.end is not None:
            attributes["chukei.end"] = record.end.value
        if record.code is not None:
            attributes["error.type"] = record.code
        if len(record.tries) > 1:
            attributes["chukei.attempts"] = len(record.tries)
        if record.who is not None and self._callers:
            attributes["chukei.caller"] = record.who.name
        events: list[tuple[str, int, Attributes]] = []
        if record.first_token is not None:
            events.append((FIRST_TOKEN, start + int(record.first_token * _NANO), {}))
        # A status of 4xx is the client's failure, not the server's (conventions for HTTP spans).
        failed = (record.status or 0) >= 500 or (record.status == 200 and record.end not in _HARMLESS)
        remote = trace.parent_id is not None
        return Span(
            name, SERVER, trace.trace_id, trace.span_id, trace.parent_id, remote, trace.state, start, end, attributes,
            events, failed,
        )  # fmt: skip

    def _attempt(self, record: RequestRecord, trace: TraceContext, attempt: Attempt, start: int, end: int) -> Span:
        operation = genai.OPERATIONS.get(record.operation or "", record.operation or "")
        model = record.model or ""
        attributes: Attributes = {genai.OPERATION: operation, genai.REQUEST_MODEL: model, **self._describe(attempt)}
        begun = start + int(attempt.started * _NANO)
        until = begun + int(attempt.seconds * _NANO)
        events: list[tuple[str, int, Attributes]] = []
        how = attempt.code or "answered"
        # An answer that broke off had begun, unlike an attempt that failed before its first output.
        if attempt is record.answering and (attempt.code is None or record.status == 200):
            self._describe_answer(attributes, record, attempt)
            if record.first_token is not None:
                events.append((FIRST_TOKEN, until, {}))
            until = end
            how = str(record.end)
        events.append((ENDED, until, {ENDED: how}))
        return Span(
            f"{operation} {model}", CLIENT, trace.trace_id, attempt.span_id or "", trace.span_id, False, trace.state,
            begun, until, attributes, events, "error.type" in attributes,
        )  # fmt: skip

    def _describe(self, attempt: Attempt) -> Attributes:
        """Return the attributes of an attempt, whether it was answered or not."""
        attributes: Attributes = {
            self._names.provider: self._names.provider_value,
            "chukei.deployment": attempt.deployment,
            "chukei.outcome": attempt.code or "answered",
        }
        place = self._place(attempt.deployment)
        if place is not None:
            attributes["server.address"], attributes["server.port"] = place
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        if attempt.code is not None and attempt.code not in _NO_FAILURES:
            attributes["error.type"] = attempt.code
        if attempt.hedge:
            attributes["chukei.hedge"] = True
        if attempt.region is not None:
            attributes["chukei.azure.region"] = attempt.region
        if attempt.upstream_request_id is not None:
            attributes[AZURE_REQUEST_ID] = attempt.upstream_request_id
        if attempt.spilled:
            attributes["chukei.azure.spilled_over"] = True
        return attributes

    def _describe_answer(self, attributes: Attributes, record: RequestRecord, attempt: Attempt) -> None:
        """Add what the answer said of itself."""
        names, usage = self._names, record.usage
        if record.served_model is not None:
            attributes[genai.RESPONSE_MODEL] = record.served_model
        if record.finish_reasons:
            attributes[genai.FINISH_REASONS] = tuple(record.finish_reasons.values())
        if record.service_tier is not None:
            attributes[names.service_tier] = record.service_tier
        if record.stream:
            _add(attributes, names.stream, True)
            _add(attributes, names.first_chunk, attempt.seconds)
        if usage is not None:
            attributes[genai.INPUT_TOKENS] = usage.input
            attributes[genai.OUTPUT_TOKENS] = usage.output
            _add(attributes, names.cache_read, usage.cached)
            _add(attributes, names.cache_write, usage.cache_written)
            _add(attributes, names.reasoning, usage.reasoning)
            _add(attributes, "chukei.tokens_estimated", usage.estimated)


def _add(attributes: Attributes, name: str | None, value: Value) -> None:
    """Add an attribute that has a name in this version, and a value other than zero."""
    if name is not None and value:
        attributes[name] = value


def _route(record: RequestRecord) -> str | None:
    """Return the form of the path of an operation, with the deployment's name left out; None for any other path."""
    path = _PATHS.get(record.operation or "")
    if path is None:
        return None
    if record.path.startswith(_DEPLOYMENTS):
        return f"{_DEPLOYMENTS}{{deployment}}/{path}"
    for prefix in _PREFIXES:
        if record.path.startswith(prefix):
            return prefix + path
    return "/api/chat-stream"


def places(endpoints: Mapping[str, str], other: str | None) -> Callable[[str], tuple[str, int] | None]:
    """Return a function from a deployment's name to its host and port. ``other`` is the endpoint of all others."""
    known = {name: _place(endpoint) for name, endpoint in endpoints.items()}
    rest = None if other is None else _place(other)
    return lambda name: known.get(name, rest)


def _place(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
