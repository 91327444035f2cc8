"""Requests for stored objects, from the caller's policy to the last byte of the answer.

served? ─▶ count ─▶ read ─▶ whose, where? ─▶ ask ─▶ learn ─▶ answer

A request without a model has no lease, no tokens and no entry in the ledger. It counts as one of
``requests_per_minute``.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from chukei import azure
from chukei.accounts.policy import Policy
from chukei.config import Settings
from chukei.errors import UpstreamError
from chukei.gateway.batches import Batches
from chukei.gateway.delivery import Delivery, gather, pass_whole, patient
from chukei.gateway.exchange import Exchange
from chukei.gateway.heartbeat import STREAM_HEADERS, Heartbeat
from chukei.gateway.object_bodies import passed_query, read_body
from chukei.gateway.object_homes import Homes, identity_of
from chukei.gateway.object_lists import own_list
from chukei.gateway.object_request import Deleting, ObjectRequest, Services, Witness, nobody, nobody_waits
from chukei.ids import new_span_id
from chukei.model import MEBIBYTE, Deployment, Dialect, End, Headers
from chukei.objects import answers, errors, evals
from chukei.objects.answers import Json
from chukei.objects.batch_report import OutputReader
from chukei.objects.item_finder import ItemFinder
from chukei.objects.kinds import home_of
from chukei.objects.looks import Looks
from chukei.objects.references import kept_in
from chukei.objects.registry import ObjectRecord
from chukei.ports import Incoming, Reply
from chukei.record import Attempt
from chukei.request.object_routes import AT_HOME, ObjectRoute, path_of
from chukei.request.routes import Route
from chukei.stream.stream import Stream
from chukei.stream.whole_answer import Reader
from chukei.upstream.connect import ANYTHING, Opened, Waits
from chukei.upstream.kept import LATE_SECONDS, is_missing
from chukei.upstream.object_client import Asked, ObjectClient, Query
from chukei.upstream.refusals import failure

MAX_ANSWER = 32 * MEBIBYTE
"""Bytes of an answer that is read for the ids in it."""

_DESCRIBING = frozenset({"response_get", "response_cancel"})
"""Routes whose answer describes a response."""

_OF_BATCHES = frozenset({"batch_get", "batch_cancel"})
"""Routes whose answer describes a batch."""
_HOLDING_ITEMS = frozenset(
    {"conversation_item_get", "conversation_items", "conversation_items_create", "response_input_items"}
)
"""Routes whose answer shows ids of items. Requests may refer to them like to those of a response's output."""

_STORED: Headers = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox")]
"""For what users have stored: a browser that opens it must not run it as a page of this site."""


