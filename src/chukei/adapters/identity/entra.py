"""Verification of Entra ID access tokens. Each token is verified once and then cached by its digest.

``tokens`` has the rules for claims, ``signing_keys`` fetches the keys. PyJWT verifies the signature; it is imported
only if Entra ID is configured.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING, Generic
from urllib.parse import urlsplit

from chukei.adapters.http.client import HttpClient
from chukei.adapters.identity.signing_keys import Fetch, NoKeys, SigningKeys
from chukei.callers import tokens
from chukei.callers.tokens import ALGORITHM, Claims, Holder, Recognised, TokenFlaw, TokenRefused
from chukei.errors import Unavailable, UpstreamError
from chukei.model import End, header
from chukei.ports import Answer, Clock

if TYPE_CHECKING:
    from jwt import PyJWK

logger = logging.getLogger(__name__)

CACHE_SECONDS = 300.0
"""Seconds for which a verified token is cached; the signing keys may change, or the clock be corrected, meanwhile."""

MAX_CACHED = 10_000

MAX_DOCUMENT_BYTES = 256 * 1024
"""Bytes of a fetched document; Entra ID's keys have about 20 KB."""

FETCH_SECONDS = 10.0


Recognise = Callable[[Claims, str, float], Recognised[Holder]]
"""Returns the holder of verified claims, from their issuer and the time; raises TokenRefused."""


class EntraTokens(Generic[Holder]):
    """Implements ``tokens.TokenReader`` for tokens of ``tenants``. ``wall`` is Unix time, by which tokens expire."""

    def __init__(
        self,
        tenants: Collection[str],
        recognise: Recognise[Holder],
        signing_keys: SigningKeys,
        clock: Clock,
        wall: Clock,
        *,
        max_cached: int = MAX_CACHED,
    ) -> None:
        self._tenants = tenants
        self._recognise = recognise
        self._signing_keys = signing_keys
        self._clock = clock
        self._wall = wall
        self._max_cached = max_cached
        self._verified: dict[bytes, tuple[Holder, float]] = {}  # by the whole digest: the holder, and until when
        self._overage_logged = False
        self.verifications = 0

    async def holder(self, token: bytes) -> Holder:
        """See ``TokenReader``."""
        digest = hashlib.sha256(token).digest()
        known = self._verified.get(digest)
        if known is not None and self._clock() < known[1]:
            return known[0]
        unverified = tokens.read(token, self._tenants)
        try:
            issuer, key = await self._signing_keys.find(unverified.tenant, unverified.version, unverified.key_id)
        except NoKeys:
            raise _without_keys() from None
        if key is None:
            raise TokenRefused(TokenFlaw.KEY)
        self.verifications += 1
        verify(token, key)
        now = self._wall()
        found = self._recognise(unverified.claims, issuer, now)
        if found.overage:
            self._log_overage()
        self._remember(digest, found.holder, found.expires - now)
        return found.holder

    def _remember(self, digest: bytes, holder: Holder, seconds: float) -> None:
        self._verified.pop(digest, None)
        if len(self._verified) >= self._max_cached:
            del self._verified[next(iter(self._verified))]
        if seconds > 0:
            self._verified[digest] = (holder, self._clock() + min(seconds, CACHE_SECONDS))

    def _log_overage(self) -> None:
        if not self._overage_logged:
            self._overage_logged = True
            logger.warning(
                "a token holds no groups, since its owner is in too many: map application roles in auth.entra.groups"
            )

    def __repr__(self) -> str:
        return f"<EntraTokens {len(self._verified)} verified>"


def verify(token: bytes, key: "PyJWK") -> None:
    """Verify a token's signature.

    Raises:
        TokenRefused: the signature does not match the key.
    """
    from jwt import PyJWS, PyJWTError

    try:
        PyJWS([ALGORITHM]).decode(token, key, algorithms=[ALGORITHM])
    except PyJWTError:
        raise TokenRefused(TokenFlaw.SIGNATURE) from None


def fetcher(client: HttpClient, *, seconds: float = FETCH_SECONDS) -> Fetch:
    """Return a function that fetches a JSON document of limited size. It refuses redirects and compression."""

    async def fetch(address: str) -> bytes:
        parts = urlsplit(address)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            async with asyncio.timeout(seconds):
                origin, wanted = f"{parts.scheme}://{parts.netloc}", [(b"accept", b"application/json")]
                answer = await client.request("GET", origin, target, wanted, b"", lambda: None)
                try:
                    return await _whole(answer)
                finally:
                    answer.abort()  # no fetch follows soon, and a reused connection might need a second attempt
        except TimeoutError:
            raise UpstreamError("upstream_timeout", f"{parts.netloc} took too long", end=End.TIMEOUT) from None

    return fetch


async def _whole(answer: Answer) -> bytes:
    kind = (header(answer.headers, b"content-type") or b"").lower()
    if answer.status != 200 or b"json" not in kind or header(answer.headers, b"content-encoding") is not None:
        raise UpstreamError("unexpected_answer", f"status {answer.status}, not JSON", end=End.UNEXPECTED_ANSWER)
    parts = bytearray()
    while (data := await answer.read()) != b"":
        parts += data or b""
        if len(parts) > MAX_DOCUMENT_BYTES:
            raise UpstreamError("unexpected_answer", "the document is too large", end=End.UNEXPECTED_ANSWER)
    return bytes(parts)


def entra_installed() -> bool:
    """Whether the ``entra`` extra is installed."""
    return find_spec("jwt") is not None and find_spec("cryptography") is not None


def _without_keys() -> Unavailable:
    return Unavailable(
        "identity_unavailable",
        "The relay cannot verify access tokens now, since it has no keys of the identity provider; try again.",
        end=End.REFUSED,
        headers=[(b"retry-after", b"5"), (b"retry-after-ms", b"5000")],
    )
