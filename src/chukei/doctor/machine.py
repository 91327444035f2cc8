"""This machine: versions, open files, folders and disks, and its clock beside the clocks of others."""

import os
import platform
import shutil
import ssl
import statistics
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from chukei import __version__
from chukei.config import Settings
from chukei.doctor.finding import Finding, Kind, Subject

MACHINE = Subject(Kind.MACHINE, "this machine")
CLOCK = Subject(Kind.CLOCK, "the clock")

PACKAGES = ("httptools", "msgspec", "uvicorn", "uvloop", "hiredis", "asyncpg", "azure-identity", "PyJWT")

FEW_FILES, SOME_FILES = 256, 4096
"""Open files below which the relay cannot work under load, and below which its limit is worth a warning."""

FILES_FOR_A_STREAM = 2
FILES_FOR_ITSELF = 64

LITTLE_SPACE = 100 * 1024 * 1024
"""Bytes of free space below which a disk is about to be full."""

NOTICEABLE_SECONDS = 5.0
"""A difference of clocks above that of a Date field, which has whole seconds, and of the way."""

TOLERATED_SECONDS = 60.0
"""The difference that the relay tolerates in the times of access tokens. Entra ID tolerates 5 minutes."""


def versions() -> Finding:
    """Return the versions of what the relay runs on."""
    found = {"chukei": __version__, "Python": platform.python_version(), "OpenSSL": ssl.OPENSSL_VERSION.split()[1]}
    missing = []
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            missing.append(package)
    shown = ", ".join(f"{name} {number}" for name, number in found.items())
    absent = f"; not installed: {', '.join(missing)}" if missing else ""
    return MACHINE.ok("versions", f"{shown}{absent} on {platform.system()} {platform.release()}", **found)


def files() -> Finding:
    """Compare the limit of open files with what streams need."""
    try:
        import resource
    except ImportError:
        return MACHINE.skipped("files", "this system has no limit of open files for a process")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judged_files(soft if soft != resource.RLIM_INFINITY else 1 << 30, hard)


def judged_files(soft: int, hard: int) -> Finding:
    """Judge the soft limit of open files."""
    streams = max((soft - FILES_FOR_ITSELF) // FILES_FOR_A_STREAM, 0)
    seen = f"{soft} open files, which is enough for about {streams} streams at once in one process"
    remedy = "raise it: LimitNOFILE=65536 in the systemd unit, --ulimit nofile=65536 for a container, or ulimit -n"
    if soft < FEW_FILES:
        return MACHINE.failed("files", seen, remedy, limit=soft, hard_limit=hard)
    if soft < SOME_FILES:
        return MACHINE.warning("files", seen, remedy, limit=soft, hard_limit=hard)
    return MACHINE.ok("files", seen, limit=soft, hard_limit=hard)


def folder(check: str, path: Path, wanted: int = LITTLE_SPACE) -> Finding:
    """Check that a folder, or the folder in which it will be made, can be written, and that its disk has room."""
    existing = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        seen = f"{path} cannot be made or written: {existing} is not writable"
        remedy = "let the relay's user write there, mount a volume, or choose another folder with ledger.spool"
        return MACHINE.failed(check, seen, remedy)
    free = shutil.disk_usage(existing).free
    seen = f"{path} is writable, with {free // (1024 * 1024)} MiB free"
    if free < wanted:
        remedy = "make room on that disk, or choose another one; a full disk costs entries of the ledger"
        return MACHINE.warning(check, seen, remedy, free_bytes=free)
    return MACHINE.ok(check, seen, free_bytes=free)


def configuration(settings: Settings, source: str) -> list[Finding]:
    """Return the findings of a valid configuration."""
    subject = Subject(Kind.CONFIGURATION, "the configuration")
    names = {deployment.name for model in settings.models.values() for deployment in model.deployments}
    seen = f"{source}: valid; models: {len(settings.models)}, deployments: {len(names)}"
    if settings.simulated:
        seen = f"{source}: valid; no deployment is named, so the built-in simulator answers"
    return [
        subject.ok("valid", seen),
        *(subject.warning("note", note, "change it, if it is not meant like this") for note in settings.notices),
    ]


def problem(source: str, key: str, message: str) -> Finding:
    """Return the finding for a mistake in the configuration."""
    subject = Subject(Kind.CONFIGURATION, "the configuration")
    what, _, remedy = message.partition("; ")
    place = f"{source}: {key}" if key else source
    return subject.failed(
        key or "file", f"{place}: {what}", remedy or "correct it; docs/configuration.md has every key"
    )


def date_of(field: bytes | None) -> float | None:
    """Return the Unix time of a Date header field; None without a valid one."""
    try:
        return parsedate_to_datetime((field or b"").decode("latin-1")).timestamp()
    except ValueError:
        return None


def clock(differences: Mapping[str, float]) -> list[Finding]:
    """Judge the clock by its differences from others, in seconds; positive if this machine's is ahead."""
    if not differences:
        return [CLOCK.skipped("clock", "nothing answered that tells the time")]
    usual = statistics.median(differences.values())
    return [_difference(source, seconds, usual, len(differences)) for source, seconds in differences.items()]


def _difference(source: str, seconds: float, usual: float, count: int) -> Finding:
    way = "ahead of" if seconds > 0 else "behind"
    seen = f"this machine's clock is {abs(seconds):.1f} s {way} {source}"
    if abs(seconds) <= NOTICEABLE_SECONDS:
        return CLOCK.ok("clock", f"within {NOTICEABLE_SECONDS:g} s of {source}", skew_seconds=round(seconds, 1))
    ours = "set this machine's clock: turn on time synchronisation (timedatectl set-ntp true; w32tm /resync), and on a "
    ours += "virtual machine the host's; tokens, keys and certificates are refused by a wrong clock"
    others = f"set the clock of {source}; the other clocks agree with this machine's"
    remedy = others if count > 2 and abs(usual) <= NOTICEABLE_SECONDS else ours
    level = CLOCK.failed if abs(seconds) > TOLERATED_SECONDS else CLOCK.warning
    return level("clock", seen, remedy, skew_seconds=round(seconds, 1))
