"""The OpenAPI 3.1 description of the administrators' API.

The schemas are the classes of ``schemas``, the paths are in ``operations``, and the errors in ``openapi_errors``.
Parameters are in this module. A relay makes the description when a client first asks for it.
"""

from typing import Any

import msgspec

from chukei.accounts.ledger import By
from chukei.accounts.outcomes import Outcome
from chukei.admin import schemas
from chukei.admin.audit import MOST_CHANGES
from chukei.admin.keys import MOST_KEYS, STATES
from chukei.admin.openapi_errors import ERROR_RESPONSES, ErrorResponse
from chukei.admin.operations import OPERATIONS, Operation
from chukei.admin.query import MAX_ROWS, MOST_CALLERS, MOST_SKIPPED
from chukei.pool.member import Status

Json = dict[str, Any]

_INFO = {
    "title": "chukei, for administrators",
    "version": "1",
    "summary": "Callers' keys, who used what, and how the deployments are doing.",
    "description": "Served below `/admin` by a relay whose configuration has an administrators' key or Entra ID for "
    "them; without either none of these routes exists. Whoever may only look gets 403 for anything but `GET` and "
    "`HEAD`. Pages of other sites may never use them (no CORS). Every answer carries `x-request-id` "
    "and `cache-control: no-store`. `HEAD` works where `GET` does. A query parameter that is not listed here is "
    "refused, so that a misspelt filter never counts, or deletes, more than was meant.",
    "license": {"name": "MIT", "identifier": "MIT"},
}
_TAGS = {
    "access": "Who is signed in, and how.",
    "usage": "What the ledger holds.",
    "callers": "Who asks, and what is left to whom.",
    "keys": "What callers authenticate with.",
    "rules": "Limits and groups that are set while relays run.",
    "audit": "What administrators have changed.",
    "state": "How the relay that answers is doing; others may see it differently.",
}
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "The administrators' key of the configuration, or an Entra ID access token with one of the "
    "administrators' roles. They open nothing else, and callers' keys and tokens open nothing here.",
}

_TEXT = {"type": "string"}
_PARAMETERS: dict[str, Json] = {
    "by": {
        "description": "What to sum by, in order; several with commas.",
        "style": "form",
        "explode": False,
        "schema": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/By"},
            "uniqueItems": True,
            "minItems": 1,
            "default": ["caller"],
        },
        "example": ["caller", "model"],
    },
    "since": {
        "description": "From when on: a span back from now (`90m`, `24h`, `7d`, `4w`), a day of UTC (`2026-11-01`), or "
        "an ISO 8601 time, in UTC unless it says otherwise.",
        "schema": _TEXT | {"default": "30d"},
        "example": "7d",
    },
    "until": {
        "description": "Up to but not including when; as `since`. Without it, until now.",
        "schema": _TEXT,
        "example": "2026-11-22",
    },
    "caller": {"description": "Only this caller's.", "schema": _TEXT, "example": "team-search"},
    "group": {"description": "Only this group's.", "schema": _TEXT, "example": "research"},
    "model": {"description": "Only of this model.", "schema": _TEXT, "example": "gpt-4o"},
    "end-reason": {
        "description": "Only those that ended so; the ends are those of the log.",
        "schema": _TEXT,
        "example": "timeout",
    },
    "code": {"description": "Only those with this error code.", "schema": _TEXT, "example": "rate_limit_exceeded"},
    "outcome": {
        "description": "Only those that were answered, refused or failed, or that the client left.",
        "schema": _TEXT | {"enum": [*Outcome]},
        "example": "refused",
    },
    "find": {
        "description": "A part of the caller's name, in either case; without it all callers.",
        "schema": _TEXT | {"default": ""},
        "example": "search",
    },
    "callers": {
        "name": "limit",
        "description": "The most callers to send; `rows` in the answer says how many there are.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_CALLERS, "default": 50},
        "example": 20,
    },
    "name": {
        "name": "caller",
        "in": "path",
        "required": True,
        "description": "The caller's name, percent-encoded.",
        "schema": _TEXT | {"minLength": 1, "maxLength": 128},
        "example": "team-search",
    },
    "limit": {
        "description": "The most rows to send; `rows` in the answer says how many there are.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": MAX_ROWS},
        "example": 20,
    },
    "format": {
        "description": "JSON, or CSV as in RFC 4180 with a head line; a name that a spreadsheet would take for a "
        "formula then has an apostrophe before it.",
        "schema": _TEXT | {"enum": ["json", "csv"], "default": "json"},
        "example": "json",
    },
    "whose": {
        "name": "caller",
        "required": True,
        "description": "Whose entries.",
        "schema": _TEXT | {"minLength": 1},
        "example": "team-search",
    },
    "find_key": {
        "name": "find",
        "description": "Only keys whose id, caller, group or note contains this, in either case.",
        "schema": _TEXT,
        "example": "search",
    },
    "state": {"description": "Only keys in this state.", "schema": _TEXT | {"enum": [*STATES]}, "example": "active"},
    "most_keys": {
        "name": "limit",
        "description": "The most keys to send; `rows` in the answer says how many there are.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_KEYS, "default": MOST_KEYS},
        "example": 50,
    },
    "offset": {
        "description": "How many come before the first that is sent: a page further on in the same order.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MOST_SKIPPED, "default": 0},
        "example": 50,
    },
    "most_changes": {
        "name": "limit",
        "description": "The most changes to send.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_CHANGES, "default": 100},
        "example": 100,
    },
    "before": {
        "description": "Only changes with a smaller number than this.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1041,
    },
    "id": {
        "in": "path",
        "required": True,
        "description": "The public part of a key.",
        "schema": _TEXT | {"minLength": 1, "maxLength": 128},
        "example": "3fQ9dLm2Xc7Z",
    },
}
"""Parameters by name; they are in the query by default."""

