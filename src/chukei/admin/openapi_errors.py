"""The errors in the description of the administrators' API."""

from dataclasses import dataclass, field
from typing import Any

from chukei.accounts.ledger import By
from chukei.admin.api import MAX_BODY_BYTES
from chukei.admin.feed import MOST_VIEWERS
from chukei.admin.query import FIELDS

_TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The errors of one status: their cause, their type, and for each code an example with message and ``param``."""

    status: int
    when: str
    type: str
    examples: dict[str, tuple[str, str | None]]
    headers: dict[str, Any] = field(default_factory=dict)


_IDENTITY: dict[str, tuple[str, str | None]] = {
    "identity_unavailable": (
        "The relay cannot verify access tokens now, since it has no keys of the identity provider; try again.",
        None,
    )
}
"""An operation has one response for each status, so this is an example of every response with status 503."""

ERROR_RESPONSES = {
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
        "The credential is missing, wrong or no longer valid.",
        "authentication_error",
        {
            "invalid_admin_key": (
                "The administrators' key or an access token with a role is needed: send it as 'Authorization: Bearer "
                "…'.",
                None,
            ),
            "token_expired": ("The access token has expired; get a new one.", None),
        },
        {
            "WWW-Authenticate": {
                "description": "`Bearer`, with the realm of administrators.",
                "schema": _TEXT,
            }
        },
    ),
    "Forbidden": ErrorResponse(
        403,
        "The credential is genuine, but its role is missing.",
        "permission_error",
        {
            "not_allowed": ("You may look, but not change anything; the role for changes is missing.", None),
            "missing_permission": (
                "The access token is genuine but does not hold the application role 'Chukei.Look'; who administers the "
                "tenant can grant it.",
                None,
            ),
        },
    ),
    "IdentityUnavailable": ErrorResponse(
        503,
        "The relay cannot verify access tokens at the moment. The administrators' key still opens.",
        "server_error",
        _IDENTITY,
    ),
    "NoSuchCaller": ErrorResponse(
        404,
        "There is no such caller.",
        "invalid_request_error",
        {"caller_not_found": ("No caller with this name is known.", "caller")},
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
        _IDENTITY
        | {
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
        _IDENTITY | {"ledger_unavailable": ("The database cannot be asked: it is locked", None)},
    ),
    "QuotaUnavailable": ErrorResponse(
        503,
        "The database, or the store of quotas, cannot be asked at the moment.",
        "server_error",
        _IDENTITY
        | {
            "ledger_unavailable": ("The database cannot be asked: it is locked", None),
            "quota_unavailable": (
                "What you may use cannot be looked up at the moment; try again shortly.",
                None,
            ),
        },
    ),
}
