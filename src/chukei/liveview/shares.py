"""What is counted: of all requests, of a deployment, of a caller, of a reason. Each can be added to another."""

from enum import StrEnum

from msgspec import Struct, field

from chukei.liveview.histogram import Histogram


class Measure(StrEnum):
    """A duration that is measured."""

    FIRST_TOKEN = "first_token"  # noqa: S105 - from asking the deployment to a stream's first output
    ANSWER = "answer"  # from asking the deployment to the beginning of an answer that is not streamed
    GAP = "gap"  # between two tokens of a stream, the mean of each stream
    CONNECT = "connect"  # a new connection to Azure: name, TCP, TLS
    UPLOAD = "upload"  # from a request's head to the end of its body
    OWN = "own"  # the relay's own time before it asks a deployment


CONNECTING = frozenset(
    {
        "connect_error",
        "connect_timeout",
        "tls_error",
        "tls_unverified",
        "upstream_lost",
        "unexpected_answer",
        "unexpected_content_type",
        "unexpected_encoding",
        "unexpected_redirect",
        "unexpected_status",
    }
)
"""Codes of failures on the way to Azure: nothing was reached, or something else than Azure answered."""


class Share(Struct):
    """A part of the traffic. ``codes`` counts failed attempts by error code, ``times`` has a histogram by measure."""

    asked: int = 0
    failed: int = 0
    output: float = 0.0
    codes: dict[str, int] = field(default_factory=dict)
    times: dict[str, Histogram] = field(default_factory=dict)

    def time(self, measure: str, seconds: float) -> None:
        """Count a duration."""
        found = self.times.get(measure)
        if found is None:
            found = self.times[measure] = Histogram()
        found.add(seconds)

    def merge(self, other: "Share") -> None:
        """Add another share."""
        self.asked += other.asked
        self.failed += other.failed
        self.output += other.output
        for code, count in other.codes.items():
            self.codes[code] = self.codes.get(code, 0) + count
        for measure, histogram in other.times.items():
            self.times.setdefault(measure, Histogram()).merge(histogram)


class CallerShare(Struct):
    """What one caller did. ``open`` are its requests that are running."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    input: int = 0
    output: float = 0.0
    open: int = 0
    slow: int = 0

    def merge(self, other: "CallerShare") -> None:
        """Add another share."""
        self.requests += other.requests
        self.refused += other.refused
        self.failed += other.failed
        self.input += other.input
        self.output += other.output
        self.open += other.open
        self.slow += other.slow


class Failure(Struct, kw_only=True):
    """A request that was refused or failed. ``at`` is the time on its process's clock, or its age in seconds."""

    at: float
    request_id: str
    caller: str | None
    operation: str | None
    model: str | None
    deployment: str | None
    status: int | None
    code: str | None
    rule: str | None
    end: str | None


class Reason(Struct):
    """Why requests were refused or failed: how many, and the last of them."""

    count: int
    last: Failure

    def merge(self, other: "Reason") -> None:
        """Add another count; the younger request is the last one. Both have ages."""
        self.count += other.count
        if other.last.at < self.last.at:
            self.last = other.last


MOST_CALLERS = 1000
"""Callers that are told apart in ten seconds. When there are more, those with the fewest requests become ``others``."""


class Callers(Struct):
    """Callers by name, at most ``MOST_CALLERS``, and the sum of all others."""

    named: dict[str, CallerShare] = field(default_factory=dict)
    others: CallerShare = field(default_factory=CallerShare)

    def of(self, name: str) -> CallerShare:
        """Return the share of a caller, to be changed."""
        found = self.named.get(name)
        if found is None:
            if len(self.named) >= MOST_CALLERS:
                self._prune()
            found = self.named[name] = CallerShare()
        return found

    def _prune(self) -> None:
        """Keep the larger half, so that pruning is rare and a caller that becomes large later still gets a place."""
        ranked = sorted(self.named.items(), key=lambda item: item[1].requests + item[1].open, reverse=True)
        for name, share in ranked[MOST_CALLERS // 2 :]:
            self.others.merge(share)
            del self.named[name]

    def merge(self, other: "Callers") -> None:
        """Add the callers of another period or process."""
        for name, share in other.named.items():
            self.of(name).merge(share)
        self.others.merge(other.others)
