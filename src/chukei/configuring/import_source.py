"""Another gateway's configuration, read as a tree whose parts know where they stand.

YAML is read by PyYAML's safe composer and never constructs an object. JSON needs no PyYAML. A file may be hostile or
only broken, so its size, depth and number of values are bounded, and no message repeats any of its content.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chukei.configuring import toml_text
from chukei.installation import command_for

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 60
MAX_VALUES = 10_000
"""How many values a file may hold, those included that an alias repeats."""

Scalar = str | bool | int | float | None

_QUOTED = re.compile(r"""['"](?!:'|<[a-z ]+>').*['"]""")
"""What PyYAML quotes in its messages is content of the file, except a colon and its names of tokens."""
_OVERLAP = "<<"


class SourceError(Exception):
    """The file cannot be read. The message says where and why, without any of its content."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value of the source. ``path`` is unique, as in ``model_list[0].model_name``; ``line`` counts from 1."""

    path: str
    line: int | None
    value: "Scalar | dict[str, Node] | list[Node]"

    @property
    def table(self) -> "dict[str, Node]":
        """The members of a mapping; of anything else, none."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> "list[Node]":
        """The members of a list; of anything else, none."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str | None:
        """A scalar as text, without spaces around it; None for anything else, for null and for an empty text."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return str(self.value).strip() or None if isinstance(self.value, (str, int, float)) else None

    @property
    def number(self) -> float | int | None:
        """A number, also one that is written as text, as YAML 1.1 reads ``1e-6``; None for anything else."""
        if isinstance(self.value, (int, float)) and not isinstance(self.value, bool):
            return self.value if abs(self.value) < float("inf") else None
        try:
            found = float(self.value) if isinstance(self.value, str) else float("nan")
        except ValueError:
            return None
        if not abs(found) < float("inf"):
            return None
        return int(found) if found.is_integer() and abs(found) < 2**53 else found

    @property
    def flag(self) -> bool | None:
        """A truth value, also one that is written as text; None for anything else."""
        if isinstance(self.value, bool):
            return self.value
        return {"true": True, "false": False}.get(self.value.lower()) if isinstance(self.value, str) else None

    @property
    def empty(self) -> bool:
        """Whether nothing is said: null, an empty text, list or mapping."""
        return self.value is None or self.value in ("", {}, [])

    def leaves(self) -> "Iterator[Node]":
        """Walk all values below that are no containers, and empty containers."""
        inner = [*self.table.values(), *self.items]
        if not inner:
            yield self
        for each in inner:
            yield from each.leaves()


@dataclass(slots=True)
class Source:
    """A file that was read.

    ``repeated`` are the paths and lines of keys that stand in it twice, of which the last one counts. ``anchors`` are
    the keys of the top whose values other places repeat.
    """

    root: Node
    repeated: list[tuple[str, int | None]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


def printable(text: str) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def below(path: str, key: str) -> str:
    """Return the path of a key of a mapping."""
    part = printable(toml_text.key(key))
    return f"{path}.{part}" if path else part


def read(data: bytes, *, as_json: bool = False) -> Source:
    """Read a configuration.

    Raises:
        SourceError: it is too large or too deep, not YAML (or not JSON), or not one mapping.
    """
    if len(data) > MAX_BYTES:
        raise SourceError(f"is larger than {MAX_BYTES // 1024 // 1024} MiB, which no configuration is")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("is not UTF-8 text") from None
    source = _from_json(text) if as_json else _from_yaml(text)
    if not isinstance(source.root.value, dict):
        raise SourceError("is not a mapping of keys to values at its top")
    return source


def _from_json(text: str) -> Source:
    builder = _Builder()
    try:
        found = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_refuse)
        return Source(builder.of_json("", found, 0), builder.repeated)
    except json.JSONDecodeError as error:
        raise SourceError(f"line {error.lineno}, column {error.colno}: is not valid JSON") from None
    except RecursionError:
        raise SourceError(_TOO_DEEP) from None
    except ValueError:
        raise SourceError("is not valid JSON: a number is none") from None


def _refuse(constant: str) -> None:
    raise ValueError


def _from_yaml(text: str) -> Source:
    try:
        import yaml
    except ImportError:
        raise SourceError(f"is read as YAML, which needs one more package: {command_for('yaml')}") from None
    try:
        _measure(yaml, text)
        node = yaml.compose(text, yaml.SafeLoader)
        if node is None:
            raise SourceError("is empty")
        builder = _Builder(yaml.constructor.SafeConstructor())
        root = builder.of_yaml("", node, ())
        return Source(root, builder.repeated, builder.anchors(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SourceError(f"{_place(mark)}is not valid YAML: {_without_content(error.problem or '')}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SourceError(f"line {line}: holds a character that YAML does not allow") from None
    except RecursionError:
        raise SourceError(_TOO_DEEP) from None


def _measure(yaml: Any, text: str) -> None:
    """Refuse what would exhaust the composer, which calls itself for each level. Parsing alone does not."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if documents > 1:
            raise SourceError(f"{_place(event.start_mark)}a second document begins; give a file with one")
        if depth > MAX_DEPTH:
            raise SourceError(f"{_place(event.start_mark)}{_TOO_DEEP}")
        if count > 2 * MAX_VALUES:
            raise SourceError(_TOO_MANY)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""


