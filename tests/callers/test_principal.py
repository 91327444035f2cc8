"""What App Service authentication says of a caller: users, applications, and everything that is neither."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.callers.principal import MAX_BYTES, read
from chukei.callers.tokens import TokenFlaw, TokenRefused
from chukei.config import EntraSettings
from chukei.model import Caller, CallerKind

TENANT = "11111111-aaaa-4bbb-8ccc-222222222222"
PERSON = "55555555-aaaa-4bbb-8ccc-666666666666"
CLIENT = "33333333-aaaa-4bbb-8ccc-444444444444"
URI = "http://schemas.microsoft.com/identity/claims/"
SUBJECT = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"

SIGNED_IN = [
    ("aud", CLIENT),
    ("preferred_username", "someone@contoso.com"),
    (f"{URI}tenantid", TENANT),
    (f"{URI}objectidentifier", PERSON),
    (SUBJECT, "pairwise"),
]
APPLICATION = [("tid", TENANT), ("oid", PERSON), (SUBJECT, PERSON), ("azp", CLIENT), ("roles", "Relay.Call")]
USER = Caller(f"user:{TENANT}/{PERSON}", CallerKind.USER)


def principal(found: list[tuple[Any, Any]], **changes: Any) -> bytes:
    document = {
        "auth_typ": "aad",
        "claims": [{"typ": name, "val": value} for name, value in found],
        "name_typ": "name",
        "role_typ": ROLE,
    }
    return base64.b64encode(json.dumps(document | changes).encode())


def flaw(value: bytes, settings: EntraSettings | None = None) -> TokenFlaw:
    with pytest.raises(TokenRefused) as caught:
        read(value, settings)
    return caught.value.flaw


def test_a_user_who_signed_in_on_the_page() -> None:
    assert read(principal(SIGNED_IN), None) == USER


def test_a_user_with_a_token() -> None:
    claims = [("tid", TENANT), ("oid", PERSON), ("scp", "Relay.Call"), ("azp", CLIENT), ("sub", "pairwise")]
    assert read(principal(claims), None) == USER


@rows("extra", [[], [("idtyp", "app")]])
def test_an_application(extra: list[tuple[str, str]]) -> None:
    found = read(principal(APPLICATION + extra), None)
    assert found == Caller(f"app:{TENANT}/{CLIENT}", CallerKind.APPLICATION)


@rows(
    ("kind", "subject", "scopes", "expected"),
    [
        ("app", PERSON, [], CallerKind.APPLICATION),
        ("app", "pairwise", [], CallerKind.APPLICATION),
        ("user", PERSON, [], CallerKind.USER),
        (None, PERSON, [], CallerKind.APPLICATION),
        (None, "pairwise", [], CallerKind.USER),
        (None, PERSON, [("scp", "Relay.Call")], CallerKind.USER),
    ],
)
def test_what_tells_applications_from_people(
    kind: str | None, subject: str, scopes: list[tuple[str, str]], expected: CallerKind
) -> None:
    claims = [("tid", TENANT), ("oid", PERSON), ("sub", subject), ("azp", CLIENT), ("roles", "Relay.Call"), *scopes]
    assert read(principal([*claims, ("idtyp", kind)] if kind else claims), None).kind is expected


@rows("role_type", ["roles", ROLE, "http://other.example/role", None])
def test_roles_under_each_of_their_names(role_type: str | None) -> None:
    settings = EntraSettings((TENANT,), ("x",), groups={"Lead": "lead"})
    for name in {"roles", ROLE, role_type or ROLE}:
        claims = [*SIGNED_IN, (name, "Lead")]
        assert read(principal(claims, role_typ=role_type), settings).groups == ("lead",)


def test_an_application_needs_a_role() -> None:
    assert flaw(principal(APPLICATION[:-1])) is TokenFlaw.ROLE


def test_groups_are_mapped_as_a_tokens() -> None:
    settings = EntraSettings((TENANT,), ("x",), groups={"Research": "research", CLIENT: "staff", "Lead": "lead"})
    claims = [*SIGNED_IN, (ROLE, "Lead"), ("roles", "Research"), ("groups", CLIENT), ("groups", PERSON)]
    assert read(principal(claims), settings).groups == ("research", "staff", "lead")


def test_only_configured_tenants() -> None:
    assert flaw(principal(SIGNED_IN), EntraSettings((CLIENT,), ("x",))) is TokenFlaw.TENANT


@rows(
    ("value", "expected"),
    [
        (principal(SIGNED_IN, auth_typ="google"), TokenFlaw.IDENTITY),
        (principal(SIGNED_IN, auth_typ=None), TokenFlaw.MALFORMED),
        (principal([]), TokenFlaw.TENANT),
        (principal(SIGNED_IN[:2]), TokenFlaw.TENANT),
        (principal([("tid", "common"), ("oid", PERSON)]), TokenFlaw.TENANT),
        (principal([("tid", TENANT)]), TokenFlaw.IDENTITY),
        (principal([("tid", TENANT), ("oid", "me")]), TokenFlaw.IDENTITY),
        (principal([*SIGNED_IN, ("oid", CLIENT)]), TokenFlaw.MALFORMED),
        (principal([*SIGNED_IN, ("tid", CLIENT)]), TokenFlaw.MALFORMED),
        (principal([("tid", 7)]), TokenFlaw.MALFORMED),
        (principal(SIGNED_IN, claims="x"), TokenFlaw.MALFORMED),
        (principal(SIGNED_IN)[:-5], TokenFlaw.MALFORMED),
        (principal([*SIGNED_IN, ("x", "y" * MAX_BYTES)]), TokenFlaw.MALFORMED),
        (principal(SIGNED_IN)[:8] + b"!" + principal(SIGNED_IN)[8:], TokenFlaw.MALFORMED),
        (base64.b64encode(b"[" * 9000), TokenFlaw.MALFORMED),
        (base64.b64encode(b"\xff"), TokenFlaw.MALFORMED),
        (b"", TokenFlaw.MALFORMED),
        (b"{}", TokenFlaw.MALFORMED),
        (b"\xe9", TokenFlaw.MALFORMED),
    ],
)
def test_everything_else(value: bytes, expected: TokenFlaw) -> None:
    assert flaw(value) is expected


@given(st.binary(max_size=100))
def test_anything_is_refused_in_peace(value: bytes) -> None:
    flaw(value)
    flaw(base64.b64encode(value))
