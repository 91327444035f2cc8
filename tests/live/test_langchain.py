"""LangChain's OpenAI and Azure classes: whole, streamed, with tools and errors."""

import warnings
from importlib.util import find_spec
from typing import Any

import pytest
from tests.live.both_hosts import CLIENT_KEY, UPSTREAM_KEY, Host
from tests.live.simulated import Upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:langchain.*"),
    pytest.mark.skipif(find_spec("langchain_openai") is None, reason="LangChain has no release for this Python yet"),
]

TEXT = "Streams flow, 中継 🌊."


def make(azure: bool, host: Host, model: str = "gpt-4o", **options: Any) -> Any:
    """Make a chat model; importing takes seconds, so only these tests do it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies' making
        from langchain_openai import AzureChatOpenAI, ChatOpenAI

    options = {"api_key": CLIENT_KEY, "max_retries": 0, **options}
    if azure:
        return AzureChatOpenAI(
            azure_endpoint=host.url, azure_deployment=model, api_version="2025-04-01-preview", **options
        )
    return ChatOpenAI(base_url=host.base_url, model=model, **options)


@pytest.fixture(params=[False, True], ids=["ChatOpenAI", "AzureChatOpenAI"])
def azure(request: pytest.FixtureRequest) -> bool:
    which: bool = request.param
    return which


def test_whole(host: Host, azure: bool, upstream: Upstream) -> None:
    answer = make(azure, host).invoke(f"repeat: {TEXT}")
    assert answer.content == TEXT
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["total_tokens"] > 0
    assert upstream.only.headers["api-key"] == UPSTREAM_KEY
    assert CLIENT_KEY not in f"{upstream.only.headers}"


def test_streamed(host: Host, azure: bool) -> None:
    chunks = list(make(azure, host).stream(f"repeat: {TEXT}"))
    assert "".join(chunk.content for chunk in chunks) == TEXT
    assert len(chunks) > 3


async def test_streamed_asynchronously_with_usage(host: Host, azure: bool) -> None:
    import httpx2

    # LangChain keeps a client of its own for the life of the process; a test's event loop does not live so long.
    async with httpx2.AsyncClient() as client:
        model = make(azure, host, stream_usage=True, http_async_client=client)
        chunks = [chunk async for chunk in model.astream(f"repeat: {TEXT}")]
    assert "".join(chunk.content for chunk in chunks) == TEXT
    assert sum(chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata) > 0


def test_tools(host: Host, azure: bool) -> None:
    tool = {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    model = make(azure, host).bind_tools([tool], tool_choice="weather")
    answer = model.invoke("What is the weather in Osaka?")
    assert answer.tool_calls[0]["args"] == {"city": "Osaka"}


def test_a_broken_stream_is_an_error(host: Host, azure: bool) -> None:
    import openai

    with pytest.raises(openai.APIError):
        list(make(azure, host, "fault-truncate-6").stream(f"repeat: {TEXT}"))


def test_an_error(host: Host, azure: bool) -> None:
    import openai

    with pytest.raises(openai.RateLimitError):
        make(azure, host, "fault-429-3").invoke("hello")
