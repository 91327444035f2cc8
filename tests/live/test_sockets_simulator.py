"""Sessions against the built-in simulator, as a relay without any deployment serves them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.live.relays import InProcessRelay, eventually
from tests.live.test_sockets_responses import Client, client_of

from chukei.config import load
from chukei.model import End

pytestmark = pytest.mark.anyio

FAST = {"CHUKEI_SIMULATOR__FIRST_TOKEN_SECONDS": "0", "CHUKEI_SIMULATOR__INTER_TOKEN_SECONDS": "0"}


@pytest.fixture
async def relay() -> AsyncIterator[InProcessRelay]:
    async with InProcessRelay(load(None, FAST)) as running:
        yield running


async def turn(client: Client, **more: Any) -> dict[str, Any]:
    """Ask for a response; return the last event."""
    return (await client.turn({"type": "response.create", "model": "gpt-4o", "input": "Hello", **more}))[-1]


async def test_two_turns_that_are_not_stored(relay: InProcessRelay) -> None:
    async with client_of(relay) as client:
        first = await turn(client, store=False)
        assert first["type"] == "response.completed", json.dumps(first)[:500]
        second = await turn(client, store=False, previous_response_id=first["response"]["id"])
        assert second["type"] == "response.completed", json.dumps(second)[:500]
    await eventually(lambda: len(relay.records) == 3)
    for record in relay.records[:2]:
        assert record.end is End.COMPLETED
        assert record.usage is not None
        assert not record.usage.estimated


async def test_a_response_that_is_only_prepared(relay: InProcessRelay) -> None:
    async with client_of(relay) as client:
        prepared = await turn(client, store=False, generate=False)
        assert prepared["type"] == "response.completed", json.dumps(prepared)[:500]
        last = await turn(client, store=False, previous_response_id=prepared["response"]["id"])
        assert last["type"] == "response.completed", json.dumps(last)[:500]


async def test_a_spoken_turn(relay: InProcessRelay) -> None:
    async with client_of(relay, "/v1/realtime?model=gpt-realtime") as client:
        assert (await client.next())["type"] == "session.created"
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
        await client.say({"type": "conversation.item.create", "item": item})
        await client.say({"type": "response.create"})
        while (event := await client.next())["type"] != "response.done":
            assert event["type"] != "error", event
    await eventually(lambda: len(relay.records) == 2)
    assert relay.records[0].usage is not None
    assert relay.records[0].usage.output > 0
