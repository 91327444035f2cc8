"""A reader of the part of Bicep that infra/ is written in; everything else is an error.

pycep, the parser from the package index, knows no precedence (`a == b ? c : d` becomes `a == (b ? c : d)`) and resolves
no name. This one does, so that the tests can compute what a deployment would be given. The precedence is that of
https://learn.microsoft.com/azure/azure-resource-manager/bicep/operators.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path


class BicepError(Exception):
    """The text is not in the part of Bicep that is known here."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | bool | None


@dataclass(frozen=True, slots=True)
class Text:
    """A string with `${…}` in it."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`of.name`, or `of.?name`, which is null if there is no such member."""

    of: "Expression"
    name: str
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    of: "Expression"
    index: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or a method of `of`."""

    function: str
    arguments: "tuple[Expression, ...]"
    of: "Expression | None" = None


@dataclass(frozen=True, slots=True)
class Lambda:
    parameters: tuple[str, ...]
    body: "Expression"


@dataclass(frozen=True, slots=True)
class Object:
    items: "tuple[tuple[Expression, Expression], ...]"


@dataclass(frozen=True, slots=True)
class Array:
    items: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Ternary:
    condition: "Expression"
    yes: "Expression"
    no: "Expression"


@dataclass(frozen=True, slots=True)
class Loop:
    """`[for item in over: body]`, or with `(item, index)`."""

    parameters: tuple[str, ...]
    over: "Expression"
    body: "Expression"


@dataclass(frozen=True, slots=True)
class If:
    condition: "Expression"
    body: "Expression"


Expression = (
    Literal | Text | Name | Member | Index | Call | Lambda | Object | Array | Not | Binary | Ternary | Loop | If
)


@dataclass(frozen=True, slots=True)
class Decorator:
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    default: Expression | None
    decorators: tuple[Decorator, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    name: str
    type: str
    version: str
    existing: bool
    body: Expression


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: str
    body: Expression


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    type: str
    value: Expression


@dataclass(slots=True)
class File:
    """One .bicep file. Declarations are by name, in their order."""

    path: Path
    scope: str = "resourceGroup"
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Expression] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)

    @property
    def declared(self) -> list[str]:
        """The names that expressions may use."""
        return [*self.parameters, *self.variables, *self.resources, *self.modules]

    def expressions(self) -> Iterator[Expression]:
        """Every expression at the top."""
        yield from (p.default for p in self.parameters.values() if p.default is not None)
        yield from self.variables.values()
        yield from (resource.body for resource in self.resources.values())
        yield from (module.body for module in self.modules.values())
        yield from (output.value for output in self.outputs.values())


def walk(node: object) -> Iterator[object]:
    """A node, and everything below it."""
    if isinstance(node, tuple):
        for each in node:
            yield from walk(each)
    elif is_dataclass(node):
        yield node
        for each in fields(node):
            yield from walk(getattr(node, each.name))


def free_names(node: object, bound: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names that a node uses and does not bind itself."""
    match node:
        case Name(name=name):
            if name not in bound:
                yield name
        case Lambda(parameters=parameters, body=body):
            yield from free_names(body, bound | {*parameters})
        case Loop(parameters=parameters, over=over, body=body):
            yield from free_names(over, bound)
            yield from free_names(body, bound | {*parameters})
        case tuple():
            for each in node:
                yield from free_names(each, bound)
        case _ if is_dataclass(node):
            for part in fields(node):
                yield from free_names(getattr(node, part.name), bound)


