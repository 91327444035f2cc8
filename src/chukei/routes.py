"""What a method and a path mean: one table for the three ways in.

/api/chat-stream                        the simple form
/v1/…, /openai/v1/…                     as OpenAI's clients send it
/openai/deployments/{model}/…, /openai/responses, with ?api-version=   as Azure's clients send it

and beside it what is below /admin, for administrators.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

from chukei.errors import CallerError
from chukei.model import Operation
from chukei.wire import CHAT, OPERATIONS, RESPONSES, is_api_version


class Page(StrEnum):
    """What the relay answers itself."""

    CHAT_PAGE = "chat_page"
    ASSET = "asset"
    LIVE = "live"
    READY = "ready"
    DEPLOYMENTS = "deployments"
    TEST_STREAM = "test_stream"
    MODELS = "models"
    USAGE = "usage"
    ADMIN_PAGE = "admin_page"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``model`` is the name in the path; ``name`` what a page or a model look-up asks for.

    For administrators' requests ``name`` is what follows ``/admin`` in the path.
    """

    operation: Operation | None = None
    page: Page | None = None
    model: str | None = None
    api_version: str | None = None
    simple: bool = False
    name: str = ""


_PAGES = {
    "/": Page.CHAT_PAGE,
    "/health/live": Page.LIVE,
    "/health/ready": Page.READY,
    "/health/deployments": Page.DEPLOYMENTS,
    "/api/test-stream": Page.TEST_STREAM,
    "/v1/models": Page.MODELS,
    "/openai/v1/models": Page.MODELS,
    "/openai/models": Page.MODELS,
    "/v1/usage": Page.USAGE,
    "/openai/v1/usage": Page.USAGE,
}
_MODEL_PREFIXES = ("/v1/models/", "/openai/v1/models/", "/openai/models/")
_V1_PREFIXES = ("/v1/", "/openai/v1/")
_DEPLOYMENTS = "/openai/deployments/"

ADMIN = "/admin"
ADMIN_PAGE = "admin.html"
ADMIN_DOCUMENT = "admin-openapi.json"
ADMIN_ROUTES = {
    "/usage": ("GET", "HEAD", "DELETE"),
    "/keys": ("GET", "HEAD", "POST"),
    "/keys/{id}/rotate": ("POST",),
    "/keys/{id}/revoke": ("POST",),
    "/deployments": ("GET", "HEAD"),
    "/ledger": ("GET", "HEAD"),
}
"""What follows ``/admin``, with the methods. No other site's page may use it, so there is no OPTIONS."""

_ADMIN_FORMS = [
    (re.compile(re.escape(route).replace(r"\{id\}", "[^/]{1,128}")), methods) for route, methods in ADMIN_ROUTES.items()
]

_MEMORABLE = 512
"""Routes of longer paths are not kept ready, lest clients fill the memory."""

MAX_PARAMETERS = 64
"""Parameters in a query; Azure's clients send one or two."""

MAX_ENCODED_NAME = 1024
"""Characters of a model's name in a path, where each of 100 may take nine."""

_LONGEST_KEY = 3 * len("api-version")
_LONGEST_VALUE = 3 * len("2024-10-21-preview")

MAX_SHOWN = 100
"""How much of a path an error repeats."""


def find(method: str, raw_path: str, query: str, *, admin: bool = True) -> Route:
    """Return the route of a request. ``admin`` says whether there are those of administrators.

    ``raw_path`` is the path as sent, still percent-encoded, since a model's name may hold an encoded slash.

    Raises:
        CallerError: 404 for an unknown path, 405 (with ``allow``) for a wrong method, 400 for a nonsensical model
            name or api-version.
    """
    if len(raw_path) + len(query) > _MEMORABLE:
        return _find(method, raw_path, query, admin)
    return _remembered(method, raw_path, query, admin)


def _find(method: str, raw_path: str, query: str, admin: bool) -> Route:
    if admin and is_admin(raw_path):
        return _admin(method, raw_path)
    path = raw_path if raw_path == "/" else raw_path.removesuffix("/")
    page = _page(path)
    if page is not None:
        _allow(method, ("GET", "HEAD"), path)
        return page
    route = _operation(path, query)
    if route is None:
        raise CallerError(404, "unknown_route", f"There is no route {path[:MAX_SHOWN]!r}. {_hint(path)}")
    _allow(method, ("POST",), path)
    return route


