"""A relay from settings: a gateway with its adapters."""

import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chukei.accounts.admission import Admission
from chukei.accounts.ledger import Entry
from chukei.accounts.own_usage import OwnUsage
from chukei.accounts.policy import Policies
from chukei.accounts.stores import Database
from chukei.adapters import process
from chukei.adapters.assets import asset
from chukei.adapters.http.client import HttpClient
from chukei.adapters.identity.access import Access, access
from chukei.adapters.identity.credentials import credential_for
from chukei.adapters.ledger.accounting import Accounting, accounting_for
from chukei.adapters.ledger.rule_book import RuleBook
from chukei.adapters.ledger.tally import Tally
from chukei.adapters.logs.changes import log_change
from chukei.adapters.logs.levels import LEVELS
from chukei.adapters.logs.levels import SUBJECT as LEVELS_SUBJECT
from chukei.adapters.logs.process_log import write_through
from chukei.adapters.logs.requests import log_bill, log_request
from chukei.adapters.process import LoopLag
from chukei.config import (
    AuditSettings,
    CredentialSettings,
    Reload,
    Secret,
    Settings,
)
from chukei.gateway.gateway import Gateway
from chukei.gateway.pages import Pages
from chukei.gateway.scrape import COUNTS, GAUGES
from chukei.gateway.services import Services
from chukei.gateway.tracing import Tracing
from chukei.installation import command_for
from chukei.metrics.meter import Meter
from chukei.metrics.snapshot import Reading
from chukei.model import Change, Deployment, Model
from chukei.objects.jobs import Jobs
from chukei.objects.registry import Objects
from chukei.pool import Pool
from chukei.ports import Clock, Credential, Hook, Peers
from chukei.upstream.failover import Failover
from chukei.usage import Usage
from chukei.wiring.administration import Administration, utc_now
from chukei.wiring.shown import Shown, watched
from chukei.wiring.verification import missing_telemetry

if TYPE_CHECKING:
    from chukei.adapters.audit.sink import AuditSink
    from chukei.adapters.redis.board import RedisBoard
    from chukei.adapters.telemetry.telemetry import Telemetry
    from chukei.objects.job import Job
    from chukei.stream.whole_answer import AnswerReport

logger = logging.getLogger(__name__)

wall: Clock = time.time  # noqa: TID251 - keys and tokens expire in Unix time


@dataclass(frozen=True, slots=True)
class Relay:
    """A gateway for one configuration, and the resources that must be closed after it."""

    settings: Settings
    gateway: Gateway
    pool: Pool
    upstream: HttpClient
    credentials: Mapping[CredentialSettings, Credential]
    access: Access
    accounting: Accounting
    tally: Tally
    administration: Administration
    shown: Shown
    rules: RuleBook | None = None
    board: "RedisBoard | None" = None
    meter: Meter | None = None
    lag: LoopLag | None = None
    audit: "AuditSink | None" = None
    telemetry: "Telemetry | None" = None
    jobs: Jobs | None = None

    def start(self) -> None:
        """Start the background work: fetching tokens, receiving other replicas' changes."""
        for credential in self.credentials.values():
            credential.warm()
        self.accounting.start()
        self.access.start()
        if self.rules is not None:
            self.rules.start()
        if self.board is not None:
            self.board.start()
        if self.telemetry is not None:
            self.telemetry.start()
        if self.lag is not None:
            self.lag.start()
        if self.audit is not None:
            self.audit.start()
        if self.jobs is not None:
            self.jobs.start()

    async def close(self) -> None:
        """Close connections, stop the background work, and flush the ledger and the log."""
        if self.lag is not None:
            self.lag.close()
        if self.jobs is not None:
            await self.jobs.close()
        await self.upstream.close()
        await self.access.close()
        if self.rules is not None:
            await self.rules.close()
        if self.board is not None:
            await self.board.close()
        await self.gateway.settled()
        self.tally.close()
        await self.accounting.close()
        if self.telemetry is not None:
            await self.telemetry.close()
        for credential in self.credentials.values():
            await credential.close()
        if self.audit is not None:
            await self.audit.close()
        write_through()


