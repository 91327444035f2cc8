"""Wiring: settings in, a gateway with its adapters out."""

import hashlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from chukei.accounts.admission import Admission
from chukei.accounts.own_usage import OwnUsage
from chukei.accounts.policy import Policies
from chukei.accounts.stores import Database
from chukei.adapters.assets import asset
from chukei.adapters.http.client import HttpClient
from chukei.adapters.http.dial import tls_context
from chukei.adapters.identity.access import Access, access, peppers
from chukei.adapters.identity.credentials import credential_for, identity_installed
from chukei.adapters.ledger.accounting import Accounting, accounting_for
from chukei.adapters.ledger.databases import database_for
from chukei.adapters.ledger.tally import Tally
from chukei.adapters.logs.changes import log_change
from chukei.adapters.logs.requests import log_request, write_through
from chukei.callers.throttle import Throttle
from chukei.config import SIMULATED_MODELS, CredentialSettings, Problem, Secret, Settings
from chukei.gateway.gateway import Gateway, Services
from chukei.gateway.pages import Pages
from chukei.installation import command_for
from chukei.model import Change, Deployment, Model
from chukei.pool import Pool
from chukei.ports import Board, Clock, Credential, Hook, Peers
from chukei.upstream.failover import Failover

if TYPE_CHECKING:
    from chukei.admin.api import Admin
    from chukei.liveview.window import Window

SIMULATED_KEY = "simulated"


@dataclass(frozen=True, slots=True)
class Relay:
    """A gateway, and the resources that must be closed after it."""

    gateway: Gateway
    pool: Pool
    upstream: HttpClient
    credentials: Sequence[Credential]
    access: Access
    accounting: Accounting
    tally: Tally
    board: Board | None = None

    def start(self) -> None:
        """Start the background work: fetching tokens, receiving other replicas' changes."""
        for credential in self.credentials:
            credential.warm()
        self.accounting.start()
        self.access.start()
        if self.board is not None:
            self.board.start()

    async def close(self) -> None:
        """Close connections, stop the background work, and flush the ledger and the log."""
        await self.upstream.close()
        await self.access.close()
        if self.board is not None:
            await self.board.close()
        await self.gateway.settled()
        self.tally.close()
        await self.accounting.close()
        for credential in self.credentials:
            await credential.close()
        write_through()


def verify(settings: Settings) -> list[Problem]:
    """Return the problems of these settings on this machine that reading them cannot find."""
    problems = []
    for name, wanted in settings.credentials.items():
        if wanted.scope is not None and not identity_installed():
            message = f"Entra ID needs more packages: {command_for('identity')}"
            problems.append(Problem("configuration", f"deployments.{name}.identity", message))
    if settings.auth.entra is not None and not _entra_installed():
        message = f"access tokens need one more package: {command_for('entra')}"
        problems.append(Problem("configuration", "auth.entra", message))
    if settings.stores.quota is not None and find_spec("hiredis") is None:
        message = f"Redis needs one more package: {command_for('redis')}"
        problems.append(Problem("configuration", "stores.quota", message))
    ledger = settings.stores.ledger
    try:
        if ledger is not None:
            database_for(ledger.reveal())
    except ValueError as error:
        problems.append(Problem("configuration", "stores.ledger", str(error)))
    if settings.admin.api_key is not None and ledger is None and not settings.stores.ledger_by_default:
        message = 'means nothing without a database: set stores.ledger to something other than "none"'
        problems.append(Problem("configuration", "admin.api_key", message))
    try:
        if settings.upstream.ca_file is not None:
            tls_context(settings.upstream.ca_file)
    except OSError:
        message = f"{settings.upstream.ca_file} holds no certificate; give a PEM file of certificate authorities"
        problems.append(Problem("configuration", "upstream.ca_file", message))
    return problems


def _entra_installed() -> bool:
    from chukei.adapters.identity.entra import (
        entra_installed,  # only where it is configured, like all that verifies tokens
    )

    return entra_installed()


