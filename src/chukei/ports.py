"""Protocols between the path of a request and the outside.

Adapters implement the upstream side, hosts the client's side, tests both.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

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


class Frame(NamedTuple):
    """A data frame of a WebSocket (RFC 6455 §5.2).

    ``opcode`` is 1 (text) or 2 (binary) in the first frame of a message and 0 in its further ones; ``final`` marks the
    last one. ``data`` is the unmasked payload.
    """

    opcode: int
    data: bytes
    final: bool = True


class SocketLimits(NamedTuple):
    """The limits of one WebSocket. The adapter enforces them.

    A frame or a message of the peer that is larger ends the socket with code 1009. A ping is sent every
    ``ping_seconds``; without its pong within ``pong_seconds`` the socket is broken. So it is after ``write_seconds`` in
    which the peer has read nothing of what waits for it. A peer has ``close_seconds`` to answer a close.
    """

    frame_bytes: int
    message_bytes: int
    ping_seconds: float
    pong_seconds: float
    write_seconds: float
    close_seconds: float


class Socket(Protocol):
    """This side's end of an open WebSocket.

    Frames pass as they came: a message in several frames is not joined. The adapter masks and unmasks, answers pings,
    and checks what the peer sends: its framing (else code 1002), the UTF-8 of its text (1007), its sizes (1009).

    ``code`` is None while the socket is open. Then it is the code of the peer's close, 1005 if that had none; or that
    of this side's own close; or 1006 if the connection broke. ``reason`` comes with the code.
    """

    subprotocol: str | None
    code: int | None
    reason: str

    async def receive(self) -> Frame | None:
        """Wait for the next frame; None once the socket is closed and every frame before that was returned."""
        ...

    def divert(self, taker: Callable[[Frame], bool] | None) -> None:
        """Pass further frames to ``taker``, without waking a task; None stops that.

        A frame for which the taker returns False, and those after it, wait for ``receive``. The taker gets frames again
        when ``receive`` waits for one.
        """
        ...

    async def send(self, frame: Frame) -> None:
        """Send a frame. Wait while the peer reads too slowly. On a socket that is closed it has no effect."""
        ...

    def send_now(self, frame: Frame) -> bool:
        """Send a frame without waiting; return False if it was not sent, since ``send`` would have to wait."""
        ...

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a code and a reason, and wait for the peer's answer. Later calls only wait.

        1005, 1006 and 1015, which may not be sent (RFC 6455 §7.4.1), close without a code. A reason that is too long is
        cut.
        """
        ...

    def abort(self) -> None:
        """Break the connection at once."""
        ...


class Upstream(Protocol):
    """A client of Azure OpenAI."""

    async def request(
        self,
        method: str,
        endpoint: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        sent: Callable[[], None],
        length: int | None = None,
    ) -> Answer:
        """Send a request and wait for the answer's headers. Cancellation closes the connection.

        ``sent`` is called when the request is on its way: from then on it may be billed. A ``body`` may be given as its
        parts. The next one is taken when the last one has been handed to the network, and no further one once the
        answer has begun. ``length`` is their sum, or None if it is unknown.

        Raises:
            UpstreamError: no usable answer came.
            RelayError, ClientGone: whatever the parts raise.
        """
        ...

    async def open_socket(
        self, endpoint: str, target: str, headers: Headers, subprotocols: Sequence[str], limits: SocketLimits
    ) -> Socket:
        """Open a WebSocket. Cancellation closes the connection.

        Raises:
            UpstreamError: the upstream could not be reached, or refused, with the same error as for a POST.
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
    host knows it, or empty. ``upgrades`` says that this is a WebSocket's handshake which ``Reply.upgrade`` can accept.
    """

    method: str
    raw_path: str
    query: str
    http_version: str
    headers: Headers
    local: bool
    source: str
    upgrades: bool

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        """Return the whole body. ``arrived`` is called with the size so far; an exception from it ends the reading.

        Raises:
            CallerError: 413 above ``limit`` bytes, 408 if it arrives too slowly; a small body may take ``seconds``.
            ClientGone: the client disconnected before the body was complete.
        """
        ...

    def parts(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """Return the body as it arrives, instead of ``body``. While no part is asked for, the client must wait.

        Raises:
            CallerError, ClientGone: as for ``body``. Only the time that is spent waiting for the client counts.
        """
        ...

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone`` once when the client disconnects. Allowed only after the body was read, or its parts left."""
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

    async def upgrade(self, subprotocol: str | None, headers: Headers, limits: SocketLimits) -> Socket:
        """Answer a WebSocket's handshake with 101, instead of ``start``.

        The caller ends the socket. When the request's task has ended, an open socket is broken. From here on ``watch``
        tells nothing: the socket itself tells that the client has disconnected.

        Raises:
            CallerError: 400 if the handshake is malformed, 426 if its version is not 13. Nothing was sent.
            ClientGone: the client has disconnected.
        """
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

    def take(self, wanted: int) -> int:
        """Reserve memory for what may be recorded later; return how many of the bytes there are."""
        ...

    def release(self, size: int) -> None:
        """Return memory that was reserved by ``take``."""
        ...

    def note(self, record: RequestRecord, asked: bytes, answered: bytes) -> Hook:
        """Record what came by no request: a turn of a realtime session. Return what to call when it has ended.

        ``asked`` and ``answered`` are JSON, or empty.
        """
        ...


class ClientGone(Exception):
    """The client disconnected, so no answer can be sent."""


class Board(Protocol):
    """Shares changes of deployments between replicas. Without a board, or while it is unavailable, each replica learns
    by itself. No request waits for it."""

    def publish(self, change: Change) -> None:
        """Publish a change to the other replicas in the background. Never raises, never waits."""
        ...

    def follow(self, subjects: Iterable[str]) -> None:
        """Receive the changes of other subjects from now on."""
        ...

    def start(self) -> None:
        """Start to receive changes."""
        ...

    async def close(self) -> None:
        """Send pending publications, for a second at most, and stop."""
        ...


class HoldStore(Protocol):
    """Keeps short texts for other replicas, each for a time: what belongs to an ephemeral key or to a call."""

    def hold(self, name: str, text: str, seconds: float) -> None:
        """Store a text under a name for some seconds. Never raises, never waits."""
        ...

    def release(self, name: str) -> None:
        """Forget a text. Never raises, never waits."""
        ...

    async def held(self, name: str) -> str | None:
        """Return a text; None if there is none, or its time is over.

        Raises:
            StoreAway: (``accounts.stores``) the store cannot be asked, or is too slow.
        """
        ...


class Peers(Protocol):
    """The worker processes that serve the same socket, this one included. With one process: itself."""

    def answer(self, subject: str, handler: Callable[[bytes], bytes], *, last: bool = False) -> None:
        """Register the handler of a subject. It must be fast. ``last``: its answer outlives an ended worker."""
        ...

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        """Return each worker's answer on a subject, and what ended workers left. Late answers are left out."""
        ...
