"""Authentication of a request. Pure: headers and client address in, a Caller or a refusal out.

One function extracts credentials from all header fields that may carry one. The form of a credential decides how it is
verified: ``chk_…`` is a caller's key, three parts separated by dots are an Entra ID token, anything else is the shared
key. Many clients fill every field with something, so credentials in another form are ignored beside one of the relay's.
The error for a wrong credential gives no reason, unless the client holds a complete key or a genuine token.
"""

import hashlib
import hmac
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from chukei.accounts.stores import StoreAway
from chukei.callers import keys, principal
from chukei.callers.keys import Flaw, KeyDirectory, Peppers
from chukei.callers.throttle import Throttle
from chukei.callers.tokens import TokenReader, TokenRefused, is_token
from chukei.callers.tokens import read as read_token
from chukei.config import AuthSettings, ServerSettings
from chukei.errors import CallerError, Unavailable, come_back, origin_not_allowed
from chukei.model import Caller, CallerKind, End, Headers, header
from chukei.ports import Clock

logger = logging.getLogger(__name__)

ANONYMOUS = Caller("anonymous", CallerKind.ANONYMOUS)
LOCAL = Caller("local", CallerKind.LOCAL)
SHARED = Caller("shared-key", CallerKind.SHARED)

_BY_CONFIGURED_KEY = frozenset({CallerKind.SHARED, CallerKind.KEY})
_KEY_FIELDS = frozenset({b"api-key", b"x-api-key"})
_CHALLENGE: Headers = [(b"www-authenticate", b'Bearer realm="chukei"')]
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
# The values of Sec-Fetch-Site for a user's own request and for the relay's own page.
_OWN_SITES = frozenset({b"none", b"same-origin"})
# Fields that only a proxy adds. Behind a proxy, a loopback peer address does not mean a local client.
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})


MOST_CREDENTIALS = 4
"""Different credentials in one request. Three header fields carry credentials, and each value counts as a guess."""


def credentials(headers: Headers) -> tuple[list[bytes], bool]:
    """Return a request's different credentials, and whether it also has an Authorization that is not a bearer token.

    The relay issues no credentials for other Authorization schemes.

    Raises:
        CallerError: 400 for more than ``MOST_CREDENTIALS``.
    """
    found: list[bytes] = []
    foreign = False
    for name, value in headers:
        if name in _KEY_FIELDS:
            text = value.strip()
        elif name == b"authorization":
            scheme, _, text = value.strip().partition(b" ")
            text = text.strip()
            if scheme.lower() != b"bearer" or not text:
                foreign = True
                continue
        else:
            continue
        if text and text not in found:
            found.append(text)
    if len(found) > MOST_CREDENTIALS:
        raise _ambiguous()
    return found, foreign


