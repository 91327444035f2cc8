"""The Responses API in WebSocket mode, with real sockets on both sides: each message is a request like any other."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live.harness import nothing_leaked
from tests.live.pools import Table, pool_settings
from tests.live.relays import InProcessRelay, eventually, settings_for
from tests.live.socket_upstream import Script, SocketUpstream, SocketVisit, answering, response
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chukei.model import End

pytestmark = pytest.mark.anyio

CREATE = {"type": "response.create", "model": "gpt-4o", "input": [{"role": "user", "content": "Hello"}]}


class Client:
    """A client of the relay."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, event: Mapping[str, Any]) -> None:
        await self.socket.send(json.dumps(event))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            event: dict[str, Any] = json.loads(await self.socket.recv())
            return event

    async def turn(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Send an event, and return those up to the last one of its answer."""
        await self.say(event)
        return await self.answer()

    async def answer(self) -> list[dict[str, Any]]:
        events = [await self.next()]
        while events[-1]["type"] not in ("response.completed", "response.failed", "error"):
            events.append(await self.next())
        return events

    async def closed(self) -> tuple[int, str]:
        """Wait for the relay's close; return its code and reason."""
        async with asyncio.timeout(60):
            await self.socket.wait_closed()
        return self.socket.close_code or 0, self.socket.close_reason or ""


@asynccontextmanager
async def client_of(relay: InProcessRelay, path: str = "/v1/responses", **options: Any) -> AsyncIterator[Client]:
    async with connect(relay.url.replace("http", "ws") + path, proxy=None, **options) as socket:
        yield Client(socket)


@asynccontextmanager
async def relay_to(script: Script, **extra: str) -> AsyncIterator[tuple[InProcessRelay, SocketUpstream]]:
    async with (
        SocketUpstream(script) as upstream,
        InProcessRelay(settings_for(upstream.url, {key.upper(): value for key, value in extra.items()})) as relay,
    ):
        yield relay, upstream


async def test_two_turns_on_one_connection() -> None:
    async with relay_to(answering()) as (relay, upstream):
        async with client_of(relay) as client:
            first = await client.turn(CREATE)
            second = await client.turn({**CREATE, "previous_response_id": first[-1]["response"]["id"]})
        assert [event["type"] for event in first] == [
            "response.created",
            "response.output_text.delta",
            "response.completed",
        ]
        assert first == response(1)
        assert second == response(2)
        (visit,) = upstream.visits
        assert visit.target == "/openai/v1/responses"
        assert visit.headers["api-key"] == "upstream-secret-key"
        assert visit.came == [CREATE, {**CREATE, "previous_response_id": "resp_00000001"}]
        await eventually(lambda: len(relay.records) == 3)
    *turns, session = relay.records
    assert [(turn.operation, turn.end, turn.usage.input, turn.usage.output) for turn in turns if turn.usage] == [
        ("responses", End.COMPLETED, 11, 3)
    ] * 2
    assert (session.operation, session.end, session.status, session.usage) == (
        "responses_socket",
        End.COMPLETED,
        101,
        None,
    )
    assert [turn.request_id for turn in turns] == [f"{session.request_id}-1", f"{session.request_id}-2"]


async def test_an_error_event_before_any_other_has_its_status_and_the_connection_stays_open() -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.next()
        error = {"type": "invalid_request_error", "code": "unknown_parameter", "message": "No.", "param": "x"}
        await visit.say({"type": "error", "status": 400, "error": error})
        await visit.next()
        await visit.say(*response(2))
        await visit.next()

    async with relay_to(script) as (relay, upstream), client_of(relay) as client:
        (refused,) = await client.turn(CREATE)
        assert (refused["type"], refused["status"], refused["error"]["code"]) == ("error", 400, "unknown_parameter")
        assert await client.turn(CREATE) == response(2)
        assert len(upstream.visits) == 1


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ("{", 400, "invalid_json"),
        ("[]", 400, "invalid_json"),
        ('{"type":"response.steer"}', 400, "unknown_event"),
        ('{"type":"response.create","type":"response.create","model":"gpt-4o"}', 400, "duplicate_field"),
        (json.dumps({**CREATE, "background": True}), 400, "unsupported_parameter"),
        (json.dumps({**CREATE, "stream_id": ""}), 400, "invalid_value"),
    ],
)
async def test_what_cannot_be_served_is_an_error_event(sent: str, status: int, code: str) -> None:
    async with relay_to(answering()) as (relay, upstream), client_of(relay) as client:
        await client.socket.send(sent)
        refused = await client.next()
        assert (refused["type"], refused["status"], refused["error"]["code"]) == ("error", status, code)
        assert await client.turn(CREATE) == response(1)
        assert len(upstream.visits) == 1


