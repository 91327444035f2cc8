"""The caller that App Service authentication verified: its ``X-MS-CLIENT-PRINCIPAL``, base64 of JSON. Pure.

The header is not signed. It is trustworthy only where the platform writes it, which then removes a header of that name
sent by a client (https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities). The caller of
``read`` must ensure that.
"""

import base64
from typing import Any

import msgspec

from chukei.callers.tokens import Claims, TokenFlaw, TokenRefused, application, groups_of, is_guid
from chukei.config import EntraSettings
from chukei.model import Caller, CallerKind

HEADER = b"x-ms-client-principal"

MAX_BYTES = 32 * 1024

_ENTRA = "aad"
_OPEN = EntraSettings((), ())
# The platform passes some claims under .NET's names.
_NAMES = {
    "http://schemas.microsoft.com/identity/claims/tenantid": "tid",
    "http://schemas.microsoft.com/identity/claims/objectidentifier": "oid",
    "http://schemas.microsoft.com/identity/claims/scope": "scp",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier": "sub",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/role": "roles",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups": "groups",
}
_MANY = frozenset({"roles", "groups"})
_ONE = frozenset({"tid", "oid", "scp", "sub", "azp", "appid", "idtyp"})


class _Claim(msgspec.Struct):
    typ: str
    val: str


class _Principal(msgspec.Struct):
    auth_typ: str
    claims: list[_Claim]
    role_typ: str | None = None


def read(value: bytes, settings: EntraSettings | None) -> Caller:
    """Return the user or application that a principal names, with groups mapped as for a token.

    Raises:
        TokenRefused: it does not identify a caller of Entra ID, or the caller lacks a permission.
    """
    entra = settings or _OPEN
    claims = _claims(value)
    tenant = claims.get("tid")
    if not is_guid(tenant) or (entra.tenants and tenant not in entra.tenants):
        raise TokenRefused(TokenFlaw.TENANT)
    if _is_application(claims):
        return application(claims, entra)
    person = claims.get("oid")
    if not is_guid(person):
        raise TokenRefused(TokenFlaw.IDENTITY)
    return Caller(f"user:{tenant}/{person}", CallerKind.USER, groups_of(claims, entra.groups))


def _is_application(claims: Claims) -> bool:
    """Whether an application calls on its own behalf. A user who signed in on the page has no scopes and no client."""
    if "idtyp" in claims:
        return bool(claims["idtyp"] == "app")
    client = claims.get("azp", claims.get("appid"))
    return client is not None and "scp" not in claims and claims.get("sub") == claims.get("oid")


def _claims(value: bytes) -> Claims:
    """Decode a principal to claims in the form of a token's."""
    if len(value) > MAX_BYTES:
        raise TokenRefused(TokenFlaw.MALFORMED)
    try:
        found = msgspec.json.decode(base64.b64decode(value, validate=True), type=_Principal)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise TokenRefused(TokenFlaw.MALFORMED) from None
    if found.auth_typ != _ENTRA:
        raise TokenRefused(TokenFlaw.IDENTITY)
    claims: dict[str, Any] = {}
    for claim in found.claims:
        name = "roles" if claim.typ == found.role_typ else _NAMES.get(claim.typ, claim.typ)
        if name in _MANY:
            claims.setdefault(name, []).append(claim.val)
        elif name in _ONE and claims.setdefault(name, claim.val) != claim.val:
            raise TokenRefused(TokenFlaw.MALFORMED)
    return claims
