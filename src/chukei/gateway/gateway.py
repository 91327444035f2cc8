"""The path of one request: read ``Gateway.handle`` and ``Gateway._serve`` from top to bottom.

authenticate ─▶ read ─▶ choose ─▶ connect ─▶ deliver ─▶ account
who is it?      what?    which      until the   bytes      one log line
                         deployment first event through
                           ▲           │
                           └ failover ─┘
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from chukei import azure, usage
from chukei.accounts import estimate
from chukei.accounts.policy import Policy
from chukei.callers.gatekeeper import ANONYMOUS, key_revoked
from chukei.config import Settings
from chukei.errors import RelayError, Unavailable, UpstreamError, origin_not_allowed, shutting_down
from chukei.gateway.delivery import Delivery, deliver_as_event, deliver_whole, patient
from chukei.gateway.exchange import Exchange, Turn
from chukei.gateway.heartbeat import STREAM_HEADERS, Heartbeat
from chukei.gateway.model_list import language_of
from chukei.gateway.pages import Visit
from chukei.gateway.services import Services
from chukei.metrics import definitions as metrics
from chukei.metrics.snapshot import Reading
from chukei.model import Caller, Dialect, End, Headers, Model, Operation, header
from chukei.ports import ClientGone, Hook, Incoming, Reply
from chukei.record import RequestRecord, RunningRequest
from chukei.request import call as calls
from chukei.request import codings, head, routes
from chukei.request.bodies import Bodies, Hold
from chukei.request.cors import Cors
from chukei.request.routes import Page, Route
from chukei.stream.failed import error_events, message_error
from chukei.upstream.attempt import LeasedAnswer
from chukei.upstream.connect import Opened
from chukei.upstream.refusals import error_of_event

if TYPE_CHECKING:  # it is imported where it is configured
    from chukei.gateway.objects import ObjectService
    from chukei.gateway.sockets.sessions import Sessions
    from chukei.objects.looks import Looks

logger = logging.getLogger(__name__)

GOODBYE_SECONDS = 1.0
"""How long the error to a client may take when the relay shuts down or its key was revoked."""


_FOR_MODELS = frozenset(operation.name for operation in azure.OPERATIONS.values())

Opener = Callable[[Coroutine[None, None, LeasedAnswer]], Coroutine[None, None, LeasedAnswer]]
"""Watches the wait for an answer."""


def _as_it_is(opening: Coroutine[None, None, LeasedAnswer]) -> Coroutine[None, None, LeasedAnswer]:
    return opening


LARGE_BODY = 1024 * 1024
"""Bytes from which the task yields to other requests between the steps of reading a body."""


@dataclass(slots=True)
class _Running:
    """What the gateways before and after a reload share."""

    live: set[Exchange] = field(default_factory=set)
    bodies: Bodies = field(default_factory=lambda: Bodies(0))
    leaving: bool = False
    draining: bool = False
    looks: "Looks | None" = None
    newest: "Gateway | None" = None
    sessions: "Sessions | None" = None


class Gateway:
    """Serves requests under one configuration. The host calls ``leave``, ``drain`` and ``stop_all`` when it shuts down.

    After a reload a new gateway takes the place of ``before``, which serves the requests that it has begun to their
    end. Both know the running requests of both.
    """

    def __init__(self, settings: Settings, services: Services, before: "Gateway | None" = None) -> None:
        self._settings = settings
        self._services = services
        self._cors = Cors(settings.server.cors_origins)
        self._running: _Running = _Running() if before is None else before._running
        self._running.newest = self
        self._live = self._running.live
        self._bodies = self._running.bodies
        self._objects: ObjectService | None = None
        self._bodies.most = settings.server.max_bodies_bytes

    @property
    def services(self) -> Services:
        """What it works with."""
        return self._services

    @property
    def settings(self) -> Settings:
        """Its configuration."""
        return self._settings

    @property
    def newest(self) -> "Gateway":
        """The gateway with the newest configuration, which serves the further turns of a session."""
        return self._running.newest or self

    @property
    def draining(self) -> bool:
        """Whether new requests for models are refused."""
        return self._running.draining

    @property
    def leaving(self) -> bool:
        """Whether the relay is not ready, since it will shut down."""
        return self._running.leaving

    @property
    def live(self) -> int:
        """How many requests are being served."""
        return len(self._live)

    @property
    def served(self) -> int:
        """How many requests of hosts are being served: not the turns of sessions, nor calls that are watched."""
        return sum(exchange.turn is None and not exchange.beside for exchange in self._live)

    def leave(self) -> None:
        """Say that the relay is not ready; everything is served still."""
        self._running.leaving = True

    def readings(self) -> Iterator[Reading]:
        """Yield what is being served: requests, streams that have begun, memory for bodies."""
        yield metrics.DRAINING, (), self.draining
        yield metrics.BODY_BYTES, (), self._bodies.held
        for exchange in self._live:  # equal ones are added up
            record = exchange.record
            yield metrics.OPEN_REQUESTS, (record.operation or "",), 1
            if record.first_token is not None:
                yield metrics.OPEN_STREAMS, (record.model or "", record.deployment or ""), 1

    def running(self) -> Iterator[RunningRequest]:
        """Return how each running request for a model is doing."""
        now = asyncio.get_running_loop().time()
        for exchange in self._live:
            if exchange.record.operation in _FOR_MODELS:
                yield exchange.look(now)

    def drain(self) -> None:
        """Refuse new requests for models; running requests continue."""
        self._running.leaving = self._running.draining = True
        if self._running.sessions is not None:
            self._running.sessions.drain()
        if self._services.admin is not None:
            self._services.admin.drain()

    def stop_all(self) -> int:
        """End running requests: streams get an error event, waiting clients a 503. Return how many."""
        stopped = [exchange for exchange in self._live if exchange.stopped is None]
        for exchange in stopped:
            exchange.stop(End.SERVER_SHUTDOWN)
        return len(stopped)

    def revoke(self, keys: Set[str]) -> None:
        """End running requests whose key is no longer valid."""
        self.end_of(lambda who: who.key_id in keys)

    def end_of(self, refused: Callable[[Caller], bool]) -> None:
        """End running requests of callers who are no longer let in."""
        if self._running.sessions is not None:
            self._running.sessions.end_of(refused)
        for exchange in list(self._live):
            who = exchange.record.who
            if who is not None and refused(who):
                exchange.stop(End.REFUSED)

    async def settled(self) -> None:
        """Wait until the usage of all requests is settled."""
        await self._services.admission.close()

    async def handle(self, incoming: Incoming, reply: Reply, turn: Turn | None = None) -> None:
        """Serve one request, or one turn of a session. Every outcome answers the client and writes one record."""
        record = RequestRecord(head.request_id(incoming.headers), incoming.method, incoming.raw_path)
        exchange = Exchange(record, self._services.clock, turn)
        self._live.add(exchange)
        if self._services.audit is not None:
            incoming, reply, exchange.audited = self._services.audit.open(record, incoming, reply)
        try:
            await self._serve_or_refuse(exchange, incoming, reply)
        except asyncio.CancelledError:
            await self._stopped(exchange, reply, incoming)
        except Exception:  # the host failed while it sent an error
            logger.exception("request %s could not be answered", record.request_id)
            reply.abort()
        finally:
            exchange.closed = True
            incoming.unwatch()
            self._live.discard(exchange)
            self._account(exchange, incoming)

    async def _serve_or_refuse(self, exchange: Exchange, incoming: Incoming, reply: Reply) -> None:
        record = exchange.record
        try:
            await self._serve(exchange, incoming, reply)
        except RelayError as error:
            await self._refuse(exchange, error, reply, incoming)
        except ClientGone:
            record.end = End.CLIENT_ABORTED
        except Exception:
            logger.exception("request %s failed inside the relay", record.request_id)
            fault = Unavailable("internal_error", "The relay failed.", status=500, end=End.INTERNAL_ERROR)
            await self._refuse(exchange, fault, reply, incoming)

    async def _serve(self, exchange: Exchange, incoming: Incoming, reply: Reply) -> None:
        server, services, record = self._settings.server, self._services, exchange.record
        head.check_head(
            incoming.http_version,
            incoming.headers,
            max_bytes=server.max_header_bytes,
            allowed_hosts=server.allowed_hosts,
        )
        if incoming.method == "OPTIONS" and not routes.is_admin(incoming.raw_path):
            await self._preflight(record, incoming, reply)
            return
        if (
            incoming.method == "GET"
            and (header(incoming.headers, b"upgrade") or b"").lower() == b"websocket"
            and (await self._socket(exchange, incoming, reply))
        ):
            return
        admin = services.admin
        route = routes.find(incoming.method, incoming.raw_path, incoming.query, admin=admin is not None)
        if route.operation is not None:
            exchange.dialect = Dialect.OPEN if route.simple else route.operation.dialect
        if route.page is Page.ADMIN and admin is not None:
            await admin.serve(route.name, incoming, reply, record, self._headers(record, incoming), server.body_seconds)
            return
        if route.page is Page.METRICS and services.scrape is not None:
            await services.scrape.serve(incoming, reply, record)
            return
        if route.page is None or services.pages.needs_caller(route.page):
            turn = exchange.turn
            caller = (
                turn.caller
                if turn is not None
                else await services.gatekeeper.authenticate(
                    incoming.headers, local=incoming.local, source=incoming.source
                )
            )
            record.who = services.policies.placed(caller)
            record.trace = services.tracing.context(incoming.headers, record.who)
        policy = services.policies.of(record.who or ANONYMOUS)
        if route.object is not None:
            record.operation = route.object.name
            await self._serve_object(exchange, route, policy, incoming, reply)
            return
        if route.operation is None:
            await self._page(exchange, route, policy, incoming, reply)
            return
        record.operation = route.operation.name
        if self.draining:
            raise shutting_down()
        await self._relay(exchange, route, route.operation, policy, incoming, reply)

    async def _serve_object(
        self, exchange: Exchange, route: Route, policy: Policy, incoming: Incoming, reply: Reply
    ) -> None:
        """Count the request, and leave it to the service of stored objects."""
        if self.draining:
            raise shutting_down()
        if self._objects is None:
            from chukei.gateway.object_request import nobody, nobody_waits  # most relays need it seldom or never
            from chukei.gateway.objects import ObjectService
            from chukei.objects.looks import Looks

            running, jobs = self._running, self._services.jobs
            running.looks = running.looks or Looks(self._services.clock)
            witness, deleting = (jobs.seen, jobs.deleting) if jobs is not None else (nobody, nobody_waits)
            self._objects = ObjectService(
                self._settings, self._services, running.looks, witness=witness, deleting=deleting
            )
        record = exchange.record
        own = await self._services.admission.count(policy)
        exchange.own_limits = bool(own)
        hold = self._bodies.enter(record.caller or "", 0, None)
        try:
            headers = [*self._headers(record, incoming), *own]
            await self._objects.serve(exchange, route, policy, incoming, reply, headers, hold.reach)
        finally:
            hold.leave()

    def _sessions(self) -> "Sessions":
        """Return the sessions of this process. Their modules are imported for the first one."""
        if self._running.sessions is None:
            from chukei.gateway.sockets.sessions import Sessions

            services, address = self._services, self._settings.stores.quota
            self._running.sessions = Sessions(services.peers, services.holds, address)
        return self._running.sessions

    async def _socket(self, exchange: Exchange, incoming: Incoming, reply: Reply) -> bool:
        """Serve a WebSocket's handshake and its session. Return whether the path has one."""
        enabled = self._settings.sockets.enabled and incoming.upgrades
        route = routes.socket_of(incoming.raw_path, incoming.query) if enabled else None
        if route is None:
            routes.refuse_websocket(incoming.raw_path)
            return False
        if self.draining:
            raise shutting_down()
        await self._sessions().serve(self, exchange, route, incoming, reply)
        return True

    async def _page(self, exchange: Exchange, route: Route, policy: Policy, incoming: Incoming, reply: Reply) -> None:
        """Serve what is no operation."""
        if route.page is Page.REALTIME:
            await self._sessions().prepare(self, exchange, route, incoming, reply)
            return
        record = exchange.record
        incoming.watch(exchange.client_left)
        record.operation = route.page
        language = language_of(header(incoming.headers, b"accept-language"))
        visit = Visit(record, policy, self.leaving, incoming.query, language, incoming.headers)
        await self._services.pages.answer(route, reply, self._headers(record, incoming), visit)

    def cors(self, incoming: Incoming) -> Headers:
        """Return the fields by which pages of allowed sites may read an answer."""
        return self._cors.answer(incoming.headers)

    async def attend(self, record: RequestRecord, serve: Callable[[Exchange], Coroutine[None, None, None]]) -> None:
        """Do what is no client's request, but costs something and ends like one: watch a call."""
        exchange = Exchange(record, self._services.clock)
        exchange.beside = True
        self._live.add(exchange)
        try:
            await serve(exchange)
        finally:
            exchange.closed = True
            self._live.discard(exchange)
            record.duration = exchange.elapsed
            self.account_turn(record)

    async def _relay(
        self,
        exchange: Exchange,
        route: Route,
        operation: Operation,
        policy: Policy,
        incoming: Incoming,
        reply: Reply,
    ) -> None:
        """Reserve memory for the body before it is read, and hold it until the request is over."""
        announced = int(header(incoming.headers, b"content-length") or 0)
        limit = self._settings.server.max_body_bytes or operation.max_body_bytes
        caller = (exchange.record.who or ANONYMOUS).name
        concurrent, rule = policy.rules.limits.concurrent, policy.where.get("concurrent")
        hold = self._bodies.enter(caller, min(announced, limit), concurrent, rule)
        try:
            await self._call(exchange, route, operation, policy, incoming, reply, hold, limit)
        finally:
            hold.leave()

    async def _call(
        self,
        exchange: Exchange,
        route: Route,
        operation: Operation,
        policy: Policy,
        incoming: Incoming,
        reply: Reply,
        hold: Hold,
        limit: int,
    ) -> None:
        """Read the call, check that the caller may make it, and answer it."""
        services, record = self._services, exchange.record
        coding = codings.coding_of(incoming.headers)
        raw = await incoming.body(limit, self._settings.server.body_seconds, hold.reach)
        incoming.watch(exchange.client_left)
        if coding is not None:
            from chukei.gateway.reading import decompressed  # few clients compress

            raw = await decompressed(raw, coding, limit, hold.reach)
        if len(raw) > LARGE_BODY:
            await asyncio.sleep(0)  # joining it took long, and so will parsing it
        record.received, record.request_bytes = exchange.elapsed, len(raw)
        call = calls.read(route, operation, incoming.headers, raw)
        if exchange.turn is not None:
            call = calls.as_turn(call)
        if len(raw) > LARGE_BODY:
            for _ in estimate.weigh(call):
                await asyncio.sleep(0)
        record.stream = call.stream
        model = services.pool.model(policy.model_for(call.model), policy.allows)
        record.model = model.name
        policy.check_model(model.name)
        calls.check_api(operation, model)
        model = policy.applied_to(model)
        reservation = await services.admission.admit(call, model, policy, record.caller or "")
        headers = [*self._headers(record, incoming), *reservation.headers]
        exchange.own_limits = bool(reservation.headers)
        opened, settle = _as_it_is, reservation.settle
        if call.background and services.jobs is not None:
            from chukei.gateway.background import Background  # such requests are rare

            exchange.final = True
            background = Background(exchange, call, reservation, services.jobs)
            opened, settle = background.opened, background.settle
        try:
            await self._answer(exchange, call, model, policy, reply, headers, opened)
        finally:
            settle(record)

    async def _answer(
        self,
        exchange: Exchange,
        call: calls.Call,
        model: Model,
        policy: Policy,
        reply: Reply,
        headers: Headers,
        opened: Opener,
    ) -> None:
        """Wait until a deployment begins to answer, then deliver the answer. ``opened`` may watch the wait."""
        record = exchange.record
        turn = exchange.turn
        through = turn.upstream if turn is not None else None
        opening = opened(self._services.failover.open(call, record, model, policy.owners, through))
        if call.stream and turn is None:
            with Heartbeat(reply, record, headers, self._settings.stream.heartbeat_seconds):
                answer = await opening
        else:
            answer = await opening
        shows = policy.rules.see_deployment
        if self._settings.pool.deployment_header if shows is None else shows:
            headers.append((b"x-chukei-deployment", answer.lease.deployment.name.encode("ascii", "replace")))
        try:
            await self._deliver(exchange, call, answer.opened, reply, headers)
            stream = answer.opened.stream
            if stream is not None and stream.failure is not None:
                answer.broke(error_of_event(stream.cause or stream.failure))
        except BaseException as error:
            if isinstance(error, UpstreamError):
                answer.broke(error)
            answer.drop()
            raise
        finally:
            if answer.made is not None:
                stream = answer.opened.stream
                answer.made(answer, stream.items if stream is not None else exchange.items)
        answer.close()

    async def _deliver(
        self, exchange: Exchange, call: calls.Call, opened: Opened, reply: Reply, headers: Headers
    ) -> None:
        record, stream = exchange.record, opened.stream
        exchange.stream = stream
        if stream is None and reply.started:
            await deliver_as_event(exchange, opened, reply, self._settings.stream)
            return
        if stream is None:
            await deliver_whole(exchange, opened, reply, headers, self._settings.stream)
            if not call.operation.counted and record.usage is not None and record.usage.estimated:
                record.usage = None  # sound, pictures and plain text are not billed by tokens
            return
        record.stream = True
        record.first_token = exchange.elapsed
        if not reply.started:
            down = azure.headers_down(opened.answer.headers, limits=not exchange.own_limits)
            record.status = 200
            await reply.start(200, [*down, *STREAM_HEADERS, *headers])
        if self._services.scrape is not None:
            record.gaps = [0] * (len(metrics.SECONDS) + 1)
        settings = self._settings.stream
        if call.background:  # it may wait in a queue
            settings = patient(settings)
        delivery = Delivery(exchange, opened, stream, reply, settings, simple=call.simple)
        try:
            await delivery.run(opened.first)
            record.end = stream.end()
        finally:
            record.finish_reasons = stream.finish_reasons
            record.served_model, record.service_tier = stream.model, stream.service_tier
            record.usage = stream.usage
            if record.usage is None or record.usage.estimated:
                made = usage.estimate(stream.generated_bytes, stream.events)
                record.usage = made if record.usage is None else replace(record.usage, output=made.output)

    # Outcomes other than success.

    async def _refuse(self, exchange: Exchange, error: RelayError, reply: Reply, incoming: Incoming) -> None:
        """Answer with an error: as a status if no head was sent, else as an event of a stream, else by aborting."""
        record = exchange.record
        record.end, record.code, record.rule = error.end, error.code, error.rule
        if not reply.started:
            record.status = error.status
            body, given = error.body, error.headers
            if exchange.dialect is Dialect.MESSAGES:
                body = message_error(error.error_json, error.status, record.request_id)
            if exchange.own_limits:
                given = azure.without_limits(given)
            if exchange.final and any(attempt.usage is not None for attempt in record.tries):
                given = [*(field for field in given if field[0] != b"x-should-retry"), (b"x-should-retry", b"false")]
            if header(given, b"content-type") is None:
                given = [(b"content-type", b"application/json"), *given]
            length = (b"content-length", str(len(body)).encode())
            headers = [length, *given, *self._headers(record, incoming)]
            await reply.start(error.status, headers)
            await reply.finish(body)
        elif record.stream:
            events = error_events(error.error_json, exchange.dialect, exchange.stream, error.status)
            await self._finish_with(events, reply)
        else:
            reply.abort()

    async def _finish_with(self, event: bytes, reply: Reply) -> None:
        """Send an error event to a client that may have stopped reading."""
        try:
            async with asyncio.timeout(self._settings.stream.write_seconds):
                await reply.finish(event)
        except TimeoutError:
            reply.abort()

    async def _stopped(self, exchange: Exchange, reply: Reply, incoming: Incoming) -> None:
        """End a request that was stopped from outside.

        Raises:
            asyncio.CancelledError: the host cancelled the task, not ``exchange.stop``.
        """
        reason, record = exchange.stopped, exchange.record
        if record.code is None:  # else an error that was being sent has set the end already
            record.end = reason or End.SERVER_SHUTDOWN
        if reason is None:
            raise asyncio.CancelledError
        exchange.resume()
        if reason in (End.SERVER_SHUTDOWN, End.REFUSED):
            error = shutting_down() if reason is End.SERVER_SHUTDOWN else key_revoked()
            try:
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._refuse(exchange, error, reply, incoming)
            except TimeoutError:
                reply.abort()
        else:
            reply.abort()

    async def _preflight(self, record: RequestRecord, incoming: Incoming, reply: Reply) -> None:
        """Answer a CORS preflight: whether another site's page may call (WHATWG Fetch)."""
        headers = self._cors.preflight(incoming.headers)
        if header(incoming.headers, b"origin") is None:
            headers = [(b"allow", b"GET, HEAD, POST, OPTIONS")]  # without an origin this is a plain OPTIONS request
        if headers is None:
            raise origin_not_allowed()
        record.status, record.end = 204, End.COMPLETED
        await reply.start(204, [*headers, (b"x-request-id", record.request_id.encode())])
        await reply.finish()

    def _headers(self, record: RequestRecord, incoming: Incoming) -> Headers:
        """Return the fields that every answer carries."""
        shared = [] if routes.is_admin(incoming.raw_path) else self._cors.answer(incoming.headers)
        return [(b"x-request-id", record.request_id.encode()), *shared]

    def _account(self, exchange: Exchange, incoming: Incoming) -> None:
        record = exchange.record
        if record.who is None:  # else its trace is known since then
            record.trace = self._services.tracing.context(incoming.headers, None)
        record.duration = exchange.elapsed
        if exchange.goes_on:
            record.end = End.BACKGROUND
        self.account(record, exchange.audited)

    def account_turn(self, record: RequestRecord, asked: bytes = b"", answered: bytes = b"") -> None:
        """Pass on the record of what was no request: a turn of a realtime session, or a call."""
        audit = self._services.audit
        self.account(record, audit.note(record, asked, answered) if audit is not None else None)

    def account(self, record: RequestRecord, audited: Hook | None = None) -> None:
        """Pass a record on to the hooks: of a request that has ended, or that the host refused because of its form."""
        hooks = self._services.hooks
        for hook in hooks if audited is None else (audited, *hooks):
            try:
                hook(record)
            except Exception:
                logger.exception("a hook failed for request %s", record.request_id)