_remembered = lru_cache(1024)(_find)


def is_admin(raw_path: str) -> bool:
    """Whether a path is one of administrators, known or not."""
    return raw_path == ADMIN or raw_path.startswith(f"{ADMIN}/")


def _admin(method: str, raw_path: str) -> Route:
    path = raw_path.removeprefix(ADMIN).removesuffix("/")
    if path in ("", "/openapi.json"):
        _allow(method, ("GET", "HEAD"), raw_path, others=())
        if path:
            return Route(page=Page.ADMIN_PAGE, name=ADMIN_DOCUMENT)
        # From /admin/ the page's own addresses would lead elsewhere, so a page without a name sends on to /admin.
        return Route(page=Page.ADMIN_PAGE, name="" if raw_path.endswith("/") else ADMIN_PAGE)
    for form, methods in _ADMIN_FORMS:
        if form.fullmatch(path):
            _allow(method, methods, raw_path, others=())
            return Route(page=Page.ADMIN, name=path)
    message = f"There is no route {raw_path[:MAX_SHOWN]!r}; {ADMIN}/openapi.json describes those that there are."
    raise CallerError(404, "unknown_route", message)


def _page(path: str) -> Route | None:
    if path in _PAGES:
        return Route(page=_PAGES[path])
    if path.startswith("/web/"):
        return Route(page=Page.ASSET, name=path.removeprefix("/web/"))
    for prefix in _MODEL_PREFIXES:
        if path.startswith(prefix):
            return Route(page=Page.MODELS, name=_model(path.removeprefix(prefix)))
    return None


def _operation(path: str, query: str) -> Route | None:
    if path == "/api/chat-stream":
        return Route(CHAT, simple=True)
    for prefix in _V1_PREFIXES:
        if path.startswith(prefix) and (operation := OPERATIONS.get(path.removeprefix(prefix))):
            return Route(operation)
    if path == "/openai/responses":
        return Route(RESPONSES, api_version=_api_version(query))
    if path.startswith(_DEPLOYMENTS):
        name, _, rest = path.removeprefix(_DEPLOYMENTS).partition("/")
        found = OPERATIONS.get(rest)
        if found is not None and name:
            return Route(found, model=_model(name), api_version=_api_version(query))
    return None


def _model(encoded: str) -> str:
    if len(encoded) > MAX_ENCODED_NAME:
        raise CallerError(400, "invalid_model", "The model's name in the path is too long.")
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        raise CallerError(400, "invalid_model", "The model's name in the path is not UTF-8.") from None


def _api_version(query: str) -> str | None:
    """Return what a query names; of the rest no more is decoded than what can be this one parameter."""
    if query.count("&") >= MAX_PARAMETERS:
        raise CallerError(400, "invalid_query", f"The query has more than {MAX_PARAMETERS} parameters.")
    versions = set()
    for parameter in query.split("&"):
        key, _, value = parameter.partition("=")
        if len(key) <= _LONGEST_KEY and unquote_plus(key) == "api-version":
            versions.add(unquote_plus(value) if len(value) <= _LONGEST_VALUE else "")
    if not versions:
        return None
    version = versions.pop()
    if versions or not is_api_version(version):
        message = "'api-version' must be one version, such as 2024-10-21."
        raise CallerError(400, "invalid_api_version", message, param="api-version")
    return version


def _allow(method: str, allowed: tuple[str, ...], path: str, *, others: tuple[str, ...] = ("OPTIONS",)) -> None:
    if method not in allowed:
        names = ", ".join((*allowed, *others))
        raise CallerError(
            405,
            "method_not_allowed",
            f"{path[:MAX_SHOWN]!r} takes {' or '.join(allowed)}, not {method[:MAX_SHOWN]}.",
            headers=[(b"allow", names.encode())],
        )


def _hint(path: str) -> str:
    last = path.rpartition("/")[2]
    for known in OPERATIONS:
        if last and known.endswith(last):
            return f"Did you mean /v1/{known}?"
    return "Chat is at /v1/chat/completions and /api/chat-stream; set the client's base URL to end in /v1."
