"""Recorded streams, played back byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from chukei.simulator.calls import Call
from chukei.simulator.errors import model_error
from chukei.simulator.pace import Pace
from chukei.simulator.steps import Event, Kind, Reply, stream

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class _Asked(msgspec.Struct):
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of a recorded stream; joined, they are the file.

    It answers every request to its endpoint, which is Responses if the events are named, else chat. It cannot answer
    a request that does not stream: that gets a 400 saying so.
    """

    path: Path
    events: tuple[bytes, ...]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a recording; OSError if that is not possible, ValueError if there is no event in it."""
        data = path.read_bytes()
        ends = [match.end() for match in _END.finditer(data)]
        cuts = [0, *ends] if ends and ends[-1] == len(data) else [0, *ends, len(data)]
        events = [data[start:end] for start, end in pairwise(cuts)]
        if not any(b"data:" in event for event in events):
            raise ValueError(f"{path} is no recorded stream: there is no event in it")
        return cls(path, tuple(event for event in events if event))

    def serves(self, operation: str) -> bool:
        """Say whether requests for this operation are answered from the recording."""
        named = self.events[0].startswith(b"event:")
        return operation == ("responses" if named else "chat/completions")

    def play(self, call: Call) -> Reply:
        """Answer with the recording, paced like a model."""
        if not call.read(_Asked).stream:
            message = f'This simulator replays the recorded stream {self.path.name}: ask for it with "stream": true.'
            raise model_error(400, message, param="stream", code="replay_streams_only")
        return stream(self._steps(call.pace), prompt_tokens=0)

    def _steps(self, pace: Pace) -> Iterator[Event]:
        for at, event in enumerate(self.events):
            wait = pace.prompt() if at == 0 else pace.first() if at == 1 else pace.token()
            kind = _kind(event)
            yield Event(event, 0.0 if kind == "done" else wait, kind, tokens=int(kind == "token"))


def _kind(event: bytes) -> Kind:
    # Good enough for positions of faults; the bytes are never touched.
    if b"[DONE]" in event[:16]:
        return "done"
    if b'"prompt_filter_results"' in event and b'"choices":[]' in event:
        return "filter"
    if b'"role":"assistant"' in event:
        return "role"
    if re.search(rb'"finish_reason":\s*"', event):
        return "finish"
    return "usage" if b'"choices":[]' in event else "token"
