"""The beginning of a realtime session: the deployment that opens it, and the client's socket."""

from chukei import azure
from chukei.accounts.policy import Policy
from chukei.errors import CallerError
from chukei.gateway.exchange import Exchange
from chukei.gateway.sockets import events
from chukei.gateway.sockets.gate import Gate
from chukei.gateway.sockets.handshake import Handshake
from chukei.gateway.sockets.meter import Meter
from chukei.gateway.sockets.opening import first_to_open
from chukei.gateway.sockets.places import model_at, name_at
from chukei.gateway.sockets.realtime import RealtimeSession
from chukei.gateway.sockets.secrets import Held, Known
from chukei.gateway.sockets.session import TEXT, limits_of
from chukei.model import Headers, Model
from chukei.pool import Lease
from chukei.ports import Frame, Reply, Socket
from chukei.record import Attempt
from chukei.request.routes import SocketRoute

INTENTS = frozenset({"transcription", "translation", "conversation"})


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
    asked = route.model
    belongs = held[1] if held is not None else owned
    if belongs is not None:
        if asked not in (None, belongs.model):
            raise CallerError(400, "model_not_changeable", f"This key is for {belongs.model!r}.", param="model")
        asked = belongs.model
    model = services.pool.model(policy.model_for(asked), policy.allows)
    record.model = model.name
    policy.check_model(model.name)
    model = policy.applied_to(model)
    limits = limits_of(gateway.settings)

    async def ask(lease: Lease, attempt: Attempt) -> Socket:
        deployment = lease.deployment
        credential = await services.failover.client.credential(deployment)
        if held is not None:
            credential = (b"authorization", b"Bearer " + held[1].secret)
        headers: Headers = [
            *(field for field in azure.headers_up(shake.headers) if field[0] != b"content-type"),
            credential,
            (b"user-agent", b"chukei"),
            (b"x-ms-client-request-id", record.request_id.encode()),
        ]
        target = azure.realtime_target(deployment, azure.version_for(deployment, route.api_version), route.intent)
        if route.call_id is not None:
            target = f"/openai/v1/realtime?call_id={route.call_id}"
        return await services.failover.client.upstream.open_socket(deployment.endpoint, target, headers, (), limits)

    home = belongs.identity if belongs is not None else None
    lease, upstream = await first_to_open(services.failover, exchange, model, ask, home)
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
        first = events.first_update(model, preview=preview) if _is_configured(route, held) else None
        if first is not None:
            await upstream.send(Frame(TEXT, first))
        told = [(b"x-request-id", record.request_id.encode())]
        socket = await reply.upgrade(shake.subprotocol, told, limits)
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
    )


def _is_configured(route: SocketRoute, held: tuple[bytes, Held] | None) -> bool:
    """Whether the relay configures a session at its beginning. Those of a key or a call are configured already."""
    return route.call_id is None and held is None and route.intent is None


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
