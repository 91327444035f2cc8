"""Realtime sessions with real sockets on both sides: frames pass as they come, and each response is charged."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live.harness import nothing_leaked
from tests.live.pools import SECRETS
from tests.live.relays import InProcessRelay, eventually
from tests.live.socket_upstream import Script, SocketUpstream, SocketVisit
from tests.live.test_sockets_responses import Client, client_of
from websockets.exceptions import InvalidStatus

from chukei.config import load
from chukei.model import End

pytestmark = pytest.mark.anyio

PATH = "/openai/v1/realtime?model=voice"
UPDATE = {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}}
ASK = {"type": "response.create"}
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "image_tokens": 0, "cached_tokens": 64},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}


def created(number: int) -> dict[str, Any]:
    response = {"object": "realtime.response", "id": f"resp_{number}", "status": "in_progress"}
    return {"type": "response.created", "event_id": f"event_{number}", "response": response}


def done(number: int, status: str = "completed", usage: object = USAGE) -> dict[str, Any]:
    response = {"object": "realtime.response", "id": f"resp_{number}", "status": status, "usage": usage}
    return {"type": "response.done", "event_id": f"event_{number}d", "response": response}


DELTA = {"type": "response.output_audio.delta", "event_id": "event_x", "response_id": "resp_1", "delta": "AAAA" * 4000}


async def speaking(visit: SocketVisit) -> None:
    """Answer each request for a response."""
    await visit.say({"type": "session.created", "event_id": "event_0", "session": {"id": "sess_1"}})
    number = 0
    while True:
        event = await visit.next()
        if event["type"] == "response.create":
            number += 1
            await visit.say(created(number), DELTA, done(number))


CONFIGURATION = """
[defaults]
model = "voice"
[models.voice]
deployments = ["a"{more}]
{model}
[models.whisper]
deployments = ["w"]
[deployments.a]
endpoint = "{url}"
deployment = "gpt-realtime"
api_key = {{ env = "POOL_KEY" }}
[deployments.w]
endpoint = "{url}"
deployment = "my-transcribe"
api_key = {{ env = "POOL_KEY" }}
{rest}
"""


@asynccontextmanager
async def relay_to(
    script: Script, directory: Path, *, model: str = "", rest: str = "", more: str = ""
) -> AsyncIterator[tuple[InProcessRelay, SocketUpstream]]:
    async with SocketUpstream(script) as upstream:
        path = directory / "chukei.toml"
        path.write_text(CONFIGURATION.format(url=upstream.url, model=model, rest=rest, more=more))
        async with InProcessRelay(load(path, SECRETS)) as relay:
            yield relay, upstream


async def until(client: Client, kind: str) -> dict[str, Any]:
    while (event := await client.next())["type"] != kind:
        pass
    return event


async def test_a_response_and_what_it_used(tmp_path: Path) -> None:
    async with nothing_leaked(), relay_to(speaking, tmp_path) as (relay, upstream):
        async with client_of(relay, PATH) as client:
            assert (await client.next())["type"] == "session.created"
            await client.say(UPDATE)
            await client.say({"type": "input_audio_buffer.append", "audio": "AAAA" * 1000})
            await client.say(ASK)
            assert [await client.next() for _ in range(3)] == [created(1), DELTA, done(1)]
        await eventually(lambda: len(relay.records) == 2)
        (visit,) = upstream.visits
        assert visit.target == "/openai/v1/realtime?model=gpt-realtime"
        assert visit.headers["api-key"] == "upstream-secret-key"
        assert [event["type"] for event in visit.came] == [
            "session.update",
            "input_audio_buffer.append",
            "response.create",
        ]
    answered, session = relay.records
    assert answered.usage is not None
    usage = answered.usage
    assert (usage.input, usage.output, usage.cached, usage.audio_input, usage.audio_output) == (132, 121, 64, 13, 91)
    assert (answered.operation, answered.model, answered.deployment, answered.end) == (
        "realtime",
        "voice",
        "a",
        End.COMPLETED,
    )
    assert (session.status, session.end, session.usage) == (101, End.COMPLETED, None)


async def test_a_response_that_the_service_begins_itself_is_charged(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.say(created(1), DELTA, done(1))
        await visit.next()

    async with relay_to(script, tmp_path) as (relay, _), client_of(relay, PATH) as client:
        await until(client, "response.done")
        await eventually(lambda: len(relay.records) == 1)
    assert relay.records[0].usage is not None
    assert relay.records[0].usage.input == 132


async def test_a_response_whose_end_is_not_seen_is_charged_as_reserved(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(created(1), DELTA)
        await visit.socket.wait_closed()

    async with relay_to(script, tmp_path) as (relay, _):
        async with client_of(relay, PATH) as client:
            await client.say({"type": "response.create", "response": {"max_output_tokens": 700}})
            await client.next()
        await eventually(lambda: len(relay.records) == 2)
    usage = relay.records[0].usage
    assert usage is not None
    assert usage.estimated
    assert usage.output == 700


async def test_a_response_that_the_service_refuses_costs_nothing(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        one, two = await visit.next(), await visit.next()
        assert one["event_id"] != two["event_id"]
        error = {"type": "invalid_request_error", "code": "conversation_already_has_active_response", "message": "No."}
        await visit.say(created(1), {"type": "error", "error": {**error, "event_id": two["event_id"]}}, done(1))
        await visit.next()

    async with relay_to(script, tmp_path) as (relay, _), client_of(relay, PATH) as client:
        await client.say(ASK)
        await client.say(ASK)
        await until(client, "response.done")
        await eventually(lambda: len(relay.records) == 2)
        relay.relay.gateway.drain()
        assert (await client.closed())[0] == 1001
    refused, answered = relay.records[:2]
    assert (refused.code, refused.usage) == ("response_refused", None)
    assert answered.usage is not None
    assert answered.usage.input == 132


async def test_a_transcription_is_charged_to_its_own_model(tmp_path: Path) -> None:
    transcription = {"model": "whisper", "language": "ja"}
    usage = {"type": "tokens", "total_tokens": 30, "input_tokens": 20, "output_tokens": 10}

    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": "item_1",
                "transcript": "Hai",
                "usage": usage,
            }
        )
        await visit.next()

    async with relay_to(script, tmp_path) as (relay, upstream), client_of(relay, PATH) as client:
        session = {"type": "realtime", "audio": {"input": {"transcription": transcription}}}
        await client.say({"type": "session.update", "session": session})
        await client.next()
        await eventually(lambda: len(relay.records) == 1)
        assert upstream.visits[0].came[0]["session"]["audio"]["input"]["transcription"]["model"] == "my-transcribe"
    record = relay.records[0]
    assert record.usage is not None
    assert (record.model, record.operation, record.usage.input) == ("whisper", "realtime_transcription", 20)


COMMIT = {"type": "input_audio_buffer.commit"}
TRANSCRIBING = {
    "type": "session.created",
    "event_id": "event_0",
    "session": {"type": "transcription", "audio": {"input": {"transcription": {"model": "my-transcribe"}}}},
}


def transcription(number: int, end: str = "completed", usage: object = None) -> dict[str, Any]:
    kind = f"conversation.item.input_audio_transcription.{end}"
    return {"type": kind, "event_id": f"event_{number}t", "item_id": f"item_{number}", "usage": usage}


def committed(number: int) -> dict[str, Any]:
    return {"type": "input_audio_buffer.committed", "event_id": f"event_{number}c", "item_id": f"item_{number}"}


async def test_transcriptions_keep_to_the_limits(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.say(TRANSCRIBING)
        number = 0
        while await visit.next():
            number += 1
            await visit.say(committed(number), transcription(number, usage={"input_tokens": 400, "output_tokens": 100}))

    async with relay_to(script, tmp_path, rest=LIMITED) as (relay, _), client_of(relay, PATH) as client:
        for _ in range(4):
            await client.say(COMMIT)
        assert (await until(client, "error"))["error"]["code"] == "insufficient_quota"
        assert (await client.closed())[0] == 1008
        await eventually(lambda: len(relay.records) == 5)
    assert [record.operation for record in relay.records] == ["realtime_transcription"] * 4 + ["realtime_socket"]
    assert {record.model for record in relay.records[:4]} == {"whisper"}


async def test_a_transcription_may_be_priced_by_the_minute(tmp_path: Path) -> None:
    """ENTERPILOT/GoModel#750, maximhq/bifrost#7089: duration is all that some models report, and may cost nothing."""

    async def script(visit: SocketVisit) -> None:
        await visit.say(TRANSCRIBING)
        for number in range(1, 4):
            while (await visit.next())["type"] != COMMIT["type"]:
                pass
            await visit.say(committed(number))
            if number < 3:
                end = "completed" if number == 1 else "failed"
                await visit.say(transcription(number, end, {"type": "duration", "seconds": 2.5}))

    rest = "[models.whisper.prices]\nminute = 0.6\n"
    async with relay_to(script, tmp_path, rest=rest) as (relay, _), client_of(relay, PATH) as client:
        for _ in range(3):
            await client.say({"type": "input_audio_buffer.append", "audio": "A" * 64_000})
            await client.say(COMMIT)
            await until(client, "input_audio_buffer.committed")
        await client.closed()
        await eventually(lambda: len(relay.records) == 4)
    told, failed, unseen = (record.cost for record in relay.records[:3])
    assert (told, failed) == (25_000, 0)
    assert unseen is not None
    assert 10_000 <= unseen < 10_100  # a second of sound


