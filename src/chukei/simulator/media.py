"""Images and audio: small valid files that depend on the prompt. Also parses forms with files (RFC 7578)."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import struct
import wave
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from chukei.simulator.azure import CATEGORIES, invalid_value, missing_parameter, model_error, out_of_range, shape
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import JSON, Event, Reply, sorted_json, stream, whole
from chukei.simulator.prose import is_japanese, phrases
from chukei.simulator.tokens import count, split

PIXELS = 64  # the side of an image, whatever size is asked for
CELLS = 8  # squares along a side
IMAGE_TOKENS = 272  # gpt-image-1, low quality, 1024 × 1024
SAMPLE_RATE = 8000
MOST_IMAGES = 10  # the API's own limit
MOST_SPEECH_SECONDS = 4.0
SOUND_PIECE = 4096

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;]+))', re.I)
_NAME = re.compile(r'[;\s]name="([^"]*)"', re.I)
_FILENAME = re.compile(r'filename="([^"]*)"', re.I)


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a form: its bytes, and the file name if it is a file."""

    data: bytes
    filename: str | None = None


def fields(body: bytes, content_type: str) -> dict[str, Part]:
    """Return the fields of a form by name; the last one of each name. ApiError 400 if the body is not a form."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise model_error(400, "Could not parse multipart form: there is no boundary in the content type.")
    mark = b"--" + (boundary[1] or boundary[2]).encode()
    sections = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise model_error(400, "Could not parse multipart form: the closing boundary is missing.")
    found: dict[str, Part] = {}
    for section in sections[1:-1]:
        head, _, data = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        text = head.decode(errors="replace")
        if name := _NAME.search(text):
            filename = _FILENAME.search(text)
            found[name[1]] = Part(data, filename[1] if filename else None)
    return found


def _form(call: Call, *files: str) -> dict[str, Part]:
    """Return the fields of a form that must contain a file; ApiError 400 if it has none."""
    form = fields(call.body, call.content_type)
    if not any(name in form for name in files):
        raise missing_parameter(files[0])
    return form


def _text(form: dict[str, Part], name: str, default: str = "") -> str:
    part = form.get(name)
    return part.data.decode(errors="replace").strip() if part else default


class ImageRequest(msgspec.Struct):
    """The body of an image request."""

    prompt: str
    model: str | None = None
    n: int | None = None
    size: str | None = None
    response_format: str | None = None


def images(call: Call) -> Reply:
    """Answer a request for images. With ``url`` the answer has data URLs, so the simulator stores nothing."""
    request = call.read(ImageRequest)
    return _images(call, request.prompt, request.n or 1, request.response_format == "url")


def image_edits(call: Call) -> Reply:
    """Answer an image edit with a new image of the prompt."""
    form = _form(call, "image", "image[]")
    if "prompt" not in form:
        raise missing_parameter("prompt")
    n = _text(form, "n")
    return _images(call, _text(form, "prompt"), int(n) if n.isdigit() else 1, False)


def _images(call: Call, prompt: str, n: int, as_url: bool) -> Reply:
    if not 1 <= n <= MOST_IMAGES:
        raise out_of_range("n", n, 1, MOST_IMAGES)
    data: list[dict[str, Any]] = []
    for at in range(n):
        encoded = base64.b64encode(png(f"{call.seed}:{at}:{prompt}")).decode()
        image = {"url": f"data:image/png;base64,{encoded}"} if as_url else {"b64_json": encoded}
        filters = {"content_filter_results": CATEGORIES, "prompt_filter_results": CATEGORIES}
        data.append({**image, **filters, "revised_prompt": prompt})
    tokens = count(prompt)
    spent = IMAGE_TOKENS * n
    usage = shape("image-usage", input_tokens=tokens, output_tokens=spent, total_tokens=tokens + spent)
    usage["input_tokens_details"]["text_tokens"] = tokens
    body = sorted_json({"created": call.created, "data": data, "usage": usage})
    return whole(body, wait=call.pace.total(20), prompt_tokens=tokens)


def png(seed: str) -> bytes:
    """Return a symmetric pattern of coloured squares as a PNG."""
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


def transcription(call: Call) -> Reply:
    """Answer a transcription with a sentence about the file."""
    form = _form(call, "file")
    prompt = _text(form, "prompt")
    japanese = is_japanese(prompt) or _text(form, "language") == "ja"
    return _heard(call, form, phrases(japanese=japanese)["transcript"], "transcribe")


def translation(call: Call) -> Reply:
    """Answer a translation with an English sentence about the file."""
    return _heard(call, _form(call, "file"), phrases()["translation"], "translate")


def _heard(call: Call, form: dict[str, Part], said: str, task: str) -> Reply:
    file = form["file"]
    text = said.format(name=file.filename or "audio", bytes=f"{len(file.data):,}")
    wanted = _text(form, "response_format", "json")
    seconds = round(len(file.data) / 32_000, 2)  # as if it were 16 kHz, 16 bits, one channel
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
    kind = JSON if wanted.endswith("json") else "text/plain; charset=utf-8"
    tokens = count(text)
    return whole(body, content_type=kind, wait=call.pace.total(tokens), tokens=tokens)


def _verbose(text: str, task: str, language: str, seconds: float) -> dict[str, Any]:
    segment = shape("transcript-segment", end=seconds, text=text, tokens=list(range(len(split(text)))))
    return {"duration": seconds, "language": language, "segments": [segment], "task": task, "text": text}


class SpeechRequest(msgspec.Struct):
    """The body of a speech request."""

    input: str
    voice: str | dict[str, Any]
    model: str | None = None
    response_format: str | None = None


def speech(call: Call) -> Reply:
    """Answer with a tone whose pitch depends on the text, in several chunks. It is always a WAV."""
    request = call.read(SpeechRequest)
    if not request.input:
        raise invalid_value("Invalid 'input': it must not be empty.", "input")
    reply = stream(_sound(call, request.input), prompt_tokens=count(request.input), content_type="audio/wav")
    reply.streamed = False  # of bytes, not of events
    return reply


def _sound(call: Call, text: str) -> Iterator[Event]:
    data = _wav(text)
    for at in range(0, len(data), SOUND_PIECE):
        wait = call.pace.token() if at else call.pace.prompt()
        yield Event(data[at : at + SOUND_PIECE], wait, "body")


def _wav(text: str) -> bytes:
    """Return a tone that lasts about as long as speaking the text, at most four seconds."""
    length = int(min(0.2 + len(text) / 15, MOST_SPEECH_SECONDS) * SAMPLE_RATE)
    pitch = 220 * 2 ** (hashlib.sha256(text.encode()).digest()[0] % 24 / 12)
    samples = array("h")
    for at in range(length):
        fade = min(at, length - at, 400) / 400
        samples.append(int(8000 * fade * math.sin(2 * math.pi * pitch * at / SAMPLE_RATE)))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return out.getvalue()
