"""Administrators: who they are, and what their Entra ID access tokens allow. Pure.

A token is checked as a caller's, see ``tokens``. What differs is the audience, which no caller's token has, and that
both people and applications need an app role.
"""

from dataclasses import dataclass

from chukei.accounts.changes import Actor
from chukei.callers.tokens import (
    Claims,
    Recognised,
    TokenFlaw,
    TokenRefused,
    application_name,
    check,
    is_application,
    lacks,
    roles_of,
    user_name,
)
from chukei.config import AdminEntraSettings

MAX_NAME = 128
"""Characters of a name that are shown."""

_NAMES = ("preferred_username", "upn", "name", "app_displayname")


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who is signed in, and whether changes are allowed too. ``expires`` is the token's end in Unix time."""

    actor: Actor
    may_change: bool
    expires: float | None = None


def recognise_administrator(
    settings: AdminEntraSettings, claims: Claims, issuer: str, now: float
) -> Recognised[Administrator]:
    """Return the administrator for claims whose signature was verified with a key of ``issuer``.

    Raises:
        TokenRefused: the token is for another audience, is expired or not valid yet, or holds neither role.
    """
    expires = check(claims, settings.audiences, issuer, now)
    id = application_name(claims) if is_application(claims) else user_name(claims, settings.scope)
    held = roles_of(claims)
    may_change = settings.change_role in held
    if not may_change and settings.look_role not in held:
        raise TokenRefused(TokenFlaw.ROLE, lacks("application role", settings.look_role))
    return Recognised(Administrator(Actor(id, _name(claims)), may_change, expires), expires)


def _name(claims: Claims) -> str | None:
    """Return what people call the holder. It is only shown: names change, and may be given to somebody else."""
    given = next((claims[name] for name in _NAMES if isinstance(claims.get(name), str)), "")
    return "".join(letter for letter in given if letter.isprintable())[:MAX_NAME].strip() or None
