"""Who may use the administrators' API: the holder of the key, or of an Entra ID token with a role."""

import hashlib
import logging
from dataclasses import dataclass

from chukei.accounts.changes import Actor
from chukei.admin.schemas import EntraSignIn, SignIn
from chukei.callers.administrators import Administrator
from chukei.callers.operator_key import bearer, is_key, throttled
from chukei.callers.throttle import Throttle
from chukei.callers.tokens import TokenReader, TokenRefused, is_token
from chukei.config import AdminEntraSettings, Secret
from chukei.errors import CallerError
from chukei.model import Headers

logger = logging.getLogger(__name__)

_READING = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class _Key:
    """The administrators' key: its SHA-256 digest, and its holder in the record of changes."""

    digest: bytes
    holder: Administrator


class AdminAccess:
    """Checks administrators' credentials. ``tokens`` reads Entra ID's if ``entra`` is configured."""

    def __init__(
        self,
        throttle: Throttle,
        *,
        key: Secret | None = None,
        tokens: TokenReader[Administrator] | None = None,
        entra: AdminEntraSettings | None = None,
    ) -> None:
        self._throttle = throttle
        self._key = _key(key) if key is not None else None
        self._tokens = tokens
        self._entra = entra

    async def check(self, headers: Headers, source: str) -> Administrator:
        """Return who sends a request from the address ``source``.

        Raises:
            CallerError: 401 for a wrong, missing or expired credential, 403 for a genuine token without a role, 429
                after too many failures from one source, and 400 for a second credential.
            Unavailable: the keys of the identity provider cannot be fetched.
        """
        given = bearer(headers)
        if self._key is not None and is_key(given, self._key.digest):
            return self._key.holder
        refusal = self.refusal()
        if self._tokens is not None and is_token(given):
            try:
                return await self._tokens.holder(given)
            except TokenRefused as refused:
                logger.info("an administrator's token was refused: %s", refused.flaw)
                refusal = refused.error or refusal
        raise throttled(self._throttle, source, refusal)

    def refusal(self) -> CallerError:
        """Return the error for a wrong or missing credential."""
        challenge = [(b"www-authenticate", b'Bearer realm="chukei admin"')]
        wanted = " or ".join(
            what
            for what, given in (("the administrators' key", self._key), ("an access token with a role", self._tokens))
            if given is not None
        )
        message = f"{wanted[0].upper()}{wanted[1:]} is needed: send it as 'Authorization: Bearer …'."
        return CallerError(401, "invalid_admin_key", message, type="authentication_error", headers=challenge)

    def sign_in(self) -> SignIn:
        """Return what the page needs to sign somebody in."""
        if self._entra is None:
            return SignIn(key=self._key is not None, entra=None)
        place = f"{self._entra.authority}/{self._entra.tenant}/oauth2/v2.0"
        entra = EntraSignIn(
            authorize=f"{place}/authorize",
            token=f"{place}/token",
            client_id=self._entra.client_id,
            scope=self._entra.requested_scope,
        )
        return SignIn(key=self._key is not None, entra=entra)


def check_method(method: str, who: Administrator) -> None:
    """Refuse a change by somebody who may only look.

    Raises:
        CallerError: 403.
    """
    if method not in _READING and not who.may_change:
        message = "You may look, but not change anything; the role for changes is missing."
        raise CallerError(403, "not_allowed", message, type="permission_error")


def _key(key: Secret) -> _Key:
    digest = hashlib.sha256(key.reveal().encode()).digest()
    return _Key(digest, Administrator(Actor(f"key {digest.hex()[:8]}"), may_change=True))
