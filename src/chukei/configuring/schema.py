"""The JSON schema of the configuration, for editors: what ``chukei config schema`` prints.

The schema is what the configuration's own readers ask for. ``_Recorder`` takes the place of a table, and notes each key
with its type, bounds, choices and default instead of reading it. The descriptions are those of docs/configuration.md.

It is draft 7 of JSON Schema, the latest that the usual checkers of TOML know (Taplo: 4, 6 and 7; Tombi: 7 and later).
No key is required, because a variable can set any of them.

After a change of the settings or of the page: ``python -m chukei.configuring.schema docs/configuration.md``.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chukei.azure import PREVIEWS
from chukei.config.load import LEVELS, read
from chukei.config.model_facts import APIS, INPUTS
from chukei.config.pool import AFFINITIES
from chukei.config.reader import Document, Reader

FILE = Path(__file__).with_name("chukei.schema.json")
"""The schema as it is published."""

Schema = dict[str, Any]

ANY, OTHER = "*", "+"
"""Names that stand for every name in a table of the user's own names: one that has a table, one that has a number."""

_TEXT: Schema = {"type": "string", "pattern": r"\S"}
_STRINGS: Schema = {"anyOf": [{"type": "array", "items": {"type": "string", "minLength": 1}}, {"type": "string"}]}
_SECRET: Schema = {
    "type": "object",
    "properties": {
        "env": {"type": "string", "minLength": 1, "description": "the name of an environment variable"},
        "file": {"type": "string", "minLength": 1, "description": "the path of a file that holds the secret alone"},
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
# Without a password, which may stand before an @ or in the query. Printable ASCII without spaces around it.
_PLAIN_ADDRESS: Schema = {
    "type": "string",
    "pattern": "^[!-~]([ -~]*[!-~])?$",
    "not": {"pattern": "@|[Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd]="},
}


def _some_of(words: Sequence[str]) -> Schema:
    return {
        "anyOf": [
            {"type": "array", "items": {"enum": list(words)}},
            {"type": "string", "pattern": rf"^[\s,]*(({'|'.join(words)})[\s,]*)*$"},
        ]
    }


_CAPS: Schema = {"additionalProperties": {"type": "number", "minimum": 0}}
_NAMES: Schema = {"additionalProperties": {"type": "string"}}
BEYOND_READING: dict[str, Schema] = {
    "auth.entra.groups": _NAMES,
    "auth.peppers": {"propertyNames": {"pattern": "^0*[1-9][0-9]*$"}},
    "callers.*.caps": _CAPS,
    "callers.*.key_sha256": {"pattern": "^[0-9A-Fa-f]{64}$"},
    "deployments.*.api_version": {"pattern": "^(v1|preview|latest|[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?)$"},
    "groups.*.caps": _CAPS,
    "log.levels": {"propertyNames": {"minLength": 1}, "additionalProperties": {"enum": list(LEVELS)}},
    "models.*.apis": _some_of(APIS),
    "models.*.caps": _CAPS,
    "models.*.deployments": {"minItems": 1, "uniqueItems": True},
    "models.*.descriptions": _NAMES,
    "models.*.input": _some_of(INPUTS),
    "pool.affinity": _some_of(AFFINITIES),
    "simulator.faults": _NAMES,
    "upstream.pass_versions": _some_of(PREVIEWS),
}
"""What the readers check themselves after reading a value, by the path of its key."""


def schema(page: str) -> Schema:
    """Return the schema, with the descriptions of a page in the form of docs/configuration.md."""
    top: Schema = {"type": "object", "properties": {}}
    read(_Blank(top), [])
    _complete(top, _descriptions(page), "")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "chukei",
        "description": "The configuration of chukei, a streaming relay between clients and Azure OpenAI.",
        **top,
    }


class _Blank(Document):
    """A document that sets nothing, whose tables record what is asked of them."""

    def __init__(self, top: Schema) -> None:
        super().__init__("", {}, {})
        self._top = top

    def root(self) -> Reader:
        return _Recorder(self, self._top, ())


class _Recorder(Reader):
    """A table that notes the schema of each key that is read. Every value is the default."""

    def __init__(self, document: Document, node: Schema, path: tuple[str, ...]) -> None:
        super().__init__(document, {}, path)
        self._node = node

    def _note(self, key: str, found: Schema, default: object = None) -> None:
        shown = list(default) if isinstance(default, tuple) else default
        if isinstance(shown, str | bool | int | float | list) and (key, shown) != ("above", 0):
            found = found | {"default": shown}
        self._node["properties"].setdefault(key, {}).update(found)

    def has(self, key: str) -> bool:
        return True

    def adopt(self, key: str, value: object, variable: str) -> None:
        pass

    def string(self, key: str, default: str | None = None, *, choices: tuple[str, ...] = ()) -> str | None:
        self._note(key, {"enum": list(choices)} if choices else _TEXT, default)
        return default

    def boolean(self, key: str, default: Any) -> Any:
        self._note(key, {"type": "boolean"}, default)
        return default

    def integer(self, key: str, default: Any, *, low: int, high: int) -> Any:
        self._note(key, {"type": "integer", "minimum": low, "maximum": high}, default)
        return default

    def number(self, key: str, default: Any, *, low: float, high: float) -> Any:
        self._note(key, {"type": "number", "minimum": low, "maximum": high}, default)
        return default

    seconds = number

    def strings(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        self._note(key, _STRINGS, default)
        return default

    def secret(self, key: str) -> None:
        self._note(key, _SECRET)

    def address(self, key: str) -> None:
        self._note(key, {"anyOf": [_PLAIN_ADDRESS, _SECRET]})

    def mapping(self, key: str) -> dict[str, Any]:
        self._below(key)["open"] = True
        return {ANY: {}, OTHER: 0}

    def table(self, key: str) -> Reader:
        return _Recorder(self.document, self._below(key), (*self._path, key))

    def tables(self, key: str) -> Iterator[tuple[str, Reader]]:
        names = _Recorder(self.document, self._below(key), (*self._path, key))
        if key in self._path:  # a table inside its own kind
            names._node["properties"][ANY] = {"$ref": _pointer(self._path[: self._path.index(key)])}
        else:
            yield ANY, names.table(ANY)

    def _below(self, key: str) -> Schema:
        node: Schema = self._node["properties"].setdefault(key, {})
        node.setdefault("type", "object")
        node.setdefault("properties", {})
        return node

    def done(self) -> None:
        pass


def _pointer(path: tuple[str, ...]) -> str:
    return "#" + "".join("/additionalProperties" if part == ANY else f"/properties/{part}" for part in path)


def _complete(node: Schema, descriptions: dict[str, str], path: str) -> None:
    """Close a table to unknown keys, or give it the schema of all its names; do the same below it."""
    if path in descriptions:
        node["description"] = descriptions[path]
    below = node.get("properties", {})
    if "type" in node and node["type"] == "object" and node.get("maxProperties") is None:
        for name, each in below.items():
            _complete(each, descriptions, f"{path}.{ANY if name == OTHER else name}".removeprefix("."))
        of_names = [each for name in (ANY, OTHER) if (each := below.pop(name, None)) is not None]
        if of_names:
            node["additionalProperties"] = of_names[0] if of_names[0] == of_names[-1] else {"anyOf": of_names}
        elif not node.get("open"):
            node["additionalProperties"] = False
        node.pop("open", None)
        if not below:
            node.pop("properties", None)
    node.update(BEYOND_READING.get(path, {}))
    if node.get("minItems") and not node.get("default"):
        node.pop("default", None)  # stands for an absent key; an editor would fill it in, and the loader refuse it


_HEADING = re.compile(r"^#{2,3} +(.+)$", re.MULTILINE)
_CELLS = re.compile(r"(?<!\\)\|")


def _descriptions(page: str) -> dict[str, str]:
    """Return the descriptions of keys and sections by path, from the tables and first paragraphs of the page."""
    found: dict[str, str] = {}
    parts = _HEADING.split(page)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        for section in re.findall(r"`\[([\w.]+)\]`", heading):
            place = section.replace("NAME", ANY)
            first = text.strip().partition("\n\n")[0]
            if first and not first.startswith("|"):
                found[place] = _plain(first)
            for line in text.splitlines():
                found |= _row(line, place, section)
    return found


def _row(line: str, place: str, section: str) -> dict[str, str]:
    cells = [cell.strip() for cell in _CELLS.split(line)[1:-1]]
    if not cells or not cells[0].startswith("`"):
        return {}
    key = cells[0].strip("`")
    if len(cells) == 3:  # a limit
        return {f"{place}.{kind}.{key}": f"{_plain(cells[1])}; beyond it: {cells[2]}" for kind in ("limits", "total")}
    only = re.match(r"(callers|groups) only: ", cells[3])
    if only is not None and not section.startswith(only[1]):
        return {}
    return {f"{place}.{key}": _plain(cells[3].removeprefix(only[0] if only else ""))}


def _plain(text: str) -> str:
    """Return Markdown as text: links are their words."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.split())).replace(r"\|", "|")
    return text.replace("*restart*", "needs a restart").replace("**", "")


def text_of(page: str) -> str:
    """Return the file's text."""
    return json.dumps(schema(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text_of(Path(sys.argv[1]).read_text("utf-8")), "utf-8")
