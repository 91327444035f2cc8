"""The one place that wires: settings in, a gateway with its adapters out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chukei.adapters.assets import asset
from chukei.adapters.credentials import credential_for
from chukei.adapters.http.client import HttpClient
from chukei.auth import Gatekeeper
from chukei.config import ConfigError, CredentialSettings, Problem, Secret, Settings
from chukei.gateway import Gateway, Services
from chukei.model import Deployment, Model
from chukei.pages import Pages
from chukei.pool import Pool
from chukei.ports import Credential, Hook

SIMULATED_KEY = "simulated"


@dataclass(frozen=True, slots=True)
class Relay:
    """A gateway and what must be closed after it."""

    gateway: Gateway
    upstream: HttpClient
    credentials: Sequence[Credential]

    async def close(self) -> None:
        """Close connections and stop refreshing tokens."""
        await self.upstream.close()
        for credential in self.credentials:
            await credential.close()


def build(settings: Settings, hooks: Sequence[Hook]) -> Relay:
    """Wire a relay.

    Raises:
        ConfigError: an identity is configured, but the library for it is not installed.
    """
    credentials = {name: _credential(name, wanted) for name, wanted in settings.credentials.items()}
    upstream = HttpClient(settings.upstream)
    pool = Pool(settings.models, default=settings.default_model, open=settings.open)
    services = Services(
        pool=pool,
        gatekeeper=Gatekeeper(settings.auth, settings.server),
        pages=Pages(pool, asset, simulated=settings.simulated),
        upstream=upstream,
        credentials=credentials,
        hooks=hooks,
        clock=time.monotonic,
    )
    return Relay(Gateway(settings, services), upstream, tuple(credentials.values()))


def _credential(name: str, wanted: CredentialSettings) -> Credential:
    try:
        return credential_for(wanted)
    except ImportError:
        message = "Entra ID needs the extra packages: pip install 'chukei[identity]'"
        raise ConfigError([Problem("configuration", f"deployments.{name}.identity", message)]) from None


def with_simulator(settings: Settings, url: str) -> Settings:
    """Return the settings with the simulator at ``url`` as the resource that serves every name."""
    place = Deployment("simulator", url, "")
    name = settings.default_model or "chat"
    return replace(
        settings,
        models={name: Model(name, (replace(place, deployment=name),))},
        open=place,
        credentials={place.name: CredentialSettings(api_key=Secret(SIMULATED_KEY))},
    )
