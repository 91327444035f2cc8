"""The contracts between the path of a request and the world: small protocols with many implementations.

Adapters implement the upstream side, hosts the client's side, tests both.
"""

from collections.abc import Callable
from typing import Protocol

from chukei.model import Change, Headers
from chukei.record import RequestRecord

Clock = Callable[[], float]
"""Seconds on a clock that never jumps; only differences mean something."""


class Answer(Protocol):
    """An upstream's answer whose status and headers have arrived.

    ``until_close`` says that the end of its connection alone ends its body, which then cannot be told from a break.

    Whoever holds it must end it: ``finish`` when all that matters was read, ``abort`` otherwise. Both may be called
    more than once.
    """

    status: int
    headers: Headers
    until_close: bool

    async def read(self) -> bytes | None:
        """Return all bytes that have arrived, waiting for the first; ``b""`` at the end; None when woken.

        Raises:
            UpstreamError: the connection broke or its framing is wrong, after all bytes before that were returned.
        """
        ...

    def wake(self) -> None:
        """Make a waiting ``read`` return None."""
        ...

    def divert(self, taker: "Taker | None") -> None:
        """Hand bytes that arrive while a ``read`` waits to ``taker`` instead.

        What that does not settle makes the ``read`` return None. None ends this. An answer may leave it undone: all it
        does is save the waking of a task.
        """
        ...

    def finish(self) -> None:
        """Give the connection back for reuse if the answer is complete, or ends within a second; else close it."""
        ...

    def abort(self) -> None:
        """Close the connection at once, so that the upstream stops."""
        ...


class Taker(Protocol):
    """Takes bytes of an answer's body in the moment in which they arrive."""

    def some(self, data: bytes) -> bool:
        """Take what has arrived, and say whether that settles it; else the reader is to look at it."""
        ...

    def whole(self, framed: bytes, begin: int) -> bool:
        """Take one whole chunk as it came, with its data at ``begin`` (RFC 9112 §7.1); False leaves it untouched."""
        ...


class Upstream(Protocol):
    """The way to Azure OpenAI."""

    async def post(self, endpoint: str, target: str, headers: Headers, body: bytes, sent: Callable[[], None]) -> Answer:
        """Send a request and wait for the answer's headers. Cancelling closes what was opened.

        ``sent`` is called when the request is on its way: from then on it may cost something.

        Raises:
            UpstreamError: nothing usable came back.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Credential(Protocol):
    """What authenticates the relay to a deployment."""

    async def header(self) -> tuple[bytes, bytes]:
        """Return the header field to send.

        Raises:
            UpstreamError: no token can be had.
        """
        ...

    def warm(self) -> None:
        """Begin to fetch what the first request will need."""
        ...

    async def close(self) -> None:
        """Stop refreshing."""
        ...


class Incoming(Protocol):
    """A client's request as a host received it.

    ``local`` says that the client's address is this machine's own; ``source`` is that address as the host knows it,
    or empty.
    """

    method: str
    raw_path: str
    query: str
    http_version: str
    headers: Headers
    local: bool
    source: str

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        """Return the whole body. ``arrived`` hears how many bytes there are as they come; what it raises ends this.

        Raises:
            CallerError: 413 above ``limit`` bytes, 408 when it comes too slowly; a small one may take ``seconds``.
            ClientGone: the client left before the body was complete.
        """
        ...

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone`` once when the client leaves. Only after the body was read."""
        ...

    def unwatch(self) -> None:
        """Stop watching."""
        ...


class Reply(Protocol):
    """The way back to the client. Each send waits while the client reads more slowly than the relay writes."""

    started: bool

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and headers."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a part of the body at once."""
        ...

    def send_now(self, data: bytes, begin: int) -> bool:
        """Send a part of the body without waiting, if that can be done; False leaves it unsent.

        ``begin`` is 0, or where the data begins in what is framed as a chunk of a chunked body (RFC 9112 §7.1).
        """
        ...

    async def finish(self, data: bytes = b"") -> None:
        """Send the last part and end the answer, when most of it has left this process."""
        ...

    def abort(self) -> None:
        """Cut the connection where the host can, so that the client sees a break."""
        ...


class Hook(Protocol):
    """Hears of every finished request. It must be quick and must not raise."""

    def __call__(self, record: RequestRecord) -> None:
        """Take one record."""
        ...


class ClientGone(Exception):
    """The client left; there is nobody to answer."""


class Board(Protocol):
    """Where replicas tell each other what became known of deployments. Without it, or when it is away, each learns
    for itself; nothing on a request's path waits for it but ``home``, and that not for long."""

    def publish(self, change: Change) -> None:
        """Tell the other replicas, at some time soon; never raises, never waits."""
        ...

    def remember(self, made: str, home: str) -> None:
        """Tell where a stateful id was made and for whom, in words that replicas share; never raises, never waits."""
        ...

    async def home(self, made: str) -> str | None:
        """Return what was told of a stateful id; None where nothing was, or that cannot be told soon."""
        ...

    def start(self) -> None:
        """Begin to hear of changes."""
        ...

    async def close(self) -> None:
        """Stop, after what was published has left or a second has passed."""
        ...
