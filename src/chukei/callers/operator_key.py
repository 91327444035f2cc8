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
        if header(headers, b"authorization") and (header(headers, b"api-key") or header(headers, b"x-api-key")):
            message = "Send one credential here, 'Authorization: Bearer KEY', and no other."
            raise CallerError(400, "ambiguous_credentials", message)
        scheme, _, token = (header(headers, b"authorization") or b"").strip().partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else b""
        # Comparing digests takes constant time, whatever the length and content of the credential.
        if hmac.compare_digest(hashlib.sha256(given).digest(), self._digest):
            return
        wait = self._throttle.failed(source)
        if wait is None:
            raise self._refusal()
        seconds = str(int(wait) + 1).encode()
        message = "Too many attempts with wrong credentials; try again later."
        raise CallerError(
            429, "too_many_failures", message, type="authentication_error", headers=[(b"retry-after", seconds)]
        )
