"""All checks of a configuration: the machine, each endpoint with its deployments, the stores, the clock."""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from functools import cache

from chukei.adapters.http.client import HttpClient
from chukei.adapters.http.dial import tls_context
from chukei.adapters.identity.credentials import azure_identity
from chukei.config import ConfigError, CredentialSettings, Settings, load
from chukei.doctor import machine, stores
from chukei.doctor.deployments import TOKEN_SECONDS, Examiner, Identity, Times, header_of, name_of
from chukei.doctor.finding import Finding, Kind, Subject, any_failed, bounded
from chukei.doctor.network import Way, reach
from chukei.doctor.report import Report
from chukei.model import Deployment, Model
from chukei.ports import Clock
from chukei.wiring.verification import verify

AT_ONCE = 8
"""Deployments that are asked at the same time."""

WAY_SECONDS = 60.0


async def examine_configuration(path: str | None, environment: Mapping[str, str]) -> Report:
    """Read the configuration and check everything that it names. With mistakes in it, report only these."""
    try:
        settings = load(path, environment)
    except ConfigError as error:
        return Report([machine.problem(each.source, each.key, each.message) for each in error.problems])
    problems = verify(settings)
    if problems:
        return Report([machine.problem(each.source, each.key, each.message) for each in problems])
    source = path or environment.get("CHUKEI_CONFIG") or "environment variables"
    return Report([*machine.configuration(settings, source), *await examine(settings, environment)])


async def examine(
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    *,
    clock: Clock = time.monotonic,
    wall: Clock = time.time,  # noqa: TID251 - certificates and tokens expire in Unix time
    identity: Identity = azure_identity,
) -> list[Finding]:
    """Check everything that valid settings name. ``identity`` makes the source of Entra ID tokens."""
    times = Times(wall)
    ledger = stores.ledger_of(settings, dict(os.environ if environment is None else environment))
    findings = [machine.versions(), machine.files()]
    if ledger is not None:
        findings.append(stores.spool(settings, ledger))
    found = await asyncio.gather(
        _endpoints(settings, clock, times, identity),
        _redis(settings, clock, times),
        _ledger(ledger, clock, times),
    )
    return [*findings, *(each for some in found for each in some), *machine.clock(times.differences)]


async def _redis(settings: Settings, clock: Clock, times: Times) -> list[Finding]:
    if settings.stores.quota is None:
        return []
    work = stores.redis(settings.stores, clock, times)
    return await bounded(Subject(Kind.STORE, "Redis"), "connect", stores.STORE_SECONDS, work)


async def _ledger(address: str | None, clock: Clock, times: Times) -> list[Finding]:
    if address is None:
        return []
    work = stores.ledger(address, clock, times)
    return await bounded(Subject(Kind.STORE, "the ledger"), "database", stores.STORE_SECONDS, work)


async def _endpoints(settings: Settings, clock: Clock, times: Times, identity: Identity) -> list[Finding]:
    """Check each endpoint, and behind each that is reached its deployments."""
    client = HttpClient(settings.upstream)
    examiner = Examiner(settings, client, clock, times)
    places = [(model, deployment) for model in settings.models.values() for deployment in model.deployments]
    endpoints = dict.fromkeys(deployment.endpoint for _, deployment in places)
    if settings.open is not None:
        endpoints.setdefault(settings.open.endpoint)
    for entra in (settings.auth.entra, settings.admin.entra):
        if entra is not None:
            endpoints.setdefault(entra.authority)
    limit = asyncio.Semaphore(AT_ONCE)
    way = _way(settings, clock, times.wall)
    try:
        found = await asyncio.gather(
            *(
                _endpoint(
                    endpoint,
                    [place for place in places if place[1].endpoint == endpoint],
                    settings,
                    way,
                    examiner,
                    identity,
                    limit,
                )
                for endpoint in endpoints
            )
        )
    finally:
        await client.close()
    findings = [each for some in found for each in some]
    if not places and not settings.simulated:
        subject = Subject(Kind.DEPLOYMENT, "deployments")
        findings.append(
            subject.skipped("deployment", "none is named: set AZURE_OPENAI_DEPLOYMENT to have one examined")
        )
    return findings


def _way(settings: Settings, clock: Clock, wall: Clock) -> Way:
    upstream = settings.upstream

    @cache
    def context() -> ssl.SSLContext:
        return tls_context(upstream.ca_file)

    return Way(context, "upstream.ca_file to it", clock, wall, upstream.connect_seconds, upstream.proxies)


async def _endpoint(
    endpoint: str,
    places: Sequence[tuple[Model, Deployment]],
    settings: Settings,
    way: Way,
    examiner: Examiner,
    identity: Identity,
    limit: asyncio.Semaphore,
) -> list[Finding]:
    subject = Subject(Kind.ENDPOINT, endpoint)

    async def network() -> list[Finding]:
        found, reached = await reach(subject, endpoint, way)
        if reached is not None:
            reached.close()
        return found

    findings = await bounded(subject, "connect", WAY_SECONDS, network())
    if any_failed(findings):
        return [*findings, *_skipped(places, "its endpoint cannot be reached")]
    groups: dict[CredentialSettings, list[tuple[Model, Deployment]]] = {}
    for place in places:
        groups.setdefault(settings.credentials[place[1].name], []).append(place)
    for wanted, group in groups.items():
        findings += await _group(subject, wanted, group, settings, examiner, identity, limit)
    return findings


async def _group(
    subject: Subject,
    wanted: CredentialSettings,
    places: Sequence[tuple[Model, Deployment]],
    settings: Settings,
    examiner: Examiner,
    identity: Identity,
    limit: asyncio.Semaphore,
) -> list[Finding]:
    """Get one credential, and ask the deployments that it is for."""
    header: list[tuple[bytes, bytes]] = []

    async def credential() -> list[Finding]:
        finding, made = await header_of(subject, wanted, identity)
        header.extend([made] if made is not None else [])
        return [finding]

    findings = await bounded(subject, "credential", TOKEN_SECONDS, credential())
    if not header:
        return [*findings, *_skipped(places, "there is no credential for it")]
    seconds = 2 * (settings.stream.first_token_seconds + settings.upstream.connect_seconds)

    async def ask(model: Model, deployment: Deployment) -> list[Finding]:
        work = examiner.examine(model, deployment, header[0])
        async with limit:
            return await bounded(Subject(Kind.DEPLOYMENT, name_of(model, deployment)), "answer", seconds, work)

    found = await asyncio.gather(*(ask(*place) for place in places))
    return [*findings, *(each for some in found for each in some)]


def _skipped(places: Sequence[tuple[Model, Deployment]], why: str) -> list[Finding]:
    return [Subject(Kind.DEPLOYMENT, name_of(*place)).skipped("deployment", why) for place in places]
