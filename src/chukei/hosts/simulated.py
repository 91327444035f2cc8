"""The simulator in the relay's hosts: built in, or as a separate server."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chukei.config import SIMULATED_MODEL, CredentialSettings, Problem, Secret, Settings, SimulatorSection
from chukei.model import Deployment, Model
from chukei.simulator import Simulator, SimulatorSettings, offered, serve

_KEY = Secret("simulated")


def with_simulator(settings: Settings, url: str) -> Settings:
    """Return the settings with the simulator at ``url`` as the resource that serves every model name."""
    place = Deployment("simulator", url, "")
    models = {
        each.id: Model(
            each.id,
            (replace(place, deployment=each.id),),
            description=each.description,
            descriptions=each.descriptions,
            apis=each.apis,
            input=each.input,
            context_tokens=each.context_tokens,
            output_tokens=each.output_tokens,
            failure=each.failure,
        )
        for each in offered(settings.default_model or SIMULATED_MODEL)
    }
    credentials = {place.name: CredentialSettings(api_key=_KEY)}
    return replace(settings, models=models, open=place, credentials=credentials)


def simulator_for(section: SimulatorSection) -> Simulator:
    """Return a simulator for a section without problems. The caller starts it."""
    return Simulator(_settings(section))


def problems_of(section: SimulatorSection) -> list[Problem]:
    """Return the problems of a section that only the simulator can find."""
    try:
        _settings(section)
    except ValueError as error:
        return [Problem("configuration", "simulator", str(error))]
    return []


def run(section: SimulatorSection, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve a simulator until a signal comes.

    Raises:
        OSError: the address cannot be listened on.
    """
    asyncio.run(_until_signal(_settings(section), host, port, announce))


async def _until_signal(settings: SimulatorSettings, host: str, port: int, announce: Callable[[str], None]) -> None:
    serving = asyncio.create_task(serve(settings, host, port, announce))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        return


def _settings(section: SimulatorSection) -> SimulatorSettings:
    return SimulatorSettings(
        seed=section.seed,
        first_token_seconds=section.first_token_seconds,
        inter_token_seconds=section.inter_token_seconds,
        jitter=section.jitter,
        replay=Path(section.replay) if section.replay is not None else None,
        faults=section.faults,
    )
