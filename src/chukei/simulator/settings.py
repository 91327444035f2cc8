"""The settings of a simulator, and the recorded stream that it can replay byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec

from chukei.simulator.azure import model_error
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Event, Kind, Reply, stream
from chukei.simulator.faults import FaultSpecError, parse
from chukei.simulator.tokens import Pace

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class _Asked(msgspec.Struct):
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of a recorded stream; joined, they are the file.

    It answers every streaming request to its endpoint: Responses if the events are named, else chat. A request that
    does not stream gets a 400.
    """

    path: Path
    events: tuple[bytes, ...]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a recording; OSError if it cannot be read, ValueError if it has no event."""
        data = path.read_bytes()
        cuts = sorted({0, *(match.end() for match in _EVENT_END.finditer(data)), len(data)})
        events = tuple(data[start:end] for start, end in pairwise(cuts))
        if not any(b"data:" in event for event in events):
            raise ValueError(f"{path} is no recorded stream: there is no event in it")
        return cls(path, events)

    def serves(self, operation: str) -> bool:
        """Whether the recording answers requests for this operation."""
        named = self.events[0].startswith(b"event:")
        return operation == ("responses" if named else "chat/completions")

    def play(self, call: Call) -> Reply:
        """Answer with the recording, at the pace of a model."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """The behaviour of the simulated resource. ValueError lists all invalid settings.

    The same seed and the same requests give the same bytes, except ``created`` (see ``epoch``).
    """

    seed: int = 0
    first_token_seconds: float = 0.35  # mean time to the first token; 0 is as fast as possible
    inter_token_seconds: float = 0.02  # mean gap between tokens; 0 is as fast as possible
    jitter: float = 0.4  # standard deviation of both, relative to the mean
    api_key: str | None = None  # the key to demand; None accepts any, though there must be one
    deployments: tuple[str, ...] = ()  # names that exist; none means that any does
    api_versions: tuple[str, ...] = ()  # dated versions that exist; none means that any does
    conversations: tuple[str, ...] = ()  # that exist from the start
    job_looks: int = 1  # how often the status of a job is shown unfinished where a stage takes no time
    replay: Path | None = None  # a recorded stream to play instead of answers
    faults: Mapping[str, str] = field(default_factory=dict)  # fault specs by deployment name; see ``faults``
    epoch: int | None = None  # a fixed Unix time for ``created``; None takes the clock
    exchanges_kept: int = 1000
    record_sent: bool = False  # whether exchanges keep the bodies that were sent
    max_body_bytes: int = 64 * 1024 * 1024
    socket_seconds: float = 3600.0  # how long a WebSocket may be open: an hour at the service
    send_buffer_bytes: int | None = None  # SO_SNDBUF, to feel a slow client early; None leaves it to the system

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise ValueError("; ".join(problems))

    def _problems(self) -> list[str]:
        least = {"first_token_seconds": 0, "inter_token_seconds": 0, "jitter": 0, "job_looks": 0}
        least |= dict.fromkeys(("exchanges_kept", "max_body_bytes", "send_buffer_bytes"), 1)
        least["socket_seconds"] = 0
        problems = [
            f"{name} must be {bound} or more, not {value!r}"
            for name, bound in least.items()
            if (value := getattr(self, name)) is not None and not bound <= value < float("inf")
        ]
        if self.api_key == "":
            problems.append("api_key must not be empty; leave it out to accept any key")
        if "" in self.deployments:
            problems.append("deployments must not contain an empty name")
        if self.replay is not None:
            problems += _problems_of_recording(self.replay)
        for deployment, spec in self.faults.items():
            try:
                parse(spec)
            except FaultSpecError as error:
                problems.append(f"faults[{deployment!r}]: {error}")
        return problems


def _problems_of_recording(path: Path) -> list[str]:
    if not path.is_file():
        return [f"replay: there is no file {path}"]
    try:
        Recording.read(path)
    except (OSError, ValueError) as error:
        return [f"replay: {error}"]
    return []
