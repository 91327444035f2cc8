"""The route of a method and a path.

/api/chat-stream                        the simple form
/v1/…, /openai/v1/…                     as OpenAI's clients send it
/openai/deployments/{model}/…, /openai/…, with ?api-version=   as Azure's clients send it
/models/…                               as the client of Azure AI Foundry's model inference sends it
/anthropic/v1/…                         as Anthropic's clients for Foundry send it; /v1/messages as its other clients do
/admin/…                                for administrators
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from chukei.azure import CHAT, OPERATIONS, PREVIEWS, REALTIME, RESPONSES, is_api_version
from chukei.errors import CallerError
from chukei.model import Operation
from chukei.request import object_routes
from chukei.request.object_routes import MAX_SHOWN, Ids, ObjectRoute


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
    REALTIME = "realtime"


@dataclass(frozen=True, slots=True)
class Route:
    """The target of a request. ``model`` is the model's name in the path of an operation.

    ``object`` is the route of stored objects, with the ``ids`` in its path. ``name`` is the address of the asset or
    the name of the model in the path of a page; for administrators, the path after ``/admin``. ``realtime`` is the kind
    of request that prepares a realtime session; then ``name`` is the call's id, if any.
    """

    operation: Operation | None = None
    page: Page | None = None
    model: str | None = None
    api_version: str | None = None
    simple: bool = False
    name: str = ""
    object: ObjectRoute | None = None
    ids: Ids = ()
    realtime: str = ""


class SocketRoute(NamedTuple):
    """The target of a WebSocket's handshake: an operation whose requests are messages, and the query of it.

    ``key`` is the credential in the query, which browsers need since they cannot send header fields.
    """

    operation: Operation
    model: str | None = None
    api_version: str | None = None
    intent: str | None = None
    call_id: str | None = None
    key: str | None = None


SOCKETS = {each.path: each for each in (RESPONSES, REALTIME)}
"""The operations that are served over WebSockets, below each prefix."""

REALTIME_ROUTES = {
    "realtime/client_secrets": "client_secrets",
    "realtime/sessions": "sessions",
    "realtime/transcription_sessions": "transcription_sessions",
    "realtime/calls": "calls",
    "realtimeapi/sessions": "sessions",
    "realtimeapi/transcription_sessions": "transcription_sessions",
}
"""The routes that prepare a realtime session by HTTP. ``realtime/calls/{id}/hangup`` ends one."""

_HANGUP = re.compile(r"realtime/calls/([\w-]{1,128})/hangup", re.ASCII)

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
_PREFIXES = {"/v1/": False, "/anthropic/v1/": False, "/openai/v1/": False, "/openai/": True, "/models/": False}
"""Prefixes of operations whose body names the model, and whether ``api-version`` is a version of Azure OpenAI's API.
Below /models it is a version of another API. Longer prefixes come first."""

_OBJECTS = frozenset({"/v1/", "/openai/v1/", "/openai/"})
"""Prefixes of the routes of stored objects."""

_APIS = {"/v1/": ("openai", "anthropic"), "/anthropic/v1/": ("anthropic",)}  # any other prefix has OpenAI's

_SLASHES = re.compile(r"(?<!/openai/deployments)/{2,}")

ADMIN = "/admin"
ADMIN_PAGE = "admin.html"
ADMIN_DOCUMENT = "admin-openapi.json"
ADMIN_ROUTES = {
    "/sign-in": ("GET", "HEAD"),
    "/session": ("GET", "HEAD"),
    "/usage": ("GET", "HEAD", "DELETE"),
    "/callers": ("GET", "HEAD"),
    "/callers/{caller}": ("GET", "HEAD"),
    "/groups": ("GET", "HEAD"),
    "/keys": ("GET", "HEAD", "POST"),
    "/keys/{id}/rotate": ("POST",),
    "/keys/{id}/revoke": ("POST",),
    "/deployments": ("GET", "HEAD"),
    "/ledger": ("GET", "HEAD"),
    "/rules": ("GET", "HEAD", "POST"),
    "/changes": ("GET", "HEAD"),
    "/configuration": ("GET", "HEAD"),
    "/reload": ("POST",),
    "/log-level": ("GET", "HEAD", "PUT"),
    "/live/events": ("GET", "HEAD"),
}
"""Paths below ``/admin`` and their methods. Other sites' pages may not use them, so there is no OPTIONS."""

ADMIN_SIGN_IN = "/sign-in"
"""The one of them that needs no credential."""

ADMIN_FEED = "/live/events"
"""The one of them that is answered with a stream."""

_ADMIN_PAGES = {"": ADMIN_PAGE, "/live": "../admin#/now", "/openapi.json": ADMIN_DOCUMENT}
"""What is at each path: a file, or another address relative to it."""


def _form(route: str) -> re.Pattern[str]:
    """Return the form of an administrators' path. Callers' names may have slashes, also decoded by a proxy."""
    form = re.escape(route).replace(r"\{id\}", "[^/]{1,128}")
    return re.compile(form.replace(r"\{caller\}", ".{1,1152}"))  # 128 characters of up to nine each


_ADMIN_FORMS = [(_form(route), methods) for route, methods in ADMIN_ROUTES.items()]

_MEMORABLE = 512
"""Characters of a path and query up to which a route is cached, so that clients cannot fill the memory."""

