"""What can be set on a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chukei.simulator.faults import FaultSpecError, parse
from chukei.simulator.recordings import Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """How the simulated resource behaves. ValueError lists everything that is wrong.

    With the same seed and the same requests, the answers are the same bytes, but for ``created`` (see ``epoch``).
    """

    seed: int = 0
    first_token_seconds: float = 0.35
    """Mean time to the first token; 0 is as fast as possible."""
    inter_token_seconds: float = 0.02
    """Mean gap between tokens; 0 is as fast as possible."""
    jitter: float = 0.4
    """Standard deviation of both, relative to the mean."""
    api_key: str | None = None
    """The key to demand; None accepts any, though there must be one."""
    deployments: tuple[str, ...] = ()
    """Names that exist; none means that any does."""
    conversations: tuple[str, ...] = ()
    """Conversations that exist, for the Responses API to continue; to make one there is no operation."""
    replay: Path | None = None
    """A recorded stream to play instead of answers."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Fault specs by deployment name; see ``faults``."""
    obfuscation: bool = True
    """Whether chunks carry ``obfuscation``, unless the client turns it off."""
    region: str = "East US 2"
    epoch: int | None = None
    """A fixed Unix time for ``created``; None takes the clock."""
    exchanges_kept: int = 1000
    record_sent: bool = False
    """Whether exchanges keep the bodies that were sent."""
    max_body_bytes: int = 64 * 1024 * 1024
    send_buffer_bytes: int | None = None
    """SO_SNDBUF of accepted connections, to feel a slow client early; None leaves it to the system."""

    def __post_init__(self) -> None:
        problems = self.validate()
        if problems:
            raise ValueError("; ".join(problems))

    def validate(self) -> list[str]:
        """Return what is wrong with the values; nothing, normally, since the constructor asks too."""
        problems = [
            f"{name} must be {least} or more, not {value!r}"
            for name, value, least in (
                ("first_token_seconds", self.first_token_seconds, 0),
                ("inter_token_seconds", self.inter_token_seconds, 0),
                ("jitter", self.jitter, 0),
                ("exchanges_kept", self.exchanges_kept, 1),
                ("max_body_bytes", self.max_body_bytes, 1),
                ("send_buffer_bytes", 1 if self.send_buffer_bytes is None else self.send_buffer_bytes, 1),
            )
            if not least <= value < float("inf")
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
