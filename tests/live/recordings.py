"""Recorded streams of real services, where they are beside the repository, and one of our own that is harder."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

DIRECTORY = Path(__file__).parents[3] / "shared" / "streams"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"


@dataclass(frozen=True)
class Recording:
    """A stream as it was sent, and the path on which it was asked for."""

    name: str
    path: str
    stream: bytes

    @property
    def events(self) -> list[bytes]:
        """Its events; every recording ends its lines with LF."""
        return [event + b"\n\n" for event in self.stream.split(b"\n\n")[:-1]]

    @property
    def fails_first(self) -> bool:
        """Whether an error comes before any output: the relay makes a status of it."""
        return b'"type":"error"' in self.stream and b".delta" not in self.stream

    @property
    def request(self) -> bytes:
        """What asks for it; the usage event is asked for, so that nothing needs to be removed."""
        if self.path == RESPONSES:
            return b'{"input":"?","stream":true}'
        return b'{"messages":[{"role":"user"}],"stream":true,"stream_options":{"include_usage":true}}'

    @property
    def chosen(self) -> int:
        """Return the index of the event to cut: the shortest with a character of several bytes, else the shortest."""
        hard = [event for event in self.events if not event.isascii()] or self.events[1:-1]
        return self.events.index(min(hard, key=len))


def chunk(**fields: object) -> bytes:
    """Write a chat chunk."""
    return b"data: " + json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def delta(text: str, **more: object) -> bytes:
    """Write a chat chunk with content."""
    return chunk(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more)


FILTER = chunk(choices=[], created=0, id="", prompt_filter_results=[{"prompt_index": 0}])
ROLE = chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
ASYNC_FILTER = chunk(choices=[{"index": 0, "content_filter_offsets": {"check_offset": 44}, "finish_reason": None}])
FINISH = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = chunk(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14})
DONE = b"data: [DONE]\n\n"

HARD = Recording(
    "hard",
    CHAT,
    b"".join(
        (
            b": welcome\n\n",
            FILTER,
            ROLE,
            delta("plain"),
            delta("中継🌊e\u0301\u2028\u0085", unknown={"new": [1, None, "field"]}),
            b"id: 7\nretry: 10\n: inside\nevent: message\n" + delta(" twice")[:-1] + b"\n",
            b": ping\n\n",
            ASYNC_FILTER,
            delta('data: [DONE] "usage":{ "error":'),
            FINISH,
            ASYNC_FILTER,
            USAGE,
            DONE,
        )
    ),
)


def _read(path: Path) -> Recording:
    if path.suffix == ".sse":
        stream = path.read_bytes()
    else:
        lines = path.read_text().splitlines()
        named = '"type":"response.' in lines[0]
        stream = b"".join(_event(line, named=named) for line in lines if line)
        stream += b"" if named else DONE
    return Recording(path.name.split(".")[0], RESPONSES if stream.startswith(b"event:") else CHAT, stream)


def _event(line: str, *, named: bool) -> bytes:
    name = f"event: {json.loads(line)['type']}\n" if named else ""
    return f"{name}data: {line}\n\n".encode()


RECORDED = [_read(path) for path in sorted(DIRECTORY.glob("*")) if path.name.endswith((".sse", ".chunks.jsonl"))]
_SKIP = pytest.param(
    HARD, id="recorded", marks=pytest.mark.skip(reason="the recorded streams are not beside the repository")
)


def parameters(limit: int) -> list[ParameterSet]:
    """Return the streams up to so many bytes as test parameters, and one that is skipped where there are none."""
    usable = [one for one in (HARD, *RECORDED) if len(one.stream) <= limit and not one.fails_first]
    found = [pytest.param(one, id=one.name) for one in usable]
    return found if RECORDED else [*found, _SKIP]
