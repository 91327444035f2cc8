"""Differences between two configurations, by names of keys. It shows no values: some are secrets."""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace

from chukei.config.reader import ConfigError, Problem
from chukei.config.settings import NEEDS_RESTART, CredentialSettings, Settings
from chukei.model import Deployment

_SECTIONS = (
    "server",
    "stream",
    "sockets",
    "upstream",
    "pool",
    "stores",
    "ledger",
    "admin",
    "auth",
    "telemetry",
    "metrics",
    "log",
    "audit",
    "reload",
    "objects",
    "simulator",
)
KEYS = {"tenants": "tenant", "audiences": "audience"}
"""Keys that are named otherwise than their fields."""
SAME_TABLE = frozenset({"rules", "place", "credential"})
"""Fields whose own fields are keys of the same table."""

_EMPTY = hashlib.sha256().hexdigest()

Path = tuple[str, ...]
"""The names of a table or key, from the top."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The names of keys that differ. ``added`` and ``removed`` are whole tables, such as ``callers.NAME``.

    ``restart`` are keys whose new value needs a restart. ``files`` are named files with another content.
    """

    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether a reload changes anything."""
        return bool(self.changed or self.added or self.removed or self.files)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The outcome of a reload.

    ``problems`` are all reasons why the new configuration was refused; then nothing has changed. ``version`` identifies
    the content of the files of the configuration in force: two processes with the same version have the same files.
    """

    changes: Changes = Changes()
    problems: tuple[str, ...] = ()
    version: str = ""


Reload = Callable[[], Awaitable[Reloaded]]
"""Reads the configuration again and applies it if it is valid."""


def version_of(settings: Settings) -> str:
    """Return a short digest of all files of a configuration."""
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(settings.files.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def refuse_empty(settings: Settings) -> None:
    """Refuse an empty file while a relay runs. It is valid, but probably another program has only begun to write it.

    Raises:
        ConfigError: the file is empty.
    """
    if settings.path is not None and settings.files[settings.path] == _EMPTY:
        raise ConfigError([Problem(settings.path, "", "is empty")], files=settings.files)


def changes(before: Settings, after: Settings) -> Changes:
    """Return what a reload from ``before`` to ``after`` changes, and what needs a restart."""
    old, new = tables(before), tables(after)
    differing = [key for path in old.keys() & new.keys() for key in _differences(path, old[path], new[path])]
    return Changes(
        changed=tuple(sorted(".".join(key) for key in differing if not _needs_restart(key))),
        added=tuple(sorted(".".join(path) for path in new.keys() - old.keys())),
        removed=tuple(sorted(".".join(path) for path in old.keys() - new.keys())),
        files=tuple(name for name, digest in after.files.items() if _is_other(before, name, digest)),
        restart=tuple(sorted(".".join(key) for key in differing if _needs_restart(key))),
    )


def without_restart(before: Settings, after: Settings) -> Settings:
    """Return ``after``, with what needs a restart as it was ``before``."""
    kept = {}
    for section, names in NEEDS_RESTART.items():
        old, new = getattr(before, section), getattr(after, section)
        kept[section] = replace(new, **{name: getattr(old, name) for name in names})
    return replace(after, **kept)


def _is_other(before: Settings, name: str, digest: str) -> bool:
    return name != before.path and before.files.get(name, digest) != digest


def _needs_restart(key: Path) -> bool:
    return key[1] in NEEDS_RESTART.get(key[0], ())


def tables(settings: Settings) -> dict[Path, object]:
    """Return the tables of a configuration by their names there."""
    used = {each.name: each for model in settings.models.values() for each in model.deployments}
    if settings.open is not None:
        used[settings.open.name] = settings.open
    found: dict[Path, object] = {(section,): getattr(settings, section) for section in _SECTIONS}
    found["defaults",] = {"model": settings.default_model}
    found |= {("groups", name): rules for name, rules in settings.policies.groups.items()}
    found |= {("callers", name): caller for name, caller in settings.policies.callers.items()}
    found |= {("models", name): model for name, model in settings.models.items()}
    found |= {("deployments", name): _Used(place, settings.credentials[name]) for name, place in used.items()}
    return found


@dataclass(frozen=True, slots=True)
class _Used:
    """A deployment that serves a model, with its credential."""

    place: Deployment
    credential: CredentialSettings


def _differences(path: Path, old: object, new: object) -> Iterator[Path]:
    """Yield the keys that differ. Equal tables, which are most of them, are not entered."""
    if isinstance(old, tuple) and isinstance(new, tuple) and any(isinstance(each, Deployment) for each in (*old, *new)):
        old, new = (tuple(each.name for each in deployments) for deployments in (old, new))
    if old == new:
        return
    if is_dataclass(old) and type(old) is type(new):
        for each in fields(old):
            below = () if each.name in SAME_TABLE else (KEYS.get(each.name, each.name),)
            yield from _differences((*path, *below), getattr(old, each.name), getattr(new, each.name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from _differences((*path, str(name)), old.get(name), new.get(name))
    else:
        yield path
