"""The simulator in the relay's hosts: built in, or as a separate server."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from chukei.config import Problem, SimulatorSection
from chukei.simulator import Simulator, SimulatorSettings, serve


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
