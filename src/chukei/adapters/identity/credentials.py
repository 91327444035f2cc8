"""The relay's credentials for Azure OpenAI: an API key, a fixed token, or an Entra ID token that is refreshed.

``azure-identity`` is imported only when an identity is configured; it costs hundreds of milliseconds.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Protocol

from chukei.config import CredentialSettings, Secret
from chukei.errors import UpstreamError
from chukei.model import End
from chukei.ports import Clock, Credential

logger = logging.getLogger(__name__)

REFRESH_BEFORE = 600.0
"""Seconds before a token's end at which a new one is fetched; tokens are valid for an hour or longer."""

RETRY_AFTER = 5.0
"""Seconds between two attempts while no token can be fetched."""

FETCH_SECONDS = 30.0
"""Time limit of one attempt. The chain tries several logins, and the slowest of them start another program."""


class Token(Protocol):
    """An access token as azure-identity returns it; ``expires_on`` is Unix time."""

    @property
    def token(self) -> str:
        """The bearer token."""
        ...

    @property
    def expires_on(self) -> int:
        """When it expires, in seconds since 1970."""
        ...


class TokenSource(Protocol):
    """The part of an azure-identity credential that the relay uses."""

    async def get_token(self, *scopes: str) -> Token:
        """Fetch a token."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class FixedCredential:
    """A header that never changes."""

    def __init__(self, name: bytes, value: str) -> None:
        self._header = (name, value.encode())

    async def header(self) -> tuple[bytes, bytes]:
        """See the Credential port."""
        return self._header

    def warm(self) -> None:
        """See the Credential port."""

    async def close(self) -> None:
        """See the Credential port."""


class IdentityCredential:
    """An Entra ID token, fetched once for all requests and refreshed in the background before it expires.

    ``make`` builds the source of tokens; it runs in a thread, since importing Azure's library takes a while.
    """

    def __init__(
        self,
        make: Callable[[], TokenSource],
        scope: str,
        *,
        wall: Clock = time.time,  # noqa: TID251 - a token's end is given in Unix time
        seconds: float = FETCH_SECONDS,
        renew_before: float = REFRESH_BEFORE,
        retry_after: float = RETRY_AFTER,
    ) -> None:
        self._seconds = seconds
        self._renew_before = renew_before
        self._retry_after = retry_after
        self._timer: asyncio.TimerHandle | None = None
        self._make = make
        self._source: TokenSource | None = None
        self._scope = scope
        self._wall = wall
        self._token: Token | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._retry_at = 0.0

    async def header(self) -> tuple[bytes, bytes]:
        """See the Credential port. It waits only if there is no valid token."""
        self.warm()
        if self._left() <= 0 and self._fetching is not None:
            await asyncio.shield(self._fetching)
        if self._token is None or self._left() <= 0:
            raise UpstreamError(
                "upstream_identity_unavailable",
                "The relay could not get an Entra ID token for the upstream. Its operator should check the managed "
                "identity or the Azure login of the process.",
                end=End.CONNECT_ERROR,
            )
        return b"authorization", b"Bearer " + self._token.token.encode()

    def _left(self) -> float:
        return self._token.expires_on - self._wall() if self._token is not None else 0.0

    def warm(self) -> None:
        """See the Credential port. There is one fetch at a time, and none directly after a failed one."""
        if self._left() <= self._renew_before and self._fetching is None and self._wall() >= self._retry_at:
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            if self._source is None:
                self._source = await asyncio.to_thread(self._make)
            async with asyncio.timeout(self._seconds):
                self._token = await self._source.get_token(self._scope)
        except Exception as error:  # noqa: BLE001 - any of azure-identity's errors means the same: no token now
            # Its messages name endpoints and tenants, which help the operator, and never hold a credential.
            logger.warning("no Entra ID token: %s: %s", type(error).__name__, error)
            self._retry_at = self._wall() + self._retry_after
        finally:
            self._fetching = None
            self._schedule()

    def _schedule(self) -> None:
        """Schedule the next fetch, also without requests. If there is no token, only a request starts a fetch."""
        if self._left() > 0:
            wait = max(self._left() - self._renew_before, self._retry_after)
            self._timer = asyncio.get_running_loop().call_later(wait, self._renew)

    def _renew(self) -> None:
        self._retry_at = 0.0  # the wait is over, even if the wall clock was set back
        self.warm()
        if self._fetching is None:
            self._schedule()  # by the wall clock, uvloop's timers may fire a millisecond early

    async def close(self) -> None:
        """See the Credential port."""
        fetching = self._fetching
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait({fetching})
        if self._timer is not None:
            self._timer.cancel()
        if self._source is not None:
            await self._source.close()


def identity_installed() -> bool:
    """Whether the ``identity`` extra is installed."""
    return (
        find_spec("azure") is not None and find_spec("azure.identity") is not None and find_spec("aiohttp") is not None
    )


def azure_identity(client_id: str | None) -> TokenSource:
    """Return the chain of workload identity, managed identity and developer logins.

    ``client_id`` selects a user-assigned identity. It needs the ``identity`` extra.
    """
    from azure.identity.aio import DefaultAzureCredential

    extra = {"managed_identity_client_id": client_id, "workload_identity_client_id": client_id} if client_id else {}
    source: TokenSource = DefaultAzureCredential(**extra)
    return source


def credential_for(settings: CredentialSettings) -> Credential:
    """Return the credential for the settings."""
    if settings.scope is not None:
        return IdentityCredential(partial(azure_identity, settings.client_id), settings.scope)
    if settings.api_key is not None:
        return FixedCredential(b"api-key", settings.api_key.reveal())
    token = settings.token or Secret("")
    return FixedCredential(b"authorization", f"Bearer {token.reveal()}")
