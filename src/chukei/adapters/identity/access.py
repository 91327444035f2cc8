"""Wiring of the gatekeeper with its key stores, and their lifecycle."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chukei.accounts.stores import Database
from chukei.adapters.http.client import HttpClient
from chukei.adapters.identity.key_ring import KeyRing
from chukei.callers.gatekeeper import CallerKeys, Gatekeeper
from chukei.callers.keys import Peppers
from chukei.callers.throttle import Throttle
from chukei.config import EntraSettings, Settings
from chukei.model import Caller, CallerKind
from chukei.ports import Clock

if TYPE_CHECKING:
    from chukei.adapters.identity.entra import EntraTokens
    from chukei.adapters.identity.signing_keys import SigningKeys

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """A gatekeeper and its background tasks."""

    gatekeeper: Gatekeeper
    throttle: Throttle
    ring: KeyRing | None = None
    tokens: "EntraTokens | None" = None
    signing_keys: "SigningKeys | None" = None
    client: HttpClient | None = None

    def start(self) -> None:
        """Start to read keys in the background."""
        for follower in (self.ring, self.signing_keys):
            if follower is not None:
                follower.start()

    async def close(self) -> None:
        """Stop the background tasks. Call it before the database is closed."""
        if self.ring is not None:
            await self.ring.close()
        await self.close_tokens()

    async def close_tokens(self) -> None:
        """Stop what verifies tokens."""
        for part in (self.signing_keys, self.client):
            if part is not None:
                await part.close()


def access(
    settings: Settings,
    clock: Clock,
    wall: Clock,
    database: Database | None = None,
    *,
    before: Access | None = None,
    keep_tokens: bool = False,
) -> Access:
    """Return the gatekeeper for the settings. Without a database, the only keys are those in the configuration.

    After a reload the copy of the database's keys and the failures of callers stay those of ``before``. So do the
    tokens and the keys that verify them, if ``keep_tokens``.
    """
    auth = settings.auth
    if auth.app_service and not auth.platform_auth:
        logger.warning(
            "auth.app_service is true, but WEBSITE_AUTH_ENABLED does not say that App Service authentication is on: "
            "whom requests claim to come from is ignored"
        )
    if before is not None:
        ring, throttle = before.ring, before.throttle
    else:
        ring = KeyRing(database, clock, keep_seconds=auth.key_cache_seconds) if database is not None else None
        throttle = Throttle(auth.failures_per_minute, clock)
    keys = CallerKeys(ring, peppers(settings), wall) if ring is not None else None
    client = tokens = signing_keys = None
    if before is not None and keep_tokens:
        client, tokens, signing_keys = before.client, before.tokens, before.signing_keys
    elif auth.entra is not None:
        client = HttpClient(settings.upstream)
        tokens, signing_keys = _entra(auth.entra, client, clock, wall)
    gatekeeper = Gatekeeper(
        auth,
        settings.server,
        fixed=fixed(settings),
        keys=keys,
        tokens=tokens,
        throttle=throttle,
    )
    return Access(gatekeeper, throttle, ring, tokens, signing_keys, client)


def _entra(settings: EntraSettings, client: HttpClient, clock: Clock, wall: Clock) -> "tuple[EntraTokens, SigningKeys]":
    from chukei.adapters.identity.entra import EntraTokens, fetcher
    from chukei.adapters.identity.signing_keys import SigningKeys

    keys = SigningKeys(settings.authority, settings.tenants, fetcher(client), clock)
    return EntraTokens(settings, keys, clock, wall), keys


def peppers(settings: Settings) -> Peppers:
    """Return the configured peppers, which are needed both to create and to verify keys."""
    return Peppers(settings.auth.peppers, unpeppered=settings.auth.unpeppered_keys)


def fixed(settings: Settings) -> dict[str, Caller]:
    """Return the callers whose keys are in the configuration, by the digests of their keys."""
    return {
        caller.key_sha256: Caller(name, CallerKind.KEY, caller.groups)
        for name, caller in settings.policies.callers.items()
        if caller.key_sha256 is not None
    }