class CallerKeys:
    """Verifies keys against the database. ``wall`` returns Unix time, by which keys expire."""

    def __init__(self, directory: KeyDirectory, peppers: Peppers, wall: Clock) -> None:
        self._directory = directory
        self._peppers = peppers
        self._wall = wall

    async def caller(self, text: bytes) -> tuple[Caller | None, Flaw | None]:
        """Return the caller to whom a key belongs, and the key's flaw, if any.

        Raises:
            Unavailable: the keys cannot be looked up now.
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

    async def is_good(self, id: str) -> bool:
        """Whether a key is known and not revoked.

        Raises:
            Unavailable: the keys cannot be looked up now.
        """
        try:
            kept = await self._directory.find(id)
        except StoreAway:
            raise _keys_unavailable() from None
        return kept is not None and kept.revoked is None

    async def exist(self) -> bool:
        """Whether any key was ever created, as far as this process knows."""
        return await self._directory.any()


class Gatekeeper:
    """Authenticates requests as the settings require.

    ``fixed`` maps the SHA-256 digest of each key in the configuration, in hexadecimal digits, to its caller.
    """

    def __init__(
        self,
        auth: AuthSettings,
        server: ServerSettings,
        *,
        fixed: Mapping[str, Caller] | None = None,
        keys: CallerKeys | None = None,
        tokens: TokenReader[Caller] | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._anonymous = auth.anonymous
        self._digest = _digest(auth.api_key.reveal().encode()) if auth.api_key is not None else None
        self._origins = frozenset(origin.encode() for origin in server.cors_origins)
        self._fixed = dict(fixed or {})
        self._keys = keys
        self._tokens = tokens
        self._throttle = throttle
        # Keys in the database do not close the relay to its own machine: they are for remote callers, created any time.
        self._closed = bool(
            self._digest is not None or self._fixed or tokens is not None or auth.app_service or not auth.local
        )
        self._platform = auth.app_service and auth.platform_auth
        self._entra = auth.entra

    async def authenticate(self, headers: Headers, *, local: bool, source: str) -> Caller:
        """Return the caller.

        ``local`` says that the client's address is this machine's own. ``source`` is the client's address, by which
        failures are counted.

        Raises:
            CallerError: 401 without a valid credential, 403 for a credential that lacks a permission and for a page of
                another site in a local user's browser, 429 after too many failures, 400 for two credentials of this
                relay.
            Unavailable: 503 while the credential cannot be verified.
        """
        if self._anonymous:
            return ANONYMOUS
        sent, foreign = credentials(headers)
        platform_caller = self._platform_caller(headers, source)
        if platform_caller is not None:
            return await self._agree(platform_caller, sent, source)
        if (sent or foreign) and (self._closed or await self._checks_credentials(sent)):
            if not sent:
                raise _unauthorized("The Authorization header must be 'Bearer' and a key.")
            return await self._recognise(sent[0] if len(sent) == 1 else self._one_of(sent, source), source)
        if self._closed:
            raise _unauthorized("An access key is needed: send it as 'Authorization: Bearer KEY' or 'api-key: KEY'.")
        if not local or not is_direct(headers):
            raise _unauthorized(
                "This relay serves callers without a key only on its own machine. Its operator can set CHUKEI_API_KEY, "
                "or auth.anonymous = true to serve everybody."
            )
        self.check_site(headers)
        return LOCAL

    def check_alone(self, caller: Caller, headers: Headers, source: str) -> None:
        """Refuse an ephemeral key of ``caller`` beside whatever else says who asks.

        Nothing tells whether another credential is valid: whoever has such a key could guess without end.

        Raises:
            CallerError: 400, the request has another credential, or the platform in front says another name.
        """
        platform_caller = self._platform_caller(headers, source)
        if len(credentials(headers)[0]) > 1 or (platform_caller is not None and platform_caller.name != caller.name):
            raise _ambiguous()

    async def lets_in(self, caller: Caller, credential: str = "") -> bool:
        """Whether a caller that was authenticated before, perhaps by another replica, still has its key.

        ``credential`` is what ``credential_of`` returned then. A token that has expired does not count: it ends nothing
        that it began.

        Raises:
            Unavailable: 503 while its key cannot be looked up.
        """
        if caller.key_id is not None:
            return self._keys is not None and await self._keys.is_good(caller.key_id)
        if caller.kind is CallerKind.ANONYMOUS:
            return self._anonymous
        if caller.kind is CallerKind.LOCAL:
            return not self._closed
        return caller.kind not in _BY_CONFIGURED_KEY or (bool(credential) and credential == self.credential_of(caller))

    def credential_of(self, caller: Caller) -> str:
        """Return the digest of a caller's key in the configuration; empty if it has none there."""
        if caller.kind is CallerKind.SHARED:
            return self._digest.hex() if self._digest is not None else ""
        if caller.kind is not CallerKind.KEY or caller.key_id is not None:
            return ""
        return next((digest for digest, each in self._fixed.items() if each.name == caller.name), "")

    def knows(self, headers: Headers) -> bool:
        """Whether a request that was let in has a credential that was verified. A page of another site cannot have one.

        ``auth.anonymous`` lets everybody in without looking at credentials.
        """
        return not self._anonymous and any(self._is_ours(each) for each in credentials(headers)[0])

    async def _checks_credentials(self, sent: list[bytes]) -> bool:
        """Whether a relay that is open to its own machine verifies the credentials that a client sends.

        It ignores them until the first key is created, because many clients always send a placeholder.
        """
        if self._keys is None:
            return False
        return any(each.startswith(keys.PREFIX) for each in sent) or await self._keys.exist()

    def _one_of(self, sent: list[bytes], source: str) -> bytes:
        """Return the one credential in the relay's form. Clients may send placeholders beside it.

        Raises:
            CallerError: 400 for more than one, 401 or 429 for none.
        """
        ours = [each for each in sent if self._is_ours(each)]
        if len(ours) > 1:
            raise _ambiguous()
        if not ours:
            # Each counts as a failed guess.
            raise [self._refused(source, "no key or token") for _ in sent][-1]
        return ours[0]

    def _is_ours(self, sent: bytes) -> bool:
        """Whether a credential is a key of this relay, has the form of one, or is a token of a configured tenant."""
        if self._configured(sent) is not None:
            return True
        if sent.startswith(keys.PREFIX):
            return self._keys is not None
        return self._tokens is not None and is_token(sent) and self._may_be_issued(sent)

    def _may_be_issued(self, token: bytes) -> bool:
        """Whether a token claims to come from a configured tenant; its signature is not verified."""
        if self._entra is None:
            return True
        try:
            read_token(token, self._entra.tenants)
        except TokenRefused:
            return False
        return True

    def _platform_caller(self, headers: Headers, source: str) -> Caller | None:
        """Return the caller that the platform in front authenticated. Without a platform its header is ignored."""
        found = [value for name, value in headers if name == principal.HEADER] if self._platform else []
        if not found:
            return None
        if len(found) > 1:
            raise _ambiguous()
        try:
            return principal.read(found[0], self._entra)
        except TokenRefused as refusal:
            raise self._refused(source, f"principal: {refusal.flaw}", refusal.error) from None

    async def _agree(self, platform_caller: Caller, sent: list[bytes], source: str) -> Caller:
        """Return the platform's caller, unless the request also carries another caller's credential.

        The platform passes on the token that it verified. It does not know the relay's keys, so a key is refused.
        """
        for each in sent:
            if not self._is_ours(each):
                continue
            if not is_token(each) or (await self._recognise(each, source)).name != platform_caller.name:
                raise _ambiguous()
        return platform_caller

    def _configured(self, sent: bytes) -> Caller | None:
        """Return the caller to whom a key in the configuration belongs, or None."""
        digest = _digest(sent)
        if self._digest is not None and hmac.compare_digest(digest, self._digest):
            return SHARED
        return self._fixed.get(digest.hex())

    async def _recognise(self, sent: bytes, source: str) -> Caller:
        configured = self._configured(sent)
        if configured is not None:
            return configured
        if self._keys is not None and sent.startswith(keys.PREFIX):
            caller, flaw = await self._keys.caller(sent)
            if caller is None or flaw is not None:
                raise self._refused(source, f"key {caller.key_id if caller else '…'}: {flaw}", _key_ended(flaw))
            return caller
        if self._tokens is not None and is_token(sent):
            try:
                return await self._tokens.holder(sent)
            except TokenRefused as refusal:
                raise self._refused(source, f"token: {refusal.flaw}", refusal.error) from None
        raise self._refused(source, "no key or token")

    def _refused(self, source: str, why: str, error: CallerError | None = None) -> CallerError:
        """Count a failure and return the error. ``why`` goes to the log and must contain no part of the credential."""
        wait = self._throttle.failed(source) if self._throttle is not None else None
        if wait is not None:
            return _too_many(wait)
        logger.info("a credential was refused: %s", why)
        return error or _unauthorized("The access key or token is not valid.")

    def check_site(self, headers: Headers) -> None:
        """Refuse requests of other sites' pages that run in a browser on this machine, or that a cookie lets in.

        A page's plain GET has no Origin (WHATWG Fetch §3.2), but browsers add Sec-Fetch-Site to every request to this
        machine (W3C Fetch Metadata §2.4). ``same-site`` means another port.
        """
        origin = header(headers, b"origin")
        if origin is None:
            site = header(headers, b"sec-fetch-site")
            if site is None or site in _OWN_SITES or b"*" in self._origins:
                return
            raise origin_not_allowed()
        text = origin.lower()
        own = text.partition(b"://")[2] == (header(headers, b"host") or b"").lower()
        if not own and text not in self._origins and b"*" not in self._origins:
            raise origin_not_allowed()

    def __repr__(self) -> str:
        return f"<Gatekeeper {'closed' if self._closed else 'open to this machine'}>"


def is_direct(headers: Headers) -> bool:
    """Whether the request came without a proxy and names this machine as host (a defence against DNS rebinding)."""
    if any(name in _FORWARDED for name, _ in headers):
        return False
    host = (header(headers, b"host") or b"").decode("latin-1").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in _LOOPBACK_HOSTS


def _unauthorized(message: str) -> CallerError:
    return CallerError(401, "invalid_api_key", message, type="authentication_error", headers=_CHALLENGE)


def _ambiguous() -> CallerError:
    return CallerError(
        400, "ambiguous_credentials", "The request carries two different credentials of this relay; send one."
    )


def _key_ended(flaw: Flaw | None) -> CallerError | None:
    """Return the error for the holder of a complete key that has expired or was revoked."""
    if flaw is Flaw.EXPIRED:
        message = "The access key has expired; ask the relay's operator for a new one."
        return CallerError(401, "key_expired", message, type="authentication_error", headers=_CHALLENGE)
    return key_revoked() if flaw is Flaw.REVOKED else None


def key_revoked() -> CallerError:
    """Return the error for a key that was revoked, before the request or during it."""
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
    # Comparing digests takes constant time, whatever the length and content of the credential.
    return hashlib.sha256(key).digest()
