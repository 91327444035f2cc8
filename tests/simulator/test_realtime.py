"""The realtime API: sessions, items, audio and answers, seen by the client of the library ``websockets``."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.test_sockets import hear, say, socket, turns
from tests.simulator.wire import Connection, post
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

GA = "/openai/v1/realtime?model=gpt-realtime"
BETA = "/openai/realtime?api-version=2025-04-01-preview&deployment=gpt-4o-realtime"
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "Weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"


async def until(client: ClientConnection, last: str) -> list[Any]:
    """The events up to the first of this type."""
    events: list[Any] = []
    while not events or events[-1]["type"] != last:
        events.append(await hear(client))
    return events


async def tell(client: ClientConnection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await say(client, type="conversation.item.create", item={"type": "message", "role": "user", "content": content})


async def answer(client: ClientConnection, text: str = "repeat: one two", **given: Any) -> list[Any]:
    await tell(client, text)
    await say(client, type="response.create", response=given)
    return await until(client, "response.done")


def sound(milliseconds: int, loud: bool = True) -> str:
    samples = array("h", [9000 if loud else 0]) * (milliseconds * 24)
    return base64.b64encode(samples.tobytes()).decode()


def types(events: list[Any]) -> list[str]:
    """The types in order, with repetitions left out."""
    names = [event["type"] for event in events]
    return [name for at, name in enumerate(names) if name not in names[:at]]


async def test_a_session_begins_with_its_configuration(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        created = await hear(client)
        assert created["type"] == "session.created"
        assert created["session"]["type"] == "realtime"
        assert created["session"]["model"] == "gpt-realtime"
        assert created["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}

        change = {"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "cedar"}}}
        await say(client, type="session.update", session=change)
        updated = await hear(client)
        assert updated["type"] == "session.updated"
        assert updated["session"]["instructions"] == "Be brief."
        assert updated["session"]["audio"]["output"] == {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "cedar",
            "speed": 1.0,
        }


async def test_a_text_answer(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        events = await answer(client, output_modalities=["text"])

    assert types(events) == [
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    response = events[-1]["response"]
    assert (response["status"], response["output"][0]["content"]) == (
        "completed",
        [{"type": "output_text", "text": "one two"}],
    )
    usage = response["usage"]
    assert usage["output_token_details"] == {"text_tokens": 2, "audio_tokens": 0}
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    (turn,) = turns(sim)
    assert (turn.operation, turn.deployment, turn.ended) == ("realtime", "gpt-realtime", "completed")
    assert (turn.prompt_tokens, turn.completion_tokens) == (usage["input_tokens"], usage["output_tokens"])


async def test_a_spoken_answer_has_a_transcript_and_sound(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        events = await answer(client)

    said = [event["delta"] for event in events if event["type"] == "response.output_audio_transcript.delta"]
    audio = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
    usage = events[-1]["response"]["usage"]
    assert "".join(said) == "one two"
    assert len(audio) == usage["output_token_details"]["audio_tokens"] * 50 * 48
    assert max(array("h", audio)) > 1000
    assert usage["output_tokens"] == 2 + usage["output_token_details"]["audio_tokens"]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "one two"}]
    assert turns(sim)[0].completion_tokens == usage["output_tokens"]


async def test_the_conversation_becomes_input_and_is_cached(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        first = (await answer(client, "repeat: " + "word " * 200, output_modalities=["text"]))[-1]["response"]["usage"]
        second = (await answer(client, output_modalities=["text"]))[-1]["response"]["usage"]

    assert first["input_token_details"]["cached_tokens"] == 0
    assert second["input_tokens"] > first["input_tokens"] + first["output_tokens"]
    cached = second["input_token_details"]["cached_tokens"]
    assert cached == first["input_tokens"] // 64 * 64 > 0
    assert second["input_token_details"]["cached_tokens_details"]["text_tokens"] == cached


async def test_the_preview_has_its_own_names(sim: Simulator) -> None:
    async with socket(sim, BETA) as client:
        created = await hear(client)
        assert created["session"]["modalities"] == ["audio", "text"]
        await say(client, type="session.update", session={"voice": "echo", "input_audio_format": "g711_ulaw"})
        assert (await hear(client))["session"]["voice"] == "echo"
        events = await answer(client)
        text = await answer(client, modalities=["text"])

    assert {"conversation.item.created", "response.audio.delta", "response.audio_transcript.delta"} <= set(
        types(events)
    )
    assert "response.text.delta" in types(text)
    assert not any(".output_text." in name or name.startswith("conversation.item.added") for name in types(text))
    assert events[-1]["response"]["output"][0]["content"][0]["type"] == "audio"
    assert turns(sim)[0].deployment == "gpt-4o-realtime"


async def test_a_function_call_and_its_result(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        await say(client, type="session.update", session={"type": "realtime", "tools": [TOOL]})
        await hear(client)
        events = await answer(client, "The weather in Vienna?")
        (call,) = events[-1]["response"]["output"]
        assert (call["type"], call["status"], call["name"]) == ("function_call", "completed", "weather")
        assert json.loads(call["arguments"])["city"] == "Vienna"
        assert "".join(e["delta"] for e in events if e["type"].endswith("arguments.delta")) == call["arguments"]

        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        await say(client, type="conversation.item.create", item=output)
        await say(client, type="response.create")
        events = await until(client, "response.done")
        assert events[-1]["response"]["output"][0]["type"] == "message"


async def test_voice_activity_makes_a_turn(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        transcription = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
        await say(client, type="session.update", session={"type": "realtime", **transcription})
        await hear(client)
        for audio in (sound(400, loud=False), sound(1000), sound(300, loud=False), sound(300, loud=False)):
            await say(client, type="input_audio_buffer.append", audio=audio)
        events = await until(client, "response.done")

    by_type = {event["type"]: event for event in events}
    assert types(events)[:3] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert by_type["input_audio_buffer.speech_started"]["audio_start_ms"] == 100
    assert by_type["input_audio_buffer.speech_stopped"]["audio_end_ms"] == 1900
    item = by_type["input_audio_buffer.committed"]["item_id"]
    assert by_type["input_audio_buffer.speech_started"]["item_id"] == item
    transcript = by_type["conversation.item.input_audio_transcription.completed"]
    assert transcript["item_id"] == item
    assert transcript["usage"]["input_token_details"]["audio_tokens"] == 20
    assert events[-1]["response"]["usage"]["input_token_details"]["audio_tokens"] == 20
    assert {turn.operation for turn in turns(sim)} == {"realtime", "realtime/transcription"}


async def test_a_user_that_speaks_interrupts_the_answer(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.005)
    async with socket(sim, GA) as client:
        await hear(client)
        await tell(client, "write 2000 words")
        await say(client, type="response.create")
        await until(client, "response.output_audio.delta")
        await say(client, type="input_audio_buffer.append", audio=sound(100))
        response = (await until(client, "response.done"))[-1]["response"]

    assert (response["status"], response["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert response["output"][0]["status"] == "incomplete"
    assert 0 < response["usage"]["output_token_details"]["text_tokens"] < 2000


async def test_without_voice_activity_detection_the_client_commits(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        await say(
            client, type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        )
        await hear(client)
        await say(client, type="input_audio_buffer.append", audio=sound(500))
        await say(client, type="input_audio_buffer.clear")
        assert (await hear(client))["type"] == "input_audio_buffer.cleared"
        await say(client, type="input_audio_buffer.commit", event_id="mine")
        error = (await hear(client))["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        await say(client, type="input_audio_buffer.append", audio=sound(500))
        await say(client, type="input_audio_buffer.commit")
        assert types(await until(client, "conversation.item.done"))[0] == "input_audio_buffer.committed"
        await say(client, type="response.create")
        usage = (await until(client, "response.done"))[-1]["response"]["usage"]
        assert usage["input_token_details"]["audio_tokens"] == 5


async def test_a_cancelled_answer_counts_what_was_said(simulate: Simulate) -> None:
    sim = await simulate(inter_token_seconds=0.005)
    async with socket(sim, GA) as client:
        await hear(client)
        await tell(client, "write 2000 words")
        await say(client, type="response.create", response={"output_modalities": ["text"]})
        await until(client, "response.output_text.delta")
        await say(client, type="response.create")
        await say(client, type="response.cancel")
        events = await until(client, "response.done")
        await say(client, type="response.cancel")
        assert (await hear(client))["error"]["code"] == "response_cancel_not_active"

    (error,) = (event["error"] for event in events if event["type"] == "error")
    assert error["code"] == "conversation_already_has_active_response"
    response = events[-1]["response"]
    assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    said = response["output"][0]["content"][0]["text"]
    assert 0 < response["usage"]["output_tokens"] == turns(sim)[0].completion_tokens < 2000
    assert said


async def test_an_answer_ends_at_the_limit_of_tokens(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        for given in ({"output_modalities": ["text"]}, {}):
            response = (await answer(client, "write 200 words", max_output_tokens=40, **given))[-1]["response"]
            assert response["status"] == "incomplete"
            assert response["status_details"]["reason"] == "max_output_tokens"
            assert 0 < response["usage"]["output_tokens"] <= 40


async def test_items_can_be_placed_retrieved_truncated_and_deleted(sim: Simulator) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        for id_, after in (("a", None), ("b", None), ("c", "a"), ("d", "root")):
            item = {"id": id_, "type": "message", "role": "user", "content": []}
            await say(client, type="conversation.item.create", item=item, previous_item_id=after)
            added, _ = await hear(client), await hear(client)
            assert added["previous_item_id"] == {"a": None, "b": "a", "c": "a", "d": None}[id_]
        await say(client, type="conversation.item.retrieve", item_id="c")
        assert (await hear(client))["item"]["id"] == "c"
        await say(client, type="conversation.item.truncate", item_id="c", content_index=0, audio_end_ms=10)
        assert (await hear(client))["type"] == "conversation.item.truncated"
        await say(client, type="conversation.item.delete", item_id="c")
        assert (await hear(client))["type"] == "conversation.item.deleted"
        await say(client, type="conversation.item.delete", item_id="c")
        assert (await hear(client))["error"]["code"] == "item_delete_invalid_item_id"


NAMELESS = {"tools": [{"type": "function"}]}


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ([], "invalid_json", None),
        ({"type": "who knows"}, "invalid_value", "type"),
        ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
        ({"type": "session.update", "session": {"type": "realtime", "x": 1}}, "unknown_parameter", "session.x"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "%%"}, "invalid_value", "audio"),
        ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
        ({"type": "conversation.item.create", "item": {"type": "x"}}, "invalid_type", "item.type"),
        ({"type": "response.create", "response": NAMELESS}, "missing_required_parameter", "response.tools[0].name"),
    ],
)
async def test_an_invalid_event_gets_an_error_and_the_session_goes_on(
    sim: Simulator, event: Any, code: str, param: str | None
) -> None:
    async with socket(sim, GA) as client:
        await hear(client)
        await client.send(json.dumps(event))
        error = (await hear(client))["error"]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
        assert (await answer(client))[-1]["response"]["status"] == "completed"


async def test_a_transcription_session(sim: Simulator) -> None:
    async with socket(sim, "/openai/v1/realtime?intent=transcription") as client:
        assert (await hear(client))["session"]["type"] == "transcription"
        change = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        await say(client, type="session.update", session=change)
        await hear(client)
        for loud in (True, False):
            await say(client, type="input_audio_buffer.append", audio=sound(600, loud=loud))
        events = await until(client, "conversation.item.input_audio_transcription.completed")
        await say(client, type="response.create")
        assert (await hear(client))["type"] == "error"
    assert events[-1]["usage"] == {"type": "duration", "seconds": 1.2}
    assert [turn.operation for turn in turns(sim)] == ["realtime/transcription"]


async def test_a_session_only_transcribes_or_answers_from_its_beginning(sim: Simulator) -> None:
    for path, other in ((GA, "transcription"), ("/openai/v1/realtime?intent=transcription", "realtime")):
        async with socket(sim, path) as client:
            await hear(client)
            await say(client, type="session.update", session={"type": other})
            error = (await hear(client))["error"]
        assert (error["code"], error["message"].split()[1:3]) == ("invalid_parameter", ["a", other])
    with pytest.raises(InvalidStatus) as refused:
        async with socket(sim, GA + "&intent=transcription"):
            pass
    assert refused.value.response.status_code == 400


async def test_faults_of_a_session(simulate: Simulate) -> None:
    sim = await simulate(faults={"flaky": "503*1", "old": "socket-limit:2", "broken": "error-event:6"})
    url = sim.url.replace("http", "ws", 1) + "/openai/v1/realtime?model="
    with pytest.raises(InvalidStatus) as refused:
        await connect(url + "flaky", additional_headers={"api-key": "key"})
    assert refused.value.response.status_code == 503
    async with socket(sim, "/openai/v1/realtime?model=flaky") as client:
        await hear(client)
        assert (await answer(client))[-1]["response"]["status"] == "completed"
    async with socket(sim, "/openai/v1/realtime?model=old") as client:
        await tell(client, "hello")
        await say(client, type="response.create")
        events = await until(client, "error")
        assert events[-1]["error"]["code"] == "session_expired"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1001
    async with socket(sim, "/openai/v1/realtime?model=broken") as client:
        events = await answer(client)
        assert events[-2]["error"]["type"] == "server_error"
        assert events[-1]["response"]["status"] == "failed"
        assert (
            events[-1]["response"]["id"] == next(e for e in events if e["type"] == "response.created")["response"]["id"]
        )


async def test_a_browser_sends_its_key_as_a_subprotocol(simulate: Simulate) -> None:
    sim = await simulate(api_key="right")
    offered: Any = ["realtime", "openai-insecure-api-key.right"]
    async with socket(sim, GA, additional_headers={}, subprotocols=offered) as client:
        assert client.subprotocol == "realtime"
        assert (await hear(client))["session"]["type"] == "realtime"
    offered.append("openai-beta.realtime-v1")
    async with socket(sim, GA, additional_headers={}, subprotocols=offered) as client:
        assert "modalities" in (await hear(client))["session"]


async def test_an_ephemeral_key_opens_a_session_until_it_expires(simulate: Simulate) -> None:
    sim = await simulate(epoch=1_000, api_key="right")
    body = {"session": {"type": "realtime", "model": "gpt-realtime", "instructions": "Sing."}}
    made = await post(sim.url, "/openai/v1/realtime/client_secrets", body, api_key="right")
    assert made.status == 200
    assert made.json["value"].startswith("ek_")
    assert made.json["expires_at"] == 1_600
    assert made.json["session"]["instructions"] == "Sing."

    key = {"authorization": f"Bearer {made.json['value']}"}
    async with socket(sim, "/openai/v1/realtime", additional_headers=key) as client:
        session = (await hear(client))["session"]
    assert (session["model"], session["instructions"]) == ("gpt-realtime", "Sing.")
    assert sim.exchanges[-1].deployment == "gpt-realtime"

    assert (await post(sim.url, "/openai/v1/chat/completions", {}, api_key="", **key)).status == 401
    object.__setattr__(sim.settings, "epoch", 1_600)
    with pytest.raises(InvalidStatus):
        await connect(sim.url.replace("http", "ws", 1) + GA, additional_headers=key)


async def test_the_preview_makes_sessions_with_a_key(sim: Simulator) -> None:
    path = "/openai/realtimeapi/sessions?api-version=2025-04-01-preview"
    made = await post(sim.url, path, {"model": "gpt-4o-realtime", "voice": "echo"})
    assert (made.status, made.json["voice"], made.json["model"]) == (200, "echo", "gpt-4o-realtime")
    key = {"authorization": f"Bearer {made.json['client_secret']['value']}"}
    async with socket(sim, BETA, additional_headers=key) as client:
        assert (await hear(client))["session"]["voice"] == "echo"


async def test_the_preview_makes_sessions_that_transcribe_with_a_key(sim: Simulator) -> None:
    version = "api-version=2025-04-01-preview"
    body = {"input_audio_transcription": {"model": "whisper-1"}}
    made = await post(sim.url, f"/openai/realtimeapi/transcription_sessions?{version}", body)
    assert (made.status, made.json["object"]) == (200, "realtime.transcription_session")
    key = {"authorization": f"Bearer {made.json['client_secret']['value']}"}
    async with socket(sim, f"/openai/realtime?{version}&intent=transcription", additional_headers=key) as client:
        begun = await hear(client)
    assert (begun["type"], begun["session"]["input_audio_transcription"]["model"]) == (
        "transcription_session.created",
        "whisper-1",
    )


async def test_a_call_is_answered_joined_and_hung_up(sim: Simulator) -> None:
    path = "/openai/v1/realtime/calls"
    called = await post(sim.url, path + "?model=gpt-realtime", OFFER.encode(), content_type="application/sdp")
    assert (called.status, called.headers["content-type"]) == (201, "application/sdp")
    assert called.body.startswith(b"v=0\r\n")
    assert b"a=mid:0\r\n" in called.body
    id_ = called.headers["location"].rpartition("/")[2]
    assert id_.startswith("rtc_")

    async with socket(sim, f"/openai/v1/realtime?call_id={id_}") as client:
        assert (await hear(client))["session"]["model"] == "gpt-realtime"
    assert (await post(sim.url, f"{path}/{id_}/hangup", b"")).status == 200
    assert (await post(sim.url, f"{path}/{id_}/hangup", b"")).status == 404
    with pytest.raises(InvalidStatus) as refused:
        async with socket(sim, f"/openai/v1/realtime?call_id={id_}"):
            pass
    assert refused.value.response.status_code == 404


async def test_a_call_may_come_as_a_form(sim: Simulator) -> None:
    session = json.dumps({"type": "realtime", "model": "gpt-realtime", "instructions": "Sing."})
    parts = [("sdp", "application/sdp", OFFER), ("session", "application/json", session)]
    body = "".join(
        f'--x\r\ncontent-disposition: form-data; name="{name}"\r\ncontent-type: {kind}\r\n\r\n{data}\r\n'
        for name, kind, data in parts
    )
    async with await Connection.open(sim.url) as connection:
        data = f"{body}--x--\r\n".encode()
        connection.send("POST", "/openai/v1/realtime/calls", data, content_type="multipart/form-data; boundary=x")
        called = await connection.answer()
    assert called.status == 201
    id_ = called.headers["location"].rpartition("/")[2]
    async with socket(sim, f"/openai/v1/realtime?call_id={id_}") as client:
        assert (await hear(client))["session"]["instructions"] == "Sing."


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status"),
    [
        ("calls", b"no sdp", "application/sdp", 400),
        ("calls", b"{}", "application/json", 400),
        ("client_secrets", b'{"expires_after":{"seconds":1}}', "application/json", 400),
        ("client_secrets", b"[", "application/json", 400),
        ("client_secrets", b'{"session":{"type":"realtime","model":"fault-404"}}', "application/json", 404),
        ("calls/rtc_none/hangup", b"", "application/json", 404),
        ("calls/rtc_none/refer", b"", "application/json", 404),
    ],
)
async def test_invalid_requests(sim: Simulator, path: str, body: bytes, content_type: str, status: int) -> None:
    assert (await post(sim.url, f"/openai/v1/realtime/{path}", body, content_type=content_type)).status == status
