"""The OpenAPI 3.1 description of the administrators' API.

The schemas are the classes of ``schemas``, and the paths are in ``operations``. Parameters and errors are in this
module. A relay makes the description when a client first asks for it.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from chukei.accounts.ledger import By
from chukei.admin import schemas
from chukei.admin.api import MAX_BODY_BYTES
from chukei.admin.feed import MOST_VIEWERS
from chukei.admin.operations import OPERATIONS, Operation
from chukei.admin.query import FIELDS, MAX_ROWS
from chukei.pool.member import Status

Json = dict[str, Any]

_INFO = {
    "title": "chukei, for administrators",
    "version": "1",
    "summary": "Callers' keys, who used what, and how the deployments are doing.",
    "description": "Served below `/admin` by a relay whose configuration has an administrators' key; without one none "
    "of these routes exists. Pages of other sites may never use them (no CORS). Every answer carries `x-request-id` "
    "and `cache-control: no-store`. `HEAD` works where `GET` does. A query parameter that is not listed here is "
    "refused, so that a misspelt filter never counts, or deletes, more than was meant.",
    "license": {"name": "MIT", "identifier": "MIT"},
}
_TAGS = {
    "usage": "What the ledger holds.",
    "keys": "What callers authenticate with.",
    "rules": "Limits and groups that are set while relays run.",
    "state": "How the relay that answers is doing; others may see it differently.",
}
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "The administrators' key of the configuration. It opens nothing else, and callers' keys open "
    "nothing here.",
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
    "id": {
        "in": "path",
        "required": True,
        "description": "The public part of a key.",
        "schema": _TEXT | {"minLength": 1, "maxLength": 128},
        "example": "3fQ9dLm2Xc7Z",
    },
}
"""Parameters by name; they are in the query by default."""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The errors of one status: their cause, their type, and for each code an example with message and ``param``."""

    status: int
    when: str
    type: str
    examples: dict[str, tuple[str, str | None]]
    headers: Json = field(default_factory=dict)


_ERROR_RESPONSES = {
    "BadRequest": ErrorResponse(
        400,
        "The request makes no sense; nothing was changed.",
        "invalid_request_error",
        {
            "invalid_value": (f"'by' must be one or more of {', '.join(By)}, each once and with commas between.", "by"),
            "unknown_parameter": (f"'callr' is not known here; known are {', '.join(sorted(FIELDS))}.", None),
            "duplicate_parameter": ("'caller' is given more than once; give it once.", "caller"),
            "invalid_json": (
                "The request's body is not what is expected: Object missing required field `caller`.",
                None,
            ),
            "key_has_ended": ("This key has ended; make a new one instead.", "id"),
            "ambiguous_credentials": (
                "Send one credential here, 'Authorization: Bearer KEY', and no other.",
                None,
            ),
        },
    ),
    "Unauthorized": ErrorResponse(
        401,
        "The key is missing or wrong.",
        "authentication_error",
        {
            "invalid_admin_key": (
                "The administrators' key is needed: send it as 'Authorization: Bearer KEY'.",
                None,
            )
        },
        {"WWW-Authenticate": {"description": "`Bearer`, with the realm of administrators.", "schema": _TEXT}},
    ),
    "NoSuchKey": ErrorResponse(
        404,
        "There is no such key.",
        "invalid_request_error",
        {"key_not_found": ("There is no key with that id.", "id")},
    ),
    "Refused": ErrorResponse(
        409,
        "The new configuration has mistakes, all of which are named; the one before stays in force.",
        "invalid_request_error",
        {
            "configuration_refused": (
                "The new configuration is refused, and the old one stays: relay.toml: sever: is not a known key; "
                "did you mean server?",
                None,
            )
        },
    ),
    "TooLarge": ErrorResponse(
        413,
        "The body is larger than anything that makes sense here.",
        "invalid_request_error",
        {
            "request_too_large": (
                f"The request's body is larger than {MAX_BODY_BYTES} bytes, the most that is taken here.",
                None,
            )
        },
    ),
    "TooManyFailures": ErrorResponse(
        429,
        "Too many wrong keys came from this address. The right one still opens.",
        "authentication_error",
        {"too_many_failures": ("Too many attempts with wrong credentials; try again later.", None)},
        {
            "Retry-After": {
                "description": "Seconds until the next attempt is looked at.",
                "schema": {"type": "integer", "minimum": 1},
            }
        },
    ),
    "TooManyViewers": ErrorResponse(
        503,
        "Too many viewers look at this process already.",
        "server_error",
        {
            "too_many_viewers": (
                f"{MOST_VIEWERS} viewers look at this process already; close one, or try again.",
                None,
            )
        },
        {
            "Retry-After": {
                "description": "Seconds until the next attempt makes sense.",
                "schema": {"type": "integer", "minimum": 1},
            }
        },
    ),
    "LedgerUnavailable": ErrorResponse(
        503,
        "The database cannot be asked at the moment.",
        "server_error",
        {"ledger_unavailable": ("The database cannot be asked: it is locked", None)},
    ),
}


def document() -> bytes:
    """Return the description as JSON."""
    paths: dict[str, Json] = {}
    for (method, path), operation in OPERATIONS.items():
        item = paths.setdefault(path, {"parameters": [_ref("parameters", "id")]} if "{id}" in path else {})
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
                "responses": {name: _error_response(error) for name, error in _ERROR_RESPONSES.items()},
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
    errors = {str(_ERROR_RESPONSES[name].status): _ref("responses", name) for name in operation.errors}
    found["responses"] = answer | errors
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
