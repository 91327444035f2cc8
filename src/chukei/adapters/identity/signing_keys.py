"""The keys with which Entra ID signs, for each tenant and version of tokens: fetched here, not by a library.

They are fetched at the start and every 24 hours, as Microsoft asks
(https://learn.microsoft.com/entra/identity-platform/signing-key-rollover), and kept when that fails. A token that names
a key which is not among them makes the relay look once more, since keys are replaced without notice; but whatever is
sent, by whomever, that is one fetch in 30 seconds. So nothing need be remembered of the ids that were in vain, and
nobody can fill the memory with them.
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
"""How often an unknown key id may make the relay fetch."""

RETRY_SECONDS = 10.0
"""How soon it is tried again when it failed, doubled each time up to ten minutes; requests have no part in that."""

MOST_RETRY_SECONDS = 600.0

STALE_SECONDS = 72 * 3600.0
"""How old keys may become while no newer ones can be had: a long weekend."""

WAIT_SECONDS = 5.0
"""How long a request waits for a fetch."""

_MAX_KEYS = 100
_MIN_KEY_BITS = 2048

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets the document at an address; UpstreamError where that fails."""


class NoKeys(Exception):
    """There are no keys to verify with; not the caller's fault."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """What one issuer signs with, from where, and when that was fetched."""

    issuer: str
    address: str
    keys: Mapping[str, "PyJWK"]
    fetched: float


Place = tuple[str, Version]


class SigningKeys:
    """Fetches and keeps them. ``authority`` is the origin of the login service."""

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
        """Return the issuer of a tenant's tokens and the key of that id; None where there is none.

        Raises:
            NoKeys: none could be fetched yet, or only too long ago.
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
        """Fetch the keys of one place once more, or wait for whoever does; False where it is too soon."""
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

    # Beside requests.

    def start(self) -> None:
        """Begin to fetch."""
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
        """Fetch the keys of one place; those of before stay when that fails."""
        tenant, version = place
        try:
            issuer, address = (known.issuer, known.address) if known else await self._metadata(tenant, version)
            document = await self._fetch(address)
            issuers = (issuer, f"{self._authority}/{tenant}/v2.0")
            keys = await asyncio.to_thread(read_keys, document, tenant, issuers)
        except (UpstreamError, ValueError) as error:
            # Their messages name addresses and what is wrong with a document, never what a caller sent.
            logger.warning("no signing keys for version %s of tenant %s: %s", version.value, tenant, error)
            return False
        except Exception:  # whatever it is, the next try may succeed
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

    A key that is common to many tenants names its issuer with a place for the tenant in it. Where keys of version 1
    name one at all, it is that of version 2; both are the same keys.

    Raises:
        ValueError: it is no set, or none of its keys can be used.
    """
    from jwt import InvalidKeyError, PyJWK, PyJWKError  # 60 ms with its cryptography, so not at every start

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
