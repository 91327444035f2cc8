"""Streams beside plain text: audio in chat, images as they are drawn, transcripts and speech; routers and tiers."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.simulator.wire import post

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

EXCHANGES = Path(__file__).parents[3] / "shared" / "exchanges"
QUESTION: Any = [{"role": "user", "content": "repeat: hello there"}]


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{sim.url}/openai/v1", api_key="key", max_retries=0) as made:
        yield made


async def test_audio_in_chat(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="gpt-audio", messages=QUESTION, modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}
    )

    said = answer.choices[0].message
    assert said.content is None
    assert said.audio is not None
    assert said.audio.transcript == "hello there"
    assert base64.b64decode(said.audio.data).startswith(b"RIFF")
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert 0 < (answer.usage.completion_tokens_details.audio_tokens or 0) < answer.usage.completion_tokens


async def test_audio_in_a_chat_stream(sim: Simulator, client: AsyncOpenAI) -> None:
    """As recorded: chunks without ``choices``, no finish reason, and a chunk after the usage."""
    asked = {"messages": QUESTION, "modalities": ["text", "audio"], "audio": {"voice": "ash", "format": "pcm16"}}
    body = {"model": "gpt-audio", "stream": True, "stream_options": {"include_usage": True}, **asked}

    answer = await post(sim.url, "/openai/v1/chat/completions", body)

    deltas = [c["delta"] for chunk in answer.chunk_objects for c in chunk.get("choices", ()) if "delta" in c]
    audio = [delta["audio"] for delta in deltas if "audio" in delta]
    assert "".join(part.get("transcript", "") for part in audio) == "hello there"
    assert len(b"".join(base64.b64decode(part.get("data", "")) for part in audio)) > 1000
    assert any("choices" not in chunk for chunk in answer.chunk_objects)
    usage, last = answer.chunk_objects[-2:]
    assert usage["usage"]["completion_tokens_details"]["audio_tokens"] > 0
    assert list(last["choices"][0]["delta"]["audio"]) == ["expires_at"]
    with pytest.raises(openai.BadRequestError, match="pcm16"):
        await client.chat.completions.create(
            model="gpt-audio",
            messages=QUESTION,
            modalities=["audio"],
            audio={"voice": "ash", "format": "mp3"},
            stream=True,
        )


async def test_an_image_is_drawn_in_steps(client: AsyncOpenAI) -> None:
    stream = await client.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=2)
    events = [event async for event in stream]

    assert [event.type for event in events] == [*["image_generation.partial_image"] * 2, "image_generation.completed"]
    assert [event.partial_image_index for event in events if hasattr(event, "partial_image_index")] == [0, 1]
    images = [base64.b64decode(event.b64_json) for event in events]
    assert all(image.startswith(b"\x89PNG") for image in images)
    assert len(set(images)) == 3
    assert events[-1].usage.output_tokens > 0  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError, match="partial_images"):
        await client.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=4)


async def test_an_edit_is_drawn_in_steps(client: AsyncOpenAI) -> None:
    file = ("cat.png", b"x")
    stream = await client.images.edit(model="gpt-image-1", image=file, prompt="x", stream=True, partial_images=1)

    assert [event.type async for event in stream] == ["image_edit.partial_image", "image_edit.completed"]


async def test_an_image_in_a_response(client: AsyncOpenAI) -> None:
    tools: Any = [{"type": "image_generation", "partial_images": 2}]
    stream = await client.responses.create(model="gpt-4o", input="draw a cat", tools=tools, stream=True)
    events = [event async for event in stream]

    partial = [event for event in events if event.type == "response.image_generation_call.partial_image"]
    assert [event.partial_image_index for event in partial] == [0, 1]
    assert events[-1].response.output[0].type == "image_generation_call"  # type: ignore[union-attr]
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_a_transcript_as_it_is_heard(sim: Simulator, client: AsyncOpenAI) -> None:
    file = ("cat.wav", b"x" * 64_000)
    stream = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file, stream=True)
    events = [event async for event in stream]

    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text
    assert events[-1].usage is not None
    assert events[-1].usage.input_tokens == 20
    whisper = await client.audio.transcriptions.create(model="whisper", file=file, stream=True)
    assert [event async for event in whisper] == []  # it answers whole


async def test_speech_in_events(sim: Simulator) -> None:
    body = {"model": "gpt-4o-mini-tts", "input": "hello", "voice": "alloy", "stream_format": "sse"}

    answer = await post(sim.url, "/openai/v1/audio/speech", body)

    events = [json.loads(event.removeprefix(b"data: ")) for event in answer.body.split(b"\r\n\r\n")[:-2]]
    assert b"".join(base64.b64decode(event.get("audio", "")) for event in events).startswith(b"RIFF")
    assert events[-1]["type"] == "speech.audio.done"
    assert answer.body.endswith(b"data: [DONE]\r\n\r\n")


@pytest.mark.skipif(not EXCHANGES.is_dir(), reason="the recorded exchanges are not beside the repository")
async def test_the_streams_have_the_fields_of_the_recorded_ones(sim: Simulator) -> None:
    def fields(event: bytes) -> tuple[str, ...]:
        body = json.loads(event.partition(b"data: ")[2])
        return (body["type"], *sorted(body), *sorted(body.get("usage", ())))

    form = b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = form % (b"model", b"gpt-4o-transcribe") + form % (b"stream", b"true") + form % (b"file", b"x") + b"--b--"
    kind = "multipart/form-data; boundary=b"
    ours = await post(sim.url, "/openai/v1/audio/transcriptions", body, content_type=kind)
    speech = {"model": "tts", "input": "hello", "voice": "alloy", "stream_format": "sse"}
    for answer, recorded in (
        (ours, "oa-transcription-stream"),
        (await post(sim.url, "/openai/v1/audio/speech", speech), "oa-speech-stream"),
    ):
        theirs = (EXCHANGES / f"{recorded}.response.sse").read_bytes().split(b"\r\n\r\n")
        seen = [{fields(event) for event in row if b"{" in event} for row in (answer.body.split(b"\r\n\r\n"), theirs)]
        assert seen[0] == seen[1], recorded


# Stored chat completions.


async def test_a_chat_that_is_stored(sim: Simulator, client: AsyncOpenAI) -> None:
    chat = client.chat.completions
    whole = await chat.create(model="gpt-4o", messages=QUESTION, store=True, metadata={"a": "b"})
    async with await chat.create(model="gpt-4o", messages=QUESTION, store=True, stream=True) as stream:
        ids = {chunk.id async for chunk in stream if chunk.id}
    await chat.create(model="gpt-4o", messages=QUESTION)

    assert [kept.id async for kept in chat.list()] == [whole.id, *ids]
    assert [kept.id async for kept in chat.list(metadata={"a": "b"})] == [whole.id]
    kept = await chat.retrieve(whole.id)
    assert kept.choices[0].message.content == "hello there"
    assert [message.content async for message in chat.messages.list(whole.id)] == ["repeat: hello there"]
    changed = await chat.update(whole.id, metadata={"c": "d"})
    assert changed.model_dump()["metadata"] == {"c": "d"}
    assert (await chat.delete(whole.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await chat.retrieve(whole.id)


# Who answers.


async def test_a_router_names_the_model_that_answers(client: AsyncOpenAI) -> None:
    models = set()
    for number in range(12):
        asked: Any = [{"role": "user", "content": f"repeat: {number}"}]
        answer = await client.chat.completions.create(model="model-router", messages=asked)
        response = await client.responses.create(model="model-router-2", input=f"repeat: {number}")
        assert (answer.choices[0].message.content, response.output_text) == (str(number), str(number))
        models |= {answer.model, str(response.model)}

    assert len(models) > 1
    assert not any("router" in model for model in models)


async def test_the_tier_that_was_asked_for_answers(client: AsyncOpenAI) -> None:
    for asked, served in (("priority", "priority"), ("flex", "flex"), ("auto", "default")):
        tier: Any = asked
        answer = await client.chat.completions.create(model="gpt-4o", messages=QUESTION, service_tier=tier)
        response = await client.responses.create(model="gpt-4o", input="hello", service_tier=tier)
        stream = await client.chat.completions.create(model="gpt-4o", messages=QUESTION, service_tier=tier, stream=True)
        chunks = [chunk async for chunk in stream if chunk.id]

        assert (answer.service_tier, response.service_tier, chunks[0].service_tier) == (served,) * 3
