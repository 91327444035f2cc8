from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chukei.simulator import Simulator, SimulatorSettings

Simulate = Callable[..., Awaitable[Simulator]]


@pytest.fixture
async def simulate() -> AsyncIterator[Simulate]:
    """Starts simulators, as fast as possible unless told otherwise, and stops them after the test."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Simulator:
            pace = {"first_token_seconds": 0, "inter_token_seconds": 0}
            return await stack.enter_async_context(Simulator(SimulatorSettings(**{**pace, **settings})))

        yield start


@pytest.fixture
async def sim(simulate: Simulate) -> Simulator:
    return await simulate()