class ObjectService:
    """Serves object routes under one configuration. For the last two see their types."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        looks: Looks,
        witness: Witness = nobody,
        deleting: Deleting = nobody_waits,
    ) -> None:
        self._settings = settings
        self._registry = services.failover.objects
        self._pool = services.pool
        self._witness = witness
        self._deleting = deleting
        self._looks = looks
        self._failover = services.failover
        asks, clock = services.failover.client, services.failover.clock
        cap, passing = settings.stream.max_event_bytes, settings.upstream.passing
        self._client = ObjectClient(asks.upstream, asks.credentials, clock, cap, passing)
        self._homes = Homes(settings, services, self._client, looks)
        self._batches = Batches(services, self._homes, self._ask, settings.stream.idle_seconds)

    async def serve(
        self,
        exchange: Exchange,
        route: Route,
        policy: Policy,
        incoming: Incoming,
        reply: Reply,
        headers: Headers,
        reach: Callable[[int], None],
    ) -> None:
        """Serve one request whose caller is known and was counted. ``reach`` is told the bytes of a body in memory.

        Raises:
            CallerError, Unavailable, UpstreamError: the error for the client.
        """
        assert route.object is not None
        request = ObjectRequest(exchange, route, route.object, policy, incoming, reply, headers, reach)
        self.check_served(request.object, policy)
        request.query = passed_query(request.object, incoming.query)
        await read_body(request, self._settings)
        if request.object.lists is not None:
            await self._list(request)
            return
        deployment, home = await self._homes.of(request)
        if home is not None and home.model in self._settings.models:
            exchange.record.model = home.model
        if request.object.family == "evals" and request.body:
            request.body = evals.written(request.body, lambda name: self._name_at(deployment, name, policy))
        if request.object.name == "response_delete":
            await self._deleting(request.route.ids[0][1])
        if request.object.name == "batch_create":
            await self._make_batch(request, deployment)
            return
        if request.object.name == "file_create" and request.parts is not None:
            await self._batches.upload(request, deployment)
        await self._exchange(request, deployment)

    async def _make_batch(self, request: ObjectRequest, deployment: Deployment) -> None:
        ticket = await self._batches.admit(request, deployment)
        try:
            await self._exchange(request, deployment)
        finally:
            self._batches.release(ticket)

    def _name_at(self, deployment: Deployment, model: str, policy: Policy) -> str:
        """Return a model's name on a deployment's resource.

        Raises:
            CallerError: 404, there is no such model; 403, the caller may not use it; 400, it is not on this resource.
        """
        known = self._pool.model(model, policy.allows)
        policy.check_model(known.name)
        name = next((each.deployment for each in known.deployments if each.endpoint == deployment.endpoint), None)
        if name is None:
            raise errors.model_elsewhere(model)
        return name

    def check_served(self, route: ObjectRoute, policy: Policy) -> None:
        """Refuse a route that the configuration does not serve, or not to this caller.

        Raises:
            CallerError: 404, or 403 if the caller may not use the model whose resource keeps the objects.
        """
        settings = self._settings.objects
        if route.family in AT_HOME:
            return
        if settings.model is None or route.family not in settings.serve:
            raise errors.not_served(route.family, settings.model)
        policy.check_model(settings.model)

    # Asking.

    async def _ask(self, request: ObjectRequest, asked: Asked) -> Opened:
        exchange, record = request.exchange, request.exchange.record
        attempt = Attempt(asked.deployment.name, started=exchange.elapsed)
        if record.trace is not None and not record.trace.foreign:
            attempt.span_id = new_span_id()
        if record.tries and record.tries[-1].deployment == attempt.deployment:  # the page before, of a list
            record.tries.pop()
        record.tries.append(attempt)
        record.answering, record.deployment = attempt, attempt.deployment
        seconds, stream = self._settings.upstream.answer_seconds, self._settings.stream
        waits = Waits(seconds, stream.thinking_seconds if asked.wants_stream else 0.0, seconds)
        try:
            return await self._client.ask(asked, record.request_id, attempt, waits, record.trace)
        finally:
            record.upstream_request_id, record.region = attempt.upstream_request_id, attempt.region

    async def _ask_patiently(self, request: ObjectRequest, asked: Asked) -> Opened:
        """Ask again, after a pause each time, while the resource does not find a response that ended just now.

        All that together is one retry of the budget.
        """
        failover, registry = self._failover, self._registry
        ids = [id for kind, id in request.route.ids if kind == "response"]
        young = [id for id in ids if registry.since_stored(id) < LATE_SECONDS]
        for number, pause in enumerate(failover.late_pauses if young else ()):
            try:
                return await self._ask(request, asked)
            except UpstreamError as error:
                if not is_missing(error):
                    raise
                again = not await registry.any_gone(young) if number else failover.retries.spend(failover.clock())
                if not again:
                    raise
            await asyncio.sleep(pause)
        return await self._ask(request, asked)

    async def _exchange(self, request: ObjectRequest, deployment: Deployment) -> None:
        """Ask the deployment's resource, and pass its answer on."""
        exchange, route, record = request.exchange, request.object, request.exchange.record
        wants_stream = route.streams and dict(request.query).get("stream", "").lower() in ("true", "1")
        record.stream = wants_stream
        exchange.dialect = Dialect.RESPONSES if route.streams else Dialect.OPEN
        asked = Asked(
            route,
            deployment,
            path_of(route, request.route.ids),
            query=request.query,
            headers=request.sent_headers,
            body=request.body,
            parts=request.parts,
            length=request.length,
            api_version=request.route.api_version,
            wants_stream=wants_stream,
        )
        if wants_stream:
            with Heartbeat(request.reply, record, request.headers, self._settings.stream.heartbeat_seconds):
                opened = await self._ask_patiently(request, asked)
        else:
            opened = await self._ask_patiently(request, asked)
        if request.parts is not None:
            request.incoming.watch(exchange.client_left)
        self._show(request, deployment)
        try:
            await self._pass(request, opened, deployment)
        except BaseException:
            opened.answer.abort()
            raise

    def _show(self, request: ObjectRequest, deployment: Deployment) -> None:
        shows = request.policy.rules.see_deployment
        if self._settings.pool.deployment_header if shows is None else shows:
            name = deployment.name.encode("ascii", "replace")
            request.headers.append((b"x-chukei-deployment", name))

    # Answering.

    async def _pass(self, request: ObjectRequest, opened: Opened, deployment: Deployment) -> None:
        route = request.object
        if opened.stream is not None:
            await self._stream(request, opened, opened.stream, deployment)
        elif request.reply.started:
            raise failure("not_a_stream", "The upstream answered as a whole where a stream was asked for.")
        elif route.makes or route.mentions or route.ends:
            await self._answer_whole(request, opened, deployment)
        else:
            await self._pass_whole(request, opened, deployment)

    async def _pass_whole(self, request: ObjectRequest, opened: Opened, deployment: Deployment) -> None:
        """Pass on an answer as it arrives, at any size."""
        route, exchange, listener = request.object, request.exchange, _Listener()
        if route.media == ANYTHING:
            listener.output = self._batches.output(request.route.ids[0][1]) if route.name == "file_content" else None
            request.headers += _STORED
        elif route.name in _DESCRIBING:
            listener.reader = Reader()
        elif route.name in _HOLDING_ITEMS:
            listener.finder = ItemFinder()
        await pass_whole(exchange, opened, request.reply, request.headers, self._settings.stream, listener)
        exchange.record.end = End.COMPLETED
        opened.answer.finish()
        if listener.output is not None:
            self._batches.read(request.route.ids[0][1], listener.output)
        if listener.finder is not None:
            self._learn(request, deployment, [("item", id) for id in listener.finder.ids])
        if listener.reader is not None:
            report = listener.reader.report()
            self._learn(request, deployment, kept_in(report.items))
            self._witness(request.route.ids[0][1], report)

    def _learn(self, request: ObjectRequest, deployment: Deployment, found: Iterable[tuple[str, str]]) -> None:
        """Learn what an answer shows that its resource keeps: what a response in the background has left, and items."""
        for kind, id in found:
            record = ObjectRecord(kind, home_of(kind, deployment), request.policy.owners[0], None)
            self._registry.made(id, record)

    async def _stream(self, request: ObjectRequest, opened: Opened, stream: Stream, deployment: Deployment) -> None:
        exchange, reply, settings = request.exchange, request.reply, patient(self._settings.stream)
        record = exchange.record
        stream.response_id = request.route.ids[0][1]
        stream.starts_at = _starts_at(request.query)
        exchange.stream, record.stream, record.first_token = stream, True, exchange.elapsed
        if not reply.started:
            record.status = 200
            down = azure.headers_down(opened.answer.headers, limits=not exchange.own_limits)
            await reply.start(200, [*down, *STREAM_HEADERS, *request.headers])
        try:
            await Delivery(exchange, opened, stream, reply, settings, simple=False).run(opened.first)
            record.end = stream.end()
        finally:
            record.finish_reasons, record.served_model = stream.finish_reasons, stream.model
            self._learn(request, deployment, kept_in(stream.items))
            self._witness(request.route.ids[0][1], stream)

    async def _answer_whole(self, request: ObjectRequest, opened: Opened, deployment: Deployment) -> None:
        """Read an answer, learn the ids in it, and pass it on."""
        exchange, route, registry = request.exchange, request.object, self._registry
        body = await gather(opened, self._settings.stream.idle_seconds, MAX_ANSWER)
        answer = answers.read(body)
        owner, identity = request.policy.owners[0], identity_of(route, deployment)
        for kind, id in answers.learnt(route, answer):
            registry.made(id, ObjectRecord(kind, identity, owner, exchange.record.model))
        if route.ends:
            registry.gone(request.route.ids[-1][1])
            self._looks.gone(request.caller, request.route.ids[-1][1])
        if route.name == "response_delete":
            self._witness(request.route.ids[0][1], None)
        if request.told is not None:
            request.told(answer)
        if route.name in _OF_BATCHES:
            self._batches.seen(answer)
        await self._send(request, opened.answer.status, opened.answer.headers, body)
        opened.answer.finish()

    async def _send(self, request: ObjectRequest, status: int, given: Headers, body: bytes) -> None:
        exchange = request.exchange
        down = azure.headers_down(given, limits=not exchange.own_limits)
        length = [(b"content-length", b"%d" % len(body))] if status != 204 else []
        exchange.record.status, exchange.record.end = status, End.COMPLETED
        exchange.record.answer_bytes += len(body)
        await request.reply.start(status, [*down, *length, *request.headers])
        await request.reply.finish(body)

    # Lists.

    async def _list(self, request: ObjectRequest) -> None:
        """Answer with those objects of a list that are the caller's."""
        route = request.object

        async def ask(deployment: Deployment, query: Query) -> Json:
            asked = Asked(
                route,
                deployment,
                route.path,
                query=query,
                headers=request.incoming.headers,
                api_version=request.route.api_version,
            )
            opened = await self._ask(request, asked)
            try:
                page = answers.read(await gather(opened, self._settings.stream.idle_seconds, MAX_ANSWER))
            except BaseException:
                opened.answer.abort()
                raise
            opened.answer.finish()
            if not page:
                raise failure("unexpected_answer", "The upstream's list is no JSON object.")
            return page

        async def own(entries: Sequence[Json], deployment: Deployment) -> list[Json]:
            mine = await self._homes.own(entries, request, deployment)
            if route.lists == "batch":
                for each in mine:
                    self._batches.seen(each)
            return mine

        deployments = await self._homes.listing(request)
        self._show(request, deployments[0])
        body = await own_list(deployments, request.query, ask, own, route.limits)
        await self._send(request, 200, [(b"content-type", b"application/json")], body)


class _Listener:
    """Passes the parts of an answer to those who read it on its way."""

    output: OutputReader | None = None
    reader: Reader | None = None
    finder: ItemFinder | None = None

    def feed(self, data: bytes) -> None:
        """See ``delivery.Listener``."""
        if self.output is not None:
            self.output.feed(data)
        if self.reader is not None:
            self.reader.feed(data)
        if self.finder is not None:
            self.finder.feed(data)


def _starts_at(query: Query) -> int:
    """Return the number of a resumed stream's first event."""
    after = dict(query).get("starting_after", "")
    return int(after) + 1 if after.isascii() and after.isdigit() and len(after) < 10 else 0
