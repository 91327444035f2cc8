"""Wiring of the gatekeeper with its key stores, and their lifecycle."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from chukei.accounts.stores import Database
from chukei.adapters.http.client import HttpClient
from chukei.adapters.identity.key_ring import KeyRing
from chukei.callers.gatekeeper import CallerKeys, Gatekeeper
from chukei.callers.keys import Peppers
from chukei.callers.throttle import Throttle
from chukei.callers.tokens import Holder, recognise
from chukei.config import Settings
from chukei.model import Caller, CallerKind
from chukei.ports import Clock

if TYPE_CHECKING:
    from chukei.adapters.identity.entra import EntraTokens, Recognise
    from chukei.adapters.identity.signing_keys import SigningKeys
    from chukei.callers.administrators import Administrator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Readers:
    """What reads access tokens: those of callers and those of administrators, and what they share."""

    callers: "EntraTokens[Caller] | None" = None
    administrators: "EntraTokens[Administrator] | None" = None
    signing_keys: "tuple[SigningKeys, ...]" = ()
    client: HttpClient | None = None

    def start(self) -> None:
        """Start to fetch the signing keys in the background."""
        for keys in self.signing_keys:
            keys.start()

    async def close(self) -> None:
        """Stop."""
        for keys in self.signing_keys:
            await keys.close()
        if self.client is not None:
            await self.client.close()


@dataclass(frozen=True, slots=True)
class Access:
    """A gatekeeper, what reads tokens, and their background tasks."""

    gatekeeper: Gatekeeper
    throttle: Throttle
    readers: Readers
    ring: KeyRing | None = None

    def start(self) -> None:
        """Start to read keys in the background."""
        if self.ring is not None:
            self.ring.start()
        self.readers.start()

    async def close(self) -> None:
        """Stop the background tasks. Call it before the database is closed."""
        if self.ring is not None:
            await self.ring.close()
        await self.readers.close()


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
    readers = before.readers if before is not None and keep_tokens else _readers(settings, clock, wall)
    gatekeeper = Gatekeeper(
        auth,
        settings.server,
        fixed=fixed(settings),
        keys=keys,
        tokens=readers.callers,
        throttle=throttle,
    )
    return Access(gatekeeper, throttle, readers, ring)


def _readers(settings: Settings, clock: Clock, wall: Clock) -> Readers:
    """Return what reads tokens. Callers and administrators of the same tenants share the signing keys."""
    callers, admins = settings.auth.entra, settings.admin.entra
    if callers is None and admins is None:
        return Readers()
    from chukei.adapters.identity.entra import EntraTokens, fetcher
    from chukei.adapters.identity.signing_keys import SigningKeys
    from chukei.callers.administrators import recognise_administrator

    client = HttpClient(settings.upstream)
    made: dict[tuple[str, tuple[str, ...]], SigningKeys] = {}

    def reader(authority: str, tenants: tuple[str, ...], recognise: "Recognise[Holder]") -> "EntraTokens[Holder]":
        place = authority, tenants
        if place not in made:
            made[place] = SigningKeys(authority, tenants, fetcher(client), clock)
        return EntraTokens(tenants, recognise, made[place], clock, wall)

    of_callers = of_admins = None
    if callers is not None:
        of_callers = reader(callers.authority, callers.tenants, partial(recognise, callers))
    if admins is not None:
        of_admins = reader(admins.authority, (admins.tenant,), partial(recognise_administrator, admins))
    return Readers(of_callers, of_admins, tuple(made.values()), client)


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
