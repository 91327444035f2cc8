"""The stock Python client, both classes, unchanged but for the address."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI
from tests.simulator.test_chat_stream import TOOL

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

Client = AsyncOpenAI | AsyncAzureOpenAI
WEATHER: Any = [TOOL]
FLAT: Any = [{"type": "function", "strict": False, **TOOL["function"]}]


@pytest.fixture
async def clients(sim: Simulator) -> AsyncIterator[list[Client]]:
    """Clients of both shapes of the API."""
    azure = AsyncAzureOpenAI(azure_endpoint=sim.url, api_key="key", api_version="2025-04-01-preview", max_retries=0)
    v1 = AsyncOpenAI(base_url=f"{sim.url}/openai/v1", api_key="key", max_retries=0)
    async with azure, v1:
        yield [azure, v1]


async def test_chat_streams(clients: list[Client]) -> None:
    for client in clients:
        stream = await client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "repeat: a\n  b 👋"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async with stream:
            chunks = [chunk async for chunk in stream]

        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "a\n  b 👋"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == sum(
            1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
        )


async def test_chat_whole_and_twice(clients: list[Client]) -> None:
    for client in clients:
        answer = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hello"}], n=2
        )

        assert [choice.index for choice in answer.choices] == [0, 1]
        assert all(choice.message.content for choice in answer.choices)
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_chat_calls_tools_in_a_stream(clients: list[Client]) -> None:
    for client in clients:
        async with client.chat.completions.stream(
            model="gpt-4o", messages=[{"role": "user", "content": "Weather in Paris and Oslo?"}], tools=WEATHER
        ) as stream:
            final = await stream.get_final_completion()

        calls = final.choices[0].message.tool_calls
        assert calls is not None
        assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Oslo"]
        assert final.choices[0].finish_reason == "tool_calls"


async def test_responses_stream(clients: list[Client]) -> None:
    for client in clients:
        async with client.responses.stream(model="gpt-4o", input="repeat: one two") as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()

        assert final.output_text == "one two"
        assert final.status == "completed"
        assert final.usage is not None
        assert final.usage.output_tokens == 2
        assert events[-1].type == "response.completed"


async def test_responses_whole_and_with_tools(clients: list[Client]) -> None:
    for client in clients:
        before = await client.responses.create(model="gpt-4o", input="hello")
        whole = await client.responses.create(model="gpt-4o", input="repeat: hi there", previous_response_id=before.id)
        assert whole.output_text == "hi there"
        assert whole.previous_response_id == before.id

        called = await client.responses.create(model="gpt-4o", input="The weather in Vienna?", tools=FLAT)
        (item,) = called.output
        assert item.type == "function_call"
        assert json.loads(item.arguments)["city"] == "Vienna"


async def test_completions(clients: list[Client]) -> None:
    for client in clients:
        whole = await client.completions.create(
            model="gpt-35-turbo-instruct", prompt="repeat: one two three", max_tokens=2
        )
        assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("one two", "length")

        stream = await client.completions.create(model="x", prompt=["repeat: a", "repeat: b"], stream=True)
        said = {0: "", 1: ""}
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices:
                    said[choice.index] += choice.text
        assert said == {0: "a", 1: "b"}


async def test_embeddings(clients: list[Client]) -> None:
    for client in clients:
        answer = await client.embeddings.create(model="text-embedding-3-small", input=["a cat", "a cat sat", "quantum"])

        first, second, third = (entry.embedding for entry in answer.data)
        assert len(first) == 1536
        assert math.fsum(value * value for value in first) == pytest.approx(1, abs=1e-5)
        near = math.fsum(a * b for a, b in zip(first, second, strict=True))
        far = math.fsum(a * b for a, b in zip(first, third, strict=True))
        assert near > 0.5 > abs(far)


async def test_models(clients: list[Client]) -> None:
    for client in clients:
        assert "gpt-4o" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"


async def test_images_and_sound(clients: list[Client]) -> None:
    for client in clients:
        image = await client.images.generate(model="gpt-image-1", prompt="a cat")
        assert image.data is not None
        assert base64.b64decode(image.data[0].b64_json or "").startswith(b"\x89PNG\r\n\x1a\n")

        heard = await client.audio.transcriptions.create(model="whisper", file=("cat.wav", b"x" * 1234))
        assert "cat.wav" in heard.text
        assert "1,234 bytes" in heard.text

        spoken = await client.audio.speech.create(model="tts", voice="alloy", input="hello")
        assert spoken.content.startswith(b"RIFF")


async def test_errors_have_the_right_class(clients: list[Client]) -> None:
    for client in clients:

        async def ask(model: str, client: Client = client) -> Any:
            return await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])

        with pytest.raises(openai.RateLimitError) as limited:
            await ask("gpt-4o--429-after-3")
        assert limited.value.response.headers["retry-after"] == "3"
        with pytest.raises(openai.AuthenticationError):
            await ask("fault-401")
        with pytest.raises(openai.NotFoundError):
            await ask("fault-404")
        with pytest.raises(openai.InternalServerError):
            await ask("fault-503")
        with pytest.raises(openai.BadRequestError) as blocked:
            await ask("fault-filter-prompt")
        assert blocked.value.code == "content_filter"


async def test_an_error_inside_a_stream_is_raised(clients: list[Client]) -> None:
    for client in clients:
        stream = await client.chat.completions.create(
            model="gpt-4o--error-event-3", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        async with stream:
            with pytest.raises(openai.APIError, match="The server had an error"):
                async for _ in stream:
                    pass


async def test_retries_come_through_an_outage_at_the_start(sim: Simulator) -> None:
    async with AsyncOpenAI(base_url=f"{sim.url}/openai/v1", api_key="key", max_retries=2) as client:
        answer = await client.chat.completions.create(
            model="gpt-4o--429-after-0.01-times-2", messages=[{"role": "user", "content": "repeat: made it"}]
        )

    assert answer.choices[0].message.content == "made it"
    assert [exchange.status for exchange in sim.exchanges] == [429, 429, 200]
