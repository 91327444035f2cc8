"""Protocols between the path of a request and the outside.

Adapters implement the upstream side, hosts the client's side, tests both.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from chukei.model import Change, Headers
from chukei.record import RequestRecord

Clock = Callable[[], float]
"""Seconds on a monotonic clock; only differences are meaningful."""


class Answer(Protocol):
    """An upstream's answer whose status and headers have arrived.

    ``until_close`` says that only the end of the connection ends the body, so that it looks the same as a break.

    The holder must end the answer: with ``finish`` if everything relevant was read, else with ``abort``. Both are
    idempotent.
    """

    status: int
    headers: Headers
    until_close: bool

    async def read(self) -> bytes | None:
        """Wait for bytes and return all that have arrived; ``b""`` at the end; None when woken.

        Raises:
            UpstreamError: the connection broke or its framing is wrong. All bytes before were returned already.
        """
        ...

    def wake(self) -> None:
        """Make a waiting ``read`` return None."""
        ...

    def divert(self, taker: "Taker | None") -> None:
        """Pass bytes that arrive while a ``read`` waits to ``taker`` instead; None stops that.

        If the taker returns False, the ``read`` returns None. An answer may ignore this: it only avoids waking a task.
        """
        ...

    def finish(self) -> None:
        """Return the connection to the pool if the answer is complete or ends within a second; else close it."""
        ...

    def abort(self) -> None:
        """Close the connection at once, so that the upstream stops generating."""
        ...


class Taker(Protocol):
    """Takes bytes of an answer's body directly on arrival, without waking the reading task."""

    def some(self, data: bytes) -> bool:
        """Take bytes that have arrived; return whether they are handled. If not, the reader is woken."""
        ...

    def whole(self, framed: bytes, begin: int) -> bool:
        """Take one whole chunk with its framing; its data starts at ``begin`` (RFC 9112 §7.1). False: not taken."""
        ...


class Upstream(Protocol):
    """A client of Azure OpenAI."""

    async def post(self, endpoint: str, target: str, headers: Headers, body: bytes, sent: Callable[[], None]) -> Answer:
        """Send a request and wait for the answer's headers. Cancellation closes the connection.

        ``sent`` is called when the request is on its way: from then on it may be billed.

        Raises:
            UpstreamError: no usable answer came.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Credential(Protocol):
    """The relay's credential for a deployment."""

    async def header(self) -> tuple[bytes, bytes]:
        """Return the header field to send.

        Raises:
            UpstreamError: no token is available.
        """
        ...

    def warm(self) -> None:
        """Start to fetch the token for the first request."""
        ...

    async def close(self) -> None:
        """Stop refreshing."""
        ...


class Incoming(Protocol):
    """A client's request as a host received it.

    ``local`` says that the client's address is this machine's own. ``source`` is the client's address as far as the
    host knows it, or empty.
    """

    method: str
    raw_path: str
    query: str
    http_version: str
    headers: Headers
    local: bool
    source: str

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        """Return the whole body. ``arrived`` is called with the size so far; an exception from it ends the reading.

        Raises:
            CallerError: 413 above ``limit`` bytes, 408 if it arrives too slowly; a small body may take ``seconds``.
            ClientGone: the client disconnected before the body was complete.
        """
        ...

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone`` once when the client disconnects. Allowed only after the body was read."""
        ...

    def unwatch(self) -> None:
        """Stop watching."""
        ...


class Reply(Protocol):
    """The answer to the client. Each send waits while the client reads too slowly (back-pressure)."""

    started: bool

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a part of the body immediately."""
        ...

    def send_now(self, data: bytes, begin: int) -> bool:
        """Send a part of the body without waiting, if possible; return False if it was not sent.

        ``begin`` is 0, or the offset of the data if ``data`` is framed as a chunk of a chunked body (RFC 9112 §7.1).
        """
        ...

    async def finish(self, data: bytes = b"") -> None:
        """Send the last part and end the answer; return when most of it has left this process."""
        ...

    def abort(self) -> None:
        """Break the connection if the host can, so that the client notices the failure."""
        ...


class Hook(Protocol):
    """Receives the record of every finished request. It must be fast and must not raise."""

    def __call__(self, record: RequestRecord) -> None:
        """Process one record."""
        ...


class Audit(Protocol):
    """Records what callers ask and are answered, for an operator who must keep that."""

    def open(self, record: RequestRecord, incoming: Incoming, reply: Reply) -> tuple[Incoming, Reply, Hook]:
        """Return both sides of a request in a form that records them, and what to call when the request has ended."""
        ...


class ClientGone(Exception):
    """The client disconnected, so no answer can be sent."""


class Board(Protocol):
    """Shares changes of deployments between replicas. Without a board, or while it is unavailable, each replica learns
    by itself. On a request's path only ``home`` waits for the board, and only briefly."""

    def publish(self, change: Change) -> None:
        """Publish a change to the other replicas in the background. Never raises, never waits."""
        ...

    def follow(self, subjects: Iterable[str]) -> None:
        """Receive the changes of other subjects from now on."""
        ...

    def remember(self, made: str, home: str) -> None:
        """Publish the home of a stateful id: its owner and its deployment. Never raises, never waits."""
        ...

    async def home(self, made: str) -> str | None:
        """Return the home of a stateful id; None if it is unknown or the board does not answer in time."""
        ...

    def start(self) -> None:
        """Start to receive changes."""
        ...

    async def close(self) -> None:
        """Send pending publications, for a second at most, and stop."""
        ...


class Peers(Protocol):
    """The worker processes that serve the same socket, this one included. With one process: itself."""

    def answer(self, subject: str, handler: Callable[[bytes], bytes], *, last: bool = False) -> None:
        """Register the handler of a subject. It must be fast. ``last``: its answer outlives an ended worker."""
        ...

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        """Return each worker's answer on a subject, and what ended workers left. Late answers are left out."""
        ...
