"""WebSockets: handshakes, limits and faults, seen by the client of the library ``websockets``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.wire import CHAT, post, question
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from chukei.simulator import Exchange, Simulator

pytestmark = pytest.mark.anyio

RESPONSES = "/openai/v1/responses"
KEY = {"api-key": "key"}


@asynccontextmanager
async def socket(sim: Simulator, path: str = RESPONSES, **options: Any) -> AsyncIterator[ClientConnection]:
    url = sim.url.replace("http", "ws", 1) + path
    # Without a limit of its queue, or its close waits for messages that a test does not read.
    given = {"additional_headers": KEY, "compression": None, "max_queue": None, **options}
    async with connect(url, **given) as client:
        yield client


async def say(client: ClientConnection, **event: Any) -> None:
    await client.send(json.dumps(event))


async def hear(client: ClientConnection) -> Any:
    return json.loads(await client.recv())


async def ask(client: ClientConnection, text: str = "repeat: one two", **fields: Any) -> list[Any]:
    """Take a turn; return its events."""
    await say(client, type="response.create", **{"model": "gpt-4o", "input": text, **fields})
    return await until_end(client)


async def until_end(client: ClientConnection) -> list[Any]:
    events: list[Any] = []
    while not events or events[-1]["type"] not in ("response.completed", "response.incomplete", "error"):
        events.append(await hear(client))
    return events


def turns(sim: Simulator) -> list[Exchange]:
    return [exchange for exchange in sim.exchanges if exchange.socket is not None]


async def test_a_turn_has_the_events_of_a_stream(sim: Simulator) -> None:
    async with socket(sim) as client:
        events = await ask(client)

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert "".join(event.get("delta", "") for event in events) == "one two"
    assert events[-1]["response"]["usage"]["output_tokens"] == 2
    handshake, turn = sim.exchanges
    assert (handshake.operation, handshake.status) == ("responses/socket", 101)
    assert (turn.operation, turn.deployment, turn.status, turn.ended) == ("responses", "gpt-4o", 200, "completed")
    assert turn.prompt_tokens == events[-1]["response"]["usage"]["input_tokens"]
    assert (turn.completion_tokens, turn.events) == (2, len(events))
    assert await handshake.finished(timeout=60) == "completed"
    assert handshake.close_code == 1000


async def test_a_connection_remembers_the_latest_response_that_is_not_stored(sim: Simulator) -> None:
    async with socket(sim) as client:
        before = (await ask(client, store=False))[-1]["response"]
        first = before["id"]
        second = (await ask(client, store=False, previous_response_id=first))[-1]["response"]
        assert second["previous_response_id"] == first
        assert second["usage"]["input_tokens"] > before["usage"]["total_tokens"]

        (error,) = await ask(client, store=False, previous_response_id=first)
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
        assert error["error"]["param"] == "previous_response_id"
    async with socket(sim) as client:
        (error,) = await ask(client, store=False, previous_response_id=second["id"])
        assert error["error"]["code"] == "previous_response_not_found"


async def test_a_failed_turn_forgets_what_it_would_have_continued(sim: Simulator) -> None:
    async with socket(sim) as client:
        first = (await ask(client, store=False))[-1]["response"]["id"]
        (error,) = await ask(client, model="fault-429-7", previous_response_id=first)
        assert (error["status"], error["headers"]["retry-after"]) == (429, "7")
        (error,) = await ask(client, previous_response_id=first)
        assert error["error"]["code"] == "previous_response_not_found"
    assert [turn.status for turn in turns(sim)] == [200, 429, 400]


async def test_a_warm_up_answers_nothing_and_can_be_continued(sim: Simulator) -> None:
    async with socket(sim) as client:
        events = await ask(client, generate=False, store=False)
        assert [event["type"] for event in events][-1] == "response.completed"
        response = events[-1]["response"]
        assert (response["output"], response["usage"]["output_tokens"]) == ([], 0)
        assert (await ask(client, previous_response_id=response["id"]))[-1]["type"] == "response.completed"


async def test_lanes_run_at_the_same_time_and_each_in_order(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.002)
    async with socket(sim) as client:
        for text, lane in (("write 200 words", "a"), ("repeat: two", "a"), ("repeat: three", "b")):
            await say(client, type="response.create", model="gpt-4o", input=text, stream_id=lane)
        ended: list[tuple[str, str]] = []
        while len(ended) < 3:
            event = await hear(client)
            if event["type"] == "response.completed":
                ended.append((event["stream_id"], event["response"]["output"][0]["content"][0]["text"][:5]))

    assert ended[0] == ("b", "three")
    assert [lane for lane, _ in ended[1:]] == ["a", "a"]
    assert ended[2][1] == "two"


@pytest.mark.parametrize(
    ("message", "code", "lane"),
    [
        ("no json", None, None),
        ("[1]", None, None),
        ('{"type":"response.create","stream_id":""}', "invalid_stream_id", None),
        ('{"type":"response.create","stream_id":"a b"}', "invalid_stream_id", None),
        ('{"type":"response.cancel","stream_id":"x"}', "invalid_value", "x"),
        ('{"type":"response.create","stream_id":"x"}', "missing_required_parameter", "x"),
    ],
)
async def test_an_invalid_message_gets_an_error_event(
    sim: Simulator, message: str, code: str | None, lane: str | None
) -> None:
    async with socket(sim) as client:
        await client.send(message)
        error = await hear(client)
        assert (error["type"], error["status"], error["error"]["code"]) == ("error", 400, code)
        assert error.get("stream_id") == lane
        assert (await ask(client))[-1]["type"] == "response.completed"


async def test_a_connection_has_at_most_32_named_lanes(sim: Simulator) -> None:
    async with socket(sim) as client:
        for number in range(32):
            await ask(client, stream_id=f"lane-{number}")
        (error,) = await ask(client, stream_id="another")
        assert error["error"]["code"] == "websocket_stream_limit_reached"
        assert (await ask(client))[-1]["type"] == "response.completed"


async def test_steering_is_refused(sim: Simulator) -> None:
    async with socket(sim) as client:
        await say(client, type="response.steer", previous_response_id="resp_1", input="stop")
        failed = await hear(client)
    assert (failed["type"], failed["error"]["code"]) == ("response.steer.failed", "steering_not_supported")
    assert failed["steer"] == {"previous_response_id": "resp_1", "input": "stop"}


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_handshake_can_be_refused(simulate: Simulate, status: int) -> None:
    sim = await simulate(faults={"responses/socket": f"{status}*1"})
    with pytest.raises(InvalidStatus) as refused:
        await connect(sim.url.replace("http", "ws", 1) + RESPONSES, additional_headers=KEY)
    assert refused.value.response.status_code == status
    async with socket(sim) as client:
        assert (await ask(client))[-1]["type"] == "response.completed"


async def test_a_handshake_needs_a_key_and_a_path(simulate: Simulate) -> None:
    sim = await simulate(api_key="right")
    for path, headers, status in (
        (RESPONSES, {}, 401),
        (RESPONSES, {"api-key": "wrong"}, 401),
        ("/openai/v1/chat/completions", {"api-key": "right"}, 404),
        ("/openai/realtime?deployment=x", {"api-key": "right"}, 404),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await connect(sim.url.replace("http", "ws", 1) + path, additional_headers=headers)
        assert refused.value.response.status_code == status
    for where in ("?api-key=right", "?Authorization=Bearer%20right"):
        async with socket(sim, RESPONSES + where, additional_headers={}) as client:
            assert (await ask(client))[0]["type"] == "error"  # the turn's own request has no key


async def test_the_limit_closes_the_connection_after_an_error_event(sim: Simulator) -> None:
    async with socket(sim) as client:
        events = await ask(client, model="gpt-4o--socket-limit-after-3")
        assert len(events) == 4
        assert events[-1]["error"]["code"] == "websocket_connection_limit_reached"
        assert events[-1]["status"] == 400
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1000
    assert await sim.exchanges[0].finished(timeout=60) == "fault"


async def test_a_connection_that_is_open_for_too_long_is_closed(simulate: Simulate) -> None:
    sim = await simulate(socket_seconds=0.01)
    async with socket(sim) as client:
        assert (await hear(client))["error"]["code"] == "websocket_connection_limit_reached"
        with pytest.raises(ConnectionClosed):
            await client.recv()


async def test_a_close_frame_with_any_code(sim: Simulator) -> None:
    async with socket(sim) as client:
        with pytest.raises(ConnectionClosedError):
            await ask(client, model="gpt-4o--socket-close-3-1012")
        assert client.close_code == 1012


@pytest.mark.parametrize("fault", ["reset-after-3", "truncate-after-3", "drop-reset", "mid-event-3"])
async def test_a_connection_breaks_without_a_close_frame(sim: Simulator, fault: str) -> None:
    async with socket(sim) as client:
        with pytest.raises(ConnectionClosedError):
            await ask(client, model=f"gpt-4o--{fault}")
        assert client.close_code == 1006
    await sim.idle(timeout=60)
    assert [exchange.ended for exchange in sim.exchanges] == ["fault", "fault"]


async def test_an_error_event_instead_of_an_answer(sim: Simulator) -> None:
    async with socket(sim) as client:
        (error,) = await ask(client, model="gpt-4o--error-first")
        assert error["error"]["type"] == "server_error"


async def test_silence_sends_neither_events_nor_pongs(sim: Simulator) -> None:
    async with socket(sim, ping_interval=0.05, ping_timeout=0.2, close_timeout=0.1) as client:
        with pytest.raises(ConnectionClosedError):
            await ask(client, model="gpt-4o--socket-silence-2")
    assert turns(sim)[0].events == 2
    assert await sim.exchanges[0].finished(timeout=60) == "fault"


async def test_a_server_that_does_not_read_holds_its_client_up(simulate: Simulate) -> None:
    sim = await simulate(record_sent=True)
    async with socket(sim, ping_interval=None) as client:
        await ask(client, model="gpt-4o--socket-deaf")

        async def flood() -> None:
            while True:
                await client.send("x" * 1_000_000)

        flooding = asyncio.create_task(flood())
        while not client.transport.get_write_buffer_size():
            await asyncio.sleep(0)
        await post(sim.url, CHAT.format("gpt-4o"), question())
        assert client.transport.get_write_buffer_size()
        assert len(sim.exchanges[0].messages) == 1
        flooding.cancel()
        client.transport.abort()


async def test_split_writes_are_whole_messages_and_gzip_is_not_for_sockets(sim: Simulator) -> None:
    async with socket(sim) as client:
        for fault in ("split-3", "burst", "crlf", "comments", "gzip", "bytewise"):
            events = await ask(client, model=f"gpt-4o--{fault}")
            assert "".join(event.get("delta", "") for event in events) == "one two"


async def test_a_message_beyond_the_limit_closes_with_1009(sim: Simulator) -> None:
    async with socket(sim) as client:
        with suppress(ConnectionClosed):
            await client.send("x" * (17 * 1024 * 1024))
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        assert client.close_code == 1009


async def test_the_client_that_leaves_ends_its_turns(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.01)
    async with socket(sim) as client:
        await say(client, type="response.create", model="gpt-4o", input="write 20000 words")
        await hear(client)
        client.transport.abort()
    await sim.idle(timeout=60)
    assert [exchange.ended for exchange in sim.exchanges] == ["client_left", "client_left"]
    assert sim.exchanges[0].close_code == 1006


async def test_a_stop_ends_open_sockets(simulate: Simulate) -> None:
    sim = await simulate()
    async with socket(sim) as client:
        await ask(client)
        await sim.stop()
        with pytest.raises(ConnectionClosedError):
            await client.recv()
    assert sim.exchanges[0].ended == "stopped"
