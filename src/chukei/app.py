"""The one place that wires: settings in, a gateway with its adapters out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chukei.adapters.assets import asset
from chukei.adapters.credentials import credential_for, identity_installed
from chukei.adapters.http.client import HttpClient
from chukei.adapters.http.dial import tls_context
from chukei.auth import Gatekeeper
from chukei.config import SIMULATED_MODELS, CredentialSettings, Problem, Secret, Settings
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


def verify(settings: Settings) -> list[Problem]:
    """Return what would keep these settings from working on this machine, which reading them cannot show."""
    problems = []
    for name, wanted in settings.credentials.items():
        if wanted.scope is not None and not identity_installed():
            message = "Entra ID needs more packages: pip install 'chukei[identity]'"
            problems.append(Problem("configuration", f"deployments.{name}.identity", message))
    try:
        if settings.upstream.ca_file is not None:
            tls_context(settings.upstream.ca_file)
    except OSError:
        message = f"{settings.upstream.ca_file} holds no certificate; give a PEM file of certificate authorities"
        problems.append(Problem("configuration", "upstream.ca_file", message))
    return problems


def build(settings: Settings, hooks: Sequence[Hook]) -> Relay:
    """Wire a relay from settings without problems."""
    credentials = {name: credential_for(wanted) for name, wanted in settings.credentials.items()}
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


def with_simulator(settings: Settings, url: str) -> Settings:
    """Return the settings with the simulator at ``url`` as the resource that serves every name."""
    place = Deployment("simulator", url, "")
    names = dict.fromkeys((settings.default_model or SIMULATED_MODELS[0], *SIMULATED_MODELS))
    return replace(
        settings,
        models={name: Model(name, (replace(place, deployment=name),)) for name in names},
        open=place,
        credentials={place.name: CredentialSettings(api_key=Secret(SIMULATED_KEY))},
    )
