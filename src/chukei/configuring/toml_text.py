"""Values as TOML text, for configurations that keep their comments.

The standard library reads TOML and does not write it.
"""

import json
import re
from collections.abc import Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+")

Value = str | bool | int | float | Sequence["Value"] | Mapping[str, "Value"]


def key(name: str) -> str:
    """Return one part of a key, quoted where TOML requires it."""
    return name if _BARE.fullmatch(name) else _string(name)


def table(*names: str) -> str:
    """Return the header of the table at a path: ``table("models", "gpt 4")`` is ``[models."gpt 4"]``."""
    return f"[{'.'.join(map(key, names))}]"


def value(item: Value) -> str:
    """Return a value on one line. A mapping becomes an inline table.

    Raises ``TypeError`` for any other type, ``None`` among them, since TOML has no null.
    """
    match item:
        case str():
            return _string(item)
        case bool():
            return "true" if item else "false"
        case int() | float():
            return repr(item)  # also inf and nan are spelled alike
        case Mapping():
            inner = ", ".join(f"{key(name)} = {value(part)}" for name, part in item.items())
            return f"{{ {inner} }}" if inner else "{}"
        case Sequence():
            return f"[{', '.join(map(value, item))}]"
    raise TypeError(f"TOML has no {type(item).__name__}")


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but TOML wants DEL escaped as well.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
