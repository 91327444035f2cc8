"""Images and sound: tiny, valid, and drawn from the prompt."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import struct
import wave
import zlib
from array import array
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from chukei.simulator.calls import Call
from chukei.simulator.errors import invalid_value, missing_parameter
from chukei.simulator.filters import CATEGORIES
from chukei.simulator.multipart import Part, fields
from chukei.simulator.prose import is_japanese
from chukei.simulator.steps import Event, Reply, sorted_json, stream, whole
from chukei.simulator.tokens import count, split

PIXELS = 64  # the side of an image, whatever size is asked for
CELLS = 8  # squares along a side
SAMPLE_RATE = 8000
MOST_IMAGES = 10  # the API's own limit
MOST_SPEECH_SECONDS = 4.0
SOUND_PIECE = 4096

AudioFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]


class ImageRequest(msgspec.Struct):
    """The body of an image request."""

    prompt: str
    model: str | None = None
    n: int | None = None
    size: str | None = None
    response_format: str | None = None


class SpeechRequest(msgspec.Struct):
    """The body of a speech request."""

    input: str
    voice: str | dict[str, Any]
    model: str | None = None
    response_format: str | None = None


def images(call: Call) -> Reply:
    """Answer a request for images; ``url`` gives data URLs, so that nothing has to be kept."""
    request = call.read(ImageRequest)
    return _images(call, request.prompt, request.n or 1, request.response_format == "url")


def image_edits(call: Call) -> Reply:
    """Answer a request to change an image: with another picture of the prompt."""
    form = _form(call, "image", "image[]")
    if "prompt" not in form:
        raise missing_parameter("prompt")
    n = _text(form, "n")
    return _images(call, _text(form, "prompt"), int(n) if n.isdigit() else 1, False)


def _images(call: Call, prompt: str, n: int, as_url: bool) -> Reply:
    if not 1 <= n <= MOST_IMAGES:
        raise invalid_value(f"Invalid 'n': expected a value from 1 to {MOST_IMAGES}, but got {n}.", "n")
    data: list[dict[str, Any]] = []
    for at in range(n):
        encoded = base64.b64encode(png(f"{call.seed}:{at}:{prompt}")).decode()
        image = {"url": f"data:image/png;base64,{encoded}"} if as_url else {"b64_json": encoded}
        filters = {"content_filter_results": CATEGORIES, "prompt_filter_results": CATEGORIES}
        data.append({**image, **filters, "revised_prompt": prompt})
    tokens = count(prompt)
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": tokens},
        "output_tokens": 272 * n,  # gpt-image-1, low quality, 1024 × 1024
        "total_tokens": tokens + 272 * n,
    }
    body = sorted_json({"created": call.created, "data": data, "usage": usage})
    return whole(body, wait=call.pace.total(20), prompt_tokens=tokens)


def png(seed: str) -> bytes:
    """Draw a symmetric pattern of coloured squares as a PNG."""
    digest = hashlib.sha512(seed.encode()).digest()
    colours = [bytes(digest[at : at + 3]) for at in (0, 3, 6)]
    side = PIXELS // CELLS
    rows = bytearray()
    for y in range(PIXELS):
        rows.append(0)  # no filter
        for x in range(PIXELS):
            cell = min(x // side, CELLS - 1 - x // side) + y // side * (CELLS // 2)
            rows += colours[digest[16 + cell] % 3]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", PIXELS, PIXELS, 8, 2, 0, 0, 0)  # 8 bits, RGB
    image = zlib.compress(bytes(rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", image) + chunk(b"IEND", b"")


def _form(call: Call, *files: str) -> dict[str, Part]:
    """Return the fields of a form with a file in it; ApiError 400 if there is none."""
    form = fields(call.body, call.content_type)
    if not any(name in form for name in files):
        raise missing_parameter(files[0])
    return form


def _text(form: dict[str, Part], name: str, default: str = "") -> str:
    part = form.get(name)
    return part.data.decode(errors="replace").strip() if part else default


def transcription(call: Call) -> Reply:
    """Write down a recording: a sentence about the file that was sent."""
    form = _form(call, "file")
    file = form["file"]
    name = file.filename or "audio"
    if is_japanese(_text(form, "prompt")) or _text(form, "language") == "ja":
        text = f"これはシミュレーターによる「{name}」({len(file.data):,} バイト)の書き起こしです。"
    else:
        text = f"This is the simulator's transcript of {name}, {len(file.data):,} bytes of sound it did not listen to."
    return _spoken(call, form, text, "transcribe")


def translation(call: Call) -> Reply:
    """Translate a recording into English: a sentence about the file that was sent."""
    form = _form(call, "file")
    file = form["file"]
    name = file.filename or "audio"
    text = f"This is the simulator's translation of {name}, {len(file.data):,} bytes in a language it did not identify."
    return _spoken(call, form, text, "translate")


def _spoken(call: Call, form: dict[str, Part], text: str, task: str) -> Reply:
    wanted = _text(form, "response_format", "json")
    seconds = round(len(form["file"].data) / 32_000, 2)  # as if it were 16 kHz, 16 bits, one channel
    body: bytes
    match wanted:
        case "json":
            body = sorted_json({"text": text})
        case "verbose_json":
            body = sorted_json(_verbose(text, task, _text(form, "language", "en"), seconds))
        case "text":
            body = f"{text}\n".encode()
        case "srt":
            body = f"1\n00:00:00,000 --> 00:00:03,000\n{text}\n\n".encode()
        case "vtt":
            body = f"WEBVTT\n\n00:00:00.000 --> 00:00:03.000\n{text}\n\n".encode()
        case _:
            raise invalid_value(f"Invalid value: '{wanted}'.", "response_format")
    kind = "application/json" if wanted.endswith("json") else "text/plain; charset=utf-8"
    tokens = count(text)
    return whole(body, content_type=kind, wait=call.pace.total(tokens), tokens=tokens)


def _verbose(text: str, task: str, language: str, seconds: float) -> dict[str, Any]:
    segment = {
        "avg_logprob": -0.2,
        "compression_ratio": 1.0,
        "end": seconds,
        "id": 0,
        "no_speech_prob": 0.01,
        "seek": 0,
        "start": 0.0,
        "temperature": 0.0,
        "text": text,
        "tokens": list(range(len(split(text)))),
    }
    return {"duration": seconds, "language": language, "segments": [segment], "task": task, "text": text}


def speech(call: Call) -> Reply:
    """Speak a text: a tone whose height depends on it, as a WAV whatever format is asked for, in several chunks."""
    request = call.read(SpeechRequest)
    if not request.input:
        raise invalid_value("Invalid 'input': it must not be empty.", "input")
    reply = stream(_sound(call, request.input), prompt_tokens=count(request.input), content_type="audio/wav")
    reply.streamed = False  # of bytes, not of events
    return reply


def _sound(call: Call, text: str) -> Iterator[Event]:
    data = wav(text)
    for at in range(0, len(data), SOUND_PIECE):
        wait = call.pace.token() if at else call.pace.prompt()
        yield Event(data[at : at + SOUND_PIECE], wait, "body")


def wav(text: str) -> bytes:
    """Return a tone: about as long as the text takes to say, up to four seconds."""
    seconds = min(0.2 + len(text) / 15, MOST_SPEECH_SECONDS)
    pitch = 220 * 2 ** (hashlib.sha256(text.encode()).digest()[0] % 24 / 12)
    samples = array("h")
    for at in range(int(seconds * SAMPLE_RATE)):
        fade = min(at, int(seconds * SAMPLE_RATE) - at, 400) / 400
        samples.append(int(8000 * fade * math.sin(2 * math.pi * pitch * at / SAMPLE_RATE)))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return out.getvalue()
