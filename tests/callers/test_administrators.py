"""What an administrator's token must hold, and what it does not need."""

from collections.abc import Callable

import pytest
from tests.rows import rows

from chukei.accounts.changes import Actor
from chukei.callers.administrators import MAX_NAME, Administrator, recognise_administrator
from chukei.callers.tokens import Claims, TokenFlaw, TokenRefused
from chukei.config import AdminEntraSettings

NOW = 1_800_000_000.0
TENANT, CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e", "16fd2706-8baf-433b-82eb-8c7fada847da"
PERSON = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ISSUER = f"https://login.microsoftonline.com/{TENANT}/v2.0"
SETTINGS = AdminEntraSettings(TENANT, CLIENT, (CLIENT, f"api://{CLIENT}"))
USER: dict[str, object] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "exp": NOW + 3600,
    "nbf": NOW - 10,
    "tid": TENANT,
    "oid": PERSON,
    "sub": "pairwise",
    "azp": CLIENT,
    "scp": "Console.Use",
    "roles": ["Chukei.Look"],
    "preferred_username": "ann@contoso.com",
    "name": "Ann",
}
APP = {name: value for name, value in USER.items() if name not in ("scp", "preferred_username", "name")} | {
    "sub": PERSON,
    "idtyp": "app",
    "roles": ["Chukei.Change"],
}


def found(claims: Claims) -> Administrator:
    return recognise_administrator(SETTINGS, claims, ISSUER, NOW).holder


def without(name: str) -> Callable[[], Claims]:
    return lambda: {key: value for key, value in USER.items() if key != name}


@rows(
    ("roles", "may_change"),
    [
        (["Chukei.Look"], False),
        (["Chukei.Change"], True),
        (["Chukei.Change", "Chukei.Look"], True),
        (["Other", "Chukei.Look"], False),
    ],
)
def test_roles(roles: list[str], may_change: bool) -> None:
    user = found(USER | {"roles": roles})
    assert user == Administrator(Actor(f"user:{TENANT}/{PERSON}", "ann@contoso.com"), may_change, NOW + 3600)
    assert found(APP | {"roles": roles}) == Administrator(Actor(f"app:{TENANT}/{CLIENT}"), may_change, NOW + 3600)


@rows(
    ("changes", "flaw"),
    [
        ({"roles": []}, TokenFlaw.ROLE),
        ({"roles": ["chukei.look"]}, TokenFlaw.ROLE),
        ({"roles": ["Chukei.Looking", "Chukei.Chang"]}, TokenFlaw.ROLE),
        ({"roles": "Chukei.Change"}, TokenFlaw.MALFORMED),
        ({"roles": [["Chukei.Change"]]}, TokenFlaw.MALFORMED),
        ({"aud": "api://chukei"}, TokenFlaw.AUDIENCE),
        ({"aud": [CLIENT]}, TokenFlaw.AUDIENCE),
        ({"iss": ISSUER.replace(TENANT, PERSON)}, TokenFlaw.ISSUER),
        ({"exp": NOW - 60}, TokenFlaw.EXPIRED),
        ({"nbf": NOW + 61}, TokenFlaw.NOT_YET),
        ({"exp": "9999999999"}, TokenFlaw.MALFORMED),
        ({"scp": "Relay.Call"}, TokenFlaw.SCOPE),
        ({"scp": ""}, TokenFlaw.SCOPE),
        ({"scp": None}, TokenFlaw.IDENTITY),
        ({"oid": None}, TokenFlaw.IDENTITY),
        ({"oid": "ann"}, TokenFlaw.IDENTITY),
        ({"idtyp": "device"}, TokenFlaw.IDENTITY),
        ({"idtyp": "app"}, TokenFlaw.IDENTITY),
    ],
)
def test_what_does_not_open(changes: dict[str, object], flaw: TokenFlaw) -> None:
    with pytest.raises(TokenRefused) as caught:
        found(USER | changes)
    assert caught.value.flaw is flaw


@rows(
    ("name", "flaw"),
    [
        ("oid", TokenFlaw.IDENTITY),
        ("roles", TokenFlaw.ROLE),
        ("scp", TokenFlaw.IDENTITY),
        ("exp", TokenFlaw.MALFORMED),
        ("nbf", TokenFlaw.MALFORMED),
        ("aud", TokenFlaw.AUDIENCE),
        ("iss", TokenFlaw.ISSUER),
    ],
)
def test_what_is_missing(name: str, flaw: TokenFlaw) -> None:
    with pytest.raises(TokenRefused) as caught:
        found(without(name)())
    assert caught.value.flaw is flaw


def test_an_id_token_is_no_access_token() -> None:
    id_token = {name: value for name, value in USER.items() if name not in ("scp", "azp")} | {"nonce": "n"}
    with pytest.raises(TokenRefused) as caught:
        found(id_token | {"roles": ["Chukei.Change"]})
    assert caught.value.flaw is TokenFlaw.IDENTITY


def test_whoever_lacks_a_role_is_told_which() -> None:
    with pytest.raises(TokenRefused) as caught:
        found(USER | {"roles": ["Other"]})
    assert caught.value.error is not None
    assert (caught.value.error.status, caught.value.error.code) == (403, "missing_permission")
    assert "'Chukei.Look'" in caught.value.error.message


@rows(
    ("claims", "name"),
    [
        ({}, "ann@contoso.com"),
        ({"preferred_username": None}, "Ann"),
        ({"preferred_username": "a\nb\u202e\u0000c"}, "abc"),
        ({"preferred_username": "x" * 5000}, "x" * MAX_NAME),
        ({"preferred_username": " \n "}, None),
    ],
)
def test_names_are_only_shown(claims: dict[str, object], name: str | None) -> None:
    assert found(USER | claims).actor == Actor(f"user:{TENANT}/{PERSON}", name)
