"""Administrators' settings: ``[admin]`` and ``[admin.entra]``."""

import re
from dataclasses import replace

from chukei.config.auth import is_guid, read_authority, read_scope
from chukei.config.reader import Reader
from chukei.config.sections import read_section
from chukei.config.settings import CONSOLE_SCOPE, AdminEntraSettings, AdminSettings, EntraSettings, Secret

SHORTEST_OPERATOR_KEY = 16
"""Characters of a key that opens more than a caller's key does."""

_CURRENCY = re.compile(r"[A-Z]{3}")


def read_admin(table: Reader, callers: EntraSettings | None) -> AdminSettings:
    """Read ``[admin]``. ``callers`` is ``[auth.entra]``, whose tokens must not open /admin."""
    currency = table.string("currency")
    if currency is not None and not _CURRENCY.fullmatch(currency):
        table.problem("currency", "must be the three capital letters of an ISO 4217 code, such as USD or JPY")
    settings = read_section(table, AdminSettings, api_key=read_operator_key, entra=_entra, currency=currency)
    shared = set(settings.entra.audiences) & set(callers.audiences) if settings.entra and callers else set()
    for audience in sorted(shared):
        message = (
            f"{audience!r} is an audience of auth.entra too, so any program that calls for an administrator could act "
            "as one; register an application for the administrators' page alone"
        )
        table.problem("entra", message)
    return settings


def read_operator_key(table: Reader) -> Secret | None:
    """Read ``api_key``."""
    key = table.secret("api_key")
    if key is not None and len(key.reveal()) < SHORTEST_OPERATOR_KEY:
        advice = "make one with: openssl rand -hex 32"
        table.problem("api_key", f"is shorter than {SHORTEST_OPERATOR_KEY} characters; {advice}")
    return key


def _entra(admin: Reader) -> AdminEntraSettings | None:
    table = admin.table("entra")
    if not admin.has("entra"):
        return None
    settings = read_section(
        table,
        AdminEntraSettings,
        tenant=lambda table: _guid(table, "tenant", "the id of the tenant whose people may sign in"),
        client_id=lambda table: _guid(table, "client_id", "the client id of the page's app registration"),
        audiences=lambda table: table.strings("audience"),
        scope=lambda table: read_scope(table) or CONSOLE_SCOPE,
        authority=read_authority,
    )
    if settings.look_role == settings.change_role:
        table.problem("look_role", "is change_role too; who may only look needs a role of their own")
    own = settings.client_id
    return settings if settings.audiences else replace(settings, audiences=(own, f"api://{own}"))


def _guid(table: Reader, name: str, what: str) -> str:
    text = (table.string(name) or "").lower()
    if not text:
        table.problem(name, f"is missing: {what}")
    elif not is_guid(text):
        table.problem(name, f"{text!r} is not a GUID; it must be {what}")
    return text
