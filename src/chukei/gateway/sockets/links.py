"""The sockets of one session to its upstreams. A request goes out as a message, and its events come back as a stream.

There is one socket for each endpoint, opened for the first request that goes there. Later requests use the same one,
since the service keeps the last response of a connection in its memory, also with ``store: false``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Protocol

from chukei.errors import UpstreamError
from chukei.gateway.sockets.session import NORMAL, TEXT, next_message
from chukei.gateway.sockets.socket_answer import SocketAnswer, read
from chukei.model import Headers
from chukei.ports import Answer, Frame, Socket, SocketLimits, Upstream
from chukei.request.fields import Fields
from chukei.upstream.refusals import failure

TARGET = "/openai/v1/responses"
"""Only v1 has the WebSocket mode (Microsoft: "Use the Responses API in WebSocket mode")."""

NO_SOCKETS = frozenset({404, 405, 426, 501})
"""Statuses of a resource, or of a gateway before it, that does not serve this WebSocket."""

TOO_BIG = 1009
"""The code of a close for a message that the resource finds too large (RFC 6455 §7.4.1); a POST may have more."""

_BLOCKED = frozenset({"upstream_timeout", "unexpected_status", "unexpected_answer"})
"""Codes of handshakes that a proxy on the way did not understand: nothing was sent, and a POST may pass."""

_ONLY_SOCKETS = ("type", "stream_id", "generate")

_HTTP_ONLY = frozenset({b"content-type", b"accept"})


class _Link:
    """One socket to an endpoint. ``stray`` gets the messages that belong to no request."""

    def __init__(self, socket: Socket, stray: Callable[[bytes], None]) -> None:
        self.socket = socket
        self._stray = stray
        self._lanes: dict[str | None, SocketAnswer] = {}
        self.pump = asyncio.create_task(self._pump())
        socket.divert(self._take)

    @property
    def open(self) -> bool:
        """Whether requests may still be sent."""
        return self.socket.code is None and not self.pump.done()

    def begin(self, lane: str | None) -> SocketAnswer:
        """Return the answer to the request that is sent next."""
        answer = self._lanes[lane] = SocketAnswer(partial(self.release, lane), self.socket.abort)
        return answer

    def release(self, lane: str | None, answer: SocketAnswer) -> None:
        """Forget a request whose answer is over."""
        if self._lanes.get(lane) is answer:
            del self._lanes[lane]

    def _take(self, frame: Frame) -> bool:
        if frame.opcode != TEXT or not frame.final or len(self._lanes) != 1:
            return False
        (answer,) = self._lanes.values()
        return answer.take(frame.data)

    async def _pump(self) -> None:
        """Give each message to the request that it belongs to, until the socket is closed."""
        try:
            while (message := await next_message(self.socket)) is not None:
                answer = self._of(message[1])
                if answer is not None:
                    await answer.arrive(message[1])
                else:
                    self._stray(message[1])
        finally:
            for answer in [*self._lanes.values()]:
                text = "The upstream closed its WebSocket before the response was complete."
                answer.broke(failure("upstream_lost", text))

    def _of(self, message: bytes) -> SocketAnswer | None:
        if len(self._lanes) < 2:
            return next(iter(self._lanes.values()), None)
        return self._lanes.get(read(message).stream_id)


class OpenSocket(Protocol):
    """Opens a socket to an endpoint, as the Upstream port does."""

    async def __call__(
        self, endpoint: str, target: str, headers: Headers, subprotocols: Sequence[str], limits: SocketLimits
    ) -> Socket:
        """See ``Upstream.open_socket``."""
        ...


class Links:
    """The sockets of one session, by endpoint. ``stray`` gets what an upstream says between the requests."""

    def __init__(self, limits: SocketLimits, stray: Callable[[bytes], None]) -> None:
        self._limits = limits
        self._stray = stray
        self._links: dict[str, _Link] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self.without: set[str] = set()  # endpoints that do not serve this WebSocket

    def through(self, upstream: Upstream, lane: str | None) -> Upstream:
        """Return the upstream that sends one request by these sockets. ``upstream`` opens those that are missing."""
        return _TurnUpstream(self, upstream, lane)

    async def link(self, endpoint: str, headers: Headers, open_socket: OpenSocket) -> _Link:
        """Return the socket to an endpoint, and open it if there is none.

        Raises:
            UpstreamError: it could not be opened.
        """
        async with self._opening.setdefault(endpoint, asyncio.Lock()):
            link = self._links.get(endpoint)
            if link is None or not link.open:
                fields = [field for field in headers if field[0] not in _HTTP_ONLY]
                socket = await open_socket(endpoint, TARGET, fields, (), self._limits)
                link = self._links[endpoint] = _Link(socket, self._stray)
            return link

    async def close(self) -> None:
        """Close all sockets."""
        closing = [asyncio.ensure_future(link.socket.close(NORMAL)) for link in self._links.values()]
        if closing:
            await asyncio.wait(closing, timeout=self._limits.close_seconds)
        for link in self._links.values():
            link.socket.abort()
            link.pump.cancel()


def _by_http(body: bytes) -> bytes:
    """Return a message's request as the body of a POST; unchanged if it only prepares one, which HTTP cannot do."""
    fields = Fields(body)
    if fields.flag("generate") is False:
        return body
    for name in _ONLY_SOCKETS:
        fields.remove(name)
    fields.set("stream", b"true")
    return fields.bytes()


class _TurnUpstream:
    """Implements the Upstream port for one request of a session."""

    def __init__(self, links: Links, upstream: Upstream, lane: str | None) -> None:
        self._links = links
        self._upstream = upstream
        self._lane = lane

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
        """See the Upstream port. A resource without WebSockets gets the request by HTTP."""
        links = self._links
        assert isinstance(body, bytes)  # a message
        plain = _by_http(body) if endpoint in links.without else body
        if plain is not body:
            return await self._upstream.request(method, endpoint, target, headers, plain, sent)
        try:
            link = await links.link(endpoint, headers, self._upstream.open_socket)
        except UpstreamError as error:
            if error.status not in NO_SOCKETS and error.code not in _BLOCKED:
                raise
            links.without.add(endpoint)
            if (plain := _by_http(body)) is body:
                raise
            return await self._upstream.request(method, endpoint, target, headers, plain, sent)
        answer = link.begin(self._lane)
        try:
            sent()
            await link.socket.send(Frame(TEXT, body))
            await answer.begun()
        except BaseException:
            answer.abort()
            if link.socket.code != TOO_BIG or (plain := _by_http(body)) is body:
                raise
        else:
            return answer
        return await self._upstream.request(method, endpoint, target, headers, plain, sent)

    async def open_socket(
        self, endpoint: str, target: str, headers: Headers, subprotocols: Sequence[str], limits: SocketLimits
    ) -> Socket:
        """See the Upstream port."""
        return await self._upstream.open_socket(endpoint, target, headers, subprotocols, limits)

    async def close(self) -> None:
        """See the Upstream port."""
        await self._links.close()
