"""All sessions of a process: who may open one, what it is for, and how they end when the relay does."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chukei.accounts.policy import Policy
from chukei.azure import REALTIME
from chukei.callers.gatekeeper import credentials
from chukei.config import Secret
from chukei.errors import CallerError, Unavailable, come_back
from chukei.gateway.exchange import Exchange, Turn
from chukei.gateway.sockets import handshake
from chukei.gateway.sockets.gate import Gate
from chukei.gateway.sockets.preparation import Preparation
from chukei.gateway.sockets.preparing import prepare
from chukei.gateway.sockets.realtime_start import start_realtime
from chukei.gateway.sockets.responses import ResponsesSession
from chukei.gateway.sockets.secrets import Held, Known
from chukei.gateway.sockets.session import Session, limits_of
from chukei.model import Caller, End
from chukei.ports import HoldStore, Incoming, Peers, Reply
from chukei.request.routes import Route, SocketRoute

SHORTLY = come_back(5)


class Sessions:
    """The sessions of one process, and what it knows of ephemeral keys and calls. ``address`` is the store's."""

    def __init__(
        self, peers: Peers | None = None, store: HoldStore | None = None, address: Secret | None = None
    ) -> None:
        self.known = Known(peers, store, address)
        self._open: set[Session] = set()
        self._held: Counter[str] = Counter()

    def drain(self) -> None:
        """End the sessions as soon as they rest: the relay shuts down."""
        for session in [*self._open]:
            session.drain()

    def end_of(self, refused: Callable[[Caller], bool]) -> None:
        """Forget the ephemeral keys of callers who are no longer let in. Their sessions end like other requests."""
        self.known.keys.forget(refused)
        self.known.owners.forget(refused)

    async def serve(
        self, gateway: Gate, exchange: Exchange, route: SocketRoute, incoming: Incoming, reply: Reply
    ) -> None:
        """Serve a handshake, and the session to its end.

        Raises:
            RelayError: the handshake is refused.
        """
        services, record = gateway.services, exchange.record
        record.operation = f"{route.operation.name}_socket"
        shake = handshake.read(incoming.headers, route.key)
        held = await self._holder(gateway, shake.headers, incoming.source) if route.operation is REALTIME else None
        if held is None:
            caller = await self._authenticate(gateway, shake.headers, incoming)
        else:
            caller = held[1].caller
        record.who = services.policies.placed(caller)
        record.trace = services.tracing.context(incoming.headers, record.who)
        policy = services.policies.of(record.who)
        with self._place(gateway, record.caller or ""):
            if route.operation is REALTIME:
                session: Session = await start_realtime(
                    self.known, gateway, exchange, route, policy, reply, shake, held=held
                )
            else:
                session = await self._responses(gateway, exchange, route, policy, caller, shake, incoming, reply)
            record.status = 101
            self._open.add(session)
            try:
                if gateway.draining:
                    session.drain()
                await session.run()
            finally:
                self._open.discard(session)

    async def prepare(self, gateway: Gate, exchange: Exchange, route: Route, incoming: Incoming, reply: Reply) -> None:
        """Serve a request that prepares a realtime session.

        Raises:
            RelayError: it is refused, or no deployment could serve it.
        """
        services, record = gateway.services, exchange.record
        held = await self._holder(gateway, incoming.headers, incoming.source)
        if held is not None:
            caller = held[1].caller
        else:
            caller = await services.gatekeeper.authenticate(
                incoming.headers, local=incoming.local, source=incoming.source
            )
        record.who = services.policies.placed(caller)
        record.trace = services.tracing.context(incoming.headers, record.who)
        policy = services.policies.of(record.who)
        made = Preparation(
            self.known, gateway, exchange, policy, held, lambda: self._place(gateway, record.caller or "")
        )
        await prepare(made, route, incoming, reply)

    async def _holder(
        self, gateway: Gate, headers: list[tuple[bytes, bytes]], source: str
    ) -> tuple[bytes, Held] | None:
        """Return the ephemeral key among a request's credentials, and to whom it belongs.

        Raises:
            CallerError: 400 for another credential beside it.
            Unavailable: it cannot be told now, since another replica may know the key.
        """
        services = gateway.services
        for each in credentials(headers)[0]:
            if not self.known.mint.made(each, services.wall()):
                continue  # nobody is asked, and it counts like any other wrong credential
            held = await self.known.keys.find(each, services.wall())
            if held is not None and await services.gatekeeper.lets_in(held.caller, held.credential):
                services.gatekeeper.check_alone(held.caller, headers, source)
                return each, held
        return None

    async def _authenticate(self, gateway: Gate, headers: list[tuple[bytes, bytes]], incoming: Incoming) -> Caller:
        """Return the caller.

        No CORS protects a WebSocket: a page of another site may open one, with the user's cookies. So a page must be
        of an allowed site, unless it knows a credential: one that was ignored does not count.
        """
        keeper = gateway.services.gatekeeper
        if not credentials(headers)[0]:
            keeper.check_site(headers)
        caller = await keeper.authenticate(headers, local=incoming.local, source=incoming.source)
        if not keeper.knows(headers):
            keeper.check_site(headers)
        return caller

    @contextmanager
    def _place(self, gateway: Gate, caller: str) -> Iterator[None]:
        """Count a session while it is open.

        Raises:
            CallerError: 429, the caller has too many.
            Unavailable: this process has too many.
        """
        settings = gateway.settings.sockets
        if self._held[caller] >= settings.per_caller:
            message = f"You have {settings.per_caller} open WebSockets here, which is the limit; close one first."
            raise CallerError(429, "too_many_sockets", message, type="rate_limit_error", headers=SHORTLY)
        if self._held.total() >= settings.most:
            message = "This relay has as many open WebSockets as it may; try again, or use HTTP."
            raise Unavailable("sockets_full", message, end=End.REFUSED, headers=SHORTLY)
        self._held[caller] += 1
        try:
            yield
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    async def _responses(
        self,
        gateway: Gate,
        exchange: Exchange,
        route: SocketRoute,
        policy: Policy,
        caller: Caller,
        shake: handshake.Handshake,
        incoming: Incoming,
        reply: Reply,
    ) -> ResponsesSession:
        settings = gateway.settings
        socket = await reply.upgrade(shake.subprotocol, _answered(exchange), limits_of(settings))

        async def serve(turn_incoming: Incoming, turn_reply: Reply, turn: Turn) -> None:
            await gateway.newest.handle(turn_incoming, turn_reply, turn)

        return ResponsesSession(
            exchange,
            socket,
            settings,
            handshake=incoming,
            caller=caller,
            query=f"api-version={route.api_version}" if route.api_version is not None else "",
            serve=serve,
            upstream=lambda: gateway.newest.services.failover.client.upstream,
        )


def _answered(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    return [(b"x-request-id", exchange.record.request_id.encode())]
