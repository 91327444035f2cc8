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
from chukei.request.object_routes import ROUTES
from chukei.request.routes import Page
from chukei.trace import TraceContext
from chukei.upstream.attempt import CANCELLED

Value = str | int | float | bool | tuple[str, ...]
Attributes = dict[str, Value]
Optional = dict[str | None, Value | None]

SERVER, CLIENT = 2, 3
"""The kinds of spans, by OTLP's numbers."""

FIRST_TOKEN, ENDED = "chukei.first_token", "chukei.end"
"""The events of spans."""

REQUEST_ID, AZURE_REQUEST_ID = "chukei.request_id", "chukei.azure.request_id"

MOST_FORMS = 1024
"""Forms that are remembered, about two megabytes with what is written of them; then they are forgotten."""

MAX_PATH = 200
"""Characters of a path; a client may send any."""

OTHER = "_OTHER"
"""Stands for a method that is none of HTTP's own."""

_PAGES = frozenset(str(page) for page in Page)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_DEPLOYMENTS = "/openai/deployments/"
_PREFIXES = ("/openai/v1/", "/openai/", "/anthropic/v1/", "/models/", "/v1/")
_PATHS = {each.name: each.path for each in OPERATIONS.values()} | {each.name: each.path for each in ROUTES}
_NO_FAILURES = frozenset({CANCELLED, "hedge_lost"})
_HARMLESS = frozenset(
    {None, End.COMPLETED, End.LENGTH, End.CONTENT_FILTER, End.BACKGROUND, End.REFUSED, End.CLIENT_ABORTED}
)
_NANO = 1_000_000_000


class Form(NamedTuple):
    """What many spans have in common. ``failed`` sets the status to an error."""

    name: str
    kind: int
    attributes: Attributes
    failed: bool


class Span(NamedTuple):
    """One span. Times are nanoseconds since 1970.

    ``attributes`` are those that its form does not have. ``remote`` says that the parent is in another process.
    ``state`` is the ``tracestate``. An event has a name, a time, and how the attempt ended, or an empty text.
    """

    form: Form
    trace_id: str
    span_id: str
    parent_id: str | None
    remote: bool
    state: str
    start: int
    end: int
    attributes: Attributes
    events: list[tuple[str, int, str]]


def is_recorded(record: RequestRecord) -> bool:
    """Whether a request has spans: not if it is not sampled, for a page of the relay's own, or for several at once."""
    trace = record.trace
    if trace is None or not trace.sampled or trace.foreign:
        return False
    return record.count == 1 and record.operation not in _PAGES