def _without_content(problem: str) -> str:
    if "\\t" in problem:
        return "a tab stands where a value begins; indent with spaces"
    return _QUOTED.sub("…", problem).strip()


_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_TOO_MANY = f"holds more than {MAX_VALUES} values, those included that aliases repeat"


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, in order, with those of the same name."""


class _Builder:
    """Makes nodes and counts them. ``repeated`` collects keys that stand twice in one mapping."""

    def __init__(self, constructor: Any = None) -> None:
        self.repeated: list[tuple[str, int | None]] = []
        self._constructor = constructor
        self._count = 0
        self._uses: Counter[int] = Counter()

    def _admit(self, depth: int) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            raise SourceError(_TOO_MANY)
        if depth > MAX_DEPTH:
            raise SourceError(_TOO_DEEP)

    def of_json(self, path: str, value: Any, depth: int) -> Node:
        self._admit(depth)
        if isinstance(value, _Pairs):
            table: dict[str, Node] = {}
            for key, inner in value:
                if key in table:
                    self.repeated.append((below(path, key), None))
                table[key] = self.of_json(below(path, key), inner, depth + 1)
            return Node(path, None, table)
        if isinstance(value, list):
            return Node(path, None, [self.of_json(f"{path}[{i}]", each, depth + 1) for i, each in enumerate(value)])
        return Node(path, None, _sound(value, None))

    def of_yaml(self, path: str, node: "yaml.Node", above: tuple[int, ...]) -> Node:
        self._admit(len(above))
        line = node.start_mark.line + 1
        if id(node) in above:
            raise SourceError(f"line {line}: an alias repeats the value that contains it")
        above = (*above, id(node))
        self._uses[id(node)] += 1
        value: Any = node.value
        if node.tag == "tag:yaml.org,2002:map":
            found = {
                key: self.of_yaml(below(path, key), inner, above) for key, inner in self._members(path, value, above)
            }
            return Node(path, line, found)
        if node.tag == "tag:yaml.org,2002:seq":
            return Node(path, line, [self.of_yaml(f"{path}[{i}]", each, above) for i, each in enumerate(value)])
        return Node(path, line, self._scalar(node, line))

    def _members(
        self, path: str, pairs: list[tuple[Any, Any]], above: tuple[int, ...]
    ) -> "Iterator[tuple[str, yaml.Node]]":
        """Return the members of a mapping; of one key the last counts, and what is merged in counts least."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, inner in pairs:
            if key.tag == "tag:yaml.org,2002:merge":
                for name, value in self._merged(path, inner, above):
                    self._admit(0)
                    merged.setdefault(name, value)
                continue
            if not isinstance(key.value, str):
                raise SourceError(f"line {key.start_mark.line + 1}: a key is a list or a mapping")
            name = str(_sound(key.value, key.start_mark.line + 1))
            if name in own:
                self.repeated.append((below(path, name), key.start_mark.line + 1))
            own[name] = inner
        yield from (own | {name: value for name, value in merged.items() if name not in own}).items()

    def _merged(self, path: str, node: Any, above: tuple[int, ...]) -> "Iterator[tuple[str, yaml.Node]]":
        if len(above) > MAX_DEPTH:
            raise SourceError(_TOO_DEEP)
        for each in node.value if node.tag.endswith(":seq") else [node]:
            self._admit(0)
            if not each.tag.endswith(":map") or id(each) in above:
                raise SourceError(f"line {node.start_mark.line + 1}: {_OVERLAP} must name other mappings")
            self._uses[id(each)] += 1
            yield from self._members(path, each.value, (*above, id(each)))

    def anchors(self, root: Any) -> set[str]:
        """Return the keys of the top whose values stand elsewhere too, whole or in part."""
        pairs = root.value if isinstance(root.value, list) and root.tag.endswith(":map") else []
        return {str(key.value) for key, node in pairs if any(self._uses[each] > 1 for each in _ids(node))}

    def _scalar(self, node: Any, line: int) -> Scalar:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind in {"str", "timestamp"}:  # api_version: 2024-10-21 is meant as text
            return _sound(node.value, line)
        if kind not in {"bool", "int", "float", "null"}:
            raise SourceError(f"line {line}: a value has a tag of its own (!…), which is not supported")
        try:
            found: Scalar = getattr(self._constructor, f"construct_yaml_{kind}")(node)
        except (ValueError, KeyError, IndexError, OverflowError):
            raise SourceError(f"line {line}: a number or truth value is none") from None
        return found


def _ids(node: Any) -> Iterator[int]:
    """Walk the identities of a node and of all below it; the tree is known to be finite."""
    yield id(node)
    for each in node.value if isinstance(node.value, list) else ():
        for inner in each if isinstance(each, tuple) else (each,):
            yield from _ids(inner)


def _sound(value: Any, line: int | None) -> Scalar:
    """Refuse halves of UTF-16 pairs, which cannot be written."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            place = f"line {line}: " if line else ""
            raise SourceError(f"{place}a text holds half a character") from None
    found: Scalar = value
    return found
