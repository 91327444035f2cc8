"""The stores: Redis with its rights and its speed, and the ledger's database."""

import ssl
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.accounting import state_folder
from chukei.adapters.ledger.databases import spool_for
from chukei.adapters.ledger.probe import probe
from chukei.config import Settings, StoreSettings
from chukei.doctor import machine
from chukei.doctor.certificates import explained
from chukei.doctor.deployments import Times
from chukei.doctor.finding import Finding, Kind, Subject, milliseconds
from chukei.doctor.network import refusal, resolve
from chukei.ports import Clock

if TYPE_CHECKING:
    from chukei.adapters.redis.address import Address
    from chukei.adapters.redis.line import Line

PINGS = 7
STORE_SECONDS = 15.0

_PASSWORD = "correct the user name and the password in stores.quota: redis://USER:PASSWORD@HOST:PORT, percent-encoded"  # noqa: S105
REFUSALS = {
    "WRONGPASS": ("it refuses the password", _PASSWORD),
    "NOAUTH": ("it demands a password, and the address has none", _PASSWORD),
    "ERR": ("it refuses the first commands: the database's number or the AUTH command", "correct stores.quota"),
    "NOPERM": ("the user may not run the commands", "grant the user +@all on the keys that begin with chukei"),
    "READONLY": ("it is a read-only replica", "use the address of the primary in stores.quota"),
    "LOADING": ("it is loading its data", "wait"),
    "OOM": ("its memory is full", "raise maxmemory, or remove other data"),
    "MOVED": ("it is a cluster, which is not supported", "use a single primary, or a cluster with one shard"),
}
"""Redis' error codes, what they mean, and the remedy."""


async def redis(settings: StoreSettings, clock: Clock, times: Times) -> list[Finding]:
    """Check Redis: connection, password, rights, speed, memory. The configuration has an address."""
    from chukei.adapters.redis.address import address_of
    from chukei.adapters.redis.line import RefusedError, connect

    assert settings.quota is not None
    address = address_of(settings.quota.reveal())
    subject = Subject(Kind.STORE, f"Redis at {address.host}:{address.port}")
    begun = clock()
    try:
        await resolve(address.host, address.port)
        line = await connect(address)
    except RefusedError as error:
        return [_refused(subject, str(error))]
    except OSError as error:
        return [_unreached(subject, address, error)]
    spent = milliseconds(clock() - begun)
    findings = [subject.ok("connect", f"connected and authenticated in {spent:g} ms", connect_ms=spent)]
    try:
        findings += await _commands(subject, line, settings.quota_seconds, clock, times)
    except RefusedError as error:
        findings.append(_refused(subject, str(error)))
    except OSError as error:
        findings.append(_unreached(subject, address, error))
    finally:
        await line.aclose()
    return findings


def _refused(subject: Subject, code: str) -> Finding:
    seen, remedy = REFUSALS.get(code, (f"it refuses with {code}", "see the log of Redis"))
    return subject.failed("password" if code in {"WRONGPASS", "NOAUTH"} else "commands", f"{seen} ({code})", remedy)


def _unreached(subject: Subject, address: "Address", error: OSError) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        return subject.failed("tls", *explained(error, address.host, None, "ssl_ca_certs=FILE in stores.quota"))
    if isinstance(error, ssl.SSLError):
        seen = f"{address.host} does not speak TLS on port {address.port} ({error.reason or 'no reason given'})"
        return subject.failed("tls", seen, "write redis:// if this port has no TLS, or correct the port")
    seen, remedy = refusal(error, address.host, address.port)
    if address.tls() is None:
        remedy += "; if it speaks TLS, write rediss://"
    return subject.failed("connect", seen, remedy)


async def _commands(subject: Subject, line: "Line", patience: float, clock: Clock, times: Times) -> list[Finding]:
    from chukei.adapters.redis.commands import PendingCommand, command
    from chukei.adapters.redis.line import RefusedError

    async def ask(*words: str | int) -> object:
        answer = (await line.ask(PendingCommand(command(*words), refusable=True)))[0]
        if isinstance(answer, RefusedError):
            raise answer
        return answer

    taken = []
    for _ in range(PINGS):
        begun = clock()
        await ask("PING")
        taken.append(clock() - begun)
    findings = [_speed(subject, statistics.median(taken), patience)]
    await ask("EVAL", "return redis.call('SET', KEYS[1], '1', 'PX', 1000)", 1, "chukei:doctor")
    findings.append(subject.ok("scripts", "scripts run and may write keys"))
    told = await ask("TIME")
    if isinstance(told, list) and len(told) == 2:
        times.differences[subject.name] = times.wall() - int(told[0]) - int(told[1]) / 1e6
    try:
        answer = await ask("INFO")
    except RefusedError:
        findings.append(subject.skipped("memory", "this user may not run INFO"))
    else:
        findings += _information(subject, answer if isinstance(answer, bytes) else b"")
    return findings


