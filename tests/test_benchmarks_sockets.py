"""The WebSocket benchmark measures every relay; what a frame costs is not judged here."""

import argparse

import msgspec
import pytest
from benchmarks.socket_sides import MASK, Frames, frame
from benchmarks.sockets import SHAPES, run, table


def test_each_relay_has_its_memory_and_the_cost_of_each_shape() -> None:
    arguments = argparse.Namespace(sockets=3, frames=60, rounds=1, url=None, pid=None, header=[], echo_port=None)
    results = run(arguments)
    assert set(results) == {"ours", "bare"}
    assert all(set(sample.micros) == set(SHAPES) for samples in results.values() for sample in samples)
    assert all(cost > 0 for samples in results.values() for sample in samples for cost in sample.micros.values())
    lines = table(results).splitlines()
    assert lines[0] == "| | ours | bare |"
    assert len(lines) == 3 + len(SHAPES)


@pytest.mark.parametrize("size", [125, 126, 250, 5000])
def test_frames_have_their_size_and_are_json(size: int) -> None:
    served, sent = frame(size, masked=False), frame(size, masked=True)
    assert Frames().feed(served * 2) == (2, size, b"")
    assert Frames().feed(sent) == (1, size, b"")
    assert msgspec.json.decode(served[-size:])["type"] == "response.output_audio.delta"
    plain = bytes(byte ^ MASK[number % 4] for number, byte in enumerate(sent[-size:]))
    assert msgspec.json.decode(plain)["type"] == "input_audio_buffer.append"


def test_a_ping_is_answered_with_its_payload() -> None:
    """Else the library would break off the sockets of a measurement that takes long."""
    ping = b"\x89\x04ping" + frame(125, masked=False)
    masked = bytes(byte ^ MASK[number] for number, byte in enumerate(b"ping"))
    assert Frames().feed(ping) == (1, 125, b"\x8a\x84" + MASK + masked)
    assert Frames().feed(b"\x89\x84" + MASK + masked) == (0, 0, b"\x8a\x04ping")
