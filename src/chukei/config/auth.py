"""Authentication settings: ``[auth]`` and ``[auth.entra]``."""

from collections.abc import Mapping
from ipaddress import ip_address

from chukei.config.endpoints import split_address
from chukei.config.reader import Reader
from chukei.config.sections import read_fields, read_section
from chukei.config.settings import AuthSettings, EntraSettings, Secret

MIN_PEPPER = 32
"""Characters; 24 random bytes in base64."""

_GUID_LENGTH = 36
_GUID_DIGITS = frozenset("0123456789abcdef-")


def read_auth(table: Reader) -> AuthSettings:
    """Read ``[auth]``."""
    environment = table.document.environment
    settings = read_fields(
        table,
        AuthSettings,
        api_key=_api_key,
        entra=_entra,
        # App Service sets it to tell the app whether its authentication is on; an app cannot change it there.
        platform_auth=environment.get("WEBSITE_AUTH_ENABLED", "").lower() == "true",
        peppers=_peppers,
    )
    if settings.anonymous and settings.api_key is not None:
        table.problem("anonymous", "is true although a key is set; drop one of them, so that it is clear who may call")
    elif settings.anonymous and (table.has("entra") or settings.app_service):
        table.problem(
            "anonymous", "is true although callers are to sign in; drop one, so that it is clear who may call"
        )
    if settings.anonymous and not settings.local:
        table.problem("local", "is false although anonymous serves everybody; drop one of them")
    if settings.unpeppered_keys and not settings.peppers:
        table.problem("unpeppered_keys", "is true without a pepper; no key has one then")
    table.done()
    return settings


def _api_key(table: Reader) -> Secret | None:
    key, document = table.secret("api_key"), table.document
    if "CHUKEI_API_KEY" in document.environment and ("auth", "api_key") not in document.origins:
        return Reader(document, {"api_key": {"env": "CHUKEI_API_KEY"}}, ("auth",)).secret("api_key")
    return key


def _peppers(table: Reader) -> dict[int, Secret]:
    """Read ``pepper``, which is version 1, and ``peppers`` by version."""
    found: dict[int, Secret] = {}
    first = _pepper(table, "pepper")
    if first is not None:
        found[1] = first
    versions = table.table("peppers")
    for name in table.mapping("peppers"):
        pepper = _pepper(versions, name)
        if not name.isdecimal() or not 0 < int(name) < 2**31:
            versions.problem(name, "is no version; count from 1: peppers = { 1 = …, 2 = … }")
        elif int(name) in found:
            versions.problem(name, "is set, and so is pepper, which is version 1; drop one of them")
        elif pepper is not None:
            found[int(name)] = pepper
    return found


def _pepper(table: Reader, name: str) -> Secret | None:
    pepper = table.secret(name)
    if pepper is not None and len(pepper.reveal()) < MIN_PEPPER:
        table.problem(name, f"must have at least {MIN_PEPPER} characters; `openssl rand -base64 32` makes some")
    return pepper


def _entra(auth: Reader) -> EntraSettings | None:
    table = auth.table("entra")
    if not auth.has("entra"):
        return None
    return read_section(
        table,
        EntraSettings,
        tenants=_tenants,
        audiences=_audiences,
        scope=read_scope,
        groups=_groups,
        authority=read_authority,
    )


def _tenants(table: Reader) -> tuple[str, ...]:
    tenants = tuple(tenant.lower() for tenant in table.strings("tenant"))
    if not tenants:
        table.problem("tenant", "is missing: the id of the tenant whose users and applications may call")
    for tenant in tenants:
        if not is_guid(tenant):
            table.problem("tenant", f"{tenant!r} is not a tenant's id; `az account show --query tenantId` shows it")
    return tenants


def _audiences(table: Reader) -> tuple[str, ...]:
    audiences = table.strings("audience")
    if not audiences:
        table.problem("audience", "is missing: the client id of the relay's app registration, or its App ID URI")
    return audiences


def read_scope(table: Reader) -> str | None:
    """Read the bare name of a scope."""
    scope = table.string("scope")
    if scope is not None and (" " in scope or "/" in scope):
        table.problem("scope", f"{scope!r} is not the bare name of one scope, such as Relay.Call")
    return scope


def _groups(table: Reader) -> Mapping[str, str]:
    known, found = table.document.tables.get("groups", {}), {}
    for claim, group in table.mapping("groups").items():
        if not isinstance(group, str):
            table.problem("groups", 'must map object ids and roles to names: { "Research.Call" = "research" }')
        elif not isinstance(known, dict) or group not in known:
            table.problem("groups", f"names {group!r}, but there is no [groups.{group}]")
        else:
            found[claim.lower() if is_guid(claim.lower()) else claim] = group
    return found


def read_authority(table: Reader) -> str:
    """Read the origin of a login service."""
    text = table.string("authority") or EntraSettings((), ()).authority
    parts = split_address(text)
    if (
        parts is None
        or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)))
        or parts.path.strip("/")
        or parts.query
        or "@" in parts.netloc
        or not parts.hostname
    ):
        table.problem(
            "authority", f"{text!r} is not an https:// address without a path, such as that of a cloud's login"
        )
        return text
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_guid(text: str) -> bool:
    """Whether a text is a GUID in lower case."""
    return len(text) == _GUID_LENGTH and set(text) <= _GUID_DIGITS and text.count("-") == 4
