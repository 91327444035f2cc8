"""The relay as an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html), without a framework.

It starts with the server's lifespan if there is one, otherwise on the first request.
"""

import asyncio
import ipaddress
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Protocol

from chukei.accounts.stores import Database
from chukei.adapters.logs.levels import LEVELS
from chukei.config import ConfigError, Settings, SimulatorSection, load
from chukei.config.changes import refuse_empty
from chukei.errors import CallerError
from chukei.hosts.body import SLOWEST_UPLOAD, UPLOADS, BodyParts, check_length, too_large, too_slow
from chukei.hosts.reloading import Reloads, Source
from chukei.hosts.workers.peers import Alone
from chukei.metrics.definitions import CLIENT_CONNECTIONS
from chukei.metrics.snapshot import Reading
from chukei.model import Headers, header
from chukei.ports import ClientGone, Hook, Incoming, Peers, Reply, Socket, SocketLimits
from chukei.record import RequestRecord
from chukei.wiring.build import Relay, build
from chukei.wiring.verification import verify

WORTH_WAITING = 16 * 1024
"""Size in bytes of an answer's last part above which the answer ends only after the client has read most of it."""

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """One relay for one event loop. ``hooks`` are called for every finished request.

    ``source`` reads the configuration again for a reload; without it the settings stay. ``announce`` is told settings
    that a reload has put in force.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        behind_platform: bool = False,
        hooks: Sequence[Hook] = (),
        database: Database | None = None,
        peers: Peers | None = None,
        source: Source | None = None,
        announce: Callable[[Settings], None] | None = None,
    ) -> None:
        if behind_platform:  # its disk is lost with the instance
            settings = replace(settings, stores=replace(settings.stores, ledger_by_default=False))
        self.settings = settings
        self._hooks = hooks
        self._database = database
        self.peers: Peers = peers or Alone()
        self.reloads = Reloads(self, source, announce)
        self._behind_platform = behind_platform
        self._relay: Relay | None = None
        self._simulator: Any = None
        self._starting = asyncio.Lock()
        self._joining: asyncio.Task[None] | None = None
        self._drained: list[Callable[[], None]] = []
        self.leaving = False
        self.stopped = 0  # requests that were ended before they were complete
        self.connections = 0  # of clients, counted by the relay's own protocol only

    @property
    def relay(self) -> Relay | None:
        """The running relay, for hosts that shut it down and for tests that inspect it."""
        return self._relay

    @property
    def simulator(self) -> Any:
        """The built-in simulator while it runs."""
        return self._simulator

    async def start(self) -> Relay:
        """Start the relay, and the simulator if nothing is configured. Later calls have no effect."""
        async with self._starting:
            if self._relay is None:
                self._simulator, settings = await self.with_simulator(self.settings)
                reload = partial(self.reloads.reload, "an administrator")
                self._relay = build(settings, self._hooks, self.peers, self._database, reload)
                if self._relay.meter is not None:
                    self._relay.meter.watch(self._readings)
                self._relay.start()
                self.reloads.start()
            return self._relay

    async def with_simulator(self, settings: Settings) -> tuple[Any, Settings]:
        """Return the simulator for the settings, and the settings with its address. A running one is used again."""
        if not settings.simulated:
            return None, settings
        from chukei.hosts.simulated import simulator_for, with_simulator

        if self._simulator is not None and settings.simulator == self.settings.simulator:
            return self._simulator, with_simulator(settings, self._simulator.url)
        simulator = simulator_for(settings.simulator)
        return simulator, with_simulator(settings, await simulator.start())

    def join(self) -> None:
        """Take over what the other workers were told while they ran. From now on they can be asked."""
        self._joining = asyncio.create_task(LEVELS.join(self.peers))

    def _readings(self) -> list[Reading]:
        return [(CLIENT_CONNECTIONS, (), self.connections)] if self.connections else []

    def replace(self, settings: Settings, relay: Relay, simulator: Any) -> None:
        """Serve further requests with another relay."""
        self.settings, self._relay, self._simulator = settings, relay, simulator

    def leave(self, *, ready: bool) -> None:
        """Announce in each answer that begins now that its connection ends. Unless ``ready``, readiness says no."""
        self.leaving = True
        if self._relay is not None and not ready:
            self._relay.gateway.leave()

    def drain(self) -> None:
        """Refuse new requests, and stop running ones after the grace period."""
        self.leaving = True
        relay = self._relay
        if relay is not None and not relay.gateway.draining:
            relay.gateway.drain()
            asyncio.get_running_loop().call_later(self.settings.server.grace_seconds, self.stop_all)

    def stop_all(self) -> None:
        """Stop running requests at once."""
        self.leaving = True
        if self._relay is not None:
            self._relay.gateway.drain()
            self.stopped += self._relay.gateway.stop_all()

    @property
    def running(self) -> int:
        """How many requests are being served."""
        return self._relay.gateway.live if self._relay is not None else 0

    def when_drained(self, then: Callable[[], None]) -> None:
        """Call ``then`` when no request is running; at once if none is."""
        if self._relay is None or not self._relay.gateway.live:
            then()
        else:
            self._drained.append(then)

    def _check_drained(self, relay: Relay) -> None:
        if relay.gateway.draining and not relay.gateway.live:
            waiting, self._drained = self._drained, []
            for then in waiting:
                then()

    async def stop(self) -> None:
        """Close the relay and the simulator."""
        await self.reloads.close()
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.close()
        if self._simulator is not None:
            await self._simulator.stop()
            self._simulator = None

    async def serve(self, incoming: Incoming, reply: Reply) -> None:
        """Serve one request of any host."""
        relay = self._relay or await self.start()
        try:
            await relay.gateway.handle(incoming, reply)
        finally:
            self._check_drained(relay)
            if relay is not self._relay:
                self.reloads.ended(relay)

    def refused(self, error: CallerError, request_id: str) -> None:
        """Count a request that the host refused because it was malformed."""
        if self._relay is not None:
            record = RequestRecord(request_id, "", "", status=error.status, end=error.end, code=error.code)
            self._relay.gateway.account(record)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            request = AsgiRequest(scope, receive, behind_platform=self._behind_platform)
            await self.serve(request, AsgiReply(send, request))
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            # A handshake is a GET and is answered as one: with 426 if the path has an operation.
            request = AsgiRequest({**scope, "method": "GET"}, receive, behind_platform=self._behind_platform)
            await self.serve(request, AsgiReply(_denial(scope, send), request))
        else:
            raise RuntimeError(f"the relay does not speak {scope['type']}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _denial(scope: Scope, send: Send) -> Send:
    """Return a ``send`` that answers a WebSocket handshake with HTTP (ASGI, "Websocket Denial Response").

    A server without that extension refuses the handshake with a status of its own.
    """
    answers = "websocket.http.response" in (scope.get("extensions") or {})

    async def deny(message: dict[str, Any]) -> None:
        if answers:
            await send({**message, "type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            await send({"type": "websocket.close"})

    return deny


class Workers(Protocol):
    """The processes that serve the same socket. ``kept`` are pickled settings that the others have in force."""

    peers: Peers
    kept: bytes | None

    def in_force(self, settings: Settings) -> None:
        """Take settings for workers that start later. Any thread may call this."""
        ...


def from_environment(
    *, behind_platform: bool = False, environment: Mapping[str, str] | None = None, workers: Workers | None = None
) -> Application:
    """Return the application that the environment configures.

    ``behind_platform`` says that a loopback peer is the platform's front end and not a local user. A worker that takes
    the place of one that has died starts with the settings of the others if the configuration has mistakes.

    Raises:
        ConfigError: lists every mistake in the configuration.
    """
    source = partial(checked_settings, None, environment, behind_platform=behind_platform)
    if workers is None:
        return Application(source(), behind_platform=behind_platform, source=source)
    refused: ConfigError | None = None
    try:
        settings = source()
        if workers.kept is not None:
            refuse_empty(settings)
        workers.in_force(settings)
    except ConfigError as error:
        if workers.kept is None:
            raise
        import pickle  # seldom needed, and not at all on other hosts

        settings = pickle.loads(workers.kept)  # noqa: S301 - another process of this relay made it
        refused = error
        text = "the configuration is refused, and a new worker starts with the one in force: %s"
        logger.error(text, "; ".join(map(str, error.problems)))  # noqa: TRY400 - an operator's mistake, with all reasons
    application = Application(settings, peers=workers.peers, source=source, announce=workers.in_force)
    if refused is not None:
        application.reloads.refuse(refused)
    return application


def checked_settings(
    path: str | None, environment: Mapping[str, str] | None = None, *, behind_platform: bool = False
) -> Settings:
    """Load the configuration and verify all that needs no network: certificates, libraries, simulated faults.

    Raises:
        ConfigError: lists every mistake.
    """
    settings = load(path, os.environ if environment is None else environment)
    problems = verify(settings, behind_platform=behind_platform)
    if settings.simulated or settings.simulator != SimulatorSection():
        from chukei.hosts.simulated import problems_of

        problems += problems_of(settings.simulator)
    if problems:
        raise ConfigError(problems, files=settings.files)
    return settings


class AsgiRequest:
    """Implements the Incoming port. No server's WebSockets are used, since ASGI joins the frames of a message."""

    upgrades = False

    def __init__(self, scope: Scope, receive: Receive, *, behind_platform: bool) -> None:
        self.method: str = scope["method"]
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.raw_path = raw_path.partition(b"?")[0].decode("latin-1")
        self.query: str = scope["query_string"].decode("latin-1")
        self.http_version: str = scope["http_version"]
        self.headers: Headers = scope["headers"]
        client: tuple[str, int] | None = scope.get("client")
        # By default nginx uses HTTP/1.0 towards its upstream; a client on this machine does not.
        direct = not behind_platform and self.http_version != "1.0"
        self.local = direct and client is not None and is_loopback(client[0])
        peer = client[0] if client is not None else ""
        self.source = (_platform_client(self.headers) or peer) if behind_platform else peer
        self.gone = False
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._left: Callable[[], None] | None = None

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        """See the Incoming port. The time limit grows with the bytes received, so only slow senders reach it."""
        check_length(self.headers, limit)
        parts = BodyParts()
        size = 0
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                async with asyncio.timeout_at(deadline + size / SLOWEST_UPLOAD):
                    message = await self._receive()
            except TimeoutError:
                raise too_slow(size, seconds) from None
            if message["type"] == "http.disconnect":
                self.gone = True
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise too_large(limit)
            arrived(size)
            parts.add(part)
            if not message.get("more_body", False):
                return parts.take()

    async def parts(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """See the Incoming port. The server pauses the client while ``receive`` is not called."""
        check_length(self.headers, limit, UPLOADS)
        loop = asyncio.get_running_loop()
        patience, size, more = seconds, 0, True
        while more:
            begun = loop.time()
            try:
                async with asyncio.timeout(patience + size / SLOWEST_UPLOAD):
                    message = await self._receive()
            except TimeoutError:
                raise too_slow(size, seconds) from None
            patience -= loop.time() - begun
            if message["type"] == "http.disconnect":
                self.gone = True
                raise ClientGone
            part: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(part)
            if size > limit:
                raise too_large(limit, UPLOADS)
            if part:
                yield part

    def watch(self, gone: Callable[[], None]) -> None:
        """See the Incoming port. With most servers only ``receive`` reports a disconnect, ``send`` does not."""
        self._left = gone
        if self.gone:
            gone()
        else:
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.leave()
                return

    def leave(self) -> None:
        """Record that the client has disconnected, and notify the watcher once."""
        self.gone = True
        left, self._left = self._left, None
        if left is not None:
            left()

    def unwatch(self) -> None:
        """See the Incoming port."""
        self._left = None
        if self._watcher is not None:
            self._watcher.cancel()


class AsgiReply:
    """Implements the Reply port. After a disconnect data is dropped, as the port says.

    Servers may raise OSError for it (ASGI HTTP specification 2.4), and some raise errors of their own.
    """

    __slots__ = ("_request", "_server_send", "started")

    def __init__(self, send: Send, request: AsgiRequest) -> None:
        self._server_send = send
        self._request = request
        self.started = False

    async def _send(self, message: dict[str, Any]) -> None:
        if self._request.gone:
            return
        try:
            await self._server_send(message)
        except OSError:
            self._request.gone = True
            # Not at once: this is the request's own task, and the cancellation would come after its end.
            asyncio.get_running_loop().call_soon(self._request.leave)
        except Exception:
            if not self._request.gone:
                raise

    async def start(self, status: int, headers: Headers) -> None:
        """See the Reply port."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, data: bytes) -> None:
        """See the Reply port."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def send_now(self, data: bytes, begin: int) -> bool:
        """See the Reply port. ASGI does not support it."""
        return False

    async def finish(self, data: bytes = b"") -> None:
        """See the Reply port."""
        if len(data) > WORTH_WAITING:  # a server waits for a slow client only before the next part
            await self.send(data)
            data = b""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def upgrade(self, subprotocol: str | None, headers: Headers, limits: SocketLimits) -> Socket:
        """See the Reply port. Not called, since no request has ``upgrades``."""
        raise RuntimeError("this host has no sockets")

    def abort(self) -> None:
        """See the Reply port. The server closes the connection if its application leaves a body unfinished."""


def _platform_client(headers: Headers) -> str:
    """Return the address of the platform's client; empty if it is not given.

    App Service's front end, which also serves Functions, overwrites a client's own ``Client-IP``
    (https://github.com/Azure/app-service-linux-docs, Things_You_Should_Know/headers.md). It appends the same address to
    ``X-Forwarded-For``, whose other entries come from the client and are not trusted.
    """
    value = header(headers, b"client-ip") or (header(headers, b"x-forwarded-for") or b"").rpartition(b",")[2]
    text = value.strip().decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


@lru_cache(1024)
def is_loopback(host: str) -> bool:
    """Whether an address is a loopback address."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
