"""Entra ID's signing keys, for each tenant and token version. The relay fetches them itself, without a library.

They are fetched at the start and every 24 hours, as Microsoft recommends
(https://learn.microsoft.com/entra/identity-platform/signing-key-rollover), and kept if a fetch fails. A token that
names an unknown key causes another fetch, since keys are replaced without notice. Such fetches are limited to one in 30
seconds in all. So unknown key ids need not be remembered, and clients cannot fill the memory with them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from chukei.callers.tokens import ALGORITHM, Version
from chukei.errors import UpstreamError
from chukei.ports import Clock

if TYPE_CHECKING:
    from jwt import PyJWK

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 24 * 3600.0
UNKNOWN_SECONDS = 30.0
"""Seconds between two fetches that unknown key ids cause."""

RETRY_SECONDS = 10.0
"""Seconds until a retry after a failed fetch, doubled each time up to ten minutes. Requests do not affect it."""

MOST_RETRY_SECONDS = 600.0

STALE_SECONDS = 72 * 3600.0
"""Greatest age of keys while no newer ones can be fetched: a long weekend."""

WAIT_SECONDS = 5.0
"""Seconds for which a request waits for a fetch."""

_MAX_KEYS = 100
_MIN_KEY_BITS = 2048

Fetch = Callable[[str], Awaitable[bytes]]
"""Fetches the document at an address; raises UpstreamError on failure."""


class NoKeys(Exception):
    """There are no keys for the verification; the token may be valid."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer, their address, and when they were fetched."""

    issuer: str
    address: str
    keys: Mapping[str, "PyJWK"]
    fetched: float


Place = tuple[str, Version]


class SigningKeys:
    """Fetches and caches signing keys. ``authority`` is the origin of the login service."""

    def __init__(
        self,
        authority: str,
        tenants: Sequence[str],
        fetch: Fetch,
        clock: Clock,
        *,
        refresh_seconds: float = REFRESH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._authority = authority
        self._places: list[Place] = [(tenant, version) for tenant in tenants for version in Version]
        self._fetch = fetch
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._retry_seconds = retry_seconds
        self._wait_seconds = wait_seconds
        self._sets: dict[Place, KeySet] = {}
        self._asked: float | None = None
        self._looking: asyncio.Task[bool] | None = None
        self._following: asyncio.Task[None] | None = None
        self._first = asyncio.Event()

    async def find(self, tenant: str, version: Version, key_id: str) -> tuple[str, "PyJWK | None"]:
        """Return the issuer of a tenant's tokens and the key with an id, or None if there is no such key.

        Raises:
            NoKeys: no keys were fetched yet, or they are too old.
        """
        place = (tenant, version)
        if place not in self._sets and not self._first.is_set():
            await self._wait(self._first.wait())
        found = self._fresh(place)
        key = found.keys.get(key_id)
        if key is None and await self._look_again(place):
            found = self._fresh(place)
            key = found.keys.get(key_id)
        return found.issuer, key

    def _fresh(self, place: Place) -> KeySet:
        found = self._sets.get(place)
        if found is None or self._clock() - found.fetched > STALE_SECONDS:
            raise NoKeys
        return found

    async def _wait(self, what: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await what
        except TimeoutError:
            pass

    async def _look_again(self, place: Place) -> bool:
        """Fetch the keys of a tenant and version again, or wait for a running fetch; return False if it is too soon."""
        if self._looking is None:
            if self._asked is not None and self._clock() - self._asked < UNKNOWN_SECONDS:
                return False
            self._asked = self._clock()
            self._looking = asyncio.create_task(self._try(place, self._sets[place]))
            self._looking.add_done_callback(self._looked)
        await self._wait(asyncio.shield(self._looking))
        return True

    def _looked(self, task: asyncio.Task[bool]) -> None:
        self._looking = None

    # Background work.

    def start(self) -> None:
        """Start to fetch in the background."""
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop."""
        tasks = {task for task in (self._following, self._looking) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _follow(self) -> None:
        retry = self._retry_seconds
        while True:
            done = await asyncio.gather(*(self._try(place) for place in self._places))
            self._first.set()
            if all(done):
                retry = self._retry_seconds
                await asyncio.sleep(self._refresh_seconds)
            else:
                await asyncio.sleep(retry)
                retry = min(2 * retry, MOST_RETRY_SECONDS)

    async def _try(self, place: Place, known: KeySet | None = None) -> bool:
        """Fetch the keys of a tenant and version; return whether it succeeded. On failure the previous keys stay."""
        tenant, version = place
        try:
            issuer, address = (known.issuer, known.address) if known else await self._metadata(tenant, version)
            document = await self._fetch(address)
            issuers = (issuer, f"{self._authority}/{tenant}/v2.0")
            keys = await asyncio.to_thread(read_keys, document, tenant, issuers)
        except (UpstreamError, ValueError) as error:
            # The messages name addresses and flaws of a document, never data of a caller.
            logger.warning("no signing keys for version %s of tenant %s: %s", version.value, tenant, error)
            return False
        except Exception:  # unexpected, but the next attempt may succeed
            logger.exception("the signing keys of tenant %s cannot be fetched", tenant)
            return False
        self._sets[place] = KeySet(issuer, address, keys, self._clock())
        return True

    async def _metadata(self, tenant: str, version: Version) -> tuple[str, str]:
        path = f"/{tenant}/v2.0" if version is Version.V2 else f"/{tenant}"
        document = await self._fetch(f"{self._authority}{path}/.well-known/openid-configuration")
        found = msgspec.json.decode(document, type=_Metadata)
        if tenant not in found.issuer:
            raise ValueError("the metadata is another tenant's")
        parts = urlsplit(found.jwks_uri)
        if f"{parts.scheme}://{parts.netloc}" != self._authority:
            raise ValueError("the metadata's keys are elsewhere")
        return found.issuer, found.jwks_uri


class _Metadata(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _Keys(msgspec.Struct):
    keys: list[dict[str, Any]]


def read_keys(document: bytes, tenant: str, issuers: Sequence[str]) -> dict[str, "PyJWK"]:
    """Return the usable keys of a set (RFC 7517): RSA, for signatures, large enough, and of one of these issuers.

    A key that many tenants share has a placeholder for the tenant in its issuer. If keys of version 1 name an issuer,
    it is that of version 2; both versions have the same keys.

    Raises:
        ValueError: the document is not a key set, or has no usable key.
    """
    from jwt import InvalidKeyError, PyJWK, PyJWKError  # takes 60 ms with its cryptography, so not at every start

    found: dict[str, PyJWK] = {}
    for item in msgspec.json.decode(document, type=_Keys).keys[:_MAX_KEYS]:
        own = item.get("issuer", issuers[0])
        if item.get("kty") != "RSA" or item.get("use", "sig") != "sig" or item.get("alg", ALGORITHM) != ALGORITHM:
            continue
        if not isinstance(own, str) or own.replace("{tenantid}", tenant) not in issuers or "d" in item:
            continue
        try:
            key = PyJWK(item, ALGORITHM)
        except (InvalidKeyError, PyJWKError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key.key_id, str) and key.key.key_size >= _MIN_KEY_BITS:
            found[key.key_id] = key
    if not found:
        raise ValueError("there is no usable key")
    return found
