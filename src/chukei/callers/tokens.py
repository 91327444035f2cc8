"""Entra ID access tokens: the checks before and after the signature is verified. Pure.

The rules are Microsoft's (https://learn.microsoft.com/entra/identity-platform/access-tokens, claims-validation) and
those of RFC 8725. The relay, not the token, chooses the one algorithm. A key inside the token is never used. The issuer
must match the tenant and version exactly. A caller is identified by tenant and object id, never by a name or address.
"""

import base64
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from chukei.config import EntraSettings
from chukei.errors import CallerError
from chukei.model import Caller, CallerKind

MAX_TOKEN_BYTES = 16 * 1024
"""Entra ID puts at most 200 groups into a token, which makes about 10 KB."""

LEEWAY = 60.0
"""Seconds by which the clocks of Entra ID and of this machine may differ."""

ALGORITHM = "RS256"

_FORM = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_KEY_ID = 256
_MAX_BRACKETS = 200  # bounds the nesting; the json module's own bound depends on the version of Python
# Header parameters that carry or name a key, or change how the rest is read. Entra ID sends none of them.
_FORBIDDEN = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"})

Claims = Mapping[str, Any]
Holder = TypeVar("Holder")
Held = TypeVar("Held", covariant=True)


class TokenFlaw(StrEnum):
    """Why a token is refused. The log gets this text and nothing else of the token."""

    MALFORMED = "malformed"
    HEADER = "forbidden algorithm or header"
    VERSION = "unknown version"
    TENANT = "tenant not allowed"
    KEY = "unknown signing key"
    SIGNATURE = "wrong signature"
    ISSUER = "wrong issuer"
    AUDIENCE = "wrong audience"
    EXPIRED = "expired"
    NOT_YET = "not valid yet"
    IDENTITY = "neither a user's nor an application's access token"
    SCOPE = "scope missing"
    ROLE = "application role missing"


class TokenRefused(Exception):
    """A token is refused. ``error`` is the specific error for the holder of a genuine token, if there is one."""

    def __init__(self, flaw: TokenFlaw, error: CallerError | None = None) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw
        self.error = error


class TokenReader(Protocol[Held]):
    """Verifies Entra ID access tokens: those of callers, or those of administrators."""

    async def holder(self, token: bytes) -> Held:
        """Return whom a token identifies.

        Raises:
            TokenRefused: the token is not valid here.
            Unavailable: the signing keys cannot be fetched.
        """
        ...


class Version(StrEnum):
    """The version of a token, its ``ver`` claim. The API's registration decides which version it gets."""

    V1 = "1.0"
    V2 = "2.0"


@dataclass(frozen=True, slots=True)
class Unverified:
    """The unverified contents of a token. Use them only to find the key that verifies it."""

    key_id: str
    tenant: str
    version: Version
    claims: Claims


@dataclass(frozen=True, slots=True)
class Recognised(Generic[Holder]):
    """Whom a verified token identifies, its end in Unix time, and whether Entra ID left out its groups as too many."""

    holder: Holder
    expires: float
    overage: bool = False


def is_token(text: bytes) -> bool:
    """Whether a text has the three parts of a signed token (RFC 7515 §7.1)."""
    return text.count(b".") == 2


def is_guid(text: object) -> bool:
    """Whether a value is a GUID in lower case."""
    return isinstance(text, str) and _GUID.fullmatch(text) is not None


def read(token: bytes, tenants: Collection[object]) -> Unverified:
    """Parse a token before its signature is verified.

    Raises:
        TokenRefused: it is malformed, or does not claim to come from one of ``tenants``.
    """
    parts = _FORM.fullmatch(token) if len(token) <= MAX_TOKEN_BYTES else None
    if parts is None:
        raise TokenRefused(TokenFlaw.MALFORMED)
    head, claims = _object(parts[1]), _object(parts[2])
    key_id, kind = head.get("kid"), head.get("typ", "JWT")
    if head.get("alg") != ALGORITHM or not _FORBIDDEN.isdisjoint(head):
        raise TokenRefused(TokenFlaw.HEADER)
    if not isinstance(kind, str) or kind.lower() not in ("jwt", "at+jwt"):
        raise TokenRefused(TokenFlaw.HEADER)
    if not isinstance(key_id, str) or not 0 < len(key_id) <= _MAX_KEY_ID:
        raise TokenRefused(TokenFlaw.HEADER)
    if claims.get("ver") not in (Version.V1, Version.V2):
        raise TokenRefused(TokenFlaw.VERSION)
    tenant = claims.get("tid")
    if not is_guid(tenant) or tenant not in tenants:
        raise TokenRefused(TokenFlaw.TENANT)
    return Unverified(key_id, str(tenant), Version(claims["ver"]), claims)


def _object(part: bytes) -> dict[str, Any]:
    """Decode a part: a JSON object without duplicate names, so that all readers agree."""
    try:
        text = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True).decode()
        if text.count("[") + text.count("{") > _MAX_BRACKETS:
            raise ValueError("nested too deeply")
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except ValueError:
        raise TokenRefused(TokenFlaw.MALFORMED) from None
    if not isinstance(found, dict):
        raise TokenRefused(TokenFlaw.MALFORMED)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def recognise(settings: EntraSettings, claims: Claims, issuer: str, now: float) -> Recognised[Caller]:
    """Return the caller for claims whose signature was verified with a key of ``issuer``.

    Raises:
        TokenRefused: the token is for another audience, is expired or not valid yet, or lacks a permission.
    """
    expires = check(claims, settings.audiences, issuer, now)
    caller = application(claims, settings) if is_application(claims) else _user(claims, settings)
    names = claims.get("_claim_names")
    overage = bool(claims.get("hasgroups")) or (isinstance(names, dict) and "groups" in names)
    return Recognised(caller, expires, overage and bool(settings.groups))


