"""The parts of the configuration that say how deployments are chosen, and what replicas share."""

import re

from chukei.config.reader import Reader
from chukei.config.settings import LedgerSettings, PoolSettings, Secret, StoreSettings
from chukei.config.upstreams import split_address

AFFINITIES = ("prompt_cache_key", "session", "user", "prompt")
"""What requests can have in common that should find the same deployment again."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")  # RFC 9110 §5.6.2
_POSTGRES = frozenset({"postgresql", "postgres"})
_REDIS = frozenset({"redis", "rediss"})


def read_pool(table: Reader) -> PoolSettings:
    """Read ``[pool]``."""
    plain = PoolSettings()
    given = table.strings("affinity")
    affinity = given if table.has("affinity") else plain.affinity
    for name in affinity:
        if name not in AFFINITIES:
            table.problem("affinity", f"{name!r} is not one of {', '.join(AFFINITIES)}")
    header = (table.string("session_header") or plain.session_header).lower()
    if not _HEADER_NAME.fullmatch(header):
        table.problem("session_header", f"{header!r} is not the name of a header, such as x-session-id")
    settings = PoolSettings(
        attempts=table.integer("attempts", plain.attempts, low=1, high=100),
        deadline_seconds=table.seconds("deadline_seconds", plain.deadline_seconds),
        retry_share=table.number("retry_share", plain.retry_share, low=0.0, high=10.0),
        cooldown_seconds=table.seconds("cooldown_seconds", plain.cooldown_seconds),
        max_cooldown_seconds=table.seconds("max_cooldown_seconds", plain.max_cooldown_seconds, low=0.0),
        breaker_failures=table.integer("breaker_failures", plain.breaker_failures, low=0, high=1000),
        breaker_seconds=table.seconds("breaker_seconds", plain.breaker_seconds),
        max_breaker_seconds=table.seconds("max_breaker_seconds", plain.max_breaker_seconds),
        misconfigured_seconds=table.seconds("misconfigured_seconds", plain.misconfigured_seconds, low=0.0),
        affinity=affinity,
        session_header=header,
        affinity_load=table.number("affinity_load", plain.affinity_load, low=1.0, high=100.0),
        hedge_share=table.number("hedge_share", plain.hedge_share, low=0.0, high=1.0),
        deployment_header=table.boolean("deployment_header", plain.deployment_header),
    )
    if settings.max_breaker_seconds < settings.breaker_seconds:
        table.problem("max_breaker_seconds", "is below breaker_seconds, with which it begins")
    table.done()
    return settings


def read_stores(table: Reader) -> StoreSettings:
    """Read ``[stores]``. An address that holds a password is a secret; one without may stand in the file."""
    quota = table.address("quota")
    if quota is not None and quota.reveal() == "memory":
        quota = None
    if quota is not None and not _is_redis(quota):
        table.problem("quota", 'must be "memory" or the address of a Redis: redis://HOST:6379/0, rediss:// for TLS')
    away = table.string("quota_away", "by_kind", choices=("by_kind", "open", "closed")) or "by_kind"
    patience = table.seconds("quota_seconds", StoreSettings().quota_seconds, high=1.0)
    replicas = table.integer("replicas", 1, low=1, high=10_000)
    ledger = table.address("ledger")
    kept = ledger is None or ledger.reveal() != "none"
    if ledger is not None and kept and not _is_database(ledger):
        table.problem("ledger", 'must be sqlite:///PATH/TO/FILE.db, postgresql://USER:PASSWORD@HOST/DATABASE or "none"')
    table.done()
    return StoreSettings(
        quota=quota,
        quota_away=away,
        quota_seconds=patience,
        replicas=replicas,
        ledger=ledger if kept else None,
        ledger_by_default=ledger is None,
    )


def read_ledger(table: Reader) -> LedgerSettings:
    """Read ``[ledger]``."""
    plain = LedgerSettings()
    settings = LedgerSettings(
        retention_days=table.number("retention_days", plain.retention_days, low=0.0, high=36_500.0),
        spool=table.string("spool"),
        max_spool_bytes=table.integer("max_spool_bytes", plain.max_spool_bytes, low=65_536, high=2**40),
    )
    table.done()
    return settings


def _is_database(address: Secret) -> bool:
    parts = split_address(address.reveal())
    if parts is None:
        return False
    return bool(parts.path.strip("/")) if parts.scheme == "sqlite" else parts.scheme in _POSTGRES


def _is_redis(address: Secret) -> bool:
    parts = split_address(address.reveal())
    if parts is None or parts.scheme not in _REDIS:
        return False
    return bool(parts.hostname)
