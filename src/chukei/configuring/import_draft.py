"""The relay's configuration that an import writes: tables with comments, and references instead of secrets."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chukei.configuring import toml_text
from chukei.configuring.import_source import Node, printable
from chukei.configuring.report import Report, Variable, quoted

Path = tuple[str, ...]

ORDER = (
    *("server", "auth", "admin", "defaults", "models", "deployments", "pool", "stream", "upstream"),
    *("stores", "ledger", "log", "telemetry", "groups", "callers"),
)
"""The order of the sections in the file."""

_REFERENCE = re.compile(r"os\.environ/(.+)|\$\{([A-Z_][A-Z0-9_]*)\}|\$([A-Z_][A-Z0-9_]*)", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")
_NOT_IN_VARIABLE = re.compile(r"[^A-Z0-9]+")


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import. ``toml`` is None if the source has nothing for the relay; the report says why."""

    toml: str | None
    report: Report


@dataclass(frozen=True, slots=True)
class Given:
    """A value that is no secret: its ``text``, or the ``variable`` from which the other gateway reads it."""

    text: str | None = None
    variable: str | None = None


@dataclass(slots=True)
class Table:
    """A table of the file. ``absent`` are comments in place of keys that variables set."""

    comments: list[str] = field(default_factory=list)
    values: dict[str, toml_text.Value] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A configuration to be written. ``known`` are values of variables that the user or the source states.

    ``reserved`` are names of variables that the source reads; no new variable gets one of them.
    """

    report: Report
    known: Mapping[str, str] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    tables: dict[Path, Table] = field(default_factory=dict)
    _literals: dict[str, str] = field(default_factory=dict, repr=False)

    def table(self, *path: str) -> Table:
        """Return a table, which begins to exist."""
        return self.tables.setdefault(path, Table())

    def set(self, path: Path, key: str, value: toml_text.Value, note: str | None = None) -> None:
        """Set a key, with a comment behind it."""
        table = self.table(*path)
        table.values[key] = value
        if note:
            table.notes[key] = note

    def get(self, path: Path, key: str) -> toml_text.Value | None:
        """Return the value of a key, if it is set."""
        return self.tables[path].values.get(key) if path in self.tables else None

    def given(self, node: Node | None) -> Given:
        """Return a value that is no secret. A variable whose value is known counts as that value."""
        text = node.text if node is not None else None
        if text is None:
            return Given()
        name = reference(text)
        if name is None:
            return Given(text=text)
        return Given(text=self.known[name]) if name in self.known else Given(variable=name)

    def from_variable(self, path: Path, key: str, name: str | None, meaning: str, value: str | None = None) -> None:
        """Leave a key to a variable of the relay, whose value is that of variable ``name``, or unknown."""
        own = own_variable(*path, key)
        shown = value if value is not None else f'"${name}"' if name else None
        self.table(*path).absent.append(f"{key} comes from {own}" + (f"={shown}" if shown else ""))
        self.report.need(Variable(own, meaning, shown))

    def secret(self, node: Node, proposed: str, meaning: str) -> dict[str, str]:
        """Return the reference to a secret. A literal one becomes a variable with a new name."""
        text = node.text or ""
        name = reference(text)
        if name is not None:
            self.report.need(Variable(name, meaning, secret=True))
            return {"env": name}
        if text not in self._literals:
            self._literals[text] = name = self.unused(proposed)
            place = node.path + (f", line {node.line}" if node.line else "")
            self.report.need(Variable(name, f"{meaning}: the value at {place}", secret=True))
        return {"env": self._literals[text]}

    def unused(self, proposed: str) -> str:
        """Return a name for a variable that nothing else has."""
        base = name = variable(proposed)
        count = 1
        while name in self.reserved:
            count += 1
            name = f"{base}_{count}"
        self.reserved.add(name)
        return name

    def slug(self, section: str, *texts: str) -> str:
        """Return a new name for a table of a section, of the first text whose name is free, else with a number.

        It has lower case, digits and single dashes, so that it can be part of a variable's name without ambiguity.
        """
        slugs = [_NOT_IN_SLUG.sub("-", text.lower()).strip("-")[:60].strip("-") for text in texts]
        bases = [slug or section.removesuffix("s") for slug in slugs]
        numbered = (f"{bases[0]}-{count}" for count in itertools.count(2))
        return next(name for name in itertools.chain(bases, numbered) if (section, name) not in self.tables)

    def render(self, name: str, command: str) -> str:
        """Return the file's text. Its head says that ``command`` made it of the file ``name``."""
        head = [
            f"Made from {name} by chukei import {command}: {self.report.summary}.",
            "The import's report says what became of each value, and which variables to set.",
        ]
        parts = ["\n".join(f"# {printable(line)}" for line in head)]
        for section in ORDER:
            parts += [_text(path, table) for path, table in self.tables.items() if path[0] == section]
        return "\n\n".join(parts) + "\n"


def reference(text: str) -> str | None:
    """Return the name of the variable to which a text refers, or None if it is a value.

    ``os.environ/NAME`` is LiteLLM's. ``${NAME}`` and ``$NAME`` are filled in by a shell or a template before.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None:
        return None
    name = found[1] or found[2] or found[3]
    return name if _VARIABLE.fullmatch(name) else variable(name)


def variable(text: str) -> str:
    """Return a text as the name of a variable that no setting of the relay has."""
    name = _NOT_IN_VARIABLE.sub("_", text.upper()).strip("_") or "SECRET"
    return f"UPSTREAM_{name}" if name[0].isdigit() or name.startswith("CHUKEI_") else name


def target(*path: str) -> str:
    """Return a key of the relay's configuration as the report names it."""
    return ".".join(part if part == "*" else printable(toml_text.key(part)) for part in path)


def own_variable(*path: str) -> str:
    """Return the name of the relay's variable for a key."""
    return "CHUKEI_" + "__".join(_NOT_IN_VARIABLE.sub("_", part.upper()) for part in path)


def joined(parts: list[Given | str]) -> str:
    """Return parts as one shell word; a variable that is not known stays a variable."""
    texts = [
        part if isinstance(part, str) else f"${{{part.variable}}}" if part.variable else part.text for part in parts
    ]
    if any(isinstance(part, Given) and part.variable for part in parts):
        return '"' + "".join(text or "" for text in texts) + '"'
    return quoted("".join(text or "" for text in texts))


def _text(path: Path, table: Table) -> str:
    lines = [f"# {printable(comment)}" for comment in table.comments]
    lines.append(toml_text.table(*path))
    for key, value in table.values.items():
        note = f"  # {printable(table.notes[key])}" if key in table.notes else ""
        lines.append(f"{toml_text.key(key)} = {toml_text.value(value)}{note}")
    lines += [f"# {printable(comment)}" for comment in table.absent]
    return "\n".join(lines)
