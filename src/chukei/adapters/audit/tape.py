"""Records a request beside its path: wraps the client's request and the answer to it, and keeps their first bytes."""

from collections.abc import AsyncIterator, Callable

from chukei.adapters.audit.entry import Content
from chukei.azure import OPERATIONS, REALTIME, RESPONSES, TRANSCRIPTION_IN_SESSION
from chukei.model import Headers, header
from chukei.ports import Incoming, Reply, Socket, SocketLimits
from chukei.record import RequestRecord
from chukei.request.object_routes import ROUTES

_RECORDED = frozenset(
    {
        *(operation.name for operation in OPERATIONS.values()),
        *(route.name for route in ROUTES if not route.reads),
        "response_get",  # the answer of a response in the background
        REALTIME.name,
        TRANSCRIPTION_IN_SESSION,
        f"{RESPONSES.name}_socket",
        f"{REALTIME.name}_socket",
        "realtime_call",
    }
)

LINE_END = 2
"""Bytes of the line end that closes a chunk of a chunked body."""


class Tape:
    """What is kept of one request.

    ``take`` reserves memory: it is told how many bytes are wanted and returns how many there are. ``wanted`` says
    whether the request of a known caller is to be recorded.
    """

    __slots__ = (
        "_most",
        "_take",
        "_wanted",
        "answer",
        "answer_size",
        "answer_type",
        "flowed",
        "on",
        "record",
        "request",
    )

    def __init__(
        self,
        record: RequestRecord,
        *,
        most: int,
        take: Callable[[int], int],
        wanted: Callable[[RequestRecord], bool],
    ) -> None:
        self.record = record
        self.on = False
        self.request = Content(b"", 0, "")
        self.flowed = 0  # bytes of a body in parts, which are not kept
        self.answer = bytearray()
        self.answer_size = 0
        self.answer_type = ""
        self._most = most
        self._take = take
        self._wanted = wanted

    def begin(self, body: bytes, headers: Headers) -> None:
        """Record a request whose body has been read, if it is one for a model, or one that changes an object."""
        if self.record.operation not in _RECORDED or not self._wanted(self.record):
            return
        self.on = True
        kept = self._take(min(len(body), self._most))
        coding = (header(headers, b"content-encoding") or b"").strip().lower().removeprefix(b"x-").decode("latin-1")
        self.request = Content(
            body if kept == len(body) else body[:kept],
            len(body),
            _media_type(headers),
            coding if coding in ("gzip", "deflate") else None,
            kept < len(body),
        )

    def hear(self, data: bytes, begin: int = 0, end: int | None = None) -> None:
        """Record a part of the answer's body."""
        size = (len(data) if end is None else end) - begin
        self.answer_size += size
        room = min(size, self._most - len(self.answer))
        if room > 0:
            kept = self._take(room)
            self.answer += data[begin : begin + kept]

    @property
    def held(self) -> int:
        """Bytes of memory that were reserved."""
        return len(self.request.kept) + len(self.answer)


class TapedIncoming:
    """Implements the Incoming port for another one, and records the body."""

    def __init__(self, incoming: Incoming, tape: Tape) -> None:
        self.method = incoming.method
        self.raw_path = incoming.raw_path
        self.query = incoming.query
        self.http_version = incoming.http_version
        self.headers = incoming.headers
        self.local = incoming.local
        self.source = incoming.source
        self.upgrades = incoming.upgrades
        self.watch = incoming.watch
        self.unwatch = incoming.unwatch
        self._incoming = incoming
        self._tape = tape

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        """See the Incoming port."""
        body = await self._incoming.body(limit, seconds, arrived)
        self._tape.begin(body, self.headers)
        return body

    def parts(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """See the Incoming port. Of a body in parts the size is recorded: it is a form with a file."""
        self._tape.begin(b"", self.headers)
        return self._counted(self._incoming.parts(limit, seconds))

    async def _counted(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            self._tape.flowed += len(part)
            yield part


class TapedReply:
    """Implements the Reply port for another one, and records the answer.

    A part is recorded when it is handed to the connection. So what is recorded may go beyond what a client that left
    has received, but not the other way round. Of a socket its opening is recorded; its turns are records of their own.
    """

    def __init__(self, reply: Reply, tape: Tape) -> None:
        self.abort = reply.abort
        self._reply = reply
        self._tape = tape

    @property
    def started(self) -> bool:
        """See the Reply port."""
        return self._reply.started

    @started.setter
    def started(self, value: bool) -> None:
        self._reply.started = value

    async def upgrade(self, subprotocol: str | None, headers: Headers, limits: SocketLimits) -> Socket:
        """See the Reply port."""
        socket = await self._reply.upgrade(subprotocol, headers, limits)
        self._tape.begin(b"", [])
        return socket

    async def start(self, status: int, headers: Headers) -> None:
        """See the Reply port."""
        self._tape.answer_type = _media_type(headers)
        await self._reply.start(status, headers)

    async def send(self, data: bytes) -> None:
        """See the Reply port."""
        if self._tape.on:
            self._tape.hear(data)
        await self._reply.send(data)

    def send_now(self, data: bytes, begin: int) -> bool:
        """See the Reply port."""
        sent = self._reply.send_now(data, begin)
        if sent and self._tape.on:
            self._tape.hear(data, begin, len(data) - LINE_END if begin else None)
        return sent

    async def finish(self, data: bytes = b"") -> None:
        """See the Reply port."""
        if self._tape.on:
            self._tape.hear(data)
        await self._reply.finish(data)


def _media_type(headers: Headers) -> str:
    return (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower().decode("latin-1")
