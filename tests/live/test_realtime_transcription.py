"""Realtime sessions that only transcribe, in every form in which clients ask for them, against the simulator."""

import base64
import json
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.plain_http import JSON, Answer, post
from tests.live.relays import InProcessRelay, eventually
from tests.live.test_sockets_responses import Client, client_of

from chukei.config import load
from chukei.model import End
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

CONFIGURATION = """
[defaults]
model = "chat"
[models.chat]
deployments = ["chat"]
[models.voice]
deployments = ["voice"]
system = "Be brief."
caps = {{ max_output_tokens = 100 }}
[models.dictation]
deployments = ["dictation"]
[models.dictation.prices]
minute = 0.006
[deployments.chat]
endpoint = "{url}"
deployment = "gpt-4.1-mini"
api_key = {{ env = "KEY" }}
[deployments.voice]
endpoint = "{url}"
deployment = "gpt-realtime"
api_key = {{ env = "KEY" }}
[deployments.dictation]
endpoint = "{url}"
deployment = "whisper-1"
api_key = {{ env = "KEY" }}
"""
PREVIEW = "api-version=2025-04-01-preview"
SPOKEN = base64.b64encode(array("h", [9000] * 24 * 600).tobytes()).decode()
COMPLETED = "conversation.item.input_audio_transcription.completed"


def heard(**transcription: Any) -> dict[str, Any]:
    """The configuration of a session that transcribes, in the GA form."""
    return {"type": "transcription", "audio": {"input": {"transcription": transcription, "turn_detection": None}}}


def heard_in_preview(**transcription: Any) -> dict[str, Any]:
    return {"input_audio_transcription": transcription, "turn_detection": None}


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[InProcessRelay]:
    async with Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)) as simulator:
        path = tmp_path / "chukei.toml"
        path.write_text(CONFIGURATION.format(url=simulator.url))
        async with InProcessRelay(load(path, {"KEY": "upstream-secret-key"})) as running:
            yield running


async def dictate(client: Client, update: dict[str, Any] | None) -> None:
    """Speak for 600 ms, and wait for the transcript."""
    assert (await client.next())["type"].endswith("session.created")
    if update is not None:
        await client.say(update)
        configured = await client.next()
        assert configured["type"].endswith("session.updated"), configured
    await client.say({"type": "input_audio_buffer.append", "audio": SPOKEN})
    await client.say({"type": "input_audio_buffer.commit"})
    while (event := await client.next())["type"] != COMPLETED:
        assert event["type"] != "error", event
    assert event["transcript"]


async def charged(relay: InProcessRelay) -> None:
    """Wait for the record of the transcription, and for that of the session, which has no usage."""
    await eventually(lambda: [each.operation for each in relay.records[-1:]] == ["realtime_socket"])
    transcribed, session = relay.records[-2:]
    assert (transcribed.operation, transcribed.model) == ("realtime_transcription", "dictation")
    assert transcribed.usage is not None
    assert (transcribed.usage.heard_ms, transcribed.usage.estimated, transcribed.cost) == (600, False, 60)
    assert (session.end, session.usage) == (End.COMPLETED, None)


GA = {"type": "session.update", "session": heard(model="dictation")}
UNNAMED = {"type": "session.update", "session": heard(language="ja")}
BETA = {"type": "transcription_session.update", "session": heard_in_preview(model="dictation")}


@pytest.mark.parametrize(
    ("path", "update"),
    [
        pytest.param("/v1/realtime?intent=transcription", GA, id="as OpenAI's guide has it"),
        pytest.param("/openai/v1/realtime?intent=transcription&model=voice", GA, id="with the model that converses"),
        pytest.param("/v1/realtime?model=dictation&intent=transcription", GA, id="with the model that transcribes"),
        pytest.param("/v1/realtime?model=dictation&intent=transcription", UNNAMED, id="named in the address only"),
        pytest.param(f"/openai/realtime?{PREVIEW}&intent=transcription", BETA, id="as Azure's preview has it"),
        pytest.param(f"/openai/realtime?{PREVIEW}&intent=transcription&deployment=voice", BETA, id="with a deployment"),
    ],
)
async def test_a_session_that_only_transcribes(relay: InProcessRelay, path: str, update: dict[str, Any]) -> None:
    """maximhq/bifrost#6095, openai/openai-python#2253: the service refuses a model in the address of such a session."""
    async with client_of(relay, path) as client:
        await dictate(client, update)
    await charged(relay)


async def made(relay: InProcessRelay, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: Answer = await post(relay.url, path, json.dumps(body).encode(), [JSON])
    assert answer.status == 200, answer.body
    found: dict[str, Any] = json.loads(answer.body)
    return found


@pytest.mark.parametrize(
    "query", ["", "?intent=transcription", "?model=dictation", "?model=dictation&intent=conversation"]
)
async def test_a_key_for_transcriptions_opens_such_a_session(relay: InProcessRelay, query: str) -> None:
    """BerriAI/litellm#29775, #28535: the model is inside the session, and the key is for it."""
    secret = await made(relay, "/v1/realtime/client_secrets", {"session": heard(model="dictation")})
    assert secret["session"]["audio"]["input"]["transcription"]["model"] == "dictation"
    key = f"openai-insecure-api-key.{secret['value']}"
    async with client_of(relay, f"/v1/realtime{query}", subprotocols=["realtime", key]) as client:
        await dictate(client, None)
    await charged(relay)


async def test_a_key_of_the_preview_for_transcriptions(relay: InProcessRelay) -> None:
    body = heard_in_preview(model="dictation")
    path = f"/openai/realtimeapi/transcription_sessions?{PREVIEW}"
    key = (await made(relay, path, body))["client_secret"]["value"]
    path = f"/openai/realtime?{PREVIEW}&intent=transcription&api-key={key}"
    async with client_of(relay, path) as client:
        await dictate(client, None)
    await charged(relay)
