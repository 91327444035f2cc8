"""Audio of the realtime API: formats, a voice that is a tone, and voice activity detection."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

USER_TOKEN_MS = 100  # a token of the user's audio, and of the model's (OpenAI, "Managing realtime costs")
MODEL_TOKEN_MS = 50
LETTERS_PER_SECOND = 15
LOUD = 500  # of 32767: the amplitude from which a sample counts as speech
WINDOW_MS = 20  # what voice activity detection looks at at a time
_QUIET = b"\xff\x7f\xd5\x55"  # silence in G.711, both laws


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A format: its name, and the bytes of a millisecond."""

    name: str
    bytes_per_ms: int

    def milliseconds(self, size: int) -> float:
        """Return how long so many bytes last."""
        return size / self.bytes_per_ms

    def is_loud(self, data: bytes) -> bool:
        """Whether there is speech in the audio."""
        if self.name != "pcm":
            return bool(data.translate(None, _QUIET))
        samples = array("h", data[: len(data) // 2 * 2])
        return bool(samples) and max(max(samples), -min(samples)) >= LOUD

    def tone(self, voice: str, at: int, milliseconds: int) -> bytes:
        """Return a piece of the model's voice that begins ``at`` milliseconds; G.711 is silent."""
        size = milliseconds * self.bytes_per_ms
        if self.name != "pcm":
            return b"\xff" * size
        second = _second(voice)
        start = at * self.bytes_per_ms % len(second)
        return (second * (size // len(second) + 2))[start : start + size]


PCM = AudioFormat("pcm", 48)  # 16 bits, 24 kHz, one channel
G711 = AudioFormat("g711", 8)


def format_of(given: Any) -> AudioFormat:
    """Return the format with this name: ``audio/pcm``, ``audio/pcmu``, ``audio/pcma``, or those of the preview."""
    name = given.get("type") if isinstance(given, dict) else given
    return G711 if name in ("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw") else PCM


@lru_cache(maxsize=16)
def _second(voice: str) -> bytes:
    """Return a second of a tone whose pitch is the voice's. Its period fits into a second, so it can be repeated."""
    pitch = 180 + hashlib.sha256(voice.encode()).digest()[0]
    step = 2 * math.pi * pitch / 24_000
    return array("h", (int(8000 * math.sin(step * at)) for at in range(24_000))).tobytes()


def speech_tokens(text: str) -> int:
    """Return the tokens of a spoken text; each lasts 50 ms."""
    return max(math.ceil(len(text) * 1000 / LETTERS_PER_SECOND / MODEL_TOKEN_MS), 1)


@dataclass(slots=True)
class Buffer:
    """The client's audio that is not committed yet, and whether someone speaks in it."""

    data: bytearray = field(default_factory=bytearray)
    heard_ms: float = 0.0  # in the whole session
    speaking: bool = False
    quiet_ms: float = 0.0
    unchecked: bytearray = field(default_factory=bytearray)

    def append(self, audio: bytes) -> None:
        """Add audio."""
        self.data += audio
        self.unchecked += audio

    def take(self) -> bytes:
        """Return the audio, and forget it."""
        audio = bytes(self.data)
        self.data.clear()
        self.unchecked.clear()
        self.speaking, self.quiet_ms = False, 0.0
        return audio

    def detect(self, form: AudioFormat, silence_ms: float) -> Iterator[tuple[Literal["started", "stopped"], float]]:
        """Yield the starts and the ends of speech in what is new, with their times (ms in the session)."""
        size = WINDOW_MS * form.bytes_per_ms
        while len(self.unchecked) >= size:
            window = bytes(self.unchecked[:size])
            del self.unchecked[:size]
            self.heard_ms += WINDOW_MS
            if form.is_loud(window):
                self.quiet_ms = 0.0
                if not self.speaking:
                    self.speaking = True
                    yield "started", self.heard_ms - WINDOW_MS
            elif self.speaking:
                self.quiet_ms += WINDOW_MS
                if self.quiet_ms >= silence_ms:
                    self.speaking = False
                    yield "stopped", self.heard_ms