def _speed(subject: Subject, seconds: float, patience: float) -> Finding:
    spent, limit = milliseconds(seconds), milliseconds(patience)
    seen = f"answers in {spent:g} ms (median of {PINGS}); a request waits {limit:g} ms at most (stores.quota_seconds)"
    if seconds > patience / 2:
        remedy = "use a Redis in the same region, look at its load, or raise stores.quota_seconds"
        make = subject.failed if seconds > patience else subject.warning
        return make("latency", seen, remedy, ping_ms=spent)
    return subject.ok("latency", seen, ping_ms=spent)


def _information(subject: Subject, raw: bytes) -> list[Finding]:
    lines = (line.partition(":") for line in raw.decode("utf-8", "replace").splitlines())
    known = {name: value for name, colon, value in lines if colon}
    version = known.get("valkey_version") or known.get("redis_version") or "unknown"
    findings = [subject.ok("version", f"{known.get('server_name', 'redis')} {version}", version=version)]
    policy, limit = known.get("maxmemory_policy", "noeviction"), int(known.get("maxmemory", "0") or 0)
    used = int(known.get("used_memory", "0") or 0)
    seen = f"{used // 1024} KiB used of {limit // 1024} KiB, policy {policy}"
    if not limit:
        seen = f"{used // 1024} KiB used, no limit of its own"
    if limit and policy != "noeviction":  # counters expire, so the policies volatile-… evict them too
        remedy = "set maxmemory-policy to noeviction: an evicted counter gives a caller its whole limit again"
        findings.append(subject.warning("memory", seen, remedy, used_bytes=used))
    elif limit and used > limit * 0.9:
        findings.append(subject.warning("memory", seen, "raise maxmemory: it is nearly full", used_bytes=used))
    else:
        findings.append(subject.ok("memory", seen, used_bytes=used))
    return findings


def ledger_of(settings: Settings, environment: dict[str, str]) -> str | None:
    """Return the address of the ledger, without making its folder."""
    stores = settings.stores
    if stores.ledger is not None or not stores.ledger_by_default:
        return stores.ledger.reveal() if stores.ledger is not None else None
    try:
        return f"sqlite:///{state_folder(environment) / 'ledger.db'}"
    except RuntimeError:
        return None


async def ledger(address: str, clock: Clock, times: Times) -> list[Finding]:
    """Check the ledger's database: connection, rights, schema."""
    kind = "SQLite" if address.startswith("sqlite:") else "PostgreSQL"
    subject = Subject(Kind.STORE, f"the ledger in {kind}")
    begun = clock()
    try:
        found = await probe(address)
    except StoreAway as error:
        seen, _, remedy = str(error).rpartition(": ")
        return [subject.failed("database", seen, remedy)]
    spent = milliseconds(clock() - begun)
    if found.now is not None:
        times.differences["PostgreSQL"] = times.wall() - found.now
    if not found.exists:
        return [subject.ok("database", f"{found.path} does not exist yet; the relay will make it")]
    answer = f"{kind} {found.version} answers in {spent:g} ms"
    return [
        subject.ok("database", answer, connect_ms=spent, query_ms=milliseconds(found.seconds)),
        *_rights(subject, found.schema, found.wanted, standby=found.standby, may_create=found.may_create),
    ]


def _rights(subject: Subject, schema: int, wanted: int, *, standby: bool, may_create: bool) -> Sequence[Finding]:
    if standby:
        remedy = "use the address of the primary in stores.ledger"
        return [subject.failed("schema", "it is a read-only standby", remedy)]
    if schema == wanted:
        return [subject.ok("schema", f"number {schema}, as this relay needs it", schema=schema)]
    seen = f"number {schema}; the relay migrates it to {wanted} at its next start"
    if not may_create:
        remedy = "grant the user CREATE on the schema (GRANT CREATE, USAGE ON SCHEMA public TO …)"
        return [subject.failed("schema", f"{seen}, but the user may not create tables", remedy, schema=schema)]
    return [subject.ok("schema", seen, schema=schema)]


def spool(settings: Settings, address: str) -> Finding:
    """Check the folder of the spool and its disk."""
    given = settings.ledger.spool
    path = Path(given) if given is not None else spool_for(address)
    return machine.folder("spool", path, max(machine.LITTLE_SPACE, settings.ledger.max_spool_bytes))
