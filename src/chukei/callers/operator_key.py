"""The key of routes that are for operators: administrators' routes and metrics. No caller's key opens them."""

import hashlib
import hmac
from collections.abc import Callable

from chukei.callers.throttle import Throttle
from chukei.errors import CallerError
from chukei.model import Headers, header


class OperatorKey:
    """Checks a bearer key. ``digest`` is its SHA-256 digest; ``refusal`` makes the error for a wrong or missing key."""

    def __init__(self, digest: bytes, throttle: Throttle, refusal: Callable[[], CallerError]) -> None:
        self._digest = digest
        self._throttle = throttle
        self._refusal = refusal

    def check(self, headers: Headers, source: str) -> None:
        """Check the credential of a request from the address ``source``.

        Raises:
            CallerError: what ``refusal`` makes, 429 after too many failures from one source, and 400 for a second
                credential.
        """
        if not is_key(bearer(headers), self._digest):
            raise throttled(self._throttle, source, self._refusal())


def bearer(headers: Headers) -> bytes:
    """Return the bearer credential of a request, which may be empty.

    Raises:
        CallerError: 400 for a second credential.
    """
    if header(headers, b"authorization") and (header(headers, b"api-key") or header(headers, b"x-api-key")):
        message = "Send one credential here, 'Authorization: Bearer KEY', and no other."
        raise CallerError(400, "ambiguous_credentials", message)
    scheme, _, token = (header(headers, b"authorization") or b"").strip().partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def is_key(given: bytes, digest: bytes) -> bool:
    """Whether a credential is the key with a SHA-256 digest.

    Comparing digests takes constant time, whatever the length and content of the credential.
    """
    return hmac.compare_digest(hashlib.sha256(given).digest(), digest)


def throttled(throttle: Throttle, source: str, refusal: CallerError) -> CallerError:
    """Count a failure; return ``refusal``, or 429 after too many failures from one source."""
    wait = throttle.failed(source)
    if wait is None:
        return refusal
    seconds = str(int(wait) + 1).encode()
    message = "Too many attempts with wrong credentials; try again later."
    return CallerError(
        429, "too_many_failures", message, type="authentication_error", headers=[(b"retry-after", seconds)]
    )
