"""Requests as they were seen to be sent by clients that the tests cannot run, with the settings of docs/clients.md."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests import markdown
from tests.live.client_answers import KEY, KEYED
from tests.live.plain_http import Answer, ask, post
from tests.live.relays import RelayProcess

pytestmark = pytest.mark.anyio
ADDRESS = "http://127.0.0.1:7221"


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(KEYED) as relay:
        yield relay


def open_webui() -> dict[str, str]:
    """Return the variables that the page gives to Open WebUI."""
    [fence] = markdown.fences("env")
    return dict(line.split("=", 1) for line in fence.text.split())


def librechat() -> dict[str, Any]:
    """Return the endpoint that the page adds to LibreChat."""
    [fence] = [each for each in markdown.fences("yaml") if each.text.startswith("# librechat.yaml\n")]
    [endpoint] = yaml.safe_load(fence.text)["endpoints"]["custom"]
    return dict(endpoint)


def base_of(settings: str) -> str:
    """Return the path of a base URL, which must be that of a relay on this machine."""
    assert settings.startswith(ADDRESS)
    return settings.removeprefix(ADDRESS)


BASES = {
    "Open WebUI": base_of(open_webui()["OPENAI_API_BASE_URL"]),
    "LibreChat": base_of(librechat()["baseURL"]),
    "Cursor": "/v1",
    "Continue": "/v1",
}
USER = {"role": "user", "content": "repeat: one two three"}
FIELDS = [("authorization", f"Bearer {KEY}"), ("accept-encoding", "gzip, deflate, br")]

# What each sends to /chat/completions.
CHATS: list[tuple[str, dict[str, object]]] = [
    ("Open WebUI", {"model": "chat", "stream": True, "messages": [USER]}),
    ("Open WebUI", {"model": "chat", "stream": True, "messages": [USER], "stream_options": {"include_usage": True}}),
    ("Open WebUI", {"model": "chat", "messages": [USER], "stream": False, "max_tokens": 1000}),  # a title
    (
        "LibreChat",
        {
            "model": "chat",
            "temperature": 1,
            "top_p": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "user": "65f0a1b2c3d4e5f6a7b8c9d0",
            "stop": ["||>", "\nUser:", "<|diff_marker|>"],
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [USER],
        },
    ),
    ("LibreChat", {"model": "chat", "temperature": 0.2, "max_tokens": 16, "messages": [USER]}),  # a title
    ("Cursor", {"model": "chat", "temperature": 1, "user": "google-oauth2|1", "stream": True, "messages": [USER]}),
]


def text_of(answer: Answer) -> str:
    """Return the text of a chat, streamed or not."""
    if answer.header("content-type") == "application/json":
        return str(answer.json()["choices"][0]["message"]["content"])
    *events, done, end = answer.body.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize(("client", "body"), CHATS)
async def test_a_chat(client: str, body: dict[str, object], relay: RelayProcess) -> None:
    target = f"{BASES[client]}/chat/completions"
    answer = await post(relay.url, target, json.dumps(body).encode(), FIELDS)
    assert answer.status == 200, answer
    assert text_of(answer).startswith("one")
    if "stream_options" in body:
        assert b'"usage":{"completion_tokens":' in answer.body


@pytest.mark.parametrize("client", ["Open WebUI", "LibreChat"])
async def test_the_list_of_models(client: str, relay: RelayProcess) -> None:
    answer = await ask(relay.url, "GET", f"{BASES[client]}/models", FIELDS)
    models = answer.json()["data"]
    assert models[0]["id"] == "chat"
    assert {"id", "object", "created", "owned_by"} <= set(models[0])


async def test_a_completion_in_the_midst_of_code(relay: RelayProcess) -> None:
    """Continue asks for one while its user types, and leaves it at the next key."""
    body = {
        "model": "chat",
        "prompt": "def add(a, b):\n    ",
        "suffix": "\n\nprint(add(1, 2))\n",
        "max_tokens": 20,
        "temperature": 0.01,
        "stop": ["\n\n"],
        "stream": True,
    }
    answer = await post(relay.url, f"{BASES['Continue']}/completions", json.dumps(body).encode(), FIELDS)
    assert answer.status == 200
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert b'"object":"text_completion"' in answer.body


async def test_a_body_of_the_responses_api_on_the_path_of_chats(relay: RelayProcess) -> None:
    """Cursor's agent sends such: it must hear what is wrong, rather than that `messages` are missing."""
    tools = [{"type": "function", "name": "edit_file", "parameters": {"type": "object"}}]
    body = {"model": "chat", "input": [USER], "tools": tools, "stream": True, "reasoning": {"effort": "medium"}}
    answer = await post(relay.url, f"{BASES['Cursor']}/chat/completions", json.dumps(body).encode(), FIELDS)
    assert (answer.status, answer.error["code"]) == (400, "missing_messages")
    assert "/v1/responses" in answer.error["message"]


@pytest.mark.parametrize("client", ["Open WebUI", "LibreChat", "Cursor"])
async def test_a_wrong_key_is_called_so(client: str, relay: RelayProcess) -> None:
    fields = [("authorization", "Bearer unused")]
    body = json.dumps({"model": "chat", "messages": [USER]}).encode()
    answer = await post(relay.url, f"{BASES[client]}/chat/completions", body, fields)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
