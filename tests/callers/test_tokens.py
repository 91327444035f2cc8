"""Access tokens: every rule by itself, without a signature; tests/live/test_hostile_credentials.py has the rest."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.live.identity_provider import encoded
from tests.rows import rows

from chukei.callers.tokens import (
    LEEWAY,
    MAX_TOKEN_BYTES,
    Recognised,
    TokenFlaw,
    TokenRefused,
    Version,
    groups_of,
    is_token,
    read,
    recognise,
)
from chukei.config import EntraSettings
from chukei.errors import CallerError
from chukei.model import Caller, CallerKind

TENANT = "11111111-aaaa-4bbb-8ccc-222222222222"
PERSON = "55555555-aaaa-4bbb-8ccc-666666666666"
CLIENT = "33333333-aaaa-4bbb-8ccc-444444444444"
GROUP = "44444444-aaaa-4bbb-8ccc-444444444444"
ISSUER = f"https://login.microsoftonline.com/{TENANT}/v2.0"
SETTINGS = EntraSettings((TENANT,), ("api://chukei", CLIENT))
NOW = 1_800_000_000.0
HEAD: dict[str, Any] = {"alg": "RS256", "typ": "JWT", "kid": "k1", "x5t": "k1"}
USER: dict[str, Any] = {
    "aud": CLIENT,
    "iss": ISSUER,
    "nbf": NOW - 10,
    "exp": NOW + 3600,
    "oid": PERSON,
    "sub": "pairwise",
    "scp": "Relay.Call other",
    "azp": CLIENT,
    "tid": TENANT,
    "ver": "2.0",
}
APP: dict[str, Any] = {key: value for key, value in USER.items() if key != "scp"} | {
    "sub": PERSON,
    "roles": ["Relay.Call"],
    "idtyp": "app",
}

JSON_VALUES: st.SearchStrategy[object] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.lists(JSON_VALUES, max_size=3)
        | st.dictionaries(st.text(), JSON_VALUES, max_size=3)
    )
)


def changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def written(head: object = HEAD, claims: object = USER) -> bytes:
    return f"{encoded(head)}.{encoded(claims)}.c2ln".encode()


def flaw_of_read(token: bytes) -> TokenFlaw:
    with pytest.raises(TokenRefused) as caught:
        read(token, (TENANT,))
    assert caught.value.error is None
    return caught.value.flaw


def refusal(claims: dict[str, Any], settings: EntraSettings = SETTINGS) -> TokenRefused:
    with pytest.raises(TokenRefused) as caught:
        recognise(settings, claims, ISSUER, NOW)
    return caught.value


class TestBeforeTheSignature:
    def test_what_it_says_of_itself(self) -> None:
        found = read(written(), (TENANT,))
        assert (found.key_id, found.tenant, found.version, found.claims) == ("k1", TENANT, Version.V2, USER)

    @rows("kind", ["JWT", "jwt", "at+jwt", ...])
    def test_its_type(self, kind: object) -> None:
        assert read(written(changed(HEAD, {"typ": kind})), (TENANT,)).key_id == "k1"

    @rows(
        "changes",
        [
            *({"alg": alg} for alg in ("none", "None", "", ..., "HS256", "RS384", "RS512", "PS256", "ES256", "rs256")),
            *({"alg": alg} for alg in (["RS256"], None, 256, {"alg": "RS256"})),
            {"jku": "https://evil.example/keys"},
            {"jwk": {"kty": "RSA"}},
            {"x5u": "https://evil.example/cert"},
            {"x5c": ["MIIB"]},
            {"crit": ["exp"]},
            {"crit": []},
            {"b64": False},
            {"zip": "DEF"},
            {"enc": "A256GCM"},
            *({"kid": kid} for kid in (..., None, "", 7, ["k1"], "k" * 257)),
            *({"typ": kind} for kind in ("JWE", "", None, 1, "dpop+jwt")),
        ],
    )
    def test_forbidden_headers(self, changes: dict[str, Any]) -> None:
        assert flaw_of_read(written(changed(HEAD, changes))) is TokenFlaw.HEADER

    def test_the_largest_token(self) -> None:
        token = written()
        largest = token + b"A" * (MAX_TOKEN_BYTES - len(token))
        assert read(largest, (TENANT,)).key_id == "k1"
        assert flaw_of_read(largest + b"A") is TokenFlaw.MALFORMED

    def test_some_nesting_is_no_flaw(self) -> None:
        claims = json.dumps(USER)[:-1].encode() + b',"a":' + b"[" * 199 + b"]" * 199 + b"}"
        assert read(written(HEAD, claims), (TENANT,)).tenant == TENANT

    @rows("version", [..., None, "", "3.0", 2.0, 1, "2", ["2.0"], {}])
    def test_versions(self, version: object) -> None:
        assert flaw_of_read(written(claims=changed(USER, {"ver": version}))) is TokenFlaw.VERSION

    @rows(
        "tenant",
        [
            ...,
            None,
            "",
            "common",
            "contoso.onmicrosoft.com",
            TENANT.upper(),
            TENANT + "\n",
            f" {TENANT}",
            "99999999-aaaa-4bbb-8ccc-222222222222",
            [TENANT],
            {TENANT: 1},
            f"{TENANT}/../x",
        ],
    )
    def test_tenants(self, tenant: object) -> None:
        assert flaw_of_read(written(claims=changed(USER, {"tid": tenant}))) is TokenFlaw.TENANT

    @rows(
        "token",
        [
            b"",
            b"..",
            b"a.b.c",
            b"a.b",
            written() + b".more",
            written() + b"=",
            written() + b"\n",
            written()[:-4],
            b" " + written(),
            written().replace(b".", b"%2E"),
            written(b"\xff\xfe"),
            written(b"[]"),
            written(b'"RS256"'),
            written(b"null"),
            written(b"{}x"),
            written(b'{"alg":"RS256","alg":"none","kid":"k1"}'),
            written(HEAD, b'{"tid":"a","tid":"b"}'),
            written(HEAD, b'{"exp":NaN}'),
            written(HEAD, b'{"exp":Infinity}'),
            written(HEAD, b'{"exp":' + b"9" * 5000 + b"}"),
            written(HEAD, b"[" * 6000 + b"]" * 6000),
            written(HEAD, b'{"a":' * 1500 + b"1" + b"}" * 1500),
            written(HEAD, b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"),
            written(HEAD, b"\xef\xbb\xbf{}"),
            written(HEAD, b"{}" + b"\x00"),
            written(HEAD, changed(USER, {"roles": ["r" * MAX_TOKEN_BYTES]})),
            "eyJ\uff0eeyJ\uff0esig".encode(),  # full-width dots
            b"eyJ\x00.eyJ.sig",
        ],
    )
    def test_malformed(self, token: bytes) -> None:
        assert flaw_of_read(token) is TokenFlaw.MALFORMED

    @given(st.binary(max_size=200))
    def test_anything_is_refused_in_peace(self, token: bytes) -> None:
        flaw_of_read(token)

    @given(JSON_VALUES)
    def test_any_json_is_refused_in_peace(self, document: object) -> None:
        flaw_of_read(written(HEAD, document))
        flaw_of_read(written(document, USER))

    def test_which_texts_are_looked_at(self) -> None:
        assert is_token(b"a.b.c")
        assert not is_token(b"a.b")
        assert not is_token(b"a.b.c.d.e"), "an encrypted one"


class TestAfterTheSignature:
    def test_a_user(self) -> None:
        found = recognise(SETTINGS, USER, ISSUER, NOW)
        assert found.holder == Caller(f"user:{TENANT}/{PERSON}", CallerKind.USER)
        assert (found.expires, found.overage) == (NOW + 3600, False)

    @rows("changes", [{}, {"idtyp": ...}, {"azp": ..., "appid": CLIENT}])
    def test_an_application(self, changes: dict[str, Any]) -> None:
        found = recognise(SETTINGS, changed(APP, changes), ISSUER, NOW)
        assert found.holder == Caller(f"app:{TENANT}/{CLIENT}", CallerKind.APPLICATION)

    @rows(
        "issuer",
        [
            ...,
            None,
            "",
            ISSUER + "/",
            ISSUER.upper(),
            f"https://sts.windows.net/{TENANT}/",
            [ISSUER],
            ISSUER.replace("com", "com.evil.example"),
        ],
    )
    def test_issuers(self, issuer: object) -> None:
        assert refusal(changed(USER, {"iss": issuer})).flaw is TokenFlaw.ISSUER

    @rows("audience", [..., None, "", "https://graph.microsoft.com", [CLIENT], "api://chukei/", "API://chukei", {}])
    def test_audiences(self, audience: object) -> None:
        found = refusal(changed(USER, {"aud": audience}))
        assert (found.flaw, found.error) == (TokenFlaw.AUDIENCE, None)

    @rows(
        ("changes", "flaw"),
        [
            ({"exp": NOW - LEEWAY + 0.5}, None),
            ({"exp": NOW - LEEWAY}, TokenFlaw.EXPIRED),
            ({"exp": 0}, TokenFlaw.EXPIRED),
            ({"exp": -1}, TokenFlaw.EXPIRED),
            ({"nbf": NOW + LEEWAY}, None),
            ({"nbf": NOW + LEEWAY + 0.5}, TokenFlaw.NOT_YET),
            *(({"exp": value}, TokenFlaw.MALFORMED) for value in (..., None, "9999999999", True, [NOW], float("inf"))),
            *(({"nbf": value}, TokenFlaw.MALFORMED) for value in (..., None, "0", False, float("nan"))),
        ],
    )
    def test_times(self, changes: dict[str, Any], flaw: TokenFlaw | None) -> None:
        claims = changed(USER, changes)
        if flaw is None:
            recognise(SETTINGS, claims, ISSUER, NOW)
        else:
            assert refusal(claims).flaw is flaw

    def test_who_holds_an_expired_token_may_know(self) -> None:
        told = refusal(changed(USER, {"exp": NOW - 3600})).error
        assert isinstance(told, CallerError)
        assert (told.status, told.code) == (401, "token_expired")

    @rows(
        ("base", "changes", "flaw"),
        [
            *(
                (USER, {"oid": oid}, TokenFlaw.IDENTITY)
                for oid in (..., None, "", "someone@contoso.com", PERSON.upper(), 7)
            ),
            (USER, {"scp": ...}, TokenFlaw.IDENTITY),  # a user's ID token
            (USER, {"scp": ..., "roles": ["Relay.Call"]}, TokenFlaw.IDENTITY),
            (USER, {"scp": ["Relay.Call"]}, TokenFlaw.IDENTITY),
            (USER, {"scp": None, "idtyp": "user"}, TokenFlaw.IDENTITY),
            (USER, {"scp": " "}, TokenFlaw.SCOPE),
            (USER, {"idtyp": "app"}, TokenFlaw.IDENTITY),
            (USER, {"idtyp": "device"}, TokenFlaw.IDENTITY),
            (USER, {"idtyp": ["app"]}, TokenFlaw.IDENTITY),
            (APP, {"azp": ...}, TokenFlaw.IDENTITY),
            (APP, {"azp": "x"}, TokenFlaw.IDENTITY),
            (APP, {"azp": None, "appid": CLIENT}, TokenFlaw.IDENTITY),
            (APP, {"oid": ..., "sub": ...}, TokenFlaw.IDENTITY),
            (APP, {"idtyp": ..., "sub": "pairwise"}, TokenFlaw.IDENTITY),
            (APP, {"roles": ...}, TokenFlaw.ROLE),
            (APP, {"roles": []}, TokenFlaw.ROLE),
            (APP, {"roles": "Relay.Call"}, TokenFlaw.MALFORMED),
            (APP, {"roles": [1]}, TokenFlaw.MALFORMED),
            (USER, {"groups": "x"}, TokenFlaw.MALFORMED),
            (USER, {"roles": {"x": 1}}, TokenFlaw.MALFORMED),
        ],
    )
    def test_identities(self, base: dict[str, Any], changes: dict[str, Any], flaw: TokenFlaw) -> None:
        assert refusal(changed(base, changes)).flaw is flaw

    def test_a_scope_that_is_asked_for(self) -> None:
        wanting = replace(SETTINGS, scope="Relay.Call")
        assert recognise(wanting, USER, ISSUER, NOW).holder.kind is CallerKind.USER
        for scopes in ("other", "Relay.Calls", "relay.call", "Relay.Call.All"):
            found = refusal(changed(USER, {"scp": scopes}), wanting)
            assert found.error is not None
            assert (found.error.status, found.error.code) == (403, "missing_permission")
            assert "'Relay.Call'" in found.error.message
            assert (b"www-authenticate", b'Bearer realm="chukei", error="insufficient_scope"') in found.error.headers

    def test_a_role_that_is_asked_for(self) -> None:
        wanting = replace(SETTINGS, role="Relay.Call")
        assert recognise(wanting, APP, ISSUER, NOW).holder.kind is CallerKind.APPLICATION
        assert refusal(changed(APP, {"roles": ["Other"]}), wanting).flaw is TokenFlaw.ROLE
        assert recognise(wanting, USER, ISSUER, NOW).holder.kind is CallerKind.USER, "users need the scope"

    def test_groups_in_the_order_of_the_configuration(self) -> None:
        names = {"Research": "research", GROUP: "staff", "Lead": "research", "Unheld": "other"}
        claims = {"groups": ["x", GROUP.upper()], "roles": ["Lead", "Research", "unheld"]}
        assert groups_of(claims, names) == ("research", "staff")
        found = recognise(replace(SETTINGS, groups=names), USER | claims, ISSUER, NOW)
        assert found.holder.groups == ("research", "staff")

    @rows(
        ("claims", "overage"),
        [
            ({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}, True),
            ({"hasgroups": True}, True),
            ({"_claim_names": {"other": "src1"}}, False),
            ({"_claim_names": "groups"}, False),
            ({}, False),
        ],
    )
    def test_too_many_groups_to_be_in_a_token(self, claims: dict[str, Any], overage: bool) -> None:
        found = recognise(replace(SETTINGS, groups={GROUP: "staff"}), USER | claims, ISSUER, NOW)
        assert found.overage is overage
        assert found.holder.groups == ()


def test_an_application_belongs_to_the_groups_of_its_roles() -> None:
    guid = "11111111-aaaa-4bbb-8ccc-222222222222"
    settings = EntraSettings(tenants=(guid,), audiences=("api",), groups={"Caller": "research"})
    claims = {"iss": "us", "aud": "api", "exp": 1000, "nbf": 0, "tid": guid, "oid": guid, "sub": guid, "azp": guid}
    found = recognise(settings, claims | {"roles": ["Caller"]}, "us", -60.0)
    assert found == Recognised(Caller(f"app:{guid}/{guid}", CallerKind.APPLICATION, ("research",)), 1000.0, False)