def build(
    settings: Settings,
    hooks: Sequence[Hook],
    peers: Peers,
    database: Database | None = None,
    reload: Reload | None = None,
) -> Relay:
    """Wire a relay from valid settings. ``hooks`` get each request's record, besides the log and the ledger.

    ``peers`` are the worker processes that serve the same socket. ``reload`` reads the configuration again.
    """
    made = {wanted: credential_for(wanted) for wanted in dict.fromkeys(settings.credentials.values())}
    credentials = {name: made[wanted] for name, wanted in settings.credentials.items()}
    clock = time.monotonic
    shown = Shown()
    watching = watched(settings, shown, peers, clock)
    upstream = HttpClient(settings.upstream, shown.dialled)
    pool = pool_for(settings)
    pool.listen(log_change)
    board = _board(settings.stores.quota, pool, clock) if settings.stores.quota is not None else None
    accounting = accounting_for(settings, clock, wall, database)
    authentication = access(settings, clock, wall, accounting.database)
    metrics = settings.metrics
    meter = Meter(most=metrics.max_rows, callers=metrics.callers) if metrics.enabled else None
    telemetry = _telemetry(settings, meter)
    tally = Tally((log_request, accounting) if telemetry is None else (log_request, accounting, telemetry))
    rules = RuleBook(accounting.database) if accounting.database is not None else None
    administration = Administration(accounting, clock, rules, reload, peers, settings.auth.failures_per_minute)
    admission = Admission(accounting.quotas, lambda: accounting.full)
    audit = _audit(settings.audit)
    jobs = _jobs(accounting, admission, meter, board)
    registry = Objects([store for store in (board, accounting.objects) if store is not None], clock)
    own_usage = OwnUsage(admission, accounting.database, clock=clock, now=utc_now)
    policies = policies_for(settings, rules)
    services = Services(
        gatekeeper=authentication.gatekeeper,
        policies=policies,
        admission=admission,
        pool=pool,
        pages=Pages(
            pool,
            asset,
            clock,
            simulated=settings.simulated,
            own_usage=own_usage,
            since=int(wall()),
            max_body_bytes=settings.server.max_body_bytes,
            sign_in=settings.admin.sign_in,
        ),
        admin=administration.api(settings, pool, policies, admission, authentication.readers.administrators),
        audit=audit,
        failover=Failover(settings, pool, upstream, credentials, clock, registry),
        hooks=[*hooks, *([meter] if meter is not None else []), *watching, tally],  # the tally may change a record
        clock=clock,
        wall=wall,
        tracing=Tracing(settings.telemetry, recording=telemetry is not None and telemetry.traces),
        scrape=administration.scrape(settings) if meter is not None else None,
        jobs=jobs,
        peers=peers,
        holds=board,
    )
    look_at_jobs(jobs, settings, upstream, credentials)
    peers.answer(LEVELS_SUBJECT, LEVELS.answer)
    gateway = Gateway(settings, services)
    if authentication.ring is not None:
        authentication.ring.listen(gateway.revoke)
    lag = LoopLag(meter.observe_lag) if meter is not None else None
    relay = Relay(
        settings,
        gateway,
        pool,
        upstream,
        made,
        authentication,
        accounting,
        tally,
        administration,
        shown,
        rules,
        board,
        meter,
        lag,
        audit,
        telemetry,
        jobs,
    )
    shown.relay = relay
    if meter is not None:
        _watch(meter, relay, clock, started=wall())
        peers.answer(COUNTS, lambda _: meter.counts().encoded(), last=True)
        peers.answer(GAUGES, lambda _: meter.gauges().encoded())
    return relay


def _telemetry(settings: Settings, meter: Meter | None) -> "Telemetry | None":
    """Return what sends telemetry, or None if it is not configured."""
    wanted = settings.telemetry
    if "azure-monitor" in dict(missing_telemetry(wanted)):  # only where the platform has configured it
        logger.info("no traces are sent to Application Insights; for that: %s", command_for("azure-monitor"))
        wanted = replace(wanted, connection_string=None)
    if not (wanted.over_otlp or wanted.to_azure):
        return None
    from chukei.adapters.telemetry.spans import places  # imported only if it is configured
    from chukei.adapters.telemetry.telemetry import Telemetry

    deployments = [deployment for model in settings.models.values() for deployment in model.deployments]
    endpoints = {deployment.name: deployment.endpoint for deployment in deployments}
    other = settings.open.endpoint if settings.open is not None else None
    return Telemetry(wanted, places(endpoints, other), meter)


