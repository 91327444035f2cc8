"""Who calls? Pure: a request's headers and origin in, a Caller out, or a refusal.

One extractor serves every carrier of a credential, and the answer to a wrong one tells nothing but that it is wrong.
"""

import hashlib
import hmac

from chukei.config import AuthSettings, ServerSettings
from chukei.errors import CallerError, origin_not_allowed
from chukei.model import Caller, CallerKind, Headers, header

ANONYMOUS = Caller("anonymous", CallerKind.ANONYMOUS)
LOCAL = Caller("local", CallerKind.LOCAL)
SHARED = Caller("shared-key", CallerKind.SHARED)

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
        raise CallerError(400, "ambiguous_credentials", "The request carries two different credentials; send one.")
    return found.pop() if found else None


class Gatekeeper:
    """Decides by the settings who may call."""

    def __init__(self, auth: AuthSettings, server: ServerSettings) -> None:
        self._anonymous = auth.anonymous
        self._digest = _digest(auth.api_key.reveal().encode()) if auth.api_key is not None else None
        self._origins = frozenset(server.cors_origins)

    def authenticate(self, headers: Headers, *, local: bool) -> Caller:
        """Return the caller.

        ``local`` says that the client's address is this machine's own.

        Raises:
            CallerError: 401 without a valid key, 403 for a page of another site that uses a local user's browser.
        """
        if self._anonymous:
            return ANONYMOUS
        if self._digest is not None:
            key = credential(headers)
            if key is None:
                raise _unauthorized(
                    "An access key is needed: send it as 'Authorization: Bearer KEY' or 'api-key: KEY'."
                )
            if not hmac.compare_digest(_digest(key), self._digest):
                raise _unauthorized("The access key is not valid.")
            return SHARED
        if not local or not _is_direct(headers):
            raise _unauthorized(
                "This relay serves callers without a key only on its own machine. Its operator can set CHUKEI_API_KEY, "
                "or auth.anonymous = true to serve everybody."
            )
        self._check_origin(headers)
        return LOCAL

    def _check_origin(self, headers: Headers) -> None:
        """Keep other sites' pages out: a browser on this machine runs them, but their Origin tells."""
        origin = header(headers, b"origin")
        if origin is None:
            return
        text = origin.decode("latin-1").lower()
        own = text.partition("://")[2] == (header(headers, b"host") or b"").decode("latin-1").lower()
        if not own and text not in self._origins and "*" not in self._origins:
            raise origin_not_allowed()


def _is_direct(headers: Headers) -> bool:
    """Whether no proxy stands between, and the name asked for is this machine's (a defence against DNS rebinding)."""
    if any(name in _FORWARDED for name, _ in headers):
        return False
    host = (header(headers, b"host") or b"").decode("latin-1").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in _LOOPBACK_HOSTS


def _digest(key: bytes) -> bytes:
    # Comparing digests takes the same time whatever the length and content of what was sent.
    return hashlib.sha256(key).digest()


def _unauthorized(message: str) -> CallerError:
    return CallerError(
        401,
        "invalid_api_key",
        message,
        type="authentication_error",
        headers=[(b"www-authenticate", b'Bearer realm="chukei"')],
    )
