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
from chukei.simulator.exchanges import JSON, Event, Kind, Reply, sorted_json, stream, whole
from chukei.simulator.prose import is_japanese, phrases
from chukei.simulator.tokens import count, split

PIXELS = 64  # the side of an image, whatever size is asked for
CELLS = 8  # squares along a side
IMAGE_TOKENS = 272  # gpt-image-1, low quality, 1024 × 1024
PARTIAL_IMAGE_TOKENS = 100  # what each unfinished image costs beside
MOST_PARTIAL_IMAGES = 3  # the API's own limit
LOOK = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
SAMPLE_RATE = 8000
AUDIO_TOKENS_PER_SECOND = 10  # of a transcription's input, as in the recordings: 37 for 3.7 s
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
    found: dict[str, Part] = {}
    for start, end in _sections(body, mark):
        head = body.find(b"\r\n\r\n", start, end)
        text = body[start : max(head, start)].decode(errors="replace")
        if name := _NAME.search(text):
            filename = _FILENAME.search(text)
            found[name[1]] = Part(body[head + 4 : end], filename[1] if filename else None)
    return found


def _sections(body: bytes, mark: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the sections of a form are; they are not copied, for they may be large."""
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    while at >= 0 and body[at : at + len(mark)] == mark and body[at + len(mark) : at + len(mark) + 2] != b"--":
        start, at = at + len(mark), body.find(b"\r\n" + mark, at + len(mark))
        if at >= 0:
            yield start, at
            at += 2
    if at < 0 or body[at : at + len(mark)] != mark:
        raise model_error(400, "Could not parse multipart form: the closing boundary is missing.")


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
    stream: bool | None = None
    partial_images: int | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None


def images(call: Call) -> Reply:
    """Answer a request for images. With ``url`` the answer has data URLs, so the simulator stores nothing."""
    request = call.read(ImageRequest)
    if request.stream:
        look = {name: str(getattr(request, name) or default) for name, default in LOOK.items()}
        return _image_stream(call, "image_generation", request.prompt, request.partial_images or 0, look)
    return _images(call, request.prompt, request.n or 1, request.response_format == "url")


def image_edits(call: Call) -> Reply:
    """Answer an image edit with a new image of the prompt."""
    form = _form(call, "image", "image[]")
    if "prompt" not in form:
        raise missing_parameter("prompt")
    n, prompt = _text(form, "n"), _text(form, "prompt")
    if _text(form, "stream") == "true":
        partial, look = (
            _text(form, "partial_images"),
            {name: _text(form, name, default) for name, default in LOOK.items()},
        )
        return _image_stream(call, "image_edit", prompt, int(partial) if partial.isdigit() else 0, look)
    return _images(call, prompt, int(n) if n.isdigit() else 1, False)


def _image_stream(call: Call, what: str, prompt: str, partial: int, look: dict[str, str]) -> Reply:
    if not 0 <= partial <= MOST_PARTIAL_IMAGES:
        raise out_of_range("partial_images", partial, 0, MOST_PARTIAL_IMAGES)
    return stream(_image_events(call, what, prompt, partial, look), prompt_tokens=count(prompt))


def _image_events(call: Call, what: str, prompt: str, partial: int, look: dict[str, str]) -> Iterator[Event]:
    """Yield as many unfinished images as are asked for, then the whole. There is no ``[DONE]``."""
    for at in range(partial):
        drawn = base64.b64encode(png(f"{call.seed}:{at}:{prompt}:partial")).decode()
        fields = {"b64_json": drawn, "created_at": call.created, **look, "partial_image_index": at}
        yield _named(f"{what}.partial_image", fields, call.pace.first())
    drawn = base64.b64encode(png(f"{call.seed}:0:{prompt}")).decode()
    spent = IMAGE_TOKENS + PARTIAL_IMAGE_TOKENS * partial
    usage = _image_usage(count(prompt), spent)
    fields = {"b64_json": drawn, "created_at": call.created, **look, "usage": usage}
    yield _named(f"{what}.completed", fields, call.pace.first(), "done")


def _named(type_: str, fields: dict[str, Any], wait: float, kind: Kind = "other") -> Event:
    body = msgspec.json.encode({"type": type_, **fields})
    return Event(b"event: %b\ndata: %b\n\n" % (type_.encode(), body), wait, kind)


def _image_usage(read: int, spent: int) -> dict[str, Any]:
    usage = shape("image-usage", input_tokens=read, output_tokens=spent, total_tokens=read + spent)
    usage["input_tokens_details"]["text_tokens"] = read
    return usage


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
    body = sorted_json({"created": call.created, "data": data, "usage": _image_usage(tokens, IMAGE_TOKENS * n)})
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
    tokens = count(text)
    if _text(form, "stream") == "true" and not call.deployment.startswith("whisper"):  # whisper ignores it
        if wanted not in ("json", "text"):
            raise invalid_value(f"Invalid value: '{wanted}'. Streams are of 'json' or 'text'.", "response_format")
        return stream(_transcript(call, text, math.ceil(seconds * AUDIO_TOKENS_PER_SECOND)), prompt_tokens=0)
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
    return whole(body, content_type=kind, wait=call.pace.total(tokens), tokens=tokens)


def _transcript(call: Call, text: str, heard: int) -> Iterator[Event]:
    """Yield the events of a transcript; their lines end in CR LF, as recorded."""
    pieces = split(text)
    for at, piece in enumerate(pieces):
        wait = call.pace.token() if at else call.pace.prompt()
        yield _crlf({"type": "transcript.text.delta", "delta": piece}, wait, "token")
    total = heard + len(pieces)
    usage = {"type": "tokens", "total_tokens": total, "input_tokens": heard}
    usage |= {"input_token_details": {"text_tokens": 0, "audio_tokens": heard}, "output_tokens": len(pieces)}
    yield _crlf({"type": "transcript.text.done", "text": text, "usage": usage}, 0.0, "finish")
    yield Event(b"data: [DONE]\r\n\r\n", 0.0, "done")


def _crlf(body: dict[str, Any], wait: float, kind: Kind) -> Event:
    return Event(b"data: %b\r\n\r\n" % msgspec.json.encode(body), wait, kind, int(kind == "token"))


def _verbose(text: str, task: str, language: str, seconds: float) -> dict[str, Any]:
    segment = shape("transcript-segment", end=seconds, text=text, tokens=list(range(len(split(text)))))
    return {"duration": seconds, "language": language, "segments": [segment], "task": task, "text": text}


class SpeechRequest(msgspec.Struct):
    """The body of a speech request."""

    input: str
    voice: str | dict[str, Any]
    model: str | None = None
    response_format: str | None = None
    stream_format: str | None = None


def speech(call: Call) -> Reply:
    """Answer with a tone whose pitch depends on the text, in several chunks. It is always a WAV."""
    request = call.read(SpeechRequest)
    if not request.input:
        raise invalid_value("Invalid 'input': it must not be empty.", "input")
    if request.stream_format == "sse":
        return stream(_speech_events(call, request.input), prompt_tokens=count(request.input))
    reply = stream(_sound(call, request.input), prompt_tokens=count(request.input), content_type="audio/wav")
    reply.streamed = False  # of bytes, not of events
    return reply


def _sound(call: Call, text: str) -> Iterator[Event]:
    data = wav(tone(text))
    for at in range(0, len(data), SOUND_PIECE):
        wait = call.pace.token() if at else call.pace.prompt()
        yield Event(data[at : at + SOUND_PIECE], wait, "body")


def _speech_events(call: Call, text: str) -> Iterator[Event]:
    """Yield the sound as events; their lines end in CR LF, as recorded."""
    data = wav(tone(text))
    read, spoken = count(text), max(len(data) // SOUND_PIECE, 1)
    for at in range(0, len(data), SOUND_PIECE):
        audio = base64.b64encode(data[at : at + SOUND_PIECE]).decode()
        wait = call.pace.token() if at else call.pace.prompt()
        yield _crlf({"type": "speech.audio.delta", "audio": audio}, wait, "token")
    usage = {"input_tokens": read, "output_tokens": spoken, "total_tokens": read + spoken}
    yield _crlf({"type": "speech.audio.done", "usage": usage}, 0.0, "finish")
    yield Event(b"data: [DONE]\r\n\r\n", 0.0, "done")


def tone(text: str) -> array[int]:
    """Return a tone, in 16 bits, that lasts about as long as speaking the text, at most four seconds."""
    length = int(min(0.2 + len(text) / 15, MOST_SPEECH_SECONDS) * SAMPLE_RATE)
    pitch = 220 * 2 ** (hashlib.sha256(text.encode()).digest()[0] % 24 / 12)
    samples = array("h")
    for at in range(length):
        fade = min(at, length - at, 400) / 400
        samples.append(int(8000 * fade * math.sin(2 * math.pi * pitch * at / SAMPLE_RATE)))
    return samples


def wav(samples: array[int]) -> bytes:
    """Return samples as a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return out.getvalue()
