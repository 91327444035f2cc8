"""Administrators with Entra ID tokens on a relay process: who gets in, who may change, and what never opens."""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.live.callers import ENVIRONMENT
from tests.live.identity_provider import (
    AUDIENCE,
    CLIENT,
    OTHER_TENANT,
    PERSON,
    PRINCIPAL,
    TENANT,
    encoded,
    private_key,
    public_jwk,
    signed,
)
from tests.live.plain_http import Answer, ask
from tests.live.relays import RelayProcess
from tests.live.sign_in_provider import APP, SignInProvider

pytestmark = pytest.mark.anyio

READABLE = ("session", "usage", "keys", "callers", "groups", "deployments", "ledger", "rules", "changes", "log-level")
USER = f"user:{TENANT}/{PERSON}"


class Console:
    """A relay without an administrators' key, whose callers have tokens of the same tenant."""

    def __init__(self, provider: SignInProvider, process: RelayProcess) -> None:
        self.provider = provider
        self.process = process

    async def ask(self, token: str, method: str = "GET", target: str = "/admin/session", body: bytes = b"") -> Answer:
        return await ask(self.process.url, method, target, [("authorization", f"Bearer {token}")], body)

    async def code(self, token: str, method: str = "GET", target: str = "/admin/session") -> tuple[int, str]:
        answer = await self.ask(token, method, target, b"{}" if method != "GET" else b"")
        return answer.status, answer.json()["error"]["code"] if answer.status >= 400 else ""


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with SignInProvider() as provider:
        environment = {
            **{name: value for name, value in ENVIRONMENT.items() if "ADMIN" not in name},
            **provider.settings,
            **provider.admin_settings,
            "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9",
            "AZURE_OPENAI_API_KEY": "upstream-secret-key",
            "CHUKEI_UPSTREAM__PLAIN_HTTP": "true",
            "CHUKEI_STORES__LEDGER": f"sqlite:///{tmp_path}/ledger.db",
            "CHUKEI_AUTH__FAILURES_PER_MINUTE": "0",
        }
        with RelayProcess(environment) as process:
            yield Console(provider, process)


def forged(provider: SignInProvider) -> dict[str, str]:
    """Return tokens that must not open, each like one that does but for one thing."""
    token = provider.admin_token
    head, claims, signature = token().split(".")
    application = {"scp": ..., "oid": PRINCIPAL, "sub": PRINCIPAL, "idtyp": "app"}
    none = encoded({"alg": "none", "typ": "JWT", "kid": "first"})
    public = private_key("first").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hs256 = encoded({"alg": "HS256", "typ": "JWT", "kid": "first"})
    confused = encoded(hmac.digest(public, f"{hs256}.{claims}".encode(), hashlib.sha256))
    inside = encoded({"alg": "RS256", "typ": "JWT", "kid": "stranger", "jwk": public_jwk("stranger")})
    other = provider.issuer(OTHER_TENANT)
    return {
        "nothing": "",
        "no signature": f"{head}.{claims}.",
        "algorithm none": f"{none}.{claims}.",
        "algorithm none, signed": f"{none}.{claims}.{signature}",
        "the public key as a secret": f"{hs256}.{claims}.{confused}",
        "a key inside": f"{inside}.{claims}.{signed(f'{inside}.{claims}', 'stranger')}",
        "another's key": f"{head}.{claims}.{signed(f'{head}.{claims}', 'stranger')}",
        "roles changed after signing": f"{head}.{encoded(provider.claims(roles=['Chukei.Change']))}.{signature}",
        "a caller's token": provider.token(provider.claims(roles=["Chukei.Change"])),
        "a caller's token with the scope": provider.token(provider.claims(scp="Console.Use", roles=["Chukei.Change"])),
        "for Microsoft Graph": token(aud="00000003-0000-0000-c000-000000000000"),
        "for several": token(aud=[APP, AUDIENCE]),
        "another tenant": token(tid=OTHER_TENANT, iss=other),
        "another tenant's issuer": token(iss=other),
        "a tenant that only claims to be": token(tid=TENANT.upper()),
        "an issuer of the other version": token(ver="1.0", iss=provider.issuer()),
        "an unknown version": token(ver="3.0"),
        "no object id": token(oid=...),
        "no tenant": token(tid=...),
        "no end": token(exp=...),
        "an ID token": token(scp=..., nonce="n", azp=...),
        "not valid yet": token(nbf=int(time.time()) + 600),
        "an application's without its id": token(**(application | {"azp": ...})),
    }


