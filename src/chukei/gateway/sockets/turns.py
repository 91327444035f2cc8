"""One request of a session in WebSocket mode, in the form in which the path of HTTP requests serves it."""

from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from chukei.errors import CallerError
from chukei.gateway.sockets.session import TEXT, error_event
from chukei.model import Headers
from chukei.ports import Frame, Incoming, Socket, SocketLimits

_NOT_PASSED = frozenset(
    {
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"connection",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"origin",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)
_TOLD = (b"retry-after", b"retry-after-ms", b"x-should-retry", b"x-request-id")
_LIMITS = b"x-ratelimit-"
_DATA = b"data: "
_END = b"\n\n"


class TurnIncoming:
    """Implements the Incoming port for a message that creates a response. ``left`` is the session's end."""

    method = "POST"
    http_version = "1.1"
    upgrades = False

    def __init__(self, handshake: Incoming, message: bytes, request_id: str, query: str) -> None:
        self.raw_path, self.query = handshake.raw_path, query
        self.local, self.source = handshake.local, handshake.source
        kept = [field for field in handshake.headers if field[0] not in _NOT_PASSED and field[0][:4] != b"sec-"]
        self.headers: Headers = [
            *kept,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(message)).encode()),
            (b"x-request-id", request_id.encode()),
        ]
        self._message = message
        self._gone: Callable[[], None] | None = None

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        """See the Incoming port. The message has arrived already."""
        if len(self._message) > limit:
            raise CallerError(413, "request_too_large", f"The message is larger than {limit} bytes.")
        arrived(len(self._message))
        return self._message

    async def parts(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """See the Incoming port. There is one part."""
        yield await self.body(limit, seconds)

    def watch(self, gone: Callable[[], None]) -> None:
        """See the Incoming port."""
        self._gone = gone

    def unwatch(self) -> None:
        """See the Incoming port."""
        self._gone = None

    def left(self) -> None:
        """Say that the client has left."""
        if self._gone is not None:
            self._gone()


class TurnReply:
    """Implements the Reply port on a session's socket. Events become messages, and an error status becomes an event.

    ``lane`` is the ``stream_id`` of the request, which its events repeat.
    """

    def __init__(self, socket: Socket, lane: str | None) -> None:
        self.started = False
        self._socket = socket
        self._lane = lane
        self._status = 200
        self._headers: Headers = []

    async def start(self, status: int, headers: Headers) -> None:
        """See the Reply port."""
        self.started, self._status, self._headers = True, status, headers

    async def send(self, data: bytes) -> None:
        """See the Reply port."""
        if self._status != 200:
            await self._socket.send(Frame(TEXT, self._refusal(data)))
            return
        for event, ours in _events(data):
            await self._socket.send(Frame(TEXT, self._marked(event) if ours else event))

    def send_now(self, data: bytes, begin: int) -> bool:
        """See the Reply port. One event of the upstream is sent; anything else takes the usual path."""
        if begin or not data.startswith(_DATA) or data.find(_END) != len(data) - len(_END):
            return False
        return self._socket.send_now(Frame(TEXT, data[len(_DATA) : -len(_END)]))

    async def finish(self, data: bytes = b"") -> None:
        """See the Reply port."""
        if data:
            await self.send(data)

    async def upgrade(self, subprotocol: str | None, headers: Headers, limits: SocketLimits) -> Socket:
        """See the Reply port. A turn is no handshake."""
        raise NotImplementedError

    def abort(self) -> None:
        """See the Reply port. The client left, or does not read: the whole session is over."""
        self._socket.abort()

    def _refusal(self, body: bytes) -> bytes:
        error = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["error"]
        told = {
            name.decode(): value.decode("latin-1")
            for name, value in self._headers
            if name in _TOLD or name.startswith(_LIMITS)
        }
        more: dict[str, object] = {"headers": told} if told else {}
        if self._lane is not None:
            more["stream_id"] = self._lane
        return error_event(self._status, msgspec.json.decode(error), **more)

    def _marked(self, event: bytes) -> bytes:
        """Return an event of the relay's own, which the request's lane is added to."""
        if self._lane is None:
            return event
        return b'{"stream_id":' + msgspec.json.encode(self._lane) + b"," + event[1:]


def _events(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the JSON of each event, and whether it has a name: then the relay made it, or it came by HTTP.

    Comments are left out, also those inside an event, and lines end as the upstream ends them.
    """
    parts: list[bytes] = []
    named = False
    for line in (*data.splitlines(), b""):
        if line.startswith(b"data:"):
            parts.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            named = True
        elif not line:
            if parts:
                yield b"\n".join(parts), named
            parts, named = [], False