def _jobs(accounting: Accounting, admission: Admission, meter: Meter | None, board: "RedisBoard | None") -> Jobs:
    """Return the responses in the making."""

    def billed(entry: Entry) -> None:
        log_bill(entry)
        if meter is not None:
            use = (entry.model or "", entry.deployment or "", entry.group or "", entry.caller)
            usage = Usage(entry.input, entry.output, entry.cached, entry.reasoning, entry.estimated)
            meter.count_bill(use, usage, entry.cost)

    return Jobs(admission.settle, billed, now=utc_now, store=accounting.database, board=board)


def look_at_jobs(jobs: Jobs, settings: Settings, upstream: HttpClient, credentials: Mapping[str, Credential]) -> None:
    """Let the relay look at responses in the making, and price them, by these settings."""

    async def look(job: "Job") -> "AnswerReport | None":
        from chukei.upstream.looking import StatusClient  # it is seldom needed

        models = [*settings.models.values(), *([Model("", (settings.open,))] if settings.open is not None else [])]
        return await StatusClient(models, upstream, credentials)(job)

    jobs.first_seconds = settings.objects.settle_seconds
    jobs.look, jobs.models = look, settings.models.get


def _watch(meter: Meter, relay: Relay, clock: Clock, *, started: float) -> None:
    """Let the meter read all that has a state."""
    ring, board, shown = relay.access.ring, relay.board, relay.shown

    def serving() -> Iterator[Reading]:
        now = shown.relay
        if now is not None:
            yield from now.pool.readings(clock())
            yield from now.upstream.readings()

    readers = [
        lambda: process.readings(started),
        relay.gateway.readings,
        serving,
        *relay.accounting.readers,
        *([relay.jobs.readings] if relay.jobs is not None else []),
        *([ring.readings] if ring is not None else []),
        *([board.readings] if board is not None else []),
        *([relay.audit.readings] if relay.audit is not None else []),
        *([relay.telemetry.readings] if relay.telemetry is not None else []),
    ]
    for reader in readers:
        meter.watch(reader)


def _audit(settings: AuditSettings) -> "AuditSink | None":
    if settings.folder is None:
        return None
    from chukei.adapters.audit.entry import load_redactor
    from chukei.adapters.audit.folder import AuditFolder
    from chukei.adapters.audit.sink import AuditSink

    sizes = {"max_file_bytes": settings.max_file_bytes, "max_bytes": settings.max_bytes}
    redact = load_redactor(settings.redact) if settings.redact is not None else None
    return AuditSink(settings, AuditFolder(Path(settings.folder), **sizes), redact)


def pool_for(settings: Settings, before: Pool | None = None) -> Pool:
    """Return the pool for the settings, after a reload with the state of the one ``before``."""
    return Pool(
        settings.models,
        settings.pool,
        default=settings.default_model,
        open=settings.open,
        draw=random.SystemRandom().random,
        before=before,
    )


def policies_for(settings: Settings, book: RuleBook | None) -> Policies:
    """Return the rules of callers and groups, which follow the ``book`` from now on."""
    rules = {name: caller.rules for name, caller in settings.policies.callers.items()}
    policies = Policies(rules, settings.policies.groups)
    if book is not None:
        book.listen(policies.override)
    return policies


def _board(address: Secret, pool: Pool, clock: Clock) -> "RedisBoard":
    """Return the board on a Redis server. The pool publishes its changes there and receives those of other replicas."""
    from chukei.adapters.redis.board import RedisBoard  # imported only if it is configured

    board = RedisBoard(address.reveal(), pool.subjects, lambda change: pool.hear(change, clock()), clock=clock)

    def tell(_: Deployment, change: Change) -> None:
        if change.only is None:
            board.publish(change)

    pool.listen(tell)
    return board
