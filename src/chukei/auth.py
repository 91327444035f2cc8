"""Who calls? Pure: a request's headers and origin in, a Caller out, or a refusal.

One extractor serves every carrier of a credential. The answer to a wrong one tells nothing but that it is wrong; only
who holds a whole key or a genuine token hears more. What a credential is, is decided by its form alone, so nothing is
tried out: ``chk_…`` is a caller's key, three parts with dots an Entra ID token, the rest the shared key.
"""

import hashlib
import hmac
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from chukei import keys, principal
from chukei.config import AuthSettings, ServerSettings
from chukei.errors import CallerError, Unavailable, come_back, origin_not_allowed
from chukei.keys import Flaw, KeyDirectory, Peppers
from chukei.model import Caller, CallerKind, End, Headers, header
from chukei.ports import Clock
from chukei.stores import StoreAway
from chukei.throttle import Throttle
from chukei.tokens import TokenReader, TokenRefused, is_token

logger = logging.getLogger(__name__)

ANONYMOUS = Caller("anonymous", CallerKind.ANONYMOUS)
LOCAL = Caller("local", CallerKind.LOCAL)
SHARED = Caller("shared-key", CallerKind.SHARED)

_CHALLENGE: Headers = [(b"www-authenticate", b'Bearer realm="chukei"')]
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Fields that only a proxy adds. Behind one, a loopback peer says nothing about where the client is.
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})


def credential(headers: Headers) -> bytes | None:
    """Return the one credential of a request, from any of its carriers, or None.

    Raises:
        CallerError: 400 for two different ones, 401 for an Authorization that is not a bearer token.
    """
    found = set()
    for name, value in headers:
        if name in (b"api-key", b"x-api-key"):
            found.add(value.strip())
        elif name == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            if scheme.lower() != b"bearer" or not token.strip():
                raise _unauthorized("The Authorization header must be 'Bearer' and a key.")
            found.add(token.strip())
    found.discard(b"")
    if len(found) > 1:
        raise _ambiguous()
    return found.pop() if found else None


class CallerKeys:
    """The keys of the database, and how they are checked. ``wall`` is Unix time, by which keys expire."""

    def __init__(self, directory: KeyDirectory, peppers: Peppers, wall: Clock) -> None:
        self._directory = directory
        self._peppers = peppers
        self._wall = wall

    async def caller(self, text: bytes) -> tuple[Caller | None, Flaw | None]:
        """Return whose key it is, and what is wrong with it.

        Raises:
            Unavailable: what keys there are is not known now.
        """
        presented = keys.parse(text)
        if presented is None:
            return None, Flaw.UNKNOWN
        try:
            kept = await self._directory.find(presented.id)
        except StoreAway:
            raise _keys_unavailable() from None
        flaw = keys.check(presented, kept, self._peppers, datetime.fromtimestamp(self._wall(), UTC))
        if kept is None or flaw is Flaw.UNKNOWN:
            return None, Flaw.UNKNOWN
        groups = (kept.group,) if kept.group is not None else ()
        return Caller(kept.caller, CallerKind.KEY, groups, kept.id), flaw


