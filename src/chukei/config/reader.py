"""Reads a table key by key and collects all problems."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chukei.config.settings import Secret

Default = TypeVar("Default")

_UNRESOLVED = "@Microsoft.KeyVault("
"""App Service and Functions hand over the reference itself when they cannot resolve it (Microsoft: "Use Key Vault
references as app settings", troubleshooting). As a key it could be guessed, since it holds only names."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: its source (a file or a variable), its key, and a message that says what is wrong and what helps."""

    source: str
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.source}: {self.key}" if self.key else self.source
        return f"{place}: {self.message}"


class ConfigError(Exception):
    """The configuration has mistakes; ``problems`` contains all of them.

    ``files`` are the names of its files, missing ones too: a change of one of them may correct a mistake.
    """

    def __init__(self, problems: list[Problem], *, files: Collection[str] = ()) -> None:
        count = len(problems)
        head = "the configuration has a problem:" if count == 1 else f"the configuration has {count} problems:"
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in problems)]))
        self.problems = problems
        self.files = frozenset(files)


class Document:
    """The merged configuration: the tables of the file, with the environment's values in place of the file's.

    ``files`` are the files that were read, and the SHA-256 digests of their contents.
    """

    def __init__(
        self, source: str, tables: dict[str, Any], environment: Mapping[str, str], files: dict[str, str] | None = None
    ) -> None:
        self.source = source
        self.tables = tables
        self.environment = environment
        self.origins: dict[tuple[str, ...], str] = {}
        self.made: dict[tuple[str, ...], list[str]] = {}
        """Tables that only the environment sets, and their variables."""
        self.problems: list[Problem] = []
        self.notices: list[str] = []
        self.files: dict[str, str] = {} if files is None else files
        self.named: list[str] = []
        """Every file that the configuration names, also one that cannot be read."""

    def content(self, name: str) -> bytes | None:
        """Return the content of a file that the configuration names, or None if it cannot be read."""
        self.named.append(name)
        try:
            content = Path(name).read_bytes() if Path(name).is_file() else None
        except OSError:
            return None
        if content is not None:
            self.files[name] = hashlib.sha256(content).hexdigest()
        return content

    def root(self) -> "Reader":
        """Return the reader of the top table."""
        return Reader(self, self.tables, ())

    def problem(self, path: tuple[str, ...], message: str) -> None:
        """Note a mistake at ``path``."""
        origin = self.origins.get(path)
        self.problems.append(Problem(origin or self.source, "" if origin else ".".join(path), message))

    def raise_problems(self) -> None:
        """Raise ConfigError if anything was noted."""
        if self.problems:
            raise ConfigError(self.problems, files=[*self.files, *self.named])


class Reader:
    """One table. Each method reads a key and returns its value. For a wrong value it notes a problem and returns the
    default.

    ``document`` is the document that contains the table.
    """

    def __init__(self, document: Document, table: dict[str, Any], path: tuple[str, ...]) -> None:
        self.document = document
        self._table = table
        self._path = path
        self._known: set[str] = set()

    def problem(self, key: str, message: str) -> None:
        """Note a mistake in this table. With an empty key, the mistake is the table itself."""
        self.document.problem((*self._path, key) if key else self._path, message)

    def notice(self, key: str, message: str) -> None:
        """Note a value that is allowed but probably a mistake."""
        self.document.notices.append(f"{'.'.join((*self._path, key))} {message}")

    def has(self, key: str) -> bool:
        """Whether the key is set."""
        return key in self._table

    def adopt(self, key: str, value: object, variable: str) -> None:
        """Set a key that is not set to the value of a variable that other programs know too."""
        if key not in self._table:
            self._table[key] = value
            self.document.origins[*self._path, key] = variable

    def _take(self, key: str, kind: type | tuple[type, ...], what: str) -> Any:
        self._known.add(key)
        value = self._table.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.problem(key, f"must be {what}, not {_kind(value)}")
            return None
        return value

    def string(self, key: str, default: str | None = None, *, choices: tuple[str, ...] = ()) -> str | None:
        """Read a non-empty string."""
        variable = self.document.origins.get((*self._path, key))
        # The text of a variable is a string here, even if it looks like a number.
        if variable is not None and not isinstance(self._table.get(key), str):
            self._table[key] = self.document.environment[variable]
        value = self._take(key, str, "a string")
        if value is None:
            return default
        if not value.strip():
            self.problem(key, "must not be empty; remove the key to leave it unset")
            return default
        if choices and value not in choices:
            self.problem(key, f"must be one of {', '.join(choices)}")
            return default
        return str(value)

    def boolean(self, key: str, default: Default) -> bool | Default:
        """Read true or false."""
        value = self._take(key, bool, "true or false")
        return default if value is None else bool(value)

    def integer(self, key: str, default: Default, *, low: int, high: int) -> int | Default:
        """Read an integer within bounds."""
        value = self._take(key, int, "a whole number")
        if value is None:
            return default
        if not low <= value <= high:
            self.problem(key, f"must be between {low:_} and {high:_}, not {value:_}")
            return default
        return int(value)

    def seconds(self, key: str, default: Default, *, low: float, high: float) -> float | Default:
        """Read a duration in seconds, within bounds."""
        value = self._take(key, (int, float), "a number of seconds")
        if value is None:
            return default
        if not low <= value <= high:
            self.problem(key, f"must be between {low:g} and {high:.10g} seconds, not {value:.10g}")
            return default
        return float(value)

    def number(self, key: str, default: Default, *, low: float, high: float) -> float | Default:
        """Read a number within bounds."""
        value = self._take(key, (int, float), "a number")
        if value is None:
            return default
        if not low <= value <= high:
            self.problem(key, f"must be between {low:g} and {high:.10g}, not {value:.10g}")
            return default
        return float(value)

    def strings(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Read a list of strings. A single string is a list of one, so that variables can set it."""
        value = self._take(key, (list, str), "a list of strings")
        if value is None:
            return default
        if isinstance(value, str):
            value = [item.strip() for item in value.split(",") if item.strip()]
        if any(not isinstance(item, str) or not item for item in value):
            self.problem(key, "must hold strings only, none of them empty")
            return default
        return tuple(value)

    def secret(self, key: str) -> Secret | None:
        """Read ``{ env = "NAME" }`` or ``{ file = "PATH" }``. A literal value is allowed only from a variable."""
        self._known.add(key)
        value = self._table.get(key)
        if value is None:
            return None
        variable = self.document.origins.get((*self._path, key))
        if variable is not None and not isinstance(value, dict):
            return self._not_empty(key, self.document.environment[variable], "is set but empty")
        if not isinstance(value, dict) or len(value) != 1 or not isinstance(value.get("env", value.get("file")), str):
            self.problem(key, 'a secret does not belong in a file: write { env = "NAME" } and set that variable')
            return None
        if "file" in value:
            return self._secret_in(key, value["file"])
        name = value["env"]
        if name not in self.document.environment:
            self.problem(key, f"the environment variable {name} is not set")
            return None
        return self._not_empty(key, self.document.environment[name], f"the environment variable {name} is empty")

    def address(self, key: str) -> Secret | None:
        """Read an address: as text, or as a secret if it contains a password."""
        value = self._table.get(key)
        if not isinstance(value, str) or (*self._path, key) in self.document.origins:
            return self.secret(key)
        if "@" in value or "password=" in value.lower():  # some clients also accept it in the query
            return self.secret(key)
        self._known.add(key)
        return self._not_empty(key, value, "must not be empty; remove the key to leave it unset")

    def _secret_in(self, key: str, name: str) -> Secret | None:
        """Read a secret from a file of its own, such as one of a mounted Kubernetes Secret; one line end is cut off."""
        content = self.document.content(name)
        if content is None:
            self.problem(key, f"{name} is not a readable file; give one that holds the secret alone")
            return None
        text = content.decode("latin-1").removesuffix("\n").removesuffix("\r")
        return self._not_empty(key, text, f"{name} is empty")

    def _not_empty(self, key: str, value: str, message: str) -> Secret | None:
        if not value.strip():
            self.problem(key, message)
            return None
        if value.strip().startswith(_UNRESOLVED):
            role = "give the app's identity the role Key Vault Secrets User, and restart the app"
            self.problem(key, f"is a reference to a key vault that the platform could not resolve; {role}")
            return None
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            self.problem(key, "the secret holds spaces around it, control or non-ASCII characters; copy it again")
            return None
        return Secret(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """Read an inline table with arbitrary keys."""
        return dict(self._take(key, dict, "a table") or {})

    def table(self, key: str) -> "Reader":
        """Read a sub-table; a missing one is empty."""
        return Reader(self.document, self._take(key, dict, "a table") or {}, (*self._path, key))

    def tables(self, key: str) -> Iterator[tuple[str, "Reader"]]:
        """Read a table of named tables."""
        for name, value in (self._take(key, dict, "a table of tables") or {}).items():
            path = (*self._path, key, name)
            if isinstance(value, dict):
                yield name, Reader(self.document, value, path)
            else:
                self.document.problem(path, f"must be a table, [{'.'.join(path)}], not {_kind(value)}")

    def done(self) -> None:
        """Note every unknown key, with the closest known one."""
        for key in self._table:
            if key in self._known:
                continue
            remedy = f"is not a known key{_nearest(key, self._known)}"
            variables = self.document.made.get((*self._path, key))
            if variables is None:
                self.problem(key, remedy)
            for variable in variables or ():
                self.document.problems.append(Problem(variable, "", f"{'.'.join((*self._path, key))} {remedy}"))


def closest(key: str, known: Collection[str]) -> str | None:
    """Return the known word that is most similar to a mistyped one; None if none is similar."""
    import difflib  # only needed for a mistake

    return next(iter(difflib.get_close_matches(key, known, 1)), None)


def _nearest(key: str, known: set[str]) -> str:
    close = closest(key, known)
    return f"; did you mean {close}?" if close else f"; known here: {', '.join(sorted(known))}"


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), "a date")
