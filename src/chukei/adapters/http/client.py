"""The connection pool: one list for each endpoint, most recently used first."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import cache, partial

from chukei.adapters.http.answer import SWITCHING_PROTOCOLS, HttpAnswer
from chukei.adapters.http.connection import Connection, State
from chukei.adapters.http.dial import Dialer, tls_context
from chukei.config import UpstreamSettings
from chukei.errors import UpstreamError
from chukei.metrics.definitions import UPSTREAM_CONNECTIONS
from chukei.metrics.snapshot import Reading
from chukei.model import Headers
from chukei.ports import Socket, SocketLimits

HANDSHAKE_SECONDS = 10.0
"""Seconds for the answer to a WebSocket's handshake. The ``websockets`` library has the same default, which includes
connecting."""


class _Endpoint:
    """The idle connections to one endpoint, and the dialer for new ones.

    ``idle`` has the time at which each is to be closed, the earliest first. One timer serves them all.
    """

    def __init__(self, dialer: Dialer) -> None:
        self.dialer = dialer
        self.idle: dict[Connection, float] = {}
        self.expiry: asyncio.TimerHandle | None = None
        self.open = 0


class HttpClient:
    """Implements the Upstream port over HTTP/1.1. ``dialled`` is told the endpoint and the seconds of each new
    connection."""

    def __init__(self, settings: UpstreamSettings, dialled: Callable[[str, float], None] | None = None) -> None:
        self._settings = settings
        self._dialled = dialled
        self._endpoints: dict[str, _Endpoint] = {}
        self._open: set[Connection] = set()
        self._closed = False
        self._together = [self]  # with those it has replaced, or that replace it

        @cache
        def context() -> ssl.SSLContext:
            return tls_context(settings.ca_file)

        self._tls = context

    def renewed(self, settings: UpstreamSettings) -> "HttpClient":
        """Return a client with other settings, which tells the same listener. Both have the readings of both."""
        made = HttpClient(settings, self._dialled)
        made._together = self._together
        self._together.append(made)
        return made

    @property
    def open_connections(self) -> int:
        """The number of open connections, including idle ones."""
        return len(self._open)

    def readings(self) -> Iterator[Reading]:
        """Yield the number of connections to each endpoint, busy and idle; equal ones are to be added up."""
        for client in self._together:
            for endpoint, place in client._endpoints.items():
                yield UPSTREAM_CONNECTIONS, (endpoint, "busy"), place.open - len(place.idle)
                yield UPSTREAM_CONNECTIONS, (endpoint, "idle"), len(place.idle)

    def request(
        self,
        method: str,
        endpoint: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        sent: Callable[[], None],
        length: int | None = None,
    ) -> Coroutine[None, None, HttpAnswer]:
        """See the Upstream port.

        If a reused connection breaks before the whole request was sent and before the first byte of an answer, the
        request is sent once more on a new connection. If it breaks later, the upstream may have processed the request,
        so it is never sent again (RFC 9110 §9.2.2). A body in parts gets a new connection, since it could not be sent a
        second time.
        """
        place = self._endpoints.get(endpoint) or self._add(endpoint)
        if isinstance(body, bytes):
            size = len(body) if body or method != "GET" else None
            return self._exchange(place, _head(method, place.dialer, target, headers, size), body, sent)
        if length is None:
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        return self._upload(place, _head(method, place.dialer, target, headers, length), body, sent, length)

    async def _upload(
        self,
        place: _Endpoint,
        head: bytes,
        body: AsyncIterator[bytes],
        sent: Callable[[], None],
        length: int | None,
    ) -> HttpAnswer:
        connection = await self._dial(place)
        answer = connection.send(head, b"")
        sent()
        try:
            from chukei.adapters.http.uploading import upload  # of a form that is passed on as it arrives

            await upload(connection, answer, body, length)
        except BaseException:
            answer.abort()
            raise
        return answer

    async def open_socket(
        self, endpoint: str, target: str, headers: Headers, subprotocols: Sequence[str], limits: SocketLimits
    ) -> Socket:
        """See the Upstream port. The connection is a new one, which goes through any proxy in a tunnel."""
        from chukei.adapters.websocket.connection import SocketConnection
        from chukei.adapters.websocket.handshake import check, overdue, propose, refused

        place = self._endpoints.get(endpoint) or self._add(endpoint)
        protocol, fields = propose(subprotocols, limits)
        connection = await self._dial(place, tunnel=True)
        answer = connection.send(
            _head("GET", place.dialer, target, [*headers, *fields], None, tunnel=True), b"", upgrades=True
        )
        try:
            try:
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    await answer.head()
            except TimeoutError:
                raise overdue(HANDSHAKE_SECONDS) from None
            if answer.status != SWITCHING_PROTOCOLS:
                raise await refused(answer, headers)
            check(protocol, answer.headers)
            return connection.hand_over(partial(SocketConnection, protocol, limits))
        except BaseException:
            answer.abort()
            raise

    async def _exchange(self, place: _Endpoint, head: bytes, body: bytes, sent: Callable[[], None]) -> HttpAnswer:
        broken = False
        while True:
            connection = self._take(place) if not broken else None
            reused = connection is not None
            if connection is None:
                connection = await self._dial(place)
            answer = connection.send(head, body)
            sent()
            try:
                await answer.head()
            except UpstreamError as error:
                answer.abort()
                broken = reused and error.fresh
                if not broken:
                    raise
                continue
            except BaseException:
                answer.abort()
                raise
            return answer

    def _add(self, endpoint: str) -> _Endpoint:
        settings = self._settings
        dialer = Dialer(endpoint, tls=self._tls, proxies=settings.proxies, seconds=settings.connect_seconds)
        place = self._endpoints[endpoint] = _Endpoint(dialer)
        return place

    def _take(self, place: _Endpoint) -> Connection | None:
        while place.idle:
            connection, _ = place.idle.popitem()
            if connection.state is not State.CLOSED and connection.is_quiet():
                return connection
            connection.abort()
        return None

    async def _dial(self, place: _Endpoint, *, tunnel: bool = False) -> Connection:
        factory = partial(Connection, partial(self._on_idle, place), partial(self._on_lost, place))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        connection = await place.dialer.dial(factory, tunnel=tunnel)
        if self._dialled is not None:
            self._dialled(place.dialer.host, loop.time() - begun)
        self._open.add(connection)
        place.open += 1
        if self._closed:
            connection.abort()
        return connection

    def _on_idle(self, place: _Endpoint, connection: Connection) -> None:
        if self._closed:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        place.idle[connection] = until = loop.time() + self._settings.keepalive_seconds
        if place.expiry is None:
            place.expiry = loop.call_at(until, self._expire, place)

    def _expire(self, place: _Endpoint) -> None:
        """Close the connections that were idle for too long, and wait for the next one's time."""
        place.expiry, loop = None, asyncio.get_running_loop()
        for connection, until in list(place.idle.items()):
            if until > loop.time():
                place.expiry = loop.call_at(until, self._expire, place)
                return
            connection.abort()

    def _on_lost(self, place: _Endpoint, connection: Connection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            place.open -= 1
        place.idle.pop(connection, None)

    async def close(self) -> None:
        """Close every connection, and let the event loop process that."""
        self._closed = True
        if self in self._together[:-1]:  # the newest one stays
            self._together.remove(self)
        for connection in list(self._open):
            connection.abort()
        for place in self._endpoints.values():
            if place.expiry is not None:
                place.expiry.cancel()
        await asyncio.sleep(0)

    def __repr__(self) -> str:
        idle = sum(len(place.idle) for place in self._endpoints.values())
        return f"<HttpClient {len(self._open)} open, {idle} idle>"


def _head(
    method: str, dialer: Dialer, target: str, headers: Headers, length: int | None, *, tunnel: bool = False
) -> bytes:
    absolute, for_proxy = ("", []) if tunnel else (dialer.absolute, dialer.headers)
    first = f"{method} {absolute}{dialer.prefix}{target} HTTP/1.1\r\nhost: ".encode()
    fields = [name + b": " + value for name, value in (*headers, *for_proxy)]
    fields.append(b"accept-encoding: identity")
    if length is not None:
        fields.append(b"content-length: %d" % length)
    return first + dialer.authority + b"\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"