class Gatekeeper:
    """Decides by the settings who may call.

    ``fixed`` are the callers whose keys stand in the configuration, by the SHA-256 digest of the whole key in
    hexadecimal digits.
    """

    def __init__(
        self,
        auth: AuthSettings,
        server: ServerSettings,
        *,
        fixed: Mapping[str, Caller] | None = None,
        keys: CallerKeys | None = None,
        tokens: TokenReader | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._anonymous = auth.anonymous
        self._digest = _digest(auth.api_key.reveal().encode()) if auth.api_key is not None else None
        self._origins = frozenset(server.cors_origins)
        self._fixed = dict(fixed or {})
        self._keys = keys
        self._tokens = tokens
        self._throttle = throttle
        # Keys of the database alone do not close it: they are for others, and may be made at any time.
        self._closed = bool(self._digest is not None or self._fixed or tokens is not None or auth.app_service)
        self._platform = auth.app_service and auth.platform_auth
        self._entra = auth.entra

    async def authenticate(self, headers: Headers, *, local: bool, source: str) -> Caller:
        """Return the caller.

        ``local`` says that the client's address is this machine's own; ``source`` is that address, by which failures
        are counted.

        Raises:
            CallerError: 401 without a valid credential, 403 for one that is not enough and for a page of another site
                that uses a local user's browser, 429 after too many failures, 400 for two credentials.
            Unavailable: 503 while it cannot be told.
        """
        if self._anonymous:
            return ANONYMOUS
        sent = credential(headers)
        let_in = self._principal(headers, source)
        if let_in is not None:
            return await self._agree(let_in, sent, source)
        if sent is not None and (self._closed or (self._keys is not None and sent.startswith(keys.PREFIX))):
            return await self._recognise(sent, source)
        if self._closed:
            raise _unauthorized("An access key is needed: send it as 'Authorization: Bearer KEY' or 'api-key: KEY'.")
        if not local or not _is_direct(headers):
            raise _unauthorized(
                "This relay serves callers without a key only on its own machine. Its operator can set CHUKEI_API_KEY, "
                "or auth.anonymous = true to serve everybody."
            )
        self._check_origin(headers)
        return LOCAL

    def _principal(self, headers: Headers, source: str) -> Caller | None:
        """Return whom the platform in front let in. Where there is none, what clients send in its name is ignored."""
        found = [value for name, value in headers if name == principal.HEADER] if self._platform else []
        if not found:
            return None
        if len(found) > 1:
            raise _ambiguous()
        try:
            return principal.read(found[0], self._entra)
        except TokenRefused as refusal:
            raise self._refused(source, f"principal: {refusal.flaw}", refusal.told) from None

    async def _agree(self, let_in: Caller, sent: bytes | None, source: str) -> Caller:
        """Return whom the platform let in, unless the request carries somebody else's credential besides.

        The platform hands on the token that it has looked at; a key it knows nothing of.
        """
        if sent is not None and not is_token(sent):
            raise _ambiguous()
        if sent is not None and self._tokens is not None and (await self._recognise(sent, source)).name != let_in.name:
            raise _ambiguous()
        return let_in

    async def _recognise(self, sent: bytes, source: str) -> Caller:
        digest = _digest(sent)
        if self._digest is not None and hmac.compare_digest(digest, self._digest):
            return SHARED
        fixed = self._fixed.get(digest.hex())
        if fixed is not None:
            return fixed
        if self._keys is not None and sent.startswith(keys.PREFIX):
            caller, flaw = await self._keys.caller(sent)
            if caller is None or flaw is not None:
                raise self._refused(source, f"key {caller.key_id if caller else '…'}: {flaw}", _key_ended(flaw))
            return caller
        if self._tokens is not None and is_token(sent):
            try:
                return await self._tokens.caller(sent)
            except TokenRefused as refusal:
                raise self._refused(source, f"token: {refusal.flaw}", refusal.told) from None
        raise self._refused(source, "no key or token")

    def _refused(self, source: str, why: str, told: CallerError | None = None) -> CallerError:
        """Return the refusal of a credential, after counting it. ``why`` is for the log and holds nothing of it."""
        wait = self._throttle.failed(source) if self._throttle is not None else None
        if wait is not None:
            return _too_many(wait)
        logger.info("a credential was refused: %s", why)
        return told or _unauthorized("The access key or token is not valid.")

    def _check_origin(self, headers: Headers) -> None:
        """Keep other sites' pages out: a browser on this machine runs them, but their Origin tells."""
        origin = header(headers, b"origin")
        if origin is None:
            return
        text = origin.decode("latin-1").lower()
        own = text.partition("://")[2] == (header(headers, b"host") or b"").decode("latin-1").lower()
        if not own and text not in self._origins and "*" not in self._origins:
            raise origin_not_allowed()

    def __repr__(self) -> str:
        return f"<Gatekeeper {'closed' if self._closed else 'open to this machine'}>"


def _is_direct(headers: Headers) -> bool:
    """Whether no proxy stands between, and the name asked for is this machine's (a defence against DNS rebinding)."""
    if any(name in _FORWARDED for name, _ in headers):
        return False
    host = (header(headers, b"host") or b"").decode("latin-1").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in _LOOPBACK_HOSTS


def _unauthorized(message: str) -> CallerError:
    return CallerError(401, "invalid_api_key", message, type="authentication_error", headers=_CHALLENGE)


def _ambiguous() -> CallerError:
    return CallerError(400, "ambiguous_credentials", "The request carries two different credentials; send one.")


def _key_ended(flaw: Flaw | None) -> CallerError | None:
    """Return what the holder of a whole key may hear."""
    if flaw is Flaw.EXPIRED:
        message = "The access key has expired; ask the relay's operator for a new one."
        return CallerError(401, "key_expired", message, type="authentication_error", headers=_CHALLENGE)
    return key_revoked() if flaw is Flaw.REVOKED else None


def key_revoked() -> CallerError:
    """Return the error for a key that was right, perhaps even when the request began."""
    message = "The access key was revoked; ask the relay's operator for a new one."
    return CallerError(401, "key_revoked", message, type="authentication_error", headers=_CHALLENGE)


def _too_many(wait: float) -> CallerError:
    seconds = math.ceil(wait)
    return CallerError(
        429,
        "too_many_failures",
        f"Too many wrong keys or tokens came from this address; try again in {seconds} seconds, with a valid one.",
        type="authentication_error",
        headers=come_back(wait),
    )


def _keys_unavailable() -> Unavailable:
    return Unavailable(
        "keys_unavailable",
        "The relay cannot check access keys now, since its database is away; try again.",
        end=End.REFUSED,
        headers=come_back(2),
    )


def _digest(key: bytes) -> bytes:
    # Comparing digests takes the same time whatever the length and content of what was sent.
    return hashlib.sha256(key).digest()