async def test_a_binary_message_ends_the_session() -> None:
    async with relay_to(answering()) as (relay, _), client_of(relay) as client:
        await client.socket.send(b"\x00")
        assert (await client.next())["error"]["code"] == "invalid_message"
        assert (await client.closed())[0] == 1003


async def test_a_message_that_is_too_large_ends_the_session() -> None:
    async with relay_to(answering(), chukei_sockets__message_bytes="4096") as (relay, _), client_of(relay) as client:
        await client.say({**CREATE, "input": "x" * 5000})
        assert (await client.closed())[0] == 1009


async def test_lanes_run_side_by_side_and_their_events_are_not_mixed() -> None:
    async def script(visit: SocketVisit) -> None:
        one, two = await visit.next(), await visit.next()
        for events in zip(response(1), response(2), strict=True):
            await visit.say({**events[0], "stream_id": one["stream_id"]}, {**events[1], "stream_id": two["stream_id"]})
        await visit.next()

    async with relay_to(script) as (relay, _), client_of(relay) as client:
        await client.say({**CREATE, "stream_id": "a"})
        await client.say({**CREATE, "stream_id": "b"})
        events = [await client.next() for _ in range(6)]
        for number, lane in enumerate("ab", 1):
            mine = [event for event in events if event["stream_id"] == lane]
            assert mine == [{**event, "stream_id": lane} for event in response(number)]


async def test_a_lane_is_known_however_its_name_is_spelt() -> None:
    async with relay_to(answering()) as (relay, _), client_of(relay) as client:
        escaped = json.dumps({**CREATE, "input": "Hi"}).removesuffix("}") + ',"stream\\u005fid":"b"}'
        await client.say({**CREATE, "stream_id": "a"})
        await client.socket.send(escaped)
        lanes = [(await client.next()).get("stream_id") for _ in range(6)]
        assert (lanes.count("a"), lanes.count("b")) == (3, 3)


async def test_requests_of_one_lane_wait_for_each_other() -> None:
    going = asyncio.Event()

    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await going.wait()
        assert len(visit.came) == 1
        await visit.say(*response(1))
        await visit.next()
        await visit.say(*response(2))
        await visit.next()

    async with relay_to(script) as (relay, upstream), client_of(relay) as client:
        await client.say(CREATE)
        await client.say(CREATE)
        await eventually(lambda: bool(upstream.visits) and len(upstream.visits[0].came) == 1)
        going.set()
        assert await client.answer() == response(1)
        assert await client.answer() == response(2)


async def test_an_upstream_that_closes_before_the_first_event_is_replaced(tmp_path: Path) -> None:
    async def closing(visit: SocketVisit) -> None:
        await visit.next()

    async with SocketUpstream(closing) as dying, SocketUpstream(answering()) as well:
        deployments: dict[str, Table] = {"a": {"endpoint": dying.url}, "b": {"endpoint": well.url, "priority": 2}}
        async with InProcessRelay(pool_settings(tmp_path, deployments)) as relay, client_of(relay) as client:
            assert await client.turn({**CREATE, "model": "chat"}) == response(1)
            await client.socket.close()
            await eventually(lambda: len(relay.records) == 2)
        assert [attempt.code for attempt in relay.records[0].tries] == ["upstream_lost", None]