MAX_PARAMETERS = 64
"""Parameters in a query; Azure's clients send one or two."""

MAX_ENCODED_NAME = 1024
"""Characters of an encoded model name in a path: 100 characters of up to nine each."""

_LONGEST_PARAMETER = 16 * 1024
"""Characters of one parameter of a handshake's query, which may be an access token."""

_LONGEST_KEY = 3 * len("api-version")
_LONGEST_VALUE = 3 * len("2024-10-21-preview")


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
    known = _by_method(path, query)
    if not known:
        from chukei.request.unserved import missing  # only for paths that are wrong

        raise missing(path, raw_path, _rest(path))
    _allow(method, tuple(known), path)
    return known[method]


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
    from chukei.request.unserved import is_theirs

    if _operation(path, "") is not None or is_theirs(_rest(path)):
        message = f"{path[:MAX_SHOWN]!r} is not served over WebSocket here; send the request as an HTTP POST."
        # RFC 9110 §15.5.22 requires the field that names the protocol to use.
        raise CallerError(426, "websocket_not_supported", message, headers=[(b"upgrade", b"HTTP/1.1")])


def socket_of(raw_path: str, query: str) -> SocketRoute | None:
    """Return the target of a WebSocket's handshake; None for a path that is not served over WebSockets.

    Raises:
        CallerError: 400 for a query that is malformed or names one thing twice.
    """
    prefix, rest = _split(_collapsed(raw_path).removesuffix("/"))
    operation = SOCKETS.get(rest)
    if operation is None or prefix == "/models/":
        return None
    found = parameters(query)
    for one, other in (("model", "deployment"),):
        if len({found[name] for name in (one, other) if name in found}) > 1:
            raise CallerError(400, "invalid_query", f"'{one}' and '{other}' must not differ.", param=other)
    return SocketRoute(
        operation,
        found.get("model", found.get("deployment")) or None,
        _api_version(query) if _PREFIXES[prefix] else None,
        found.get("intent") or None,
        found.get("call_id") or None,
        found.get("api-key") or None,
    )


def parameters(query: str) -> dict[str, str]:
    """Return the parameters of a query.

    Raises:
        CallerError: 400, one comes twice, or there are too many.
    """
    found: dict[str, str] = {}
    for parameter in query.split("&") if query else ():
        key, _, value = parameter.partition("=")
        if len(found) >= MAX_PARAMETERS or len(parameter) > _LONGEST_PARAMETER or (key := unquote_plus(key)) in found:
            raise CallerError(400, "invalid_query", "The query has too many parameters, or the same one twice.")
        found[key] = unquote_plus(value)
    return found


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
        return Route(page=Page.ASSET, name=path[1:])
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
        if found is not None and found.api == "openai" and name:
            return Route(found, model=_model(name), api_version=_api_version(query))
    prefix, rest = _split(path)
    known = OPERATIONS.get(rest)
    if known is not None and known.api in _APIS.get(prefix, ("openai",)):
        return Route(known, api_version=_api_version(query) if _PREFIXES[prefix] else _preview(query))
    return None


def _by_method(path: str, query: str) -> dict[str, Route]:
    """Return the routes of a path by their method. An operation's name is no object's id."""
    found = {}
    operation = _operation(path, query)
    prepares = operation or _realtime(path, query)
    if prepares is not None:
        found["POST"] = prepares
    prefix, rest = _split(path)
    if prefix in _OBJECTS and not path.startswith(_DEPLOYMENTS):
        for route, ids in object_routes.match(rest):
            if operation is None or not ids:
                version = _api_version(query) if _PREFIXES[prefix] else _preview(query)
                found[route.method] = Route(api_version=version, object=route, ids=ids)
    return found


def _realtime(path: str, query: str) -> Route | None:
    prefix, rest = _split(path)
    if not rest.startswith("realtime") or prefix == "/models/":
        return None
    hangup = _HANGUP.fullmatch(rest)
    kind = "hangup" if hangup else REALTIME_ROUTES.get(rest)
    if kind is None:
        return None
    version = _api_version(query) if _PREFIXES[prefix] else None
    return Route(page=Page.REALTIME, api_version=version, realtime=kind, name=hangup[1] if hangup else "")


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


def _preview(query: str) -> str | None:
    """Return the ``api-version`` of a query on a route of v1, where nothing but ``PREVIEWS`` has a meaning."""
    version = next((each[12:] for each in query.split("&") if each.startswith("api-version=")), None)
    return version if version in PREVIEWS else None


def _allow(method: str, allowed: tuple[str, ...], path: str, *, others: tuple[str, ...] = ("OPTIONS",)) -> None:
    if method not in allowed:
        names = ", ".join((*allowed, *others))
        raise CallerError(
            405,
            "method_not_allowed",
            f"{path[:MAX_SHOWN]!r} takes {' or '.join(allowed)}, not {method[:MAX_SHOWN]}.",
            headers=[(b"allow", names.encode())],
        )


def _rest(path: str) -> str:
    """Return the part of a path that names an operation or an object; empty if it has no prefix."""
    if path.startswith(_DEPLOYMENTS):
        name, _, rest = path.removeprefix(_DEPLOYMENTS).partition("/")
        return rest if name else ""
    return _split(path)[1]