def build(settings: Settings, hooks: Sequence[Hook], peers: Peers, database: Database | None = None) -> Relay:
    """Wire a relay from valid settings. ``hooks`` get each request's record, besides the log and the ledger.

    ``peers`` are the worker processes that serve the same socket.
    """
    made = {wanted: credential_for(wanted) for wanted in dict.fromkeys(settings.credentials.values())}
    credentials = {name: made[wanted] for name, wanted in settings.credentials.items()}
    clock = time.monotonic
    window = _window(settings, clock)
    upstream = HttpClient(settings.upstream, window.dialled if window is not None else None)
    draw = random.SystemRandom().random
    pool = Pool(settings.models, settings.pool, default=settings.default_model, open=settings.open, draw=draw)
    pool.listen(log_change)
    board = _board(settings.stores.quota, pool, clock) if settings.stores.quota is not None else None
    wall: Clock = time.time  # noqa: TID251 - keys and tokens expire in Unix time
    accounting = accounting_for(settings, clock, wall, database)
    authentication = access(settings, clock, wall, accounting.database)
    tally = Tally((log_request, accounting))
    rules = {name: caller.rules for name, caller in settings.policies.callers.items()}
    admission = Admission(accounting.quotas, lambda: accounting.full)
    own_usage = OwnUsage(admission, accounting.database, clock=clock, now=_now)
    services = Services(
        gatekeeper=authentication.gatekeeper,
        policies=Policies(rules, settings.policies.groups),
        admission=admission,
        pool=pool,
        pages=Pages(pool, asset, clock, simulated=settings.simulated, own_usage=own_usage, since=int(wall())),
        admin=_admin(settings, accounting, pool, clock, peers),
        failover=Failover(settings, pool, upstream, credentials, clock, board),
        hooks=[*hooks, *([window] if window is not None else []), tally],
        clock=clock,
    )
    gateway = Gateway(settings, services)
    if window is not None:
        _answer_live(window, gateway, upstream, pool, peers, clock)
    if authentication.ring is not None:
        authentication.ring.listen(gateway.revoke)
    return Relay(gateway, pool, upstream, tuple(made.values()), authentication, accounting, tally, board)


def _window(settings: Settings, clock: Clock) -> "Window | None":
    """Return what the live view counts in. Without administrators nobody can look, and nothing is counted."""
    if settings.admin.api_key is None:
        return None
    from chukei.liveview.window import Window

    return Window(clock)


def _answer_live(
    window: "Window", gateway: Gateway, upstream: HttpClient, pool: Pool, peers: Peers, clock: Clock
) -> None:
    from chukei.admin.feed import SUBJECT
    from chukei.liveview.worker import LiveWorker

    worker = LiveWorker(
        window,
        pool,
        clock,
        running=gateway.running,
        connections=lambda: upstream.open_connections,
        draining=lambda: gateway.draining,
    )
    peers.answer(SUBJECT, worker.answer)


def _admin(settings: Settings, accounting: Accounting, pool: Pool, clock: Clock, peers: Peers) -> "Admin | None":
    key, database = settings.admin.api_key, accounting.database
    if key is None or database is None:
        return None
    from chukei.admin.api import Admin
    from chukei.admin.feed import Feed
    from chukei.callers.registry import KeyRegistry

    return Admin(
        hashlib.sha256(key.reveal().encode()).digest(),
        database,
        KeyRegistry(database, peppers(settings), _now, groups=settings.policies.groups),
        pool,
        clock=clock,
        now=_now,
        throttle=Throttle(settings.auth.failures_per_minute, clock),
        ledger_state=accounting.state,
        feed=Feed(peers, _now),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _board(address: Secret, pool: Pool, clock: Clock) -> Board:
    """Return the board on a Redis server. The pool publishes its changes there and receives those of other replicas."""
    from chukei.adapters.redis.board import RedisBoard  # imported only if it is configured

    board = RedisBoard(address.reveal(), pool.subjects, lambda change: pool.hear(change, clock()), clock=clock)

    def tell(_: Deployment, change: Change) -> None:
        if change.only is None:
            board.publish(change)

    pool.listen(tell)
    return board


def with_simulator(settings: Settings, url: str) -> Settings:
    """Return the settings with the simulator at ``url`` as the resource that serves every model name."""
    place = Deployment("simulator", url, "")
    names = dict.fromkeys((settings.default_model or SIMULATED_MODELS[0], *SIMULATED_MODELS))
    return replace(
        settings,
        models={name: Model(name, (replace(place, deployment=name),)) for name in names},
        open=place,
        credentials={place.name: CredentialSettings(api_key=Secret(SIMULATED_KEY))},
    )
