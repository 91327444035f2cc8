"""Verifying tokens against an identity provider on a real socket: caching, replacing of keys, hostile documents."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from tests.fakes import FakeClock
from tests.live.identity_provider import (
    AUDIENCE,
    OTHER_TENANT,
    PERSON,
    TENANT,
    IdentityProvider,
    answer,
    encoded,
    private_key,
    public_jwk,
)
from tests.live.relays import eventually
from tests.rows import rows

from chukei.adapters.http.client import HttpClient
from chukei.adapters.identity.entra import CACHE_SECONDS, MAX_DOCUMENT_BYTES, EntraTokens, entra_installed, fetcher
from chukei.adapters.identity.signing_keys import UNKNOWN_SECONDS, SigningKeys
from chukei.callers.tokens import TokenFlaw, TokenRefused, recognise
from chukei.config import EntraSettings, UpstreamSettings
from chukei.errors import Unavailable, UpstreamError

pytestmark = pytest.mark.anyio

METADATA = f"/{TENANT}/v2.0/.well-known/openid-configuration"
KEYS = f"/{TENANT}/discovery/v2.0/keys"


class EntraHarness:
    """A provider, what verifies its tokens, and the clocks of both kinds."""

    def __init__(self, provider: IdentityProvider, client: HttpClient, max_cached: int) -> None:
        self.provider = provider
        self.clock = FakeClock()
        self.wall = FakeClock(provider.claims()["iat"])
        self.settings = EntraSettings((TENANT,), (AUDIENCE,), authority=provider.authority)
        self.keys = SigningKeys(provider.authority, (TENANT,), fetcher(client), self.clock)
        self.tokens = EntraTokens(
            (TENANT,), partial(recognise, self.settings), self.keys, self.clock, self.wall, max_cached=max_cached
        )

    async def name(self, token: str) -> str:
        return (await self.tokens.holder(token.encode())).name

    async def flaw(self, token: str) -> TokenFlaw:
        with pytest.raises(TokenRefused) as caught:
            await self.tokens.holder(token.encode())
        return caught.value.flaw


@asynccontextmanager
async def harness_of(provider: IdentityProvider, *, max_cached: int = 100) -> AsyncIterator[EntraHarness]:
    client = HttpClient(UpstreamSettings())
    harness = EntraHarness(provider, client, max_cached)
    harness.keys.start()
    try:
        yield harness
    finally:
        await harness.keys.close()
        await client.close()


@pytest.fixture
async def harness() -> AsyncIterator[EntraHarness]:
    async with IdentityProvider() as provider, harness_of(provider) as harness:
        yield harness


USER = f"user:{TENANT}/{PERSON}"


async def test_a_genuine_token(harness: EntraHarness) -> None:
    assert await harness.name(harness.provider.token()) == USER
    assert await harness.name(harness.provider.token(harness.provider.claims(ver="1.0"))) == USER


async def test_a_token_is_verified_once_and_for_a_time(harness: EntraHarness) -> None:
    token = harness.provider.token()
    for _ in range(100):
        await harness.name(token)
    assert harness.tokens.verifications == 1
    harness.clock.advance(CACHE_SECONDS)
    await harness.name(token)
    assert harness.tokens.verifications == 2


async def test_not_after_its_end(harness: EntraHarness) -> None:
    token = harness.provider.token(harness.provider.claims(exp=int(harness.wall.now) + 100))
    await harness.name(token)
    harness.clock.advance(100)
    harness.wall.advance(161)
    assert await harness.flaw(token) is TokenFlaw.EXPIRED


async def test_what_is_refused_is_not_remembered(harness: EntraHarness) -> None:
    token = harness.provider.token(harness.provider.claims(nbf=int(harness.wall.now) + 100))
    assert await harness.flaw(token) is TokenFlaw.NOT_YET
    harness.wall.advance(100)
    assert await harness.name(token) == USER


async def test_the_memory_of_tokens_is_bounded() -> None:
    async with IdentityProvider() as provider, harness_of(provider, max_cached=3) as harness:
        tokens = [provider.token(provider.claims(jti=str(number))) for number in range(5)]
        for token in tokens:
            await harness.name(token)
        assert repr(harness.tokens) == "<EntraTokens 3 verified>"
        await harness.name(tokens[4])
        assert harness.tokens.verifications == 5
        await harness.name(tokens[0])
        assert harness.tokens.verifications == 6


async def test_a_token_is_known_by_all_of_it(harness: EntraHarness) -> None:
    """Of a digest cut short two tokens could be alike; of a signature that is ignored, any."""
    token = harness.provider.token()
    await harness.name(token)
    head, claims, signature = token.split(".")
    other = encoded({**harness.provider.claims(), "oid": TENANT})
    assert await harness.flaw(f"{head}.{other}.{signature}") is TokenFlaw.SIGNATURE
    assert await harness.flaw(f"{head}.{claims}.{encoded(b'x' * 256)}") is TokenFlaw.SIGNATURE


async def test_keys_are_replaced_without_a_restart(harness: EntraHarness) -> None:
    await harness.name(harness.provider.token())
    harness.provider.published = ["second"]
    assert await harness.name(harness.provider.token(key="second")) == USER
    fresh = harness.provider.token(harness.provider.claims(jti="1"))
    assert await harness.flaw(fresh) is TokenFlaw.KEY, "the old key is withdrawn"


async def test_ten_thousand_unknown_key_ids_are_one_fetch_also_while_the_provider_is_away(
    harness: EntraHarness,
) -> None:
    token = harness.provider.token()
    await harness.name(token)
    claims = harness.provider.claims()
    before = len(harness.provider.fetches)
    harness.provider.down = True
    for number in range(10_000):
        forged = f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': f'unknown-{number}'})}.{encoded(claims)}.c2ln"
        assert await harness.flaw(forged) is TokenFlaw.KEY
        if number % 1000 == 0:
            assert await harness.name(harness.provider.token(harness.provider.claims(jti=str(number)))) == USER
    assert len(harness.provider.fetches) <= before + 1
    harness.provider.down = False
    harness.clock.advance(UNKNOWN_SECONDS)
    harness.provider.published.append("second")
    assert await harness.name(harness.provider.token(key="second")) == USER


async def test_a_provider_that_is_away_at_the_start() -> None:
    async with IdentityProvider() as provider:
        provider.down = True
        async with harness_of(provider) as harness:
            with pytest.raises(Unavailable) as caught:
                await harness.name(provider.token())
            assert (caught.value.status, caught.value.code) == (503, "identity_unavailable")


async def test_groups_that_do_not_fit_are_announced_once(
    harness: EntraHarness, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(harness.settings, groups={"Lead": "lead"})
    tokens = EntraTokens((TENANT,), partial(recognise, settings), harness.keys, harness.clock, harness.wall)
    for number in range(3):
        claims = harness.provider.claims(_claim_names={"groups": "src1"}, jti=str(number), roles=["Lead"])
        assert (await tokens.holder(harness.provider.token(claims).encode())).groups == ("lead",)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "roles" in caplog.text


@rows(
    ("path", "document"),
    [
        (METADATA, b"HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n"),
        (KEYS, b"HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n"),
        (METADATA, answer(b"<html>", kind="text/html")),
        (KEYS, answer({"keys": [public_jwk("first")]}, kind="text/plain")),
        (KEYS, answer({"keys": [public_jwk("first")], "more": "x" * MAX_DOCUMENT_BYTES})),
        (KEYS, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"),
        (KEYS, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"),
        (METADATA, answer({"issuer": f"http://x/{OTHER_TENANT}", "jwks_uri": "http://x/"})),
        (METADATA, b"no HTTP at all\r\n\r\n"),
    ],
    ids=["redirect", "redirected-keys", "html", "text", "large", "empty", "short", "other-tenant", "no-http"],
)
async def test_documents_that_are_not_believed(path: str, document: bytes) -> None:
    async with IdentityProvider() as provider, IdentityProvider() as elsewhere:
        provider.answers[path] = document.replace(b"{elsewhere}", elsewhere.authority.encode() + path.encode())
        if b"content-length: 9" in document or b"content-length" not in document:
            provider.ends_after.add(path)
        async with harness_of(provider) as harness:
            with pytest.raises(Unavailable):
                await harness.name(provider.token())
            assert await harness.name(provider.token(provider.claims(ver="1.0"))) == USER, "the other version serves"
        assert elsewhere.fetches == []


async def test_a_compressed_document_is_not_inflated(harness: EntraHarness) -> None:
    body = gzip.compress(json.dumps({"keys": [public_jwk("second")]}).encode())
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    await harness.name(harness.provider.token())
    harness.provider.answers[KEYS] = head % len(body) + body
    assert await harness.flaw(harness.provider.token(key="second")) is TokenFlaw.KEY
    assert await harness.name(harness.provider.token(harness.provider.claims(jti="1"))) == USER


async def test_a_provider_that_says_nothing_is_given_up(harness: EntraHarness) -> None:
    client = HttpClient(UpstreamSettings())
    harness.provider.answers["/silent"] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    with pytest.raises(UpstreamError):
        await fetcher(client, seconds=0.05)(f"{harness.provider.authority}/silent")
    await eventually(lambda: client.open_connections == 0)
    await client.close()


def test_the_keys_of_the_tests_are_real() -> None:
    assert entra_installed()
    assert private_key("first").key_size == 2048


async def test_waiting_requests_leave_nothing_behind(harness: EntraHarness) -> None:
    before = len(asyncio.all_tasks())
    await harness.name(harness.provider.token())
    await harness.flaw(harness.provider.token(key="unknown"))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) <= before + 2