def check(claims: Claims, audiences: Collection[str], issuer: str, now: float) -> float:
    """Check a token's issuer, audience and times; return its end in Unix time.

    Raises:
        TokenRefused: the token is for another audience, expired or not valid yet.
    """
    if claims.get("iss") != issuer:
        raise TokenRefused(TokenFlaw.ISSUER)
    audience = claims.get("aud")
    if not isinstance(audience, str) or audience not in audiences:
        raise TokenRefused(TokenFlaw.AUDIENCE)
    expires, begins = _time(claims, "exp"), _time(claims, "nbf")
    if now >= expires + LEEWAY:
        raise TokenRefused(TokenFlaw.EXPIRED, _expired())
    if now < begins - LEEWAY:
        raise TokenRefused(TokenFlaw.NOT_YET)
    return expires


def _time(claims: Claims, name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused(TokenFlaw.MALFORMED)
    return float(value)


def is_application(claims: Claims) -> bool:
    """Whether an application calls on its own behalf. ``idtyp`` tells, if the API's registration asks for that claim.

    Without ``idtyp``, a token with scopes is a user's access token. A token with neither scopes nor an application's
    subject, such as a user's ID token, is not for an API and is refused.
    """
    kind, scopes = claims.get("idtyp"), claims.get("scp")
    if kind is not None:
        if kind not in ("app", "user") or (kind == "app" and scopes is not None):
            raise TokenRefused(TokenFlaw.IDENTITY)
        return bool(kind == "app")
    if scopes is not None:
        return False
    if claims.get("sub") != claims.get("oid"):
        raise TokenRefused(TokenFlaw.IDENTITY)
    return True


def _user(claims: Claims, settings: EntraSettings) -> Caller:
    return Caller(user_name(claims, settings.scope), CallerKind.USER, groups_of(claims, settings.groups))


def user_name(claims: Claims, scope: str | None) -> str:
    """Return the name of a user by tenant and object id.

    Raises:
        TokenRefused: it is not a user's access token, or lacks the scope.
    """
    person, scopes = claims.get("oid"), claims.get("scp")
    if not is_guid(person) or not isinstance(scopes, str):
        raise TokenRefused(TokenFlaw.IDENTITY)
    held = scopes.split()
    if not held or (scope is not None and scope not in held):
        raise TokenRefused(TokenFlaw.SCOPE, lacks("scope", scope))
    return f"user:{claims['tid']}/{person}"


def application(claims: Claims, settings: EntraSettings) -> Caller:
    """Return the application that calls on its own behalf.

    Any application of a tenant can get a token for any API of the tenant, so only a role shows that it may call.

    Raises:
        TokenRefused: it has no role here.
    """
    name, held = application_name(claims), roles_of(claims)
    if not held or (settings.role is not None and settings.role not in held):
        raise TokenRefused(TokenFlaw.ROLE, lacks("application role", settings.role))
    return Caller(name, CallerKind.APPLICATION, groups_of(claims, settings.groups))


def application_name(claims: Claims) -> str:
    """Return the name of an application by tenant and client id.

    Raises:
        TokenRefused: the token names none.
    """
    client = claims.get("azp", claims.get("appid"))
    if not is_guid(client) or not is_guid(claims.get("oid")):
        raise TokenRefused(TokenFlaw.IDENTITY)
    return f"app:{claims['tid']}/{client}"


def roles_of(claims: Claims) -> list[str]:
    """Return the app roles in a token.

    Raises:
        TokenRefused: they are not a list of strings.
    """
    return _strings(claims, "roles")


def groups_of(claims: Claims, names: Mapping[str, str]) -> tuple[str, ...]:
    """Map a token's roles and groups to the configured groups, in the order of the configuration."""
    held = {*_strings(claims, "roles"), *(group.lower() for group in _strings(claims, "groups"))}
    return tuple(dict.fromkeys(group for value, group in names.items() if value in held))


def _strings(claims: Claims, name: str) -> list[str]:
    value = claims.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TokenRefused(TokenFlaw.MALFORMED)
    return value


def _expired() -> CallerError:
    return CallerError(
        401,
        "token_expired",
        "The access token has expired; get a new one.",
        type="authentication_error",
        headers=[(b"www-authenticate", b'Bearer realm="chukei", error="invalid_token"')],
    )


def lacks(what: str, name: str | None) -> CallerError:
    """Return the error for a genuine token without a permission; None is any."""
    wanted = f"the {what} {name!r}" if name is not None else f"any {what} of this relay"
    message = f"The access token is genuine but does not hold {wanted}; who administers the tenant can grant it."
    headers = [(b"www-authenticate", b'Bearer realm="chukei", error="insufficient_scope"')]
    return CallerError(403, "missing_permission", message, type="permission_error", headers=headers)
