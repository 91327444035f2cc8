"""Load balancing and shared stores: ``[pool]`` and ``[stores]``."""

import re

from chukei.config.endpoints import split_address
from chukei.config.reader import Reader
from chukei.config.sections import read_fields, read_section
from chukei.config.settings import PoolSettings, Secret, StoreSettings

AFFINITIES = ("prompt_cache_key", "session", "user", "prompt")
"""Affinity keys: requests with the same value prefer the same deployment."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")  # RFC 9110 §5.6.2
_POSTGRES = frozenset({"postgresql", "postgres"})
_REDIS = frozenset({"redis", "rediss"})


def read_pool(table: Reader) -> PoolSettings:
    """Read ``[pool]``."""
    plain = PoolSettings()
    affinity = table.strings("affinity", plain.affinity)
    for name in affinity:
        if name not in AFFINITIES:
            table.problem("affinity", f"{name!r} is not one of {', '.join(AFFINITIES)}")
    header = (table.string("session_header") or plain.session_header).lower()
    if not _HEADER_NAME.fullmatch(header):
        table.problem("session_header", f"{header!r} is not the name of a header, such as x-session-id")
    settings = read_fields(table, PoolSettings, affinity=affinity, session_header=header)
    if settings.max_breaker_seconds < settings.breaker_seconds:
        table.problem("max_breaker_seconds", "is below breaker_seconds, with which it begins")
    table.done()
    return settings


def read_stores(table: Reader) -> StoreSettings:
    """Read ``[stores]``. An address with a password is a secret; an address without one may be in the file."""
    return read_section(table, StoreSettings, quota=_quota, ledger=_ledger, ledger_by_default=not table.has("ledger"))


def _quota(table: Reader) -> Secret | None:
    address = table.address("quota")
    if address is not None and address.reveal() == "memory":
        return None
    if address is not None and not _is_redis(address):
        table.problem("quota", 'must be "memory" or the address of a Redis: redis://HOST:6379/0, rediss:// for TLS')
    return address


def _ledger(table: Reader) -> Secret | None:
    address = table.address("ledger")
    if address is not None and address.reveal() == "none":
        return None
    if address is not None and not _is_database(address):
        table.problem("ledger", 'must be sqlite:///PATH/TO/FILE.db, postgresql://USER:PASSWORD@HOST/DATABASE or "none"')
    return address


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
