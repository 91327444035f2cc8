"""A changed configuration for a running relay.

``rebuild`` makes what is immutable anew: policies, prices, models, credentials, the gatekeeper. What has state goes on:
the deployments' breakers, cool-downs and load, the counters of limits, the ledger, connections, learnt capabilities.
The new relay takes the place of the old one in one step. A running request goes on with the old one, so it sees one
configuration from its beginning to its end. ``retire`` closes what only the old one used, after its last request.
"""

from collections.abc import Collection
from dataclasses import replace

from chukei.adapters.identity.access import access
from chukei.adapters.identity.credentials import credential_for
from chukei.config import Settings
from chukei.gateway.gateway import Gateway
from chukei.model import Caller, CallerKind
from chukei.upstream.failover import Failover
from chukei.wiring.build import Relay, look_at_jobs, policies_for, pool_for, wall
from chukei.wiring.shown import watched


def rebuild(relay: Relay, settings: Settings) -> Relay:
    """Return a relay for changed settings, with the state of ``relay``.

    Requests of callers whose key in the configuration was removed are ended, as after the revocation of another key.
    """
    before, services = relay.settings, relay.gateway.services
    clock = services.clock
    same_upstream = before.upstream == settings.upstream and _trusted(before) == _trusted(settings)
    upstream = relay.upstream if same_upstream else relay.upstream.renewed(settings.upstream)
    credentials = {
        wanted: relay.credentials.get(wanted) or credential_for(wanted)
        for wanted in dict.fromkeys(settings.credentials.values())
    }
    authentication = access(
        settings,
        clock,
        wall,
        relay.accounting.database,
        before=relay.access,
        keep_tokens=same_upstream
        and (before.auth.entra, before.admin.entra) == (settings.auth.entra, settings.admin.entra),
    )
    # Nothing below fails, so that state is never changed halfway.
    pool = pool_for(settings, relay.pool)
    named = {name: credentials[wanted] for name, wanted in settings.credentials.items()}
    policies = policies_for(settings, relay.rules)
    changed = replace(
        services,
        gatekeeper=authentication.gatekeeper,
        policies=policies,
        pool=pool,
        pages=services.pages.renewed(
            pool,
            simulated=settings.simulated,
            max_body_bytes=settings.server.max_body_bytes,
            sign_in=settings.admin.sign_in,
        ),
        admin=relay.administration.api(
            settings, pool, policies, services.admission, authentication.readers.administrators
        ),
        scrape=relay.administration.scrape(settings) if services.scrape is not None else None,
        failover=Failover(settings, pool, upstream, named, clock, before=services.failover),
        hooks=[*watched(settings, relay.shown, relay.administration.peers, clock), *services.hooks],
    )
    _adjust(relay, settings)
    if relay.jobs is not None:
        look_at_jobs(relay.jobs, settings, upstream, named)
    if relay.board is not None:
        relay.board.follow(pool.subjects)
    made = replace(
        relay,
        settings=settings,
        gateway=Gateway(settings, changed, before=relay.gateway),
        pool=pool,
        upstream=upstream,
        credentials=credentials,
        access=authentication,
    )
    relay.shown.relay = made
    _start(made, relay)
    _end_removed(made, before)
    return made


def _trusted(settings: Settings) -> str | None:
    """Return the digest of the file of certificate authorities."""
    return settings.files.get(settings.upstream.ca_file or "")


def _adjust(relay: Relay, settings: Settings) -> None:
    """Change the limits of what goes on."""
    auth = settings.auth
    relay.access.throttle.allow(auth.failures_per_minute)
    relay.administration.allow(auth.failures_per_minute)
    if relay.access.ring is not None:
        relay.access.ring.keep_seconds = auth.key_cache_seconds


def _start(made: Relay, before: Relay) -> None:
    for wanted, credential in made.credentials.items():
        if wanted not in before.credentials:
            credential.warm()
    if made.access.readers is not before.access.readers:
        made.access.readers.start()


def _end_removed(made: Relay, before: Settings) -> None:
    """End the requests of keys that were in the configuration and no longer are."""
    after = made.settings
    valid = {None, *(caller.key_sha256 for caller in after.policies.callers.values())}
    removed = {name for name, caller in before.policies.callers.items() if caller.key_sha256 not in valid}
    shared = before.auth.api_key is not None and before.auth.api_key != after.auth.api_key

    def is_removed(who: Caller) -> bool:
        if who.kind is CallerKind.SHARED:
            return shared
        return who.kind is CallerKind.KEY and who.key_id is None and who.name in removed

    if removed or shared:
        made.gateway.end_of(is_removed)


async def retire(relay: Relay, others: Collection[Relay]) -> None:
    """Close what none of the ``others`` uses. The requests of ``relay``, which was replaced, are over."""
    relay.pool.retire()
    if all(relay.upstream is not other.upstream for other in others):
        await relay.upstream.close()
    kept = {credential for other in others for credential in other.credentials.values()}
    for credential in relay.credentials.values():
        if credential not in kept:
            await credential.close()
    if all(relay.access.readers is not other.access.readers for other in others):
        await relay.access.readers.close()
