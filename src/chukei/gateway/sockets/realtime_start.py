"""The beginning of a realtime session: the deployment that opens it, and the client's socket."""

from contextlib import nullcontext
from typing import Any

from chukei import azure
from chukei.accounts.policy import Policy
from chukei.azure import TRANSCRIPTION
from chukei.errors import CallerError, UpstreamError
from chukei.gateway.exchange import Exchange
from chukei.gateway.sockets import events
from chukei.gateway.sockets.gate import Gate
from chukei.gateway.sockets.handshake import Handshake
from chukei.gateway.sockets.meter import Meter
from chukei.gateway.sockets.opening import first_to_open
from chukei.gateway.sockets.places import model_at, name_at, transcriber_of
from chukei.gateway.sockets.preparation import SECRETS, Preparation
from chukei.gateway.sockets.realtime import RealtimeSession
from chukei.gateway.sockets.secrets import Held, Known
from chukei.gateway.sockets.session import TEXT, limits_of
from chukei.model import Deployment, Headers, Model
from chukei.pool import Lease, Pool
from chukei.ports import Frame, Reply, Socket
from chukei.record import Attempt
from chukei.request.routes import SocketRoute

INTENTS = frozenset({TRANSCRIPTION, "translation", "conversation"})


async def start_realtime(
    known: Known,
    gateway: Gate,
    exchange: Exchange,
    route: SocketRoute,
    policy: Policy,
    reply: Reply,
    shake: Handshake,
    *,
    held: tuple[bytes, Held] | None,
) -> RealtimeSession:
    """Open a session at a deployment, then accept the client's handshake: until then failures are HTTP errors.

    ``held`` is the client's ephemeral key and to whom it belongs.

    Raises:
        RelayError: the caller may not open the session, or no deployment opened it.
    """
    services, record = gateway.services, exchange.record
    if route.intent is not None and route.intent not in INTENTS:
        raise CallerError(400, "invalid_value", f"'intent' is one of {', '.join(sorted(INTENTS))}.", param="intent")
    owned = await _call_of(known, gateway, route, exchange)
    belongs = held[1] if held is not None else owned
    asked, intent = _asked(route, belongs, services.pool, policy)
    model = services.pool.model(policy.model_for(asked), policy.allows)
    record.model = model.name
    policy.check_model(model.name)
    model = policy.applied_to(model)
    transcribes = intent == TRANSCRIPTION and asked is not None
    made = Preparation(known, gateway, exchange, policy, held, nullcontext)
    dial = _Dial(made, route, intent, shake, may_need_key=transcribes)
    home = belongs.identity if belongs is not None else None
    lease, upstream = await first_to_open(services.failover, exchange, model, dial.ask, home)
    try:
        meter = Meter(
            services.admission,
            record,
            model,
            policy,
            services.clock,
            gateway.account_turn,
            lambda name: model_at(services.pool, name, lease.deployment),
        )
        meter.counts = owned is None  # else the call is counted already
        meter.said = events.Said(gateway.settings.audit.max_content_bytes, services.audit)
        preview = azure.version_for(lease.deployment, route.api_version) not in azure.ALL_V1
        first = events.first_update(model, preview=preview) if belongs is None and intent != TRANSCRIPTION else None
        if first is not None:
            await upstream.send(Frame(TEXT, first))
        told = [(b"x-request-id", record.request_id.encode())]
        socket = await reply.upgrade(shake.subprotocol, told, limits_of(gateway.settings))
    except BaseException:
        upstream.abort()
        lease.release(services.clock())
        raise

    def find(name: str) -> Model:
        found = services.pool.model(name, policy.allows)
        policy.check_model(found.name)
        return found

    return RealtimeSession(
        exchange,
        socket,
        gateway.settings,
        upstream=upstream,
        model=model,
        deployment=lease.deployment.deployment,
        meter=meter,
        names=find,
        name_there=lambda model: name_at(model, lease.deployment),
        release=lambda: lease.release(services.clock()),
        transcribes=transcribes,
    )