class Spans:
    """Makes spans of records. ``place`` returns the host and port of a deployment; ``callers`` adds callers' names.

    It remembers the forms of spans: it is what makes them cheap to write.
    """

    def __init__(self, names: Names, place: Callable[[str], tuple[str, int] | None], *, callers: bool) -> None:
        self._names = names
        self._place = place
        self._callers = callers
        self._forms: dict[tuple[object, ...], Form] = {}

    def of(self, record: RequestRecord, now: int) -> list[Span]:
        """Return the spans of a request, none if it is not recorded. ``now`` is the time of its end."""
        trace = record.trace
        if trace is None or not is_recorded(record):
            return []
        end = now if record.ended is None else int(record.ended.timestamp() * _NANO)
        start = end - int(record.duration * _NANO)
        spans = [self._request(record, trace, start, end)]
        spans += [self._attempt(record, trace, attempt, start, end) for attempt in record.tries if attempt.span_id]
        return spans

    def _remember(self, key: tuple[object, ...], form: Form) -> Form:
        if len(self._forms) >= MOST_FORMS:
            self._forms.clear()
        self._forms[key] = form
        return form

    def _request(self, record: RequestRecord, trace: TraceContext, start: int, end: int) -> Span:
        method = record.method if record.method in _METHODS else OTHER
        path = record.path[:MAX_PATH]
        key = (method, path, record.operation, record.status, record.end, record.code, len(record.tries))
        form = self._forms.get(key) or self._remember(key, _form_of_request(record, method, path))
        attributes: Attributes = {REQUEST_ID: record.request_id}
        if self._callers and record.who is not None:
            attributes["chukei.caller"] = record.who.name
        events = []
        if record.first_token is not None:
            events.append((FIRST_TOKEN, start + int(record.first_token * _NANO), ""))
        parent = trace.parent_id
        return Span(
            form, trace.trace_id, trace.span_id, parent, parent is not None, trace.state, start, end, attributes, events
        )

    def _attempt(self, record: RequestRecord, trace: TraceContext, attempt: Attempt, start: int, end: int) -> Span:
        # An answer that broke off had begun, unlike an attempt that failed before its first output.
        answers = attempt is record.answering and (attempt.code is None or record.status == 200)
        answer = (
            (record.served_model, tuple(record.finish_reasons.values()), record.service_tier, record.stream)
            if answers
            else None
        )
        key = (
            record.operation, record.model, attempt.deployment, attempt.code, attempt.status, attempt.hedge,
            attempt.region, attempt.spilled, answer,
        )  # fmt: skip
        form = self._forms.get(key) or self._remember(key, self._form_of_attempt(record, attempt, answers=answers))
        attributes: Attributes = {}
        if attempt.upstream_request_id is not None:
            attributes[AZURE_REQUEST_ID] = attempt.upstream_request_id
        begun = start + int(attempt.started * _NANO)
        until = begun + int(attempt.seconds * _NANO)
        events: list[tuple[str, int, str]] = []
        how = attempt.code or "answered"
        if answers:
            self._add_numbers(attributes, record, attempt)
            if record.first_token is not None:
                events.append((FIRST_TOKEN, until, ""))
            until = end
            how = str(record.end)
        events.append((ENDED, until, how))
        return Span(
            form, trace.trace_id, attempt.span_id or "", trace.span_id, False, trace.state, begun, until, attributes,
            events,
        )  # fmt: skip

    def _form_of_attempt(self, record: RequestRecord, attempt: Attempt, *, answers: bool) -> Form:
        names, model = self._names, record.model or ""
        operation = genai.OPERATIONS.get(record.operation or "", record.operation or "")
        failed = attempt.code is not None and attempt.code not in _NO_FAILURES
        host, port = self._place(attempt.deployment) or (None, None)
        optional: Optional = {
            genai.OPERATION: operation,
            names.provider: names.provider_value,
            genai.REQUEST_MODEL: model,
            "server.address": host,
            "server.port": port,
            "http.response.status_code": attempt.status,
            "error.type": attempt.code if failed else None,
            "chukei.deployment": attempt.deployment,
            "chukei.outcome": attempt.code or "answered",
            "chukei.hedge": attempt.hedge or None,
            "chukei.azure.region": attempt.region,
            "chukei.azure.spilled_over": attempt.spilled or None,
        }
        if answers:
            optional[genai.RESPONSE_MODEL] = record.served_model
            optional[genai.FINISH_REASONS] = tuple(record.finish_reasons.values()) or None
            optional[names.service_tier] = record.service_tier
            optional[names.stream] = record.stream or None
        return Form(f"{operation} {model}", CLIENT, _known(optional), failed)

    def _add_numbers(self, attributes: Attributes, record: RequestRecord, attempt: Attempt) -> None:
        """Add what differs from answer to answer."""
        names, usage = self._names, record.usage
        if record.stream and names.first_chunk is not None:
            attributes[names.first_chunk] = attempt.seconds
        if usage is not None:
            attributes[genai.INPUT_TOKENS] = usage.input
            attributes[genai.OUTPUT_TOKENS] = usage.output
            _add(attributes, names.cache_read, usage.cached)
            _add(attributes, names.cache_write, usage.cache_written)
            _add(attributes, names.reasoning, usage.reasoning)
            _add(attributes, "chukei.tokens_estimated", usage.estimated)


def _form_of_request(record: RequestRecord, method: str, path: str) -> Form:
    route = _route(record)
    # A status of 4xx is the client's failure, not the server's (conventions for HTTP spans).
    failed = (record.status or 0) >= 500 or (record.status == 200 and record.end not in _HARMLESS)
    attributes = _known(
        {
            "http.request.method": method,
            "url.scheme": "http",
            "url.path": path,
            "http.route": route,
            "http.response.status_code": record.status,
            "error.type": record.code,
            "chukei.end": None if record.end is None else record.end.value,
            "chukei.attempts": len(record.tries) if len(record.tries) > 1 else None,
        }
    )
    name = "HTTP" if method == OTHER else method
    return Form(name if route is None else f"{name} {route}", SERVER, attributes, failed)


def _known(optional: Optional) -> Attributes:
    """Return the attributes that have a name in this version, and a value."""
    return {name: value for name, value in optional.items() if name is not None and value is not None}


def _add(attributes: Attributes, name: str | None, value: Value) -> None:
    """Add an attribute that has a name in this version, and a value other than zero."""
    if name is not None and value:
        attributes[name] = value


def _route(record: RequestRecord) -> str | None:
    """Return the form of the path, without names of deployments and ids; None for one that the relay does not serve."""
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
