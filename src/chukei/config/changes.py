"""Differences between two configurations, by names of keys. It shows no values: some are secrets."""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace

from chukei.config.settings import NEEDS_RESTART, Secret, Settings
from chukei.model import Deployment

_NAMED = ("callers", "groups", "models", "deployments")
_SECTIONS = ("server", "stream", "upstream", "pool", "stores", "ledger", "admin", "auth", "log", "reload", "simulator")
_KEYS = {"tenants": "tenant", "audiences": "audience"}
"""Keys that are named otherwise than their fields."""
_ABSENT = object()


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


def changes(before: Settings, after: Settings) -> Changes:
    """Return what a reload from ``before`` to ``after`` changes, and what needs a restart."""
    old, new = dict(_keys(before)), dict(_keys(after))
    added, removed = _tables(new) - _tables(old), _tables(old) - _tables(new)
    differing = [key for key in {**old, **new} if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
    within = [key for key in differing if key[:2] not in added | removed]
    return Changes(
        changed=tuple(sorted(".".join(key) for key in within if not _needs_restart(key))),
        added=tuple(sorted(".".join(table) for table in added)),
        removed=tuple(sorted(".".join(table) for table in removed)),
        files=tuple(name for name, digest in after.files.items() if _is_other(before, name, digest)),
        restart=tuple(sorted(".".join(key) for key in within if _needs_restart(key))),
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


def _needs_restart(key: tuple[str, ...]) -> bool:
    return key[1] in NEEDS_RESTART.get(key[0], ())


def _tables(keys: Mapping[tuple[str, ...], object]) -> set[tuple[str, ...]]:
    """Return the tables that may be added or removed as a whole."""
    return {key[:2] for key in keys if key[0] in _NAMED or (key[:2] == ("auth", "entra") and len(key) > 2)}


def _keys(settings: Settings) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield every key as the configuration names it, with its value."""
    for section in _SECTIONS:
        yield from _flat((section,), getattr(settings, section))
    yield ("defaults", "model"), settings.default_model
    yield from _flat(("groups",), settings.policies.groups)
    for name, caller in settings.policies.callers.items():
        yield from _flat(("callers", name), caller.rules)
        yield ("callers", name, "key_sha256"), caller.key_sha256
        yield ("callers", name, "groups"), caller.groups
    yield from _flat(("models",), settings.models)
    used = {each.name: each for model in settings.models.values() for each in model.deployments}
    if settings.open is not None:
        used[settings.open.name] = settings.open
    for name, place in used.items():
        yield from _flat(("deployments", name), place)
        yield from _flat(("deployments", name), settings.credentials[name])


def _flat(path: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], object]]:
    if is_dataclass(value):
        for each in fields(value):
            if each.name != "name":
                yield from _flat((*path, _KEYS.get(each.name, each.name)), getattr(value, each.name))
    elif isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from _flat((*path, str(name)), each)
    elif isinstance(value, tuple) and any(isinstance(each, Deployment) for each in value):
        yield path, tuple(each.name for each in value)
    else:
        yield path, value if isinstance(value, Secret) or not isinstance(value, Mapping) else None
