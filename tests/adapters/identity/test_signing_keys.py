"""Fetching Entra ID's keys: validation, how often they are fetched, and behaviour when fetching fails."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.fakes import FakeClock
from tests.live.identity_provider import OTHER_TENANT, TENANT, public_jwk
from tests.live.relays import eventually
from tests.rows import rows

from chukei.adapters.identity.signing_keys import STALE_SECONDS, UNKNOWN_SECONDS, NoKeys, SigningKeys, read_keys
from chukei.callers.tokens import Version
from chukei.errors import UpstreamError
from chukei.model import End

pytestmark = pytest.mark.anyio

AUTHORITY = "https://login.example"
ISSUER = f"{AUTHORITY}/{TENANT}/v2.0"
AWAY = UpstreamError("connect_error", "refused", end=End.CONNECT_ERROR)


class Documents:
    """What is fetched: metadata and keys by address. ``failure`` is raised instead, ``held`` makes it wait."""

    def __init__(self) -> None:
        self.published = ["first"]
        self.fetched: list[str] = []
        self.failure: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.changes: dict[str, Any] = {}

    async def __call__(self, address: str) -> bytes:
        self.fetched.append(address)
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        if address.endswith("openid-configuration"):
            base = address.removesuffix("/.well-known/openid-configuration")
            metadata = {"issuer": base, "jwks_uri": f"{base}/keys"}
            return json.dumps(metadata | self.changes).encode()
        return key_set(*(public_jwk(name) for name in self.published))

    def keys_fetched(self) -> int:
        return sum(address.endswith("/keys") for address in self.fetched)


def key_set(*jwks: object) -> bytes:
    return json.dumps({"keys": jwks}).encode()


@asynccontextmanager
async def keys_from(
    documents: Documents, clock: FakeClock | None = None, *, tenants: tuple[str, ...] = (TENANT,), **times: float
) -> AsyncIterator[SigningKeys]:
    keys = SigningKeys(AUTHORITY, tenants, documents, clock or FakeClock(), **times)
    keys.start()
    try:
        yield keys
    finally:
        await keys.close()


async def known(keys: SigningKeys, key_id: str, version: Version = Version.V2) -> bool:
    issuer, key = await keys.find(TENANT, version, key_id)
    assert issuer == (ISSUER if version is Version.V2 else f"{AUTHORITY}/{TENANT}")
    return key is not None


async def test_the_metadata_of_each_tenant_and_version() -> None:
    documents = Documents()
    async with keys_from(documents, tenants=(TENANT, OTHER_TENANT)) as keys:
        assert await known(keys, "first", Version.V1)
        assert await known(keys, "first", Version.V2)
        assert (await keys.find(OTHER_TENANT, Version.V2, "first"))[0] == f"{AUTHORITY}/{OTHER_TENANT}/v2.0"
    assert len(documents.fetched) == len(set(documents.fetched)) == 8


async def test_a_new_key_is_found_without_a_restart() -> None:
    documents = Documents()
    async with keys_from(documents) as keys:
        assert await known(keys, "first")
        documents.published = ["second"]
        assert await known(keys, "second")
        assert not await known(keys, "first"), "withdrawn"


async def test_unknown_ids_cost_one_fetch_in_thirty_seconds() -> None:
    documents, clock = Documents(), FakeClock()
    async with keys_from(documents, clock) as keys:
        assert await known(keys, "first")
        before = len(documents.fetched)
        for number in range(1000):
            assert not await known(keys, f"unknown-{number}", list(Version)[number % 2])
        await asyncio.gather(*(known(keys, f"at-once-{number}") for number in range(100)))
        assert len(documents.fetched) == before + 1
        clock.advance(UNKNOWN_SECONDS - 0.1)
        assert not await known(keys, "unknown")
        assert len(documents.fetched) == before + 1
        clock.advance(0.1)
        assert not await known(keys, "unknown")
        assert len(documents.fetched) == before + 2
        assert await known(keys, "first")


async def test_the_same_while_the_provider_is_away_and_known_keys_serve() -> None:
    documents, clock = Documents(), FakeClock()
    async with keys_from(documents, clock) as keys:
        assert await known(keys, "first")
        documents.failure = AWAY
        before = len(documents.fetched)
        for number in range(1000):
            assert not await known(keys, f"unknown-{number}")
            assert await known(keys, "first")
        assert len(documents.fetched) == before + 1


async def test_all_wait_for_one_fetch() -> None:
    documents = Documents()
    async with keys_from(documents) as keys:
        assert await known(keys, "first")
        documents.published.append("second")
        documents.free.clear()
        before = documents.keys_fetched()
        waiting = [asyncio.create_task(known(keys, "second")) for _ in range(50)]
        await eventually(lambda: documents.keys_fetched() > before)
        assert await known(keys, "first"), "not held up"
        documents.free.set()
        assert await asyncio.gather(*waiting) == [True] * 50
        assert documents.keys_fetched() == before + 1


async def test_a_request_that_gives_up_does_not_end_the_fetch() -> None:
    documents = Documents()
    async with keys_from(documents) as keys:
        assert await known(keys, "first")
        documents.published.append("second")
        documents.free.clear()
        waiting = [asyncio.create_task(known(keys, "second")) for _ in range(2)]
        await eventually(lambda: documents.keys_fetched() == 3)
        waiting[0].cancel()
        await asyncio.wait({waiting[0]})
        documents.free.set()
        assert await waiting[1]


async def test_keys_are_refreshed_beside_requests() -> None:
    documents = Documents()
    async with keys_from(documents, refresh_seconds=0.005) as keys:
        assert await known(keys, "first")
        documents.published = ["second"]
        asked = documents.keys_fetched()
        await eventually(lambda: documents.keys_fetched() >= asked + 4)
        assert "second" in keys._sets[TENANT, Version.V2].keys


async def test_stale_keys_serve_but_not_for_ever() -> None:
    documents, clock = Documents(), FakeClock()
    async with keys_from(documents, clock) as keys:
        assert await known(keys, "first")
        documents.failure = AWAY
        clock.advance(STALE_SECONDS)
        assert await known(keys, "first")
        clock.advance(1)
        with pytest.raises(NoKeys):
            await known(keys, "first")


async def test_without_any_keys_it_says_so_and_requests_cause_no_fetch(caplog: pytest.LogCaptureFixture) -> None:
    documents = Documents()
    documents.failure = AWAY
    with caplog.at_level(logging.WARNING):
        async with keys_from(documents) as keys:
            for _ in range(100):
                with pytest.raises(NoKeys):
                    await known(keys, "first")
            assert len(documents.fetched) == 2
    assert len(caplog.records) == 2


async def test_it_recovers_by_itself() -> None:
    documents = Documents()
    documents.failure = AWAY
    async with keys_from(documents, retry_seconds=0.005) as keys:
        with pytest.raises(NoKeys):
            await known(keys, "first")
        documents.failure = None
        await eventually(lambda: (TENANT, Version.V2) in keys._sets)
        assert await known(keys, "first")


async def test_a_slow_provider_is_not_waited_for_long() -> None:
    documents = Documents()
    documents.free.clear()
    async with keys_from(documents, wait_seconds=0.01) as keys:
        with pytest.raises(NoKeys):
            await known(keys, "first")


async def test_a_defect_does_not_end_the_following(caplog: pytest.LogCaptureFixture) -> None:
    documents = Documents()
    documents.failure = RuntimeError("a defect")
    async with keys_from(documents, retry_seconds=0.005) as keys:
        with pytest.raises(NoKeys):
            await known(keys, "first")
        documents.failure = None
        await eventually(lambda: (TENANT, Version.V2) in keys._sets)
    assert "a defect" in caplog.text


@rows(
    "changes",
    [
        {"issuer": f"{AUTHORITY}/{OTHER_TENANT}/v2.0"},
        {"issuer": 7},
        {"jwks_uri": f"https://evil.example/{TENANT}/keys"},
        {"jwks_uri": f"http://login.example/{TENANT}/keys"},
        {"jwks_uri": f"https://login.example@evil.example/{TENANT}/keys"},
        {"jwks_uri": f"https://login.example.evil.example/{TENANT}/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://[::1"},
        {"jwks_uri": None},
    ],
)
async def test_metadata_that_leads_elsewhere_is_not_followed(changes: dict[str, Any]) -> None:
    documents = Documents()
    documents.changes = changes
    async with keys_from(documents) as keys:
        with pytest.raises(NoKeys):
            await known(keys, "first")
    assert documents.keys_fetched() == 0


# Which keys of a set are used.


def test_only_keys_that_sign_for_this_issuer() -> None:
    document = key_set(
        public_jwk("first"),
        public_jwk("common", issuer=f"{AUTHORITY}/{{tenantid}}/v2.0"),
        public_jwk("own", issuer=ISSUER),
        public_jwk("other", issuer=f"{AUTHORITY}/{OTHER_TENANT}/v2.0"),
        public_jwk("consumer", issuer="https://login.live.com"),
        public_jwk("encrypts") | {"use": "enc"},
        public_jwk("another-algorithm") | {"alg": "RS512"},
        public_jwk("short"),
        public_jwk("nameless") | {"kid": None},
        public_jwk("private") | {"d": "AQAB"},
        {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": "RSA", "kid": "odd", "n": "!!", "e": 7},
        {},
    )
    assert sorted(read_keys(document, TENANT, [ISSUER])) == ["common", "first", "own"]


def test_keys_of_version_1_may_name_the_issuer_of_version_2() -> None:
    document = key_set(public_jwk("first", issuer=f"{AUTHORITY}/{{tenantid}}/v2.0"), public_jwk("second"))
    old = f"https://sts.windows.net/{TENANT}/"
    assert sorted(read_keys(document, TENANT, [old, ISSUER])) == ["first", "second"]
    assert sorted(read_keys(document, TENANT, [old])) == ["second"]


@rows(
    "document",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[7]}', key_set(public_jwk("short")), b"\xff"],
)
def test_a_set_without_a_usable_key_is_an_error(document: bytes) -> None:
    with pytest.raises(ValueError):
        read_keys(document, TENANT, [ISSUER])