def _asked(route: SocketRoute, belongs: Held | None, pool: Pool, policy: Policy) -> tuple[str | None, str | None]:
    """Return the name of the model and the intent: those of a key or a call, else of the handshake.

    A session that only transcribes need not name a model there.

    Raises:
        CallerError: 400, the key is for another model.
    """
    asked = route.model
    if belongs is not None:
        if asked not in (None, belongs.model):
            raise CallerError(400, "model_not_changeable", f"This key is for {belongs.model!r}.", param="model")
        return belongs.model, belongs.intent
    if asked is None and route.intent == TRANSCRIPTION:
        asked = transcriber_of(pool, policy)
    return asked, route.intent


class _Dial:
    """Opens the session at a deployment. ``may_need_key`` says that its model may take ephemeral keys only."""

    def __init__(
        self, made: Preparation, route: SocketRoute, intent: str | None, shake: Handshake, *, may_need_key: bool
    ) -> None:
        self._made = made
        self._route = route
        self._intent = intent
        self._may_need_key = may_need_key
        passed = [field for field in azure.headers_up(shake.headers) if field[0] != b"content-type"]
        name = made.exchange.record.request_id.encode()
        self._headers: Headers = [*passed, (b"user-agent", b"chukei"), (b"x-ms-client-request-id", name)]

    async def ask(self, lease: Lease, attempt: Attempt) -> Socket:
        """Open the session.

        Raises:
            UpstreamError: it failed, or the deployment refused.
        """
        made, deployment = self._made, lease.deployment
        if made.held is not None:
            return await self._open(deployment, _bearer(made.held[1].secret))
        try:
            return await self._open(deployment, await made.services.failover.client.credential(deployment))
        except UpstreamError as error:
            if not (self._may_need_key and error.kind == "upstream_unauthorized"):
                raise
        # If it is the relay's own credential that is wrong, the service makes no key either.
        kind, body = _key_for(deployment, self._version(deployment))
        _, place = await made.make_key(lease, kind, self._route.api_version, body)
        return await self._open(deployment, _bearer(place["value"].encode()))

    def _version(self, deployment: Deployment) -> str:
        return azure.version_for(deployment, self._route.api_version)

    async def _open(self, deployment: Deployment, credential: tuple[bytes, bytes]) -> Socket:
        target = azure.realtime_target(deployment, self._version(deployment), self._intent)
        if self._route.call_id is not None:
            target = f"/openai/v1/realtime?call_id={self._route.call_id}"
        upstream, limits = self._made.services.failover.client.upstream, limits_of(self._made.gateway.settings)
        return await upstream.open_socket(deployment.endpoint, target, [*self._headers, credential], (), limits)


def _key_for(deployment: Deployment, version: str) -> tuple[str, dict[str, Any]]:
    """Return the kind and the body of a request for an ephemeral key of a session in which a deployment transcribes."""
    transcription = {"model": deployment.deployment}
    if version in azure.ALL_V1:
        return SECRETS, {"session": {"type": TRANSCRIPTION, "audio": {"input": {"transcription": transcription}}}}
    return "transcription_sessions", {"input_audio_transcription": transcription}


def _bearer(secret: bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + secret


async def _call_of(known: Known, gateway: Gate, route: SocketRoute, exchange: Exchange) -> Held | None:
    """Return to whom the call of a handshake belongs.

    Raises:
        CallerError: 404, it is not the caller's.
    """
    if route.call_id is None:
        return None
    owned = await known.owners.find(route.call_id.encode(), gateway.services.wall())
    who = exchange.record.who
    if owned is None or who is None or (owned.caller.kind, owned.caller.name) != (who.kind, who.name):
        raise CallerError(404, "call_not_found", f"There is no call {route.call_id[:80]!r}.", param="call_id")
    return owned