async def test_a_handshake_that_is_refused_leads_to_the_next_deployment(tmp_path: Path) -> None:
    refusal = (429, {"code": "429", "message": "Too many."})
    async with SocketUpstream(answering(), refusal) as busy, SocketUpstream(answering()) as well:
        deployments: dict[str, Table] = {"a": {"endpoint": busy.url}, "b": {"endpoint": well.url, "priority": 2}}
        async with InProcessRelay(pool_settings(tmp_path, deployments)) as relay, client_of(relay) as client:
            assert await client.turn({**CREATE, "model": "chat"}) == response(1)
            await client.socket.close()
            await eventually(lambda: len(relay.records) == 2)
        assert [attempt.status for attempt in relay.records[0].tries][-1:] == [200]
        assert len(relay.records[0].tries) == 2


async def test_an_upstream_that_closes_in_mid_response_is_an_error_event() -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(*response(1)[:2])

    async with relay_to(script) as (relay, _), client_of(relay) as client:
        events = await client.turn(CREATE)
        assert events[-1]["type"] == "error"
        assert events[-1]["error"]["code"] == "stream_incomplete"


async def test_a_client_that_leaves_stops_the_response_which_is_charged() -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(*response(1)[:2])
        await visit.socket.wait_closed()

    async with nothing_leaked(), relay_to(script) as (relay, upstream):
        async with client_of(relay) as client:
            await client.say(CREATE)
            await client.next()
        await eventually(lambda: len(relay.records) == 2)
        async with asyncio.timeout(60):
            await upstream.visits[0].socket.wait_closed()
    turn = relay.records[0]
    assert turn.end is End.CLIENT_ABORTED
    assert turn.usage is not None
    assert turn.usage.output > 0


async def test_a_client_that_leaves_is_noticed_although_nothing_more_is_read_from_it() -> None:
    async def script(visit: SocketVisit) -> None:
        for _ in range(8):
            await visit.next()
        await visit.say(response(1)[0])
        await visit.socket.wait_closed()

    async with nothing_leaked(), relay_to(script) as (relay, upstream):
        async with client_of(relay) as client:
            for number in range(8):
                await client.say({**CREATE, "stream_id": f"lane-{number}"})
            await eventually(lambda: bool(upstream.visits) and len(upstream.visits[0].came) == 8)
            client.socket.transport.abort()
        await eventually(lambda: len(relay.records) == 9)