async def test_a_transcription_needs_no_slot_and_a_failed_one_costs_nothing(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.say(TRANSCRIBING, created(1), committed(1), transcription(1, "failed"), done(1))
        await visit.next()

    one = "[groups.everybody.limits]\nconcurrent = 1\n"
    async with relay_to(script, tmp_path, rest=one) as (relay, _), client_of(relay, PATH) as client:
        await until(client, "response.done")
        await eventually(lambda: len(relay.records) == 2)
    assert (relay.records[0].code, relay.records[0].usage) == ("transcription_failed", None)


async def test_who_leaves_before_the_end_pays_what_was_used(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.say(TRANSCRIBING, committed(1), created(1), DELTA)
        cancel = await visit.next()
        assert cancel == {"type": "response.cancel", "response_id": "resp_1"}
        usage = {"input_tokens": 20, "output_tokens": 10}
        await visit.say(done(1, "cancelled"), transcription(1, usage=usage))
        await visit.socket.wait_closed()

    async with relay_to(script, tmp_path) as (relay, _):
        async with client_of(relay, PATH) as client:
            await until(client, DELTA["type"])
            client.socket.transport.abort()
        await eventually(lambda: len(relay.records) == 3)
    answered, heard, session = relay.records
    assert answered.usage is not None
    assert heard.usage is not None
    assert (answered.usage.input, answered.usage.output, answered.usage.estimated) == (132, 121, False)
    assert (heard.model, heard.usage.input, heard.usage.estimated) == ("whisper", 20, False)
    assert session.end is End.CLIENT_ABORTED


async def test_a_session_that_is_about_to_end_begins_no_response(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(created(1))
        await visit.next()
        await visit.say(done(1))
        await visit.next()

    async with relay_to(script, tmp_path) as (relay, upstream), client_of(relay, PATH) as client:
        await client.say(ASK)
        await until(client, "response.created")
        relay.relay.gateway.drain()
        await client.say(ASK)
        assert (await until(client, "error"))["error"]["code"] == "session_ending"
        await client.say({"type": "input_audio_buffer.clear"})
        assert (await client.closed())[0] == 1001
        assert [event["type"] for event in upstream.visits[0].came] == ["response.create", "input_audio_buffer.clear"]


@pytest.mark.parametrize("intent", ["", "&intent=conversation", "&intent=translation"])
async def test_caps_and_the_system_message_apply(intent: str, tmp_path: Path) -> None:
    model = 'system = "Speak politely."\ncaps = { max_output_tokens = 100 }'
    path = PATH + intent
    async with relay_to(speaking, tmp_path, model=model) as (relay, upstream), client_of(relay, path) as client:
        await client.say({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": "inf"}})
        await client.say({"type": "response.create", "response": {"max_output_tokens": 4000}})
        await until(client, "response.done")
        first, update, ask = upstream.visits[0].came
    assert first["session"] == {"type": "realtime", "instructions": "Speak politely.", "max_output_tokens": 100}
    assert update["session"]["max_output_tokens"] == 100
    assert ask["response"]["max_output_tokens"] == 100


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", "invalid_json"),
        ('"x"', "invalid_event"),
        ('{"type":"unknown"}', "unknown_event"),
        ('{"type":"session.update","session":{"model":"another"}}', "model_not_changeable"),
        ('{"type":"input_audio_buffer.append","audio":"","type":"unknown"}', "unknown_event"),
        ('{"type":"session.update","session":{"input_audio_transcription":{"model":"none"}}}', "model_not_found"),
    ],
)
async def test_what_may_not_pass_is_an_error_event(sent: str, code: str, tmp_path: Path) -> None:
    async with relay_to(speaking, tmp_path) as (relay, upstream), client_of(relay, PATH) as client:
        await client.socket.send(sent)
        assert (await until(client, "error"))["error"]["code"] == code
        await client.say(ASK)
        await until(client, "response.done")
        assert [event["type"] for event in upstream.visits[0].came] == ["response.create"]


LIMITED = "[groups.everybody.limits]\ntokens_per_day = 1100\n"


async def test_a_limit_ends_the_session_with_an_event(tmp_path: Path) -> None:
    async with relay_to(speaking, tmp_path, rest=LIMITED) as (relay, upstream), client_of(relay, PATH) as client:
        for _ in range(2):
            await client.say(ASK)
            await until(client, "response.done")
        await client.say({**ASK, "event_id": "mine"})
        last = await until(client, "error")
        assert (last["error"]["code"], last["error"]["event_id"]) == ("insufficient_quota", "mine")
        code, reason = await client.closed()
        assert (code, reason) == (1008, "insufficient_quota: see the error event.")
        assert [event["type"] for event in upstream.visits[0].came] == ["response.create"] * 2
        await eventually(lambda: len(relay.records) == 3)
    assert (relay.records[-1].end, relay.records[-1].code) == (End.REFUSED, "insufficient_quota")


async def test_a_response_of_the_service_beyond_the_limit_is_cancelled_and_charged(tmp_path: Path) -> None:
    """agentgateway/agentgateway#2213: it may be outside the conversation, so it is cancelled by its id, and once."""

    async def script(visit: SocketVisit) -> None:
        for number in range(1, 5):
            await visit.say(created(number), done(number))
        await visit.next()

    async with relay_to(script, tmp_path, rest=LIMITED) as (relay, upstream), client_of(relay, PATH) as client:
        last = await until(client, "error")
        assert last["error"]["code"] == "insufficient_quota"
        assert (await client.closed())[0] == 1008
        await eventually(lambda: bool(upstream.visits[0].came))
        assert upstream.visits[0].came == [{"type": "response.cancel", "response_id": "resp_3"}]
        await eventually(lambda: len(relay.records) == 4)
    assert all(record.usage is not None and record.usage.input > 0 for record in relay.records[:3])


async def test_a_model_that_does_not_exist_is_refused_before_the_handshake(tmp_path: Path) -> None:
    async with relay_to(speaking, tmp_path) as (relay, upstream):
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(relay, "/v1/realtime?model=none"):
                pass
        assert refused.value.response.status_code == 404
        assert not upstream.visits


async def test_a_refused_handshake_leads_to_the_next_deployment(tmp_path: Path) -> None:
    refusal = (429, {"code": "429", "message": "Too many."})
    async with SocketUpstream(speaking, refusal) as busy:
        rest = f'[deployments.busy]\nendpoint = "{busy.url}"\ndeployment = "x"\napi_key = {{ env = "POOL_KEY" }}\n'
        async with relay_to(speaking, tmp_path, rest=rest, more=', "busy"') as (relay, _):
            for _ in range(2):
                async with client_of(relay, PATH) as client:
                    await client.next()
            await eventually(lambda: len(relay.records) == 2)
    assert {record.deployment for record in relay.records} == {"a"}
    assert [attempt.code for record in relay.records for attempt in record.tries].count("upstream_429") == 1


@pytest.mark.parametrize(
    ("code", "end"),
    [(1000, End.COMPLETED), (1001, End.COMPLETED), (1011, End.UPSTREAM_LOST), (4000, End.UPSTREAM_LOST)],
)
async def test_the_close_of_the_service_reaches_the_client(code: int, end: End, tmp_path: Path) -> None:
    """A response that was being made has not completed with the session."""

    async def script(visit: SocketVisit) -> None:
        await visit.say(created(1))
        await visit.socket.close(code, "Your session hit the maximum duration of 60 minutes.")

    async with relay_to(script, tmp_path) as (relay, _), client_of(relay, PATH) as client:
        assert (await client.next())["type"] == "response.created"
        assert await client.closed() == (code, "Your session hit the maximum duration of 60 minutes.")
        await eventually(lambda: len(relay.records) == 2)
    assert [record.end for record in relay.records] == [End.UPSTREAM_LOST, end]


async def test_a_service_that_breaks_off_is_a_close_too(tmp_path: Path) -> None:
    async def script(visit: SocketVisit) -> None:
        visit.socket.transport.abort()

    async with relay_to(script, tmp_path) as (relay, _), client_of(relay, PATH) as client:
        assert (await client.closed())[0] == 1011


async def test_the_preview_has_its_own_address(tmp_path: Path) -> None:
    path = "/openai/realtime?api-version=2024-10-01-preview&deployment=voice"
    async with relay_to(speaking, tmp_path) as (relay, upstream), client_of(relay, path) as client:
        await client.next()
        target = "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-realtime"
        assert upstream.visits[0].target == target


async def test_a_client_that_does_not_read_stops_the_upstream(tmp_path: Path) -> None:
    sent = 0

    async def script(visit: SocketVisit) -> None:
        nonlocal sent
        await visit.next()
        while True:
            await visit.say(DELTA)
            sent += 1

    async with relay_to(script, tmp_path) as (relay, _), client_of(relay, PATH, max_queue=1) as client:
        await client.say({"type": "input_audio_buffer.clear"})
        before = -1
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent * len(json.dumps(DELTA)) < 64 * 1024 * 1024
        client.socket.transport.abort()
        await eventually(lambda: relay.relay.gateway.live == 0)


async def test_draining_waits_for_the_response(tmp_path: Path) -> None:
    going = asyncio.Event()

    async def script(visit: SocketVisit) -> None:
        await visit.next()
        await visit.say(created(1))
        await going.wait()
        await visit.say(done(1))
        await visit.next()

    async with relay_to(script, tmp_path) as (relay, _), client_of(relay, PATH) as client:
        await client.say(ASK)
        await client.next()
        relay.relay.gateway.drain()
        going.set()
        await until(client, "response.done")
        assert (await client.closed())[0] == 1001
