"""The settings in force, for operators to read: as JSON, with the names of the configuration, and without secrets.

What a field's type calls a secret is masked, and so is what a text or a table of free names may hold of one: passwords
and queries in addresses, connection strings, headers. Rather too much is masked than too little.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from fractions import Fraction

from chukei.accounts.limits import Limits
from chukei.config.changes import KEYS, SAME_TABLE, tables
from chukei.config.settings import Secret, Settings
from chukei.model import NANO, Deployment, Prices

MASK = "set"
"""Stands for a secret."""

_HIDDEN = frozenset({"key_sha256"})
"""Fields that are no secrets, but of no use to a reader."""
_IMPLIED = frozenset({"name", "ledger_by_default"})
"""Fields that are no keys of the configuration: they repeat a table's name, or whether a key is set."""
_MICRO = 1_000_000
_CREDENTIAL = re.compile(
    r"(?:^|[-_. ])(?:authorization|cookie|credentials?|headers?|key|apikey|passphrase|passwd|password|pwd|secret|sig"
    r"|signature|token|connection[-_]?string)s?$",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"((?:key|passphrase|passwd|password|pwd|secret|token|sig|signature|credential)\w{0,40}\s{0,4}[=:]\s{0,4})[^\s;&,]+",
    re.IGNORECASE,
)
_SCHEMES = re.compile(r"\b((?:bearer|basic)\s{1,4})\S+", re.IGNORECASE)
_WORDS = re.compile(r"\S+")

_ELSEWHERE = {("upstream", "proxies"): "HTTPS_PROXY, HTTP_PROXY, NO_PROXY"}
"""What is no key of the configuration, and the variables that set it."""

Json = object
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that the configuration sets: its names from the top, and the file or variable that sets it."""

    path: Path
    place: str


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings as nested tables, and where those are set that are not at their default."""

    tables: dict[str, Json]
    places: list[Setting]


def in_force(settings: Settings) -> InForce:
    """Return the settings. A table with a name of its own, such as a caller's, has only what is set."""
    shown: dict[str, Json] = {}
    places: list[Setting] = []
    for path, table in tables(settings).items():
        below = shown
        for name in path[:-1]:
            below = below.setdefault(name, {})  # type: ignore[assignment]
        below[path[-1]] = _table(table, brief=len(path) > 1)
        places += [Setting((*path, *key), _place(settings, (*path, *key))) for key in _set(table)]
    return InForce(shown, [each for each in places if each.place])


def masked(text: str) -> str:
    """Return a text without what it may hold of a secret."""
    text = _SCHEMES.sub(r"\1…", _NAMED.sub(r"\1…", text))
    return _WORDS.sub(_address, text) if "@" in text or "://" in text else text


def _address(found: re.Match[str]) -> str:
    """Return a word without the password and the query that it has if it is an address."""
    word: str = found[0]
    scheme, mark, rest = word.partition("://")
    if not mark:
        who, at, host = word.rpartition("@")
        return f"…@{host}" if at and ":" in who else word
    rest = re.split(r"[?#]", rest, maxsplit=1)[0] + ("?…" if "?" in rest or "#" in rest else "")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if "@" in rest else f"{scheme}://{rest}"


def _place(settings: Settings, path: Path) -> str:
    """Return the variable that sets a key, or a table around it, else the file; empty where there is none."""
    if path in _ELSEWHERE:
        return _ELSEWHERE[path]
    found = (settings.variables.get(path[:length]) for length in range(len(path), 0, -1))
    return next((name for name in found if name is not None), settings.path or "")


def _set(value: object) -> Iterator[Path]:
    """Yield the keys of a table that are not at their default."""
    if isinstance(value, Mapping) and not is_dataclass(value):
        yield from ((str(name),) for name, each in value.items() if each is not None)
    if not is_dataclass(value):
        return
    for each in fields(value):
        found = getattr(value, each.name)
        if each.name in _IMPLIED or _is_default(each, found):
            continue
        below = () if each.name in SAME_TABLE else (KEYS.get(each.name, each.name),)
        if is_dataclass(found):
            yield from ((*below, *key) for key in _set(found))
        else:
            yield below


def _is_default(each: object, value: object) -> bool:
    if value is None or value == () or value == {}:
        return True
    default = getattr(each, "default", MISSING)
    factory = getattr(each, "default_factory", MISSING)
    if default is not MISSING:
        return bool(value == default)
    return factory is not MISSING and bool(value == factory())


def _table(value: object, *, brief: bool) -> dict[str, Json]:
    """Return a table; ``brief`` leaves out what is at its default."""
    if not is_dataclass(value):
        return {str(name): _value(each) for name, each in value.items()}  # type: ignore[attr-defined]
    found: dict[str, Json] = {}
    for each in fields(value):
        name, below = KEYS.get(each.name, each.name), getattr(value, each.name)
        if name in _IMPLIED or (brief and _is_default(each, below)):
            continue
        if each.name in SAME_TABLE:
            found |= _table(below, brief=brief)
        elif isinstance(value, Prices) and isinstance(below, int):
            found[name] = below / NANO
        elif isinstance(value, Limits) and each.name == "money_per_month" and below is not None:
            found[name] = below / _MICRO
        elif name in _HIDDEN:
            found[name] = None if below is None else MASK
        else:
            found[name] = _value(below)
    return found


def _value(value: object) -> Json:
    match value:
        case Secret():
            return MASK
        case Deployment():
            return value.name
        case Enum():
            return value.value
        case str():
            return masked(value)
        case None | bool() | int() | float():
            return value
        case Fraction():
            return float(value)
        case Mapping():
            return {str(name): _free(str(name), each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_value(each) for each in value]
        case _ if is_dataclass(value):
            return _table(value, brief=True)
    raise TypeError(f"{type(value)} is no value of a setting")


def _free(name: str, value: object) -> Json:
    """Return a value under a name that the configuration chose."""
    if _CREDENTIAL.search(name) and isinstance(value, (str, list, tuple, Mapping)):
        return MASK
    return _value(value)