_TOKEN = re.compile(
    r"(?P<blank>[ \t]+|//[^\n]*|/\*.*?\*/|\#[^\n]*)"
    r"|(?P<line>\r?\n)"
    r"|(?P<number>\d+)"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>\.\?|\?\?|==|!=|=~|!~|<=|>=|&&|\|\||=>|[@{}\[\](),:?.!<>=+\-*/%])",
    re.DOTALL,
)
_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\$": "$"}
_PRECEDENCE = (("??",), ("||",), ("&&",), ("==", "!=", "=~", "!~"), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int
    parts: tuple[Expression, ...] = ()


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        if text.startswith("'''", at):
            raise BicepError(f"line {line}: strings of several lines are not known here")
        if text[at] == "'":
            parts, after = _string(text, at + 1, line)
            yield _Token("string", text[at:after], line, parts)
            at = after
            continue
        found = _TOKEN.match(text, at)
        if found is None:
            raise BicepError(f"line {line}: unexpected {text[at]!r}")
        if found.lastgroup != "blank":
            yield _Token(str(found.lastgroup), found.group(), line)
        line += found.group().count("\n")
        at = found.end()
    yield _Token("end", "", line)


def _string(text: str, at: int, line: int) -> tuple[tuple[Expression, ...], int]:
    parts: list[Expression] = []
    literal = ""
    while True:
        if at >= len(text) or text[at] == "\n":
            raise BicepError(f"line {line}: a string without an end")
        if text[at] == "'":
            return (*parts, Literal(literal)), at + 1
        if text[at] == "\\":
            escape = text[at : at + 2]
            if escape not in _ESCAPES:
                raise BicepError(f"line {line}: {escape} is no escape")
            literal, at = literal + _ESCAPES[escape], at + 2
        elif text.startswith("${", at):
            end = _closing(text, at + 2, line)
            parts += [Literal(literal), _Reader(text[at + 2 : end]).whole_expression()]
            literal, at = "", end + 1
        else:
            literal, at = literal + text[at], at + 1


def _closing(text: str, at: int, line: int) -> int:
    """Where the brace is that closes an interpolation."""
    depth = 0
    while at < len(text) and text[at] != "\n":
        if text[at] == "'":
            _, at = _string(text, at + 1, line)
            continue
        if text[at] == "}" and depth == 0:
            return at
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    raise BicepError(f"line {line}: an interpolation without an end")


class _Reader:
    def __init__(self, text: str) -> None:
        self._all = list(_tokens(text))
        self._at = 0

    @property
    def _next(self) -> _Token:
        return self._all[self._at]

    def _is(self, *texts: str) -> bool:
        return self._next.kind in {"sign", "word"} and self._next.text in texts

    def _take(self, text: str | None = None, *, kind: str | None = None) -> _Token:
        token = self._next
        if (text is not None and not self._is(text)) or (kind is not None and token.kind != kind):
            raise BicepError(f"line {token.line}: {text or kind} instead of {token.text!r}")
        self._at += 1
        return token

    def _lines(self) -> None:
        while self._next.kind == "line":
            self._at += 1

    def file(self, path: Path) -> File:
        found = File(path)
        self._lines()
        while self._next.kind != "end":
            decorators = self._decorators()
            self._statement(found, decorators)
            if self._next.kind != "end":
                self._take(kind="line")
            self._lines()
        return found

    def _decorators(self) -> tuple[Decorator, ...]:
        found = []
        while self._is("@"):
            self._take("@")
            call = self._call(self._take(kind="word").text)
            found.append(Decorator(call.function, call.arguments))
            self._lines()
        return tuple(found)

    def _statement(self, file: File, decorators: tuple[Decorator, ...]) -> None:
        keyword = self._take(kind="word")
        if decorators and keyword.text != "param":
            raise BicepError(f"line {keyword.line}: only parameters have decorators here")
        if keyword.text == "targetScope":
            self._take("=")
            file.scope = self._plain_string()
            return
        name = self._take(kind="word").text
        if name in {*file.declared} or (keyword.text == "output" and name in file.outputs):
            raise BicepError(f"line {keyword.line}: {name} is declared twice")
        match keyword.text:
            case "param":
                kind = self._take(kind="word").text
                file.parameters[name] = Parameter(name, kind, self._default(), decorators)
            case "var":
                self._take("=")
                file.variables[name] = self._expression()
            case "output":
                kind = self._take(kind="word").text
                self._take("=")
                file.outputs[name] = Output(name, kind, self._expression())
            case "resource":
                kind, _, version = self._plain_string().partition("@")
                existing = self._is("existing")
                if existing:
                    self._take("existing")
                self._take("=")
                file.resources[name] = Resource(name, kind, version, existing, self._body())
            case "module":
                path = self._plain_string()
                self._take("=")
                file.modules[name] = Module(name, path, self._body())
            case _:
                raise BicepError(f"line {keyword.line}: {keyword.text} is not known here")

    def _default(self) -> Expression | None:
        if not self._is("="):
            return None
        self._take("=")
        return self._expression()

    def _plain_string(self) -> str:
        token = self._take(kind="string")
        match token.parts:
            case (Literal(value=str(value)),):
                return value
        raise BicepError(f"line {token.line}: an interpolation where none may be")

    def _body(self) -> Expression:
        if not self._is("if"):
            return self._expression()
        self._take("if")
        self._take("(")
        condition = self._expression()
        self._take(")")
        return If(condition, self._expression())

    def whole_expression(self) -> Expression:
        """Read an expression that is all there is."""
        found = self._expression()
        self._take(kind="end")
        return found

    def _expression(self) -> Expression:
        condition = self._binary(0)
        if not self._is("?"):
            return condition
        self._take("?")
        yes = self._expression()
        self._take(":")
        return Ternary(condition, yes, self._expression())

    def _binary(self, level: int) -> Expression:
        if level == len(_PRECEDENCE):
            return self._unary()
        left = self._binary(level + 1)
        while self._is(*_PRECEDENCE[level]):
            operator = self._take().text
            left = Binary(operator, left, self._binary(level + 1))
        return left

    def _unary(self) -> Expression:
        if self._is("!"):
            self._take("!")
            return Not(self._unary())
        return self._postfix(self._primary())

    def _postfix(self, found: Expression) -> Expression:
        while self._is(".", ".?", "["):
            sign = self._take().text
            if sign == "[":
                found = Index(found, self._expression())
                self._take("]")
                continue
            name = self._take(kind="word").text
            if self._is("("):
                call = self._call(name)
                found = Call(call.function, call.arguments, None if found == Name("az") else found)
            else:
                found = Member(found, name, safe=sign == ".?")
        return found

    def _primary(self) -> Expression:
        token = self._next
        match token.kind, token.text:
            case "number", text:
                self._take()
                return Literal(int(text))
            case "string", _:
                self._take()
                return token.parts[0] if len(token.parts) == 1 else Text(token.parts)
            case "word", text:
                self._take()
                return self._word(text)
            case "sign", "{":
                return self._object()
            case "sign", "[":
                return self._array()
            case "sign", "(":
                self._take("(")
                found = self._expression()
                self._take(")")
                return found
        raise BicepError(f"line {token.line}: unexpected {token.text!r}")

    def _word(self, word: str) -> Expression:
        if word in _CONSTANTS:
            return Literal(_CONSTANTS[word])
        if self._is("("):
            return self._call(word)
        if self._is("=>"):
            self._take("=>")
            return Lambda((word,), self._expression())
        return Name(word)

    def _call(self, name: str) -> Call:
        self._take("(")
        arguments = []
        self._lines()
        while not self._is(")"):
            arguments.append(self._expression())
            self._lines()
            if not self._is(")"):
                self._take(",")
                self._lines()
        self._take(")")
        return Call(name, tuple(arguments))

    def _object(self) -> Expression:
        opening = self._take("{")
        items: list[tuple[Expression, Expression]] = []
        self._lines()
        while not self._is("}"):
            items.append((self._key(), self._value()))
            self._between("}")
        self._take("}")
        keys = [key.value for key, _ in items if isinstance(key, Literal)]
        if len({*keys}) != len(keys):
            raise BicepError(f"line {opening.line}: a key is there twice")
        return Object(tuple(items))

    def _key(self) -> Expression:
        if self._next.kind == "string":
            return self._primary()
        return Literal(self._take(kind="word").text)

    def _value(self) -> Expression:
        self._take(":")
        return self._expression()

    def _between(self, closing: str) -> None:
        """Between two items of an object or array is a comma, or the end of a line."""
        if self._is(","):
            self._take(",")
        elif not self._is(closing):
            self._take(kind="line")
        self._lines()

    def _array(self) -> Expression:
        self._take("[")
        self._lines()
        if self._is("for"):
            return self._loop()
        items = []
        while not self._is("]"):
            items.append(self._expression())
            self._between("]")
        self._take("]")
        return Array(tuple(items))

    def _loop(self) -> Expression:
        self._take("for")
        parameters = []
        if self._is("("):
            self._take("(")
            parameters = [self._take(kind="word").text]
            self._take(",")
            parameters.append(self._take(kind="word").text)
            self._take(")")
        else:
            parameters.append(self._take(kind="word").text)
        self._take("in")
        over = self._expression()
        self._take(":")
        body = self._body()
        self._lines()
        self._take("]")
        return Loop(tuple(parameters), over, body)


def read(path: Path, text: str | None = None) -> File:
    """Read a file, or a text in its place.

    Raises:
        BicepError: it is not what is known here; the message has the line.
    """
    try:
        return _Reader(path.read_text() if text is None else text).file(path)
    except BicepError as error:
        raise BicepError(f"{path.name}: {error}") from None