async def test_what_never_opens(console: Console) -> None:
    answers = {what: await console.code(token) for what, token in forged(console.provider).items()}
    assert {what: found for what, found in answers.items() if found != (401, "invalid_admin_key")} == {}
    assert (await console.code(console.provider.admin_token(exp=int(time.time()) - 120))) == (401, "token_expired")
    useless: list[dict[str, Any]] = [{"roles": []}, {"roles": ...}, {"roles": ["Relay.Call"]}, {"scp": "Relay.Call"}]
    for lacking in useless:
        assert (await console.code(console.provider.admin_token(**lacking))) == (403, "missing_permission")
    console.process.stop()
    logged = "\n".join(console.process.log)
    assert "an administrator's token was refused: wrong audience" in logged
    assert "eyJ" not in logged, "no part of a token is in the log"


async def test_both_versions_people_and_applications_open(console: Console) -> None:
    token = console.provider.admin_token
    version1 = {"ver": "1.0", "aud": f"api://{APP}", "azp": ..., "appid": CLIENT}
    application = {
        "scp": ...,
        "oid": PRINCIPAL,
        "sub": PRINCIPAL,
        "idtyp": "app",
        "preferred_username": ...,
        "azp": CLIENT,
    }
    for changes, actor, name in (
        ({}, USER, "ann@contoso.com"),
        (version1, USER, "ann@contoso.com"),
        (application, f"app:{TENANT}/{CLIENT}", None),
    ):
        answer = await console.ask(token(**changes))
        assert (answer.status, answer.json()) == (200, {"actor": actor, "name": name, "may_change": True})


async def test_looking_is_not_changing(console: Console) -> None:
    looking = console.provider.admin_token(roles=["Chukei.Look"])
    for target in READABLE:
        assert (await console.ask(looking, target=f"/admin/{target}")).status == 200, target
    changes = [
        ("POST", "keys"),
        ("POST", "keys/x/rotate"),
        ("POST", "keys/x/revoke"),
        ("DELETE", "usage?caller=a"),
        ("POST", "rules"),
        ("POST", "reload"),
        ("PUT", "log-level"),
    ]
    for method, target in changes:
        assert (await console.code(looking, method, f"/admin/{target}")) == (403, "not_allowed"), target
    assert (await console.ask(looking, target="/admin/changes")).json() == {"data": [], "more": False}


async def test_every_change_has_its_author(console: Console) -> None:
    token = console.provider.admin_token()

    async def do(method: str, target: str, body: bytes = b"{}", status: int = 200) -> Any:
        answer = await console.ask(token, method, f"/admin/{target}", body)
        assert answer.status == status, answer
        return answer.json()

    made = await do("POST", "keys", b'{"caller": "team-a"}', 201)
    new = await do("POST", f"keys/{made['id']}/rotate", b"{}", 201)
    await do("POST", f"keys/{made['id']}/revoke")
    await do("POST", "rules", b'{"subject": "caller:team-a", "limits": {"concurrent": 2}}')
    await do("DELETE", "usage?caller=team-a", b"")
    await do("PUT", "log-level", b'{"level": "debug", "seconds": 60}')
    await do("POST", "reload")
    found = await do("GET", "changes", b"")
    actions = ["reload", "log_level", "entries_deleted", "rules", "key_revoked", "key_replaced", "key_made"]
    assert [change["action"] for change in found["data"]] == actions
    assert {(change["actor"], change["name"]) for change in found["data"]} == {(USER, "ann@contoso.com")}
    assert found["data"][4]["before"]["caller"] == "team-a"
    for key in (made, new):
        assert key["key"].removeprefix(f"chk_{key['id']}_") not in str(found)


async def test_without_a_credential_only_the_way_to_sign_in_is_told(console: Console) -> None:
    answer = await ask(console.process.url, "GET", "/admin/sign-in")
    place = f"{console.provider.authority}/{TENANT}/oauth2/v2.0"
    entra = {
        "authorize": f"{place}/authorize",
        "token": f"{place}/token",
        "client_id": APP,
        "scope": f"{APP}/Console.Use",
    }
    assert (answer.status, answer.json()) == (200, {"key": False, "entra": entra})
    assert (await ask(console.process.url, "POST", "/admin/sign-in")).status == 405
    assert (await ask(console.process.url, "GET", "/admin/session")).status == 401


async def test_a_callers_token_still_calls_and_an_administrators_does_not(console: Console) -> None:
    models = {
        token: (await console.ask(token, target="/v1/models")).status
        for token in (console.provider.token(), console.provider.admin_token())
    }
    assert list(models.values()) == [200, 401]
