"""Completions, embeddings, images, audio and models, where the stock client does not look closely."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from array import array
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.wire import Answer, get, post

from chukei.simulator import Simulator
from chukei.simulator.media import png

pytestmark = pytest.mark.anyio

V1 = "/openai/v1/"
BOUNDARY = "----boundary7"


def form(*parts: tuple[str, bytes, str | None]) -> bytes:
    """A multipart body of (name, data, file name)."""
    out = b""
    for name, data, filename in parts:
        extra = f'; filename="{filename}"' if filename else ""
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + data + b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


async def upload(sim: Simulator, operation: str, *parts: tuple[str, bytes, str | None]) -> Answer:
    kind = f'multipart/form-data; boundary="{BOUNDARY}"'
    return await post(sim.url, V1 + operation, form(("model", b"m", None), *parts), content_type=kind)


async def test_completions_echo_and_default_to_sixteen_tokens(sim: Simulator) -> None:
    body: dict[str, Any] = {"model": "m", "prompt": "write 100 words", "echo": True}

    answer = (await post(sim.url, V1 + "completions", body)).json

    assert answer["choices"][0]["text"].startswith("write 100 words")
    assert answer["usage"]["completion_tokens"] == 16
    assert answer["object"] == "text_completion"


async def test_completions_stream_with_usage(sim: Simulator) -> None:
    body = {"model": "m", "prompt": "repeat: a b", "stream": True, "stream_options": {"include_usage": True}}

    answer = await post(sim.url, V1 + "completions", body)

    _, *middle, last = answer.chunk_objects
    assert "".join(chunk["choices"][0]["text"] for chunk in middle) == "a b"
    assert all(chunk["usage"] is None for chunk in middle)
    assert last["usage"]["completion_tokens"] == 2
    assert answer.events[-1] == b"data: [DONE]\n\n"


async def test_completions_take_tokens_and_lists(sim: Simulator) -> None:
    for given in [[1, 2, 3], [[1, 2], [3]], ["a", "b"]]:
        answer = await post(sim.url, V1 + "completions", {"model": "m", "prompt": given})

        assert len(answer.json["choices"]) == (1 if given == [1, 2, 3] else 2), given


async def test_completions_refuse(sim: Simulator) -> None:
    refused: list[dict[str, Any]] = [{"n": 0}, {"prompt": []}, {"prompt": {}}]
    for fields in refused:
        answer = await post(sim.url, V1 + "completions", {"model": "m", **fields})
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    path = "/openai/deployments/m/completions?api-version=2024-02-01"
    old = await post(sim.url, path, {"prompt": "x", "stream": True, "stream_options": {}})
    assert old.json["error"]["code"] == "unknown_parameter"


async def test_embeddings_say_the_same_in_both_encodings(sim: Simulator) -> None:
    body = {"model": "text-embedding-3-large", "input": "a cat", "dimensions": 8}

    floats = (await post(sim.url, V1 + "embeddings", body)).json["data"][0]["embedding"]
    packed = (await post(sim.url, V1 + "embeddings", body | {"encoding_format": "base64"})).json
    unpacked = array("f", base64.b64decode(packed["data"][0]["embedding"]))

    assert floats == unpacked.tolist()
    assert sum(value * value for value in floats) == pytest.approx(1, abs=1e-5)
    assert packed["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


async def test_embeddings_depend_on_text_and_seed_alone(simulate: Simulate) -> None:
    async def embedded(seed: int, text: Any) -> Any:
        sim = await simulate(seed=seed)
        answer = await post(sim.url, V1 + "embeddings", {"model": "e", "input": text, "dimensions": 16})
        return [entry["embedding"] for entry in answer.json["data"]]

    first = await embedded(1, ["a", "b"])
    assert await embedded(1, ["b", "a"]) == first[::-1]
    assert await embedded(2, ["a", "b"]) != first
    assert len(await embedded(1, [1, 2, 3])) == 1
    assert len(await embedded(1, [[1], [2, 3]])) == 2


BAD_EMBEDDINGS: list[dict[str, Any]] = [
    {"input": ""},
    {"input": []},
    {"input": ["a", ""]},
    {"input": [[]]},
    {"input": None},
    {"input": ["a"] * 2049},
    {"input": "a", "dimensions": 0},
    {"input": "a", "dimensions": 4000},
    {"input": "a", "encoding_format": "hex"},
]


async def test_embeddings_refuse(sim: Simulator) -> None:
    for fields in BAD_EMBEDDINGS:
        answer = await post(sim.url, V1 + "embeddings", {"model": "e", **fields})

        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error"), fields


def pixels(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and RGB bytes of a PNG without filters; checks every checksum."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, found = 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        found[kind] = body
        at += 12 + length
    width, height = struct.unpack_from(">II", found[b"IHDR"])
    rows = zlib.decompress(found[b"IDAT"])
    assert len(rows) == height * (1 + 3 * width)
    return width, height, rows


async def test_images_are_valid_and_depend_on_the_prompt(sim: Simulator) -> None:
    body = {"model": "i", "prompt": "a cat", "n": 2}

    data = (await post(sim.url, V1 + "images/generations", body)).json["data"]

    first, second = (base64.b64decode(entry["b64_json"]) for entry in data)
    assert pixels(first)[:2] == (64, 64)
    assert pixels(first) != pixels(second)
    assert png("x") == png("x") != png("y")


async def test_images_as_urls_and_edits(sim: Simulator) -> None:
    body = {"model": "i", "prompt": "a cat", "response_format": "url"}
    url = (await post(sim.url, V1 + "images/generations", body)).json["data"][0]["url"]
    assert url.startswith("data:image/png;base64,")

    edited = await upload(
        sim, "images/edits", ("image", b"...", "a.png"), ("prompt", b"a dog", None), ("n", b"2", None)
    )
    assert len(edited.json["data"]) == 2
    assert (await upload(sim, "images/edits", ("prompt", b"a dog", None))).status == 400
    assert (await post(sim.url, V1 + "images/generations", {**body, "n": 99})).status == 400


async def test_sound_is_written_down(sim: Simulator) -> None:
    for operation in ["audio/transcriptions", "audio/translations"]:
        sound = b"\r\n--almost" * 100

        answer = await upload(sim, operation, ("file", sound, "a.wav"))

        assert sim.exchanges[-1].deployment == "m", operation
        assert "a.wav, 1,000 bytes" in answer.json["text"], operation


FORMATS: list[tuple[str, str, bytes]] = [
    ("json", "application/json", b'{"text":"This is'),
    ("text", "text/plain; charset=utf-8", b"This is"),
    ("verbose_json", "application/json", b'{"duration":'),
    ("srt", "text/plain; charset=utf-8", b"1\n00:00:00,000 --> "),
    ("vtt", "text/plain; charset=utf-8", b"WEBVTT\n\n"),
]


async def test_transcripts_in_every_format(sim: Simulator) -> None:
    for wanted, kind, begins in FORMATS:
        parts = (("file", b"x", "a.wav"), ("response_format", wanted.encode(), None))

        answer = await upload(sim, "audio/transcriptions", *parts)

        assert answer.headers["content-type"] == kind, wanted
        assert answer.body.startswith(begins), wanted


async def test_forms_that_are_none(sim: Simulator) -> None:
    path = V1 + "audio/transcriptions"
    good = form(("model", b"m", None), ("file", b"x", "a.wav"))
    assert (await post(sim.url, path, good, content_type="multipart/form-data")).status == 400
    assert (
        await post(sim.url, path, good[:-6], content_type=f"multipart/form-data; boundary={BOUNDARY}")
    ).status == 400
    assert (await post(sim.url, path, {"model": "m"})).status == 400
    assert (await upload(sim, "audio/transcriptions")).json["error"]["param"] == "file"
    strange = await upload(sim, "audio/transcriptions", ("file", b"x", "a"), ("response_format", b"mp3", None))
    assert strange.json["error"]["param"] == "response_format"


async def test_speech_is_a_sound_in_chunks(sim: Simulator) -> None:
    answer = await post(sim.url, V1 + "audio/speech", {"model": "tts", "voice": "alloy", "input": "hello, world"})

    assert answer.headers["content-type"] == "audio/wav"
    assert len(answer.chunks) > 1
    with wave.open(io.BytesIO(answer.body)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, 8000)
        assert sound.getnframes() == 8000
    assert (await post(sim.url, V1 + "audio/speech", {"model": "t", "voice": "a", "input": ""})).status == 400
    assert (await post(sim.url, V1 + "audio/speech", {"model": "t", "voice": "a"})).status == 400


async def test_models_in_both_shapes(simulate: Simulate) -> None:
    sim = await simulate(deployments=("chat", "gpt-35-turbo-instruct"))

    classic = (await get(sim.url, "/openai/models?api-version=2024-10-21")).json
    v1 = (await get(sim.url, "/openai/v1/models")).json

    assert (
        [entry["id"] for entry in classic["data"]]
        == [entry["id"] for entry in v1["data"]]
        == list(sim.settings.deployments)
    )
    assert [entry["capabilities"]["completion"] for entry in classic["data"]] == [False, True]
    assert v1["data"][0]["owned_by"] == "azure-openai"
    assert (await get(sim.url, "/openai/v1/models/chat")).json["id"] == "chat"
    assert (await get(sim.url, "/openai/v1/models/none")).status == 404
    assert (await get(sim.url, "/openai/v1/models", api_key="")).status == 401
