"""Who calls? Pure: a request's headers and origin in, a Caller out, or a refusal.

One extractor serves every carrier of a credential. The answer to a wrong one tells nothing but that it is wrong; only
who holds a whole key or a genuine token hears more. What a credential is, is decided by its form alone, so nothing is
tried out: ``chk_…`` is a caller's key, three parts with dots an Entra ID token, the rest the shared key. Beside one of
ours, what has another form is ignored: many clients insist on filling every carrier with something.
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

_KEY_FIELDS = frozenset({b"api-key", b"x-api-key"})
_CHALLENGE: Headers = [(b"www-authenticate", b'Bearer realm="chukei"')]
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
# What the browser says of its user's own requests, and of those of the relay's own page.
_OWN_SITES = frozenset({b"none", b"same-origin"})
# Fields that only a proxy adds. Behind one, a loopback peer says nothing about where the client is.
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})


MOST_CREDENTIALS = 4
"""How many different ones a request may carry: three carriers there are, and each is a guess that must be counted."""


def credentials(headers: Headers) -> tuple[list[bytes], bool]:
    """Return the different credentials of a request, from all their carriers, and whether there was another thing.

    Such a thing is an Authorization that is not a bearer token: none of this relay's, whatever it holds.

    Raises:
        CallerError: 400 for more than anybody needs.
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

    async def exist(self) -> bool:
        """Whether any key was ever made, as far as is known."""
        return await self._directory.any()


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
        self._origins = frozenset(origin.encode() for origin in server.cors_origins)
        self._fixed = dict(fixed or {})
        self._keys = keys
        self._tokens = tokens
        self._throttle = throttle
        # Keys of the database alone do not close it: they are for others, and may be made at any time.
        self._closed = bool(
            self._digest is not None or self._fixed or tokens is not None or auth.app_service or not auth.local
        )
        self._platform = auth.app_service and auth.platform_auth
        self._entra = auth.entra

    async def authenticate(self, headers: Headers, *, local: bool, source: str) -> Caller:
        """Return the caller.

        ``local`` says that the client's address is this machine's own; ``source`` is that address, by which failures
        are counted.

        Raises:
            CallerError: 401 without a valid credential, 403 for one that is not enough and for a page of another site
                that uses a local user's browser, 429 after too many failures, 400 for two credentials of this relay.
            Unavailable: 503 while it cannot be told.
        """
        if self._anonymous:
            return ANONYMOUS
        sent, foreign = credentials(headers)
        let_in = self._principal(headers, source)
        if let_in is not None:
            return await self._agree(let_in, sent, source)
        if (sent or foreign) and (self._closed or await self._asks(sent)):
            if not sent:
                raise _unauthorized("The Authorization header must be 'Bearer' and a key.")
            return await self._recognise(sent[0] if len(sent) == 1 else self._one_of(sent, source), source)
        if self._closed:
            raise _unauthorized("An access key is needed: send it as 'Authorization: Bearer KEY' or 'api-key: KEY'.")
        if not local or not _is_direct(headers):
            raise _unauthorized(
                "This relay serves callers without a key only on its own machine. Its operator can set CHUKEI_API_KEY, "
                "or auth.anonymous = true to serve everybody."
            )
        self._check_site(headers)
        return LOCAL

    async def _asks(self, sent: list[bytes]) -> bool:
        """Whether credentials are compared on a relay that serves its own machine without one.

        Before the first key was made they are not, since stock clients insist on sending something.
        """
        if self._keys is None:
            return False
        return any(each.startswith(keys.PREFIX) for each in sent) or await self._keys.exist()

    def _one_of(self, sent: list[bytes], source: str) -> bytes:
        """Return the only one of several credentials that has the form of ours; clients add a made-up one.

        Raises:
            CallerError: 400 where there are more, 401 and 429 where there is none.
        """
        ours = [each for each in sent if self._is_ours(each)]
        if len(ours) > 1:
            raise _ambiguous()
        if not ours:
            # Each was a guess, and counts as one.
            raise [self._refused(source, "no key or token") for _ in sent][-1]
        return ours[0]

    def _is_ours(self, sent: bytes) -> bool:
        """Whether a credential is a key of this relay or has the form of one, or is a token of its issuers."""
        if self._configured(sent) is not None:
            return True
        if sent.startswith(keys.PREFIX):
            return self._keys is not None
        return self._tokens is not None and is_token(sent) and self._may_be_issued(sent)

    def _may_be_issued(self, token: bytes) -> bool:
        """Whether a token says that it is of one of the tenants that are configured."""
        if self._entra is None:
            return True
        try:
            read_token(token, self._entra.tenants)
        except TokenRefused:
            return False
        return True

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

    async def _agree(self, let_in: Caller, sent: list[bytes], source: str) -> Caller:
        """Return whom the platform let in, unless the request carries somebody else's credential besides.

        The platform hands on the token that it has looked at; a key it knows nothing of.
        """
        for each in sent:
            if not self._is_ours(each):
                continue
            if not is_token(each) or (await self._recognise(each, source)).name != let_in.name:
                raise _ambiguous()
        return let_in

    def _configured(self, sent: bytes) -> Caller | None:
        """Return whose key it is of those that stand in the configuration."""
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

    def _check_site(self, headers: Headers) -> None:
        """Keep other sites' pages out: a browser on this machine runs them, but it says where they are from.

        Not every request of a page has an Origin (WHATWG Fetch §3.2: a plain GET has none), but browsers add
        Sec-Fetch-Site to all that go to this machine (W3C Fetch Metadata §2.4). ``same-site`` is another port.
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
    return CallerError(
        400, "ambiguous_credentials", "The request carries two different credentials of this relay; send one."
    )


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
