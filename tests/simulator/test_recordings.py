"""Recorded streams are played back byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.test_chat_stream import RECORDINGS
from tests.simulator.wire import ask, post, question

from chukei.simulator import SimulatorSettings

pytestmark = pytest.mark.anyio

OWN = b'data: {"choices":[{"delta":{"content":"\xe4\xb8\x96"},"index":0}]}\n\n: comment\n\ndata: [DONE]\n\n'
RECORDED = sorted(RECORDINGS.glob("*.sse")) if RECORDINGS.is_dir() else []


OWN_RECORDINGS: list[bytes] = [
    OWN,
    OWN.replace(b"\n", b"\r\n"),
    OWN + b"\n",
    OWN[:-1],
    OWN + b"data: cut",
]


async def test_any_recording_comes_back_whole(simulate: Simulate, tmp_path: Path) -> None:
    for data in OWN_RECORDINGS:
        path = tmp_path / "own.sse"
        path.write_bytes(data)
        sim = await simulate(replay=path)

        answer = await ask(sim.url)

        assert answer.body == data, data
        assert len(answer.chunks) >= 3, "event by event"
        assert answer.end == "complete", data


@pytest.mark.skipif(not RECORDED, reason="the recorded streams are not beside the repository")
async def test_real_recordings_come_back_whole(simulate: Simulate) -> None:
    for path in RECORDED:
        sim = await simulate(replay=path)
        named = path.read_bytes().startswith(b"event:")

        if named:
            body = {"model": "m", "input": "x", "stream": True}
            answer = await post(sim.url, "/openai/v1/responses", body)
        else:
            answer = await ask(sim.url)

        assert answer.body == path.read_bytes(), path
        assert len(answer.chunks) > 10, path


async def test_faults_strike_recordings_too(simulate: Simulate, tmp_path: Path) -> None:
    path = tmp_path / "own.sse"
    path.write_bytes(OWN)
    sim = await simulate(replay=path)

    answer = await ask(sim.url, "gpt-4o--truncate-1")

    assert (answer.body, answer.end) == (OWN.partition(b"\n\n")[0] + b"\n\n", "cut")


async def test_other_requests_are_told_or_answered(simulate: Simulate, tmp_path: Path) -> None:
    path = tmp_path / "own.sse"
    path.write_bytes(OWN)
    sim = await simulate(replay=path)

    whole = await post(sim.url, "/openai/v1/chat/completions", question(model="m", stream=False))
    assert (whole.status, whole.json["error"]["code"]) == (400, "replay_streams_only")
    assert "own.sse" in whole.json["error"]["message"]
    assert (await post(sim.url, "/openai/v1/embeddings", {"model": "m", "input": "x"})).status == 200


def test_a_file_that_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "empty.sse"
    path.write_bytes(b"")

    with pytest.raises(ValueError, match=r"^replay: .*empty.sse is no recorded stream"):
        SimulatorSettings(replay=path)
