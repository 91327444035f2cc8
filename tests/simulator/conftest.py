from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from chukei.simulator import Simulator, SimulatorSettings

if TYPE_CHECKING:  # it is imported where a test asks for a client
    from openai import AsyncAzureOpenAI, AsyncOpenAI

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


def client_of(sim: Simulator) -> AsyncOpenAI:
    """Return a client for the v1 API of a simulator."""
    from openai import AsyncOpenAI

    return AsyncOpenAI(base_url=f"{sim.url}/openai/v1", api_key="key", max_retries=0)


@pytest.fixture
async def clients(sim: Simulator) -> AsyncIterator[list[AsyncAzureOpenAI | AsyncOpenAI]]:
    """Clients for both APIs of a simulator."""
    from openai import AsyncAzureOpenAI

    azure = AsyncAzureOpenAI(azure_endpoint=sim.url, api_key="key", api_version="2025-04-01-preview", max_retries=0)
    async with azure, client_of(sim) as v1:
        yield [azure, v1]


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(sim) as made:
        yield made
