"""Clients that are Python packages, in the environment of requirements/clients.txt; see test_clients_python.py.

Reads one JSON array from standard input: tasks {client, scenario, url, key, model}. Runs them side by side, and writes
for each, in their order, {value} or {error}.
"""

# Types are checked in the tests' own environment, which does not have these packages.
# mypy: disable-error-code="import-not-found,no-any-return,untyped-decorator"

import asyncio
import json
import os
import sys
from typing import Annotated, Any

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncAzureOpenAI, AsyncOpenAI
from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import (
    AzureChatCompletion,
    AzureChatPromptExecutionSettings,
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
)
from semantic_kernel.contents import ChatHistory
from semantic_kernel.functions import kernel_function

set_tracing_disabled(True)

PROMPT = "repeat: one two three four five six seven eight"
QUESTION = "What is the weather in Kyoto?"


class Recipe(BaseModel):
    name: str
    minutes: float


class Agents:
    """The Agents SDK, on one of the two APIs."""

    def __init__(self, task: dict[str, str]) -> None:
        client = AsyncOpenAI(base_url=f"{task['url']}/v1", api_key=task["key"])
        kind = OpenAIResponsesModel if task["client"] == "agents-responses" else OpenAIChatCompletionsModel
        self._model = kind(model=task["model"], openai_client=client)

    def _agent(self, **more: Any) -> Agent:
        return Agent(name="Helper", instructions="Be brief.", model=self._model, **more)

    async def stream(self) -> str:
        running, text = Runner.run_streamed(self._agent(), PROMPT), ""
        async for event in running.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text += event.data.delta
        return text

    async def tool(self) -> str:
        @function_tool
        def weather(city: str) -> str:
            """The weather in a city."""
            return f"sunny in {city}"

        return (await Runner.run(self._agent(tools=[weather]), QUESTION)).final_output

    async def object(self) -> dict[str, object]:
        return (await Runner.run(self._agent(output_type=Recipe), "A recipe, please.")).final_output.model_dump()

    async def abort(self) -> bool:
        running = Runner.run_streamed(self._agent(), PROMPT)
        async for event in running.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                running.cancel()
        return True


class Weather:
    @kernel_function(description="The weather in a city.")
    def weather(self, city: Annotated[str, "The city"]) -> str:
        return f"sunny in {city}"


class SemanticKernel:
    """Semantic Kernel, with the client of OpenAI or that of Azure."""

    def __init__(self, task: dict[str, str]) -> None:
        url, key, model = task["url"], task["key"], task["model"]
        if task["client"] == "kernel-azure":
            # Its own parameter `endpoint` takes https alone, and so has no use for a relay on this machine.
            azure = AsyncAzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21")
            self._service = AzureChatCompletion(deployment_name=model, async_client=azure)
            self._settings = AzureChatPromptExecutionSettings
        else:
            client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key)
            self._service = OpenAIChatCompletion(ai_model_id=model, async_client=client)
            self._settings = OpenAIChatPromptExecutionSettings

    async def _ask(self, prompt: str, settings: object, kernel: Kernel | None = None) -> str:
        history = ChatHistory()
        history.add_user_message(prompt)
        return str(await self._service.get_chat_message_content(history, settings, kernel=kernel))

    async def stream(self) -> str:
        history, text = ChatHistory(), ""
        history.add_user_message(PROMPT)
        async for chunk in self._service.get_streaming_chat_message_content(history, self._settings()):
            text += str(chunk)
        return text

    async def tool(self) -> str:
        kernel = Kernel()
        kernel.add_plugin(Weather(), plugin_name="weather")
        settings = self._settings(function_choice_behavior=FunctionChoiceBehavior.Auto())
        return await self._ask(QUESTION, settings, kernel)

    async def object(self) -> object:
        return json.loads(await self._ask("A recipe, please.", self._settings(response_format=Recipe)))

    async def abort(self) -> bool:
        history = ChatHistory()
        history.add_user_message(PROMPT)
        chunks = self._service.get_streaming_chat_message_content(history, self._settings())
        async for chunk in chunks:
            if str(chunk):
                break
        await chunks.aclose()
        await self._service.client.close()
        return True


CLIENTS = {
    "agents-responses": Agents,
    "agents-chat": Agents,
    "kernel-openai": SemanticKernel,
    "kernel-azure": SemanticKernel,
}


async def perform(task: dict[str, str]) -> dict[str, object]:
    try:
        return {"value": await getattr(CLIENTS[task["client"]](task), task["scenario"])()}
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not hasattr(cause, "status_code"):
            cause = cause.__cause__
        return {"error": {"status": getattr(cause, "status_code", None), "message": str(error)}}


async def main() -> None:
    tasks = json.load(sys.stdin)
    answers = await asyncio.gather(*map(perform, tasks))
    json.dump(answers, sys.stdout)
    sys.stdout.flush()


asyncio.run(main())
os._exit(0)  # the clients leave connections and threads behind
