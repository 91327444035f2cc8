"""The simulated resource: checks requests, finds their operation, and records them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from ssl import SSLContext
from types import TracebackType
from typing import Any

from chukei.simulator.azure import ApiError, answer_headers, as_anthropic, recorded_error
from chukei.simulator.calls import Call
from chukei.simulator.credentials import EPHEMERAL, Ephemeral, key_of
from chukei.simulator.exchanges import JSON, Event, Exchange, Exchanges, Head, Reply, whole
from chukei.simulator.faults import Fault
from chukei.simulator.injection import inject, instead
from chukei.simulator.operations import OPERATIONS, Route, deployment_of, endings_of, find, model_of, route_of
from chukei.simulator.realtime_http import no_call, session_of
from chukei.simulator.server import Connection
from chukei.simulator.settings import Recording, SimulatorSettings
from chukei.simulator.stored import Stored
from chukei.simulator.striking import Striking, Tally, filter_of, limit_of
from chukei.simulator.tokens import Pace

_log = logging.getLogger(__name__)

STAGE = 10  # times the time to the first token: how long each stage of a batch or another job takes


class Simulator:
    """An Azure OpenAI resource on a local port.

    >>> sim = Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0))
    >>> url = await sim.start()          # "http://127.0.0.1:54321"
    >>> await sim.stop()

    It is also an async context manager, which starts it on a free port of the loopback interface.
    """

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.exchanges = Exchanges(self.settings.exchanges_kept)
        self.requests = 0
        self.running = 0
        self.url = ""
        self._faults = Striking(self.settings)
        self._recording = Recording.read(self.settings.replay) if self.settings.replay else None
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._prompts = Tally()
        self.stored = Stored(self.settings.conversations)
        self._ephemeral = Ephemeral()
        # Each resource makes other ids, as two of the service's do; with a fixed epoch all bytes are to be the same.
        self._named = secrets.token_hex(8) if self.settings.epoch is None else str(self.settings.seed)
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

    def answer(
        self, head: Head, body: bytes, memory: dict[str, Any] | None = None, socket: Exchange | None = None
    ) -> tuple[Exchange, Reply]:
        """Answer one request. Call ``finished`` after sending the reply, even if sending fails.

        A turn on a WebSocket says which ``socket`` it came by, and has its ``memory`` of responses.
        """
        exchange = Exchange(head.method, head.path, head.query, head.headers, body)
        exchange.socket, exchange.memory = socket, memory
        return self._record(exchange, lambda: self._reply(head, exchange))

    def turn(
        self, socket: Exchange, operation: str, body: bytes, operate: Callable[[Call], Reply]
    ) -> tuple[Exchange, Reply]:
        """Answer a turn on a WebSocket that no request over HTTP is like; otherwise as ``answer``."""
        exchange = Exchange("POST", socket.path, socket.query, socket.headers, body, operation, socket.deployment)
        exchange.socket = socket
        head = Head("POST", socket.path, socket.query, headers=socket.headers)
        route = Route(operation, socket.deployment, versioned="api-version" in socket.query)
        return self._record(exchange, lambda: self._operate(route, head, exchange, operate))

    def _record(self, exchange: Exchange, answer: Callable[[], Reply]) -> tuple[Exchange, Reply]:
        self.exchanges.keep(exchange)
        self.requests += 1
        self.running += 1
        self._notify()
        dice = random.Random(f"{self.settings.seed}:{self.requests}")  # noqa: S311
        try:
            reply = answer()
        except ApiError as error:
            reply = error.reply()
        except Exception:  # noqa: BLE001 - a client sees an error of Azure's, never a traceback
            _log.exception("the simulator failed on %s %s", exchange.method, exchange.path)
            reply = recorded_error("500").reply()
        if exchange.path.startswith("/anthropic/"):
            reply = as_anthropic(reply, dice)
        if exchange.method == "HEAD":
            reply.steps = iter(())
        exchange.status = reply.status or None
        exchange.streamed = reply.streamed
        exchange.prompt_tokens = reply.prompt_tokens
        reply.headers = answer_headers(exchange, reply, dice) | reply.headers
        return exchange, reply

    def _reply(self, head: Head, exchange: Exchange) -> Reply:
        if head.wants_socket:
            return self._open(head, exchange)
        if head.method == "GET" and head.path == "/":
            return whole(b"This is the chukei simulator of Azure OpenAI.\n", content_type="text/plain; charset=utf-8")
        route = route_of(head)
        exchange.operation = route.operation
        self._admit(route, head)
        exchange.deployment = deployment_of(route, head, exchange.body) or self._session_of(head).get("model")
        return self._operate(route, head, exchange, OPERATIONS[route.operation])

    def _open(self, head: Head, exchange: Exchange) -> Reply:
        """Answer the handshake of a WebSocket."""
        route = route_of(head)
        exchange.operation = route.operation
        self._admit(route, head)
        given = self._session_of(head)
        exchange.deployment = deployment = route.deployment or given.get("model")
        for fault in self._faults.refusing(route.operation, deployment):
            exchange.fault = fault.name
            return instead(fault, route.operation, route.version(head))
        from chukei.simulator import talks

        session = None
        if route.operation == "realtime/socket":
            digest = hashlib.sha256(f"{self.settings.seed}:{self.requests}".encode()).hexdigest()
            session = session_of(given, head, deployment or "", self._now(), f"sess_{digest[:21]}")
        return Reply(101, iter(()), talk=talks.talk_of(self, head, session))

    def _session_of(self, head: Head) -> dict[str, Any]:
        """Return the session that an ephemeral key or a call stands for; ApiError 404 if there is no such call."""
        call = head.query.get("call_id")
        if call is None:
            return self._ephemeral.session_of(key_of(head), self._now()) or {}
        if call not in self._ephemeral.calls:
            raise no_call(call)
        return self._ephemeral.calls[call]

    def _now(self) -> int:
        return int(datetime.now(UTC).timestamp()) if self.settings.epoch is None else self.settings.epoch

    def _admit(self, route: Route, head: Head) -> None:
        """Check the credentials and the api-version."""
        key = key_of(head)
        if key.startswith(EPHEMERAL):
            valid = "realtime" in route.operation and self._ephemeral.session_of(key, self._now()) is not None
        else:
            valid = bool(key) and self.settings.api_key in (None, key)
        if not valid:
            raise recorded_error("401")
        versions = self.settings.api_versions
        if versions and route.versioned and head.query["api-version"] not in versions:
            raise recorded_error("api-version")

    def _operate(self, route: Route, head: Head, exchange: Exchange, operate: Callable[[Call], Reply]) -> Reply:
        socket = exchange.socket is not None
        if exchange.deployment is not None:
            name, faults = self._faults.striking(exchange.deployment)
        else:
            name, faults = "", self._faults.of_operation(route.operation)
        if socket and route.operation.startswith("realtime"):  # what strikes instead has struck its handshake
            faults = tuple(fault for fault in faults if fault.kind.stage != "instead")
        exchange.fault = "+".join(fault.name for fault in faults) or None
        for fault in faults:
            if fault.kind.stage == "instead":
                return instead(fault, route.operation, route.version(head))
        call = self._call(route, name, head, exchange, faults)
        if self._recording is not None and self._recording.serves(route.operation):
            reply = self._recording.play(call)
        else:
            reply = operate(call)
        for fault in faults:
            if fault.kind.strikes(socket=socket):
                inject(reply, fault, endings_of(route.operation))
        return reply

    def _call(self, route: Route, deployment: str, head: Head, exchange: Exchange, faults: tuple[Fault, ...]) -> Call:
        settings = self.settings
        digest = hashlib.sha256(exchange.body).hexdigest()
        occurrence = self._prompts.count(digest)
        dice = random.Random(f"{settings.seed}:{digest}:{occurrence}")  # noqa: S311
        names = random.Random(f"{self._named}:{head.method} {head.path}:{digest}:{occurrence}")  # noqa: S311
        return Call(
            operation=route.operation,
            deployment=deployment,
            api_version=route.version(head),
            body=exchange.body,
            content_type=head.headers.get("content-type", ""),
            created=self._now(),
            dice=dice,
            names=names,
            seed=settings.seed,
            pace=Pace(settings.first_token_seconds, settings.inter_token_seconds, settings.jitter, dice),
            filter=filter_of(faults),
            limit=limit_of(faults),
            occurrence=occurrence,
            stage_seconds=settings.first_token_seconds * STAGE,
            job_looks=settings.job_looks,
            ids=route.ids,
            query=head.query,
            deployments=settings.deployments,
            stored=self.stored,
            struck=frozenset(fault.name for fault in faults),
            faults_of=lambda deployment: frozenset(fault.name for fault in self._faults.faults_of(deployment)[1]),
            ask=self._ask,
            memory=exchange.memory,
            ephemeral=self._ephemeral,
            headers=head.headers,
        )

    def _ask(self, operation: str, body: bytes) -> tuple[int, bytes]:
        """Answer one request of a batch; return the status and the body."""
        exchange = Exchange("POST", operation, {}, {}, body)
        asked = Head("POST", f"/openai/v1/{operation}", {}, headers={"content-type": JSON})
        try:
            route = find(asked.method, asked.path)
            if route is None or not route.modelled:
                raise recorded_error("no-resource")
            exchange.deployment = model_of(body, JSON)
            reply = self._operate(route, asked, exchange, OPERATIONS[operation])
        except ApiError as error:
            reply = error.reply()
        answer = b"".join(step.data for step in reply.steps if isinstance(step, Event))
        return reply.status or 500, answer or b"{}"

    def __repr__(self) -> str:
        return (
            f"<Simulator {self.url or 'not started'}: {self.open_connections} connections,"
            f" {self.running} running, {self.requests} requests>"
        )


async def serve(settings: SimulatorSettings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Run a simulator until cancelled. When it listens, it calls ``announce`` with a line for people."""
    simulator = Simulator(settings)
    url = await simulator.start(host, port)
    try:
        announce(f"simulator of Azure OpenAI on {url} (this is not a real model)")
        await asyncio.Event().wait()
    finally:
        await simulator.stop()