_IN_PATH = {"id": "{id}", "name": "{caller}"}
"""Parameters in paths, and their places there."""


def document() -> bytes:
    """Return the description as JSON."""
    paths: dict[str, Json] = {}
    for (method, path), operation in OPERATIONS.items():
        named = [_ref("parameters", name) for name, form in _IN_PATH.items() if form in path]
        item = paths.setdefault(path, {"parameters": named} if named else {})
        item[method.lower()] = _operation(operation)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": _INFO,
            "servers": [{"url": "/admin", "description": "Below the address at which the relay is reached."}],
            "security": [{"adminKey": []}],
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": paths,
            "components": {
                "securitySchemes": {"adminKey": _SCHEME},
                "parameters": {
                    name: {"name": name, "in": "query"} | parameter for name, parameter in _PARAMETERS.items()
                },
                "responses": {name: _error_response(error) for name, error in ERROR_RESPONSES.items()},
                "schemas": _schemas(),
            },
        }
    )


def _operation(operation: Operation) -> Json:
    found: Json = {"operationId": operation.name, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        found["description"] = operation.description
    if operation.parameters:
        found["parameters"] = [_ref("parameters", name) for name in operation.parameters]
    if operation.body is not None:
        found["requestBody"] = {"required": operation.body_required, "content": _json(operation.body)}
    content = _json(operation.answer)
    if operation.events:
        content = {"text/event-stream": content["application/json"]}
    if operation.csv:
        content["text/csv"] = {"schema": _TEXT, "example": operation.csv}
    answer = {str(operation.status): {"description": operation.outcome, "content": content}}
    errors = {str(ERROR_RESPONSES[name].status): _ref("responses", name) for name in operation.errors}
    found["responses"] = answer | errors
    if operation.open:
        found["security"] = []
    return found


def _json(example: msgspec.Struct) -> Json:
    return {"application/json": {"schema": _ref("schemas", type(example).__name__), "example": example}}


def _error_response(error: ErrorResponse) -> Json:
    examples = {
        code: {"value": schemas.Error(schemas.ErrorBody(message, error.type, param, code))}
        for code, (message, param) in error.examples.items()
    }
    content = {"application/json": {"schema": _ref("schemas", "Error"), "examples": examples}}
    headers = {"headers": error.headers} if error.headers else {}
    return {"description": error.when, "content": content} | headers


def _schemas() -> Json:
    kinds = [type(body) for each in OPERATIONS.values() for body in (each.answer, each.body) if body is not None]
    _, found = msgspec.json.schema_components([*kinds, schemas.Error], ref_template="#/components/schemas/{name}")
    for kind in (By, Status):
        found[kind.__name__]["enum"] = [*kind]  # in the order of their definition, which descriptions follow
    return found


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
