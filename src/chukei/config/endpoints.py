"""Addresses of resources: their forms, what Azure's APIs add to them, and the Entra ID scope of each."""

import re
from urllib.parse import SplitResult, urlsplit

from chukei.model import Api

SCOPE = "https://cognitiveservices.azure.com/.default"
"""The Entra ID scope that old and new Azure OpenAI resources accept (Microsoft: "How to configure Azure OpenAI with
Microsoft Entra ID authentication"). Newer documents name https://ai.azure.com/.default, which ``scope`` can set."""

_FOUNDRY_SCOPE = "https://ai.azure.com/.default"
"""The scope of projects and of Claude (Microsoft's and Anthropic's clients for Foundry)."""

_CLOUDS = (".azure.us", ".azure.cn")
"""Ends of host names, and of scopes, in other clouds than the public one."""

_PROJECT = re.compile(r"/api/projects/[\w.-]{1,128}", re.ASCII)
_FOUNDRY_HOST = re.compile(r".+\.services\.ai\.azure\.(?:com|us|cn)")
_API_PATH = re.compile(r"/openai(?:/v1)?\Z|/anthropic(?:/v1(?:/messages)?)?\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def split_address(given: str) -> SplitResult | None:
    """Return the parts of an address, or None if its host or port is invalid (RFC 1035 §2.3.4 for names)."""
    try:
        parts = urlsplit(given)
        _ = parts.port
        _ = (parts.hostname or "").removesuffix(".").encode("idna")
    except ValueError:
        return None
    return None if any(character.isspace() for character in parts.netloc) else parts


def clean_endpoint(given: str, *, plain_http: bool, api: Api = "openai") -> tuple[str, str | None]:
    """Return an endpoint without a trailing slash or API path, and what is wrong with it, or None."""
    parts = split_address(given.strip())
    if parts is None:
        return given, "is not an address; write https://NAME.openai.azure.com"
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        return given, "is not an https:// address; write https://NAME.openai.azure.com"
    if parts.username or parts.password:
        return given, "must not hold a user name or password; use api_key"
    if parts.query or parts.fragment:
        return given, "must end before the ? or #; the relay adds api-version itself"
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not plain_http:
        return given, "is plain http, which would show the key to the network; use https:// or set upstream.plain_http"
    written = parts.path.rstrip("/")
    path = _API_PATH.sub("", written)
    if fault := _fault_of_path(parts, path, api, written.removeprefix(path)):
        return given, fault
    # Normalised, so that all spellings of an address name the same resource (RFC 3986 §6.2.2, §6.2.3).
    authority = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
    return f"{parts.scheme}://{authority}{path}", None


def _fault_of_path(parts: SplitResult, path: str, api: Api, cut: str) -> str | None:
    """Return what is wrong with the path of an endpoint, or None. ``cut`` is the path of an API that was behind it."""
    host = parts.hostname or ""
    alone = f"must be the resource's address alone: {parts.scheme}://{parts.netloc}"
    azure = host.endswith((".azure.com", *_CLOUDS))
    if api == "openai" and cut.startswith("/anthropic"):
        return 'is Claude\'s; write api = "anthropic" beside it'
    if api == "anthropic" and (cut.startswith("/openai") or ".openai.azure." in host):
        return 'has no Claude; with api = "anthropic" write https://NAME.services.ai.azure.com'
    if _PROJECT.fullmatch(path):
        if api == "anthropic":
            return f"{alone}; projects do not serve Claude"
        if azure and not _FOUNDRY_HOST.fullmatch(host):
            return f"{alone}, or a project's: https://NAME.services.ai.azure.com{path}"
        return None
    if path.startswith("/api/projects"):
        return f"{alone}, or a project's: https://NAME.services.ai.azure.com/api/projects/PROJECT"
    if path and (azure or "/openai/" in path or path.endswith("/models")):
        return alone
    return None


def scope_of(endpoint: str, api: Api = "openai") -> str:
    """Return the Entra ID scope of an endpoint, unless the configuration sets another."""
    scope = _FOUNDRY_SCOPE if api == "anthropic" or is_project(endpoint) else SCOPE
    host = urlsplit(endpoint).hostname or ""
    return next((scope.replace(".azure.com", cloud) for cloud in _CLOUDS if host.endswith(cloud)), scope)


def is_project(endpoint: str) -> bool:
    """Whether an endpoint is that of a project of Azure AI Foundry."""
    return "/api/projects/" in endpoint
