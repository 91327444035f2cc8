"""The WebSockets of the stock Python client: realtime in both forms of the API, and the WebSocket mode of Responses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

ADDRESS: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "repeat: one two"}]}


def v1(sim: Simulator, key: str = "key") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{sim.url}/openai/v1", api_key=key, max_retries=0)


async def test_realtime_with_text_and_with_sound(sim: Simulator) -> None:
    async with v1(sim) as client, client.realtime.connect(model="gpt-realtime") as connection:
        assert (await connection.recv()).type == "session.created"
        for modality in ("text", "audio"):
            session: Any = {"type": "realtime", "output_modalities": [modality]}
            await connection.session.update(session=session)
            await connection.conversation.item.create(item=ADDRESS)
            await connection.response.create()
            said = ""
            async for event in connection:
                if event.type == "response.output_text.done":
                    said = event.text
                if event.type == "response.output_audio_transcript.done":
                    said = event.transcript
                if event.type == "response.done":
                    usage = event.response.usage
                    break
            assert said == "one two"
            assert usage is not None
            assert usage.total_tokens == (usage.input_tokens or 0) + (usage.output_tokens or 0)


async def test_realtime_of_azures_preview(sim: Simulator) -> None:
    socket_url = sim.url.replace("http", "ws", 1) + "/openai"
    client = AsyncAzureOpenAI(
        azure_endpoint=sim.url, websocket_base_url=socket_url, api_key="key", api_version="2025-04-01-preview"
    )
    async with client, client.realtime.connect(model="gpt-4o-realtime") as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.conversation.item.create(item=ADDRESS)
        await connection.response.create()
        types: list[str] = []
        while types[-1:] != ["response.done"]:
            types.append(json.loads(await connection.recv_bytes())["type"])
    assert "response.audio_transcript.delta" in types
    assert "response.audio.done" in types
    assert sim.exchanges[0].deployment == "gpt-4o-realtime"


async def test_an_ephemeral_key_of_the_client(sim: Simulator) -> None:
    async with v1(sim) as client:
        secret = await client.realtime.client_secrets.create(
            session={"type": "realtime", "model": "gpt-realtime", "instructions": "Sing."}
        )
    async with v1(sim, secret.value) as client, client.realtime.connect(model="gpt-realtime") as connection:
        event = await connection.recv()
    assert event.type == "session.created"
    assert getattr(event.session, "instructions", None) == "Sing."


async def test_a_call_of_the_client(sim: Simulator) -> None:
    async with v1(sim) as client:
        answer = await client.realtime.calls.create(
            sdp="v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", session={"type": "realtime", "model": "gpt-realtime"}
        )
        assert (await answer.aread()).startswith(b"v=0")
        id_ = answer.response.headers["location"].rpartition("/")[2]
        async with client.realtime.connect(call_id=id_) as connection:
            assert (await connection.recv()).type == "session.created"
        await client.realtime.calls.hangup(id_)


async def test_the_websocket_mode_of_responses(sim: Simulator) -> None:
    async with v1(sim) as client, client.responses.connect() as connection:
        previous: Any = None
        for text in ("repeat: one two", "repeat: three"):
            await connection.response.create(
                model="gpt-4o", input=text, store=False, previous_response_id=previous, stream_id="main"
            )
            said = ""
            async for event in connection:
                assert event.stream_id == "main"
                if event.type == "response.output_text.delta":
                    said += event.delta
                if event.type == "response.completed":
                    previous = event.response.id
                    break
            assert said == text.removeprefix("repeat: ")
    assert [exchange.operation for exchange in sim.exchanges] == ["responses/socket", "responses", "responses"]
