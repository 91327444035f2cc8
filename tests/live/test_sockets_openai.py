"""OpenAI's Python package over WebSockets, through the relay: its own classes for both APIs."""

from pathlib import Path
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from tests.live.socket_upstream import answering
from tests.live.test_sockets_realtime import relay_to as realtime_relay_to
from tests.live.test_sockets_realtime import speaking
from tests.live.test_sockets_responses import relay_to

pytestmark = pytest.mark.anyio

INPUT: list[Any] = [{"role": "user", "content": "Hello"}]


async def test_responses() -> None:
    async with relay_to(answering()) as (relay, _):
        client = AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="unused")
        async with client.responses.connect() as connection:
            previous: str | None = None
            for number in (1, 2):
                ask: Any = {"type": "response.create", "model": "gpt-4o", "input": INPUT}
                ask |= {"previous_response_id": previous} if previous else {}
                await connection.send(ask)
                async for event in connection:
                    if event.type == "response.completed":
                        previous = event.response.id
                        break
                assert previous == f"resp_{number:08d}"
        await client.close()


async def test_an_error_is_the_packages_own() -> None:
    async with relay_to(answering()) as (relay, _):
        client = AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="unused")
        async with client.responses.connect() as connection:
            await connection.send({"type": "response.create", "model": "no such name!", "input": INPUT})
            event: Any = await connection.recv()
            assert event.type == "error"
            assert event.status == 400
            assert event.error.code == "invalid_model"
        await client.close()


async def test_realtime(tmp_path: Path) -> None:
    async with realtime_relay_to(speaking, tmp_path) as (relay, upstream):
        client = AsyncOpenAI(base_url=f"{relay.url}/openai/v1", api_key="unused")
        async with client.realtime.connect(model="voice") as connection:
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await connection.response.create()
            async for event in connection:
                if event.type == "response.done":
                    assert event.response.usage is not None
                    assert event.response.usage.output_tokens == 121
                    break
        await client.close()
    assert upstream.visits[0].target == "/openai/v1/realtime?model=gpt-realtime"


async def test_realtime_of_azures_preview(tmp_path: Path) -> None:
    async with realtime_relay_to(speaking, tmp_path) as (relay, upstream):
        client = AsyncAzureOpenAI(
            azure_endpoint=relay.url,
            websocket_base_url=f"{relay.url.replace('http', 'ws')}/openai",
            api_key="unused",
            api_version="2024-10-01-preview",
        )
        async with client.beta.realtime.connect(model="voice") as connection:
            await connection.response.create()
            async for event in connection:
                if event.type == "response.done":
                    break
        await client.close()
    assert upstream.visits[0].target == "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-realtime"
