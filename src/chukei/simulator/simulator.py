"""The simulated resource: checks requests, finds their operation, and records them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from ssl import SSLContext
from types import TracebackType

from chukei.simulator.azure import ApiError, answer_headers, model_error, recorded_error
from chukei.simulator.calls import Call, Filter, Stored
from chukei.simulator.exchanges import Exchange, Head, Reply, whole
from chukei.simulator.faults import Fault, FaultSpecError, parse, parse_deployment
from chukei.simulator.injection import inject, instead
from chukei.simulator.operations import OPERATIONS, Route, error_event_of, find, model_of
from chukei.simulator.server import Connection
from chukei.simulator.settings import Recording, SimulatorSettings
from chukei.simulator.tokens import Pace

_log = logging.getLogger(__name__)

COUNTED = 4096  # prompts and deployments whose requests are counted; the oldest are forgotten


class Simulator:
    """An Azure OpenAI resource on a local port.

    >>> sim = Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0))
    >>> url = await sim.start()          # "http://127.0.0.1:54321"
    >>> await sim.stop()

    It is also an async context manager, which starts it on a free port of the loopback interface.
    """

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.exchanges: deque[Exchange] = deque(maxlen=self.settings.exchanges_kept)
        self.requests = 0
        self.running = 0
        self.url = ""
        self._faults = {name: parse(spec) for name, spec in self.settings.faults.items()}
        self._recording = Recording.read(self.settings.replay) if self.settings.replay else None
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._prompts = _Tally()
        self._strikes = _Tally()
        self._stored = Stored(self.settings.conversations)
        self._changed: list[asyncio.Future[None]] = []

    @property
    def open_connections(self) -> int:
        """The number of connected clients."""
        return len(self._connections)

    async def start(self, host: str = "127.0.0.1", port: int = 0, ssl_context: SSLContext | None = None) -> str:
        """Listen, and return the base URL; port 0 takes a free one. OSError if the port is taken."""
        if self._server is not None:
            raise RuntimeError(f"the simulator is already listening on {self.url}")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, ssl=ssl_context)
        bound = self._server.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if ssl_context else 'http'}://{shown}:{bound}"
        return self.url

    async def stop(self) -> None:
        """Stop listening, abort all connections, and wait until they are closed."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await self._until(lambda: not self._connections and not self.running)
        await server.wait_closed()

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def arrived(self, count: int = 1, timeout: float = 5.0) -> Exchange:
        """Wait until ``count`` requests have come in total; return the last. TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            await self._until(lambda: self.requests >= count)
        return self.exchanges[-1]

    async def idle(self, timeout: float = 5.0) -> None:
        """Wait until no answer is running; TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            await self._until(lambda: not self.running)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            change = asyncio.get_running_loop().create_future()
            self._changed.append(change)
            await change

    def _notify(self) -> None:
        changed, self._changed = self._changed, []
        for change in changed:
            if not change.done():
                change.set_result(None)

    def connected(self, connection: Connection) -> None:
        """Note a new connection."""
        self._connections.add(connection)

    def disconnected(self, connection: Connection) -> None:
        """Note the end of a connection."""
        self._connections.discard(connection)
        self._notify()

    def finished(self) -> None:
        """Note the end of an answer."""
        self.running -= 1
        self._notify()

    def answer(self, head: Head, body: bytes) -> tuple[Exchange, Reply]:
        """Answer one request. Call ``finished`` after sending the reply, even if sending fails."""
        exchange = Exchange(head.method, head.path, head.query, head.headers, body)
        self.exchanges.append(exchange)
        self.requests += 1
        self.running += 1
        self._notify()
        dice = random.Random(f"{self.settings.seed}:{self.requests}")  # noqa: S311
        try:
            reply = self._reply(head, exchange)
        except ApiError as error:
            reply = error.reply()
        except Exception:  # noqa: BLE001 - a client sees an error of Azure's, never a traceback
            _log.exception("the simulator failed on %s %s", head.method, head.path)
            reply = recorded_error("500").reply()
        if head.method == "HEAD":
            reply.steps = iter(())
        exchange.status = reply.status or None
        exchange.streamed = reply.streamed
        exchange.prompt_tokens = reply.prompt_tokens
        reply.headers = answer_headers(exchange, reply, dice) | reply.headers
        return exchange, reply

    def _reply(self, head: Head, exchange: Exchange) -> Reply:
        if head.method == "GET" and head.path == "/":
            return whole(b"This is the chukei simulator of Azure OpenAI.\n", content_type="text/plain; charset=utf-8")
        route = find(head.method, head.path)
        if route is None or (route.versioned and not head.query.get("api-version")):
            raise recorded_error("no-resource")
        exchange.operation = route.operation
        self._authorise(head.headers)
        versions = self.settings.api_versions
        if versions and route.versioned and head.query["api-version"] not in versions:
            raise recorded_error("api-version")
        deployment = route.deployment
        if deployment is None and route.operation != "models":
            deployment = model_of(exchange.body, head.headers.get("content-type", ""))
        exchange.deployment = deployment
        return self._operate(route, deployment or "", head, exchange)

    def _authorise(self, headers: dict[str, str]) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get("api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        if not given or self.settings.api_key not in (None, given):
            raise recorded_error("401")

    def _operate(self, route: Route, deployment: str, head: Head, exchange: Exchange) -> Reply:
        name, faults = self._faults_of(deployment)
        faults = self._striking(deployment, faults)
        exchange.fault = "+".join(fault.name for fault in faults) or None
        for fault in faults:
            if fault.kind.stage == "instead":
                return instead(fault, route.operation, _version(route, head))
        call = self._call(route, name, head, exchange, faults)
        if self._recording is not None and self._recording.serves(route.operation):
            reply = self._recording.play(call)
        else:
            reply = OPERATIONS[route.operation](call)
        for fault in faults:
            if fault.kind.stage == "stream":
                inject(reply, fault, error_event_of(route.operation))
        return reply

    def _faults_of(self, deployment: str) -> tuple[str, tuple[Fault, ...]]:
        """Return the deployment's name without its faults, and the faults; ApiError if it does not exist."""
        configured = self._faults.get(deployment)
        try:
            name, faults = (deployment, configured) if configured is not None else parse_deployment(deployment)
        except FaultSpecError as error:
            raise model_error(404, f"{error}.", code="DeploymentNotFound") from None
        known = self.settings.deployments
        if known and name and name not in known and deployment not in known and configured is None:
            raise recorded_error("404")
        return name, faults

    def _striking(self, deployment: str, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        """Return the faults that apply to this request."""
        if not faults:
            return ()
        nth = self._strikes.count(deployment)
        dice = random.Random(f"{self.settings.seed}:{deployment}:{nth}")  # noqa: S311
        return tuple(
            fault
            for fault in faults
            if (fault.times is None or nth < fault.times)
            and (fault.percent is None or dice.random() * 100 < fault.percent)
        )

    def _call(self, route: Route, deployment: str, head: Head, exchange: Exchange, faults: tuple[Fault, ...]) -> Call:
        settings = self.settings
        digest = hashlib.sha256(exchange.body).hexdigest()
        occurrence = self._prompts.count(digest)
        dice = random.Random(f"{settings.seed}:{digest}:{occurrence}")  # noqa: S311
        return Call(
            operation=route.operation,
            deployment=deployment,
            api_version=_version(route, head),
            body=exchange.body,
            content_type=head.headers.get("content-type", ""),
            created=int(datetime.now(UTC).timestamp()) if settings.epoch is None else settings.epoch,
            dice=dice,
            seed=settings.seed,
            pace=Pace(settings.first_token_seconds, settings.inter_token_seconds, settings.jitter, dice),
            filter=_filter(faults),
            occurrence=occurrence,
            model_asked=route.model,
            deployments=settings.deployments,
            stored=self._stored,
        )

    def __repr__(self) -> str:
        return (
            f"<Simulator {self.url or 'not started'}: {self.open_connections} connections,"
            f" {self.running} running, {self.requests} requests>"
        )


def _version(route: Route, head: Head) -> str | None:
    return head.query.get("api-version") if route.versioned else None


def _filter(faults: tuple[Fault, ...]) -> Filter | None:
    for fault in faults:
        if fault.name == "filter-completion":
            return Filter("blocks", int(fault.values[0] or 0))
        if fault.name == "filter-async":
            return Filter("asynchronous")
    return None


class _Tally:
    """Counts by key, for a bounded number of keys."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def count(self, key: str) -> int:
        """Return the previous count of the key, and increase it."""
        before = self._counts.pop(key, 0)
        self._counts[key] = before + 1
        if len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        return before


async def serve(settings: SimulatorSettings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Run a simulator until cancelled. When it listens, it calls ``announce`` with a line for people."""
    simulator = Simulator(settings)
    url = await simulator.start(host, port)
    try:
        announce(f"simulator of Azure OpenAI on {url} (this is not a real model)")
        await asyncio.Event().wait()
    finally:
        await simulator.stop()