async def test_the_limit_of_a_connection_is_an_event_and_a_close() -> None:
    async with relay_to(answering(), chukei_sockets__lifetime_seconds="1") as (relay, _), client_of(relay) as client:
        last = await client.next()
        assert (last["status"], last["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert (await client.closed())[0] == 1000


async def test_draining_lets_a_response_end_and_closes_then() -> None:
    going = asyncio.Event()

    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(*response(1)[:2])
        await going.wait()
        await visit.say(response(1)[2])
        await visit.next()

    async with relay_to(script) as (relay, _), client_of(relay) as client, client_of(relay) as idle:
        await client.say(CREATE)
        await client.next()
        relay.relay.gateway.drain()
        assert (await idle.closed())[0] == 1001
        assert client.socket.close_code is None
        going.set()
        assert (await client.answer())[-1]["type"] == "response.completed"
        assert (await client.closed())[0] == 1001


async def test_stopping_ends_a_response_with_an_error_event() -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(*response(1)[:2])
        await visit.socket.wait_closed()

    async with relay_to(script) as (relay, _), client_of(relay) as client:
        await client.say(CREATE)
        assert (await client.next())["type"] == "response.created"
        relay.relay.gateway.stop_all()
        events = await client.answer()
        assert events[-1]["error"]["code"] == "server_shutdown"
        assert (await client.closed())[0] == 1001


KEY = "sk-of-the-relay-1234"


@pytest.mark.parametrize(
    "how",
    [
        {"additional_headers": {"authorization": f"Bearer {KEY}"}},
        {"additional_headers": {"api-key": KEY}},
        {"subprotocols": ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"]},
        {"path": f"/openai/v1/responses?api-key={KEY}"},
    ],
    ids=["bearer", "api-key", "subprotocol", "query"],
)
async def test_the_ways_of_a_key(how: dict[str, Any]) -> None:
    async with relay_to(answering(), chukei_api_key=KEY) as (relay, upstream):
        async with client_of(relay, **how) as client:
            assert client.socket.subprotocol == ("realtime" if "subprotocols" in how else None)
            assert await client.turn(CREATE) == response(1)
        visit = upstream.visits[0]
        assert KEY not in repr(visit.headers) + visit.target
        await eventually(lambda: len(relay.records) == 2)
    assert all(KEY not in record.path for record in relay.records)


async def test_a_handshake_without_the_key_is_refused() -> None:
    async with relay_to(answering(), chukei_api_key=KEY) as (relay, _):
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(relay):
                pass
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses?api-key=ignored", "/v1/realtime?api-key=ignored"])
async def test_a_page_of_another_site_may_not_open_a_session_without_a_key(path: str) -> None:
    async with relay_to(answering(), chukei_auth__anonymous="true") as (relay, _):
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(relay, path, origin="https://evil.example"):
                pass
    assert refused.value.response.status_code == 403


async def test_sockets_that_are_switched_off_are_426() -> None:
    async with relay_to(answering(), chukei_sockets__enabled="false") as (relay, _):
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(relay):
                pass
    assert refused.value.response.status_code == 426


async def test_a_caller_has_so_many_sessions_at_most() -> None:
    async with relay_to(answering(), chukei_sockets__per_caller="1") as (relay, _):
        async with client_of(relay):
            with pytest.raises(InvalidStatus) as refused:
                async with client_of(relay):
                    pass
            assert refused.value.response.status_code == 429
        await eventually(lambda: relay.relay.gateway.live == 0)
        async with client_of(relay) as client:
            assert await client.turn(CREATE) == response(1)


async def test_a_client_that_breaks_off_leaves_nothing_behind() -> None:
    async with nothing_leaked(), relay_to(answering()) as (relay, upstream):
        async with client_of(relay) as client:
            await client.turn(CREATE)
            client.socket.transport.abort()
        await eventually(lambda: relay.relay.gateway.live == 0)
        with pytest.raises(ConnectionClosed):
            await upstream.visits[0].socket.recv()
    assert relay.records[-1].end is End.CLIENT_ABORTED


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    sent = 0

    async def script(visit: SocketVisit) -> None:
        nonlocal sent
        await visit.next()
        await visit.say(response(1)[0])
        while True:
            await visit.say({**response(1)[1], "delta": "x" * 16_000})
            sent += 1

    async with relay_to(script) as (relay, _), client_of(relay, max_queue=1) as client:
        await client.say(CREATE)
        before = -1
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent * 16_000 < 64 * 1024 * 1024
        client.socket.transport.abort()
        await eventually(lambda: relay.relay.gateway.live == 0)


async def test_a_session_outlives_a_reload_and_its_next_request_has_the_new_rules() -> None:
    async with SocketUpstream(answering()) as upstream:
        settings = settings_for(upstream.url)
        strict = settings_for(upstream.url, {"CHUKEI_GROUPS__EVERYBODY__MODELS": '["another"]'})
        async with InProcessRelay(settings, source=lambda: strict) as relay, client_of(relay) as client:
            assert await client.turn(CREATE) == response(1)
            await relay.application.reloads.reload("a test")
            (refused,) = await client.turn(CREATE)
            assert (refused["status"], refused["error"]["code"]) == (403, "model_not_allowed")


async def test_a_caller_who_is_no_longer_let_in_is_closed_out() -> None:
    async with relay_to(answering(), chukei_api_key=KEY) as (relay, _):
        async with client_of(relay, additional_headers={"api-key": KEY}) as client:
            await client.turn(CREATE)
            relay.relay.gateway.end_of(lambda who: True)
            assert (await client.closed())[0] == 1008
        await eventually(lambda: relay.relay.gateway.live == 0)
    assert relay.records[-1].end is End.REFUSED
