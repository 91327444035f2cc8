"""The route of a method and a path.

/api/chat-stream                        the simple form
/v1/…, /openai/v1/…                     as OpenAI's clients send it
/openai/deployments/{model}/…, /openai/…, with ?api-version=   as Azure's clients send it
/models/…                               as the client of Azure AI Foundry's model inference sends it
/admin/…                                for administrators
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

from chukei.azure import CHAT, OPERATIONS, is_api_version
from chukei.errors import CallerError
from chukei.model import Operation


class Page(StrEnum):
    """A resource that the relay answers itself."""

    CHAT_PAGE = "chat_page"
    ASSET = "asset"
    LIVE = "live"
    READY = "ready"
    DEPLOYMENTS = "deployments"
    TEST_STREAM = "test_stream"
    MODELS = "models"
    USAGE = "usage"
    METRICS = "metrics"
    ADMIN_PAGE = "admin_page"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Route:
    """The target of a request. ``model`` is the model's name in the path of an operation.

    ``name`` is the name of the asset or model in the path of a page; for administrators, the path after ``/admin``.
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
    "/metrics": Page.METRICS,
    "/v1/models": Page.MODELS,
    "/openai/v1/models": Page.MODELS,
    "/openai/models": Page.MODELS,
    "/v1/usage": Page.USAGE,
    "/openai/v1/usage": Page.USAGE,
}
_MODEL_PREFIXES = ("/v1/models/", "/openai/v1/models/", "/openai/models/")
_DEPLOYMENTS = "/openai/deployments/"
_PREFIXES = {"/v1/": False, "/openai/v1/": False, "/openai/": True, "/models/": False}
"""Prefixes of operations whose body names the model, and whether ``api-version`` is a version of Azure OpenAI's API.
Below /models it is a version of another API. Longer prefixes come first."""

_UNSERVED = frozenset(
    """
    assistants audio batch batches chat chatkit containers conversations embeddings evals extensions files fine_tuning
    fine-tunes graders images info ingestion moderations organization projects realtime responses skills threads
    uploads vector_stores video videos
    """.split()  # noqa: SIM905 - a list of so many words is easier to read as text
)
"""First segments of routes in OpenAI's and Azure's APIs that the relay does not serve."""

_SLASHES = re.compile(r"(?<!/openai/deployments)/{2,}")
_DOUBLED = "/v1/v1"

ADMIN = "/admin"
ADMIN_PAGE = "admin.html"
LIVE_PAGE = "live.html"
ADMIN_DOCUMENT = "admin-openapi.json"
ADMIN_ROUTES = {
    "/usage": ("GET", "HEAD", "DELETE"),
    "/keys": ("GET", "HEAD", "POST"),
    "/keys/{id}/rotate": ("POST",),
    "/keys/{id}/revoke": ("POST",),
    "/deployments": ("GET", "HEAD"),
    "/ledger": ("GET", "HEAD"),
    "/rules": ("GET", "HEAD", "POST"),
    "/changes": ("GET", "HEAD"),
    "/reload": ("POST",),
    "/log-level": ("GET", "HEAD", "PUT"),
    "/live/events": ("GET", "HEAD"),
}
"""Paths below ``/admin`` and their methods. Other sites' pages may not use them, so there is no OPTIONS."""

ADMIN_FEED = "/live/events"
"""The one of them that is answered with a stream."""

_ADMIN_PAGES = {"": ADMIN_PAGE, "/live": LIVE_PAGE, "/openapi.json": ADMIN_DOCUMENT}

_ADMIN_FORMS = [
    (re.compile(re.escape(route).replace(r"\{id\}", "[^/]{1,128}")), methods) for route, methods in ADMIN_ROUTES.items()
]

_MEMORABLE = 512
"""Characters of a path and query up to which a route is cached, so that clients cannot fill the memory."""

MAX_PARAMETERS = 64
"""Parameters in a query; Azure's clients send one or two."""

MAX_ENCODED_NAME = 1024
"""Characters of an encoded model name in a path: 100 characters of up to nine each."""

_LONGEST_KEY = 3 * len("api-version")
_LONGEST_VALUE = 3 * len("2024-10-21-preview")

MAX_SHOWN = 100
"""Characters of a path that an error message repeats."""


def find(method: str, raw_path: str, query: str, *, admin: bool = True) -> Route:
    """Return the route of a request. ``admin`` says whether administrators' routes exist.

    ``raw_path`` is the path as sent, still percent-encoded, since a model's name may contain an encoded slash.
    Consecutive slashes count as one, as on Azure, because clients join a base URL that ends in a slash with a path that
    begins with one. Administrators' paths are the exception.

    Raises:
        CallerError: 404 for an unknown path and for one that only OpenAI or Azure serve, 405 (with ``allow``) for a
            wrong method, 400 for an invalid model name or api-version.
    """
    if len(raw_path) + len(query) > _MEMORABLE:
        return _find(method, raw_path, query, admin)
    return _remembered(method, raw_path, query, admin)


