"""What is known of a request when it has ended. No prompt, no completion, no credential."""

from dataclasses import dataclass, field

from chukei.model import End
from chukei.usage import Usage


@dataclass(slots=True)
class RequestRecord:
    """One request, filled in along its path. Durations are seconds since the request's head had arrived."""

    request_id: str
    method: str
    path: str
    caller: str | None = None
    operation: str | None = None
    model: str | None = None
    deployment: str | None = None
    stream: bool = False
    status: int | None = None
    end: End | None = None
    code: str | None = None
    finish_reasons: dict[int, str] = field(default_factory=dict)
    usage: Usage | None = None
    first_token: float | None = None
    duration: float = 0.0
    request_bytes: int = 0
    answer_bytes: int = 0
    upstream_request_id: str | None = None
    region: str | None = None
