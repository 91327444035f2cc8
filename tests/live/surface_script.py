"""What the Agents SDK for Python does with what a service keeps, and with WebSockets; see test_surface_agents.py.

Runs in the environment of requirements/clients.txt. Reads {url, key} from standard input, runs all cases side by side,
and writes {CASE: {value} or {error}}.
"""

# Types are checked in the tests' own environment, which does not have these packages.
# mypy: disable-error-code="import-not-found,untyped-decorator"

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIConversationsSession,
    OpenAIResponsesCompactionSession,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    responses_websocket_session,
    set_default_openai_client,
    set_default_openai_responses_transport,
    set_tracing_disabled,
)
from agents.models.openai_provider import OpenAIProvider
from openai import AsyncOpenAI

TASK: dict[str, str] = json.load(sys.stdin)
CLIENT = AsyncOpenAI(base_url=f"{TASK['url']}/v1", api_key=TASK["key"])
set_tracing_disabled(True)
set_default_openai_client(CLIENT, use_for_tracing=False)


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def agent(**more: Any) -> Agent:
    """Make an agent with the model that the SDK's default provider makes of a name."""
    return Agent(name="Helper", instructions="Be brief.", **{"model": "chat", **more})


async def default() -> list[object]:
    first = await Runner.run(agent(), "repeat: one")
    second = await Runner.run(agent(), "repeat: two", previous_response_id=first.last_response_id)
    return [first.final_output, second.final_output]


async def conversation() -> list[object]:
    session = OpenAIConversationsSession()
    said = [(await Runner.run(agent(), text, session=session)).final_output for text in ("repeat: one", "repeat: two")]
    kept = len(await session.get_items())
    last: Any = await session.pop_item()
    await session.clear_session()
    return [*said, kept, last["content"][0]["text"]]


async def conversation_at_the_service() -> list[object]:
    made = await CLIENT.conversations.create()
    for text in ("repeat: one", "repeat: two"):
        result = await Runner.run(agent(), text, conversation_id=made.id)
    return [result.final_output, len([item async for item in CLIENT.conversations.items.list(made.id)])]


async def compaction() -> list[object]:
    session = OpenAIResponsesCompactionSession(
        "kept", SQLiteSession("kept"), client=CLIENT, model="gpt-4.1", should_trigger_compaction=lambda _: True
    )
    result = await Runner.run(agent(model="gpt-4.1"), "repeat: one", session=session)
    again = await Runner.run(agent(model="gpt-4.1"), "repeat: two", session=session)
    return [result.final_output, again.final_output]


async def background() -> list[object]:
    settings = ModelSettings(extra_args={"background": True})
    running = Runner.run_streamed(agent(model_settings=settings), "repeat: one two three")
    async for _ in running.stream_events():
        pass
    return [running.final_output]


async def socket() -> list[object]:
    async with responses_websocket_session(api_key=TASK["key"], base_url=f"{TASK['url']}/v1") as session:
        first = await session.run(agent(), "repeat: one")
        streamed = session.run_streamed(agent(), "repeat: two", previous_response_id=first.last_response_id)
        text = ""
        async for event in streamed.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text += event.data.delta
        tool = await session.run(agent(tools=[weather]), "What is the weather in Kyoto?")
        return [first.final_output, text, "sunny in Kyoto" in tool.final_output]


async def socket_as_transport() -> list[object]:
    set_default_openai_responses_transport("websocket")
    try:
        provider = OpenAIProvider(openai_client=CLIENT)
    finally:
        set_default_openai_responses_transport("http")
    result = await Runner.run(agent(), "repeat: one", run_config=RunConfig(model_provider=provider))
    await provider.aclose()
    return [result.final_output]


CASES: list[Callable[[], Awaitable[list[object]]]] = [
    default,
    conversation,
    conversation_at_the_service,
    compaction,
    background,
    socket,
    socket_as_transport,
]


async def perform(case: Callable[[], Awaitable[list[object]]]) -> dict[str, object]:
    try:
        return {"value": await case()}
    except Exception:
        return {"error": traceback.format_exc()}


async def main() -> None:
    answers = await asyncio.gather(*map(perform, CASES))
    json.dump({case.__name__: answer for case, answer in zip(CASES, answers, strict=True)}, sys.stdout)
    sys.stdout.flush()


asyncio.run(main())
os._exit(0)  # the clients leave connections and threads behind