def _find(method: str, raw_path: str, query: str, admin: bool) -> Route:
    if admin and is_admin(raw_path):
        return _admin(method, raw_path)
    path = _collapsed(raw_path)
    path = path if path == "/" else path.removesuffix("/")
    page = _page(path)
    if page is not None:
        _allow(method, ("GET", "HEAD"), path)
        return page
    route = _operation(path, query)
    if route is None:
        raise _missing(path, raw_path)
    _allow(method, ("POST",), path)
    return route


_remembered = lru_cache(1024)(_find)


def is_admin(raw_path: str) -> bool:
    """Whether a path is ``/admin`` or below it, known or not.

    Slashes are not collapsed: a proxy that protects ``/admin`` may not recognise the path with additional slashes.
    """
    return raw_path == ADMIN or raw_path.startswith(f"{ADMIN}/")


def _collapsed(raw_path: str) -> str:
    """Collapse consecutive slashes, except at an empty deployment name, where the path would change its meaning."""
    return _SLASHES.sub("/", raw_path) if "//" in raw_path else raw_path


def refuse_websocket(raw_path: str) -> None:
    """Refuse a WebSocket handshake on the path of an operation, served or not.

    Clients that can fall back to HTTP, such as Codex, do so at once after a 426; after a 405 they retry
    (openai/codex#10824).

    Raises:
        CallerError: 426.
    """
    path = _collapsed(raw_path).removesuffix("/")
    if _operation(path, "") is not None or _is_unserved(path):
        message = f"{path[:MAX_SHOWN]!r} is not served over WebSocket here; send the request as an HTTP POST."
        # RFC 9110 §15.5.22 requires the field that names the protocol to use.
        raise CallerError(426, "websocket_not_supported", message, headers=[(b"upgrade", b"HTTP/1.1")])


def _admin(method: str, raw_path: str) -> Route:
    path = raw_path.removeprefix(ADMIN).removesuffix("/")
    if path in _ADMIN_PAGES:
        _allow(method, ("GET", "HEAD"), raw_path, others=())
        # Relative links would break at /admin/, so such a path redirects to the one without the slash.
        place = f"../{(ADMIN + path).rpartition('/')[2]}" if raw_path.endswith("/") else _ADMIN_PAGES[path]
        return Route(page=Page.ADMIN_PAGE, name=place)
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
    if path.startswith(_DEPLOYMENTS):
        name, _, rest = path.removeprefix(_DEPLOYMENTS).partition("/")
        found = OPERATIONS.get(rest)
        if found is not None and name:
            return Route(found, model=_model(name), api_version=_api_version(query))
    prefix, rest = _split(path)
    known = OPERATIONS.get(rest)
    if known is not None:
        return Route(known, api_version=_api_version(query) if _PREFIXES[prefix] else None)
    return None


def _split(path: str) -> tuple[str, str]:
    """Return the prefix before an operation and the rest; both are empty if no prefix matches."""
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            return prefix, path.removeprefix(prefix)
    return "", ""


def _model(encoded: str) -> str:
    if len(encoded) > MAX_ENCODED_NAME:
        raise CallerError(400, "invalid_model", "The model's name in the path is too long.")
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        raise CallerError(400, "invalid_model", "The model's name in the path is not UTF-8.") from None


def _api_version(query: str) -> str | None:
    """Return a query's ``api-version``. Parameters that are too long to be it are not decoded."""
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


def _is_unserved(path: str) -> bool:
    """Whether OpenAI's or Azure's APIs have this route."""
    if path.startswith(_DEPLOYMENTS):
        name, _, rest = path.removeprefix(_DEPLOYMENTS).partition("/")
        if not name:
            return False
    else:
        rest = _split(path)[1]
    return rest.partition("/")[0] in _UNSERVED


def _missing(path: str, raw_path: str) -> CallerError:
    shown = repr(raw_path[:MAX_SHOWN])
    if _is_unserved(path):
        message = (
            f"This relay does not serve {shown}, a route of OpenAI's or Azure's APIs. It serves "
            f"{', '.join(OPERATIONS)} and models; for anything else call the resource itself."
        )
        return CallerError(404, "route_not_served", message)
    return CallerError(404, "unknown_route", f"There is no route {shown}. {_hint(path)}")


def _hint(path: str) -> str:
    if _DOUBLED in path:
        return "The client adds /v1 itself: leave it out of its base URL."
    if f"{_DEPLOYMENTS}/" in path:
        return "The deployment's name is empty: set it in the client."
    last = path.rpartition("/")[2]
    for known in OPERATIONS:
        if last and known.endswith(last):
            return f"Did you mean /v1/{known}?"
    if _split(path)[0]:
        return f"Below /v1 there are {', '.join(OPERATIONS)}, models and usage."
    return "Chat is at /v1/chat/completions and /api/chat-stream; set the client's base URL to end in /v1."
