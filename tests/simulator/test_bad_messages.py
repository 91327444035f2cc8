"""Messages with anything in the wrong place: an error event of the service's, never a failure of the simulator."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from tests.simulator.test_bad_bodies import BODIES, WRONG, places
from tests.simulator.test_realtime import BETA, GA, TOOL, until
from tests.simulator.test_sockets import hear, say, socket, until_end

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

ITEM = {"id": "a", "type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]}
ANSWER = {"input": [ITEM], "tools": [TOOL], "tool_choice": "auto", "max_output_tokens": 9, "instructions": "x"}
DETECTION = {"type": "server_vad", "silence_duration_ms": 9, "prefix_padding_ms": 9, "create_response": True}
INPUT = {"format": {"type": "audio/pcm"}, "turn_detection": DETECTION, "transcription": {"model": "whisper-1"}}
OUTPUT = {"format": {"type": "audio/pcm"}, "voice": "echo"}
SPEECH = "/3//" * 1600 + "AAAA" * 200  # 100 ms that are loud, then 12.5 ms of silence
EVENTS: list[dict[str, Any]] = [
    {"type": "conversation.item.create", "previous_item_id": "root", "item": ITEM},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "x"}},
    {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 1},
    {"type": "conversation.item.delete", "item_id": "a"},
    {"type": "response.create", "response": {**ANSWER, "output_modalities": ["text"], "metadata": {}}},
    {"type": "response.create", "response": {**ANSWER, "conversation": "none"}},
    {"type": "input_audio_buffer.append", "audio": SPEECH},
    {"type": "input_audio_buffer.commit"},
]
SESSIONS: dict[str, dict[str, Any]] = {
    GA: {"type": "realtime", **ANSWER, "output_modalities": ["audio"], "audio": {"input": INPUT, "output": OUTPUT}},
    BETA: {
        "modalities": ["text"],
        "tools": [TOOL],
        "tool_choice": "auto",
        "turn_detection": DETECTION,
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1"},
        "max_response_output_tokens": 9,
        "instructions": "x",
        "voice": "echo",
    },
}
del SESSIONS[GA]["input"]


def mutations(event: dict[str, Any], dice: random.Random, each: int) -> list[dict[str, Any]]:
    """The event with something else in each of its places."""
    found: list[dict[str, Any]] = []
    for place in places(event):
        for wrong in dice.sample(WRONG, each):
            other = copy.deepcopy(event)
            *way, last = place
            target: Any = other
            for step in way:
                target = target[step]
            target[last] = wrong
            found.append(other)
    return found


async def test_anything_may_stand_anywhere_in_an_event(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(1)
    async with socket(sim, GA) as client:
        for event in EVENTS:
            for other in mutations(event, dice, 4):
                await client.send(json.dumps(other))
                await say(client, type="input_audio_buffer.clear")
                heard = await until(client, "input_audio_buffer.cleared")
                assert not [e for e in heard if e["type"] == "error" and e["error"]["type"] == "server_error"], other
    await sim.idle(timeout=60)
    assert not caplog.records


@pytest.mark.parametrize("path", [GA, BETA])
async def test_anything_may_stand_anywhere_in_a_session(
    sim: Simulator, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    dice = random.Random(2)
    for other in mutations({"type": "session.update", "session": SESSIONS[path]}, dice, 3):
        async with socket(sim, path) as client:
            await hear(client)
            await client.send(json.dumps(other))
            await hear(client)
            await say(client, type="input_audio_buffer.append", audio=SPEECH)
            await say(client, type="input_audio_buffer.commit")
            await say(client, type="response.create")
            await say(client, type="input_audio_buffer.clear")
            heard = await until(client, "input_audio_buffer.cleared")
            assert not [e for e in heard if e["type"] == "error" and e["error"]["type"] == "server_error"], other
    assert not caplog.records


async def test_anything_may_stand_anywhere_in_a_turn(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(3)
    async with socket(sim) as client:
        for other in mutations({"type": "response.create", "model": "m", **BODIES["responses"]}, dice, 4):
            await client.send(json.dumps(other))
            end = (await until_end(client))[-1]
            assert end["type"] in ("response.completed", "response.incomplete") or end["status"] in (400, 404), other
    assert not caplog.records
