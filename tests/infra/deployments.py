"""What a deployment of infra/ would be given: the expressions of Bicep computed, without Azure.

Only Azure knows some values, such as the client id of an identity: `RUNTIME` has one for each that the files use. All
others are computed as Azure Resource Manager does
(https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions).
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.infra.bicep_syntax import (
    Array,
    Binary,
    Call,
    Expression,
    File,
    If,
    Index,
    Lambda,
    Literal,
    Loop,
    Member,
    Module,
    Name,
    Not,
    Object,
    Resource,
    Ternary,
    Text,
    read,
)

INFRA = Path(__file__).parents[2] / "infra"
SUBSCRIPTION = "00000000-1111-4222-8333-444444444444"
TENANT = "99999999-8888-4777-8666-555555555555"
CLIENT = "12345678-1234-4234-8234-123456789012"

SUFFIXES = {"storage": "core.windows.net", "keyvaultDns": ".vault.azure.net"}

RUNTIME: dict[str, Callable[[str], dict[str, Any]]] = {
    "Microsoft.ManagedIdentity/userAssignedIdentities": lambda name: {
        "principalId": "an-object-id",
        "clientId": CLIENT,
    },
    "Microsoft.Insights/components": lambda name: {
        "ConnectionString": "InstrumentationKey=00000000-0000-4000-8000-000000000000;IngestionEndpoint=https://in.example/"
    },
    "Microsoft.Storage/storageAccounts": lambda name: {
        "primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"}
    },
    "Microsoft.Web/sites": lambda name: {"defaultHostName": f"{name}.azurewebsites.net"},
    "Microsoft.App/containerApps": lambda name: {"configuration": {"ingress": {"fqdn": f"{name}.region.example"}}},
    "Microsoft.ContainerRegistry/registries": lambda name: {"loginServer": f"{name}.azurecr.io"},
    "Microsoft.Cache/redisEnterprise": lambda name: {"hostName": f"{name}.region.redis.azure.net"},
    "Microsoft.DBforPostgreSQL/flexibleServers": lambda name: {
        "fullyQualifiedDomainName": f"{name}.postgres.database.azure.com"
    },
}
"""What Azure adds to a resource's properties, by the type; the function gets the resource's name."""


@dataclass(slots=True)
class Deployed:
    """What a deployment created: resources that it declares, in all modules, and its outputs."""

    resources: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a type."""
        return [each for each in self.resources if each["type"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        """The only resource of a type."""
        (found,) = self.of_type(kind)
        return found


_read = cache(read)


def parameters_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that azd would give to main.bicep, from main.parameters.json and its environment.

    azd substitutes `${NAME}` and `${NAME=default}`, makes or reads secrets, and converts texts by the parameter's type.
    """
    types = {name: each.type for name, each in _read(INFRA / "main.bicep").parameters.items()}
    entries = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    return {name: _converted(_substituted(entry["value"], environment), types[name]) for name, entry in entries.items()}


def _substituted(text: str, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return environment.get(found["name"]) or found["default"] or ""

    text = re.sub(r"\$\{(?P<name>\w+)(?:=(?P<default>[^}]*))?\}", value, text)
    return re.sub(r"\$\(secretOrRandomPassword .*\)", "aSecretThatAzdMade", text)


def _converted(text: str, kind: str) -> Any:
    match kind:
        case "bool":
            return {"true": True, "false": False}[text]
        case "int":
            return int(text)
        case "array" | "object":
            return json.loads(text)
    return text


def deploy(parameters: Mapping[str, Any], path: Path = INFRA / "main.bicep") -> Deployed:
    """Compute a deployment."""
    deployed = Deployed()
    deployed.outputs = _Scope(_read(path), parameters, deployed).run()
    return deployed


class _Scope:
    """One file with its parameters. Names are computed when they are first needed."""

    def __init__(self, file: File, parameters: Mapping[str, Any], deployed: Deployed) -> None:
        unknown = parameters.keys() - file.parameters.keys()
        assert not unknown, f"{file.path.name} has no parameter {', '.join(unknown)}"
        self._file = file
        self._deployed = deployed
        self._values: dict[str, Any] = dict(parameters)

    def run(self) -> dict[str, Any]:
        for name in self._file.declared:
            self._named(name)
        return {name: self.value(output.value, {}) for name, output in self._file.outputs.items()}

    def _named(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = self._declared(name)
        return self._values[name]

    def _declared(self, name: str) -> Any:
        file = self._file
        if name in file.parameters:
            default = file.parameters[name].default
            assert default is not None, f"{file.path.name} needs the parameter {name}"
            return self.value(default, {})
        if name in file.variables:
            return self.value(file.variables[name], {})
        if name in file.resources:
            resource = file.resources[name]
            return self._each(resource.body, lambda body, local: self._resource(resource, body, local))
        module = file.modules[name]
        return self._each(module.body, lambda body, local: self._module(module, body, local))

    def _each(self, body: Expression, make: Callable[[Expression, dict[str, Any]], Any]) -> Any:
        match body:
            case If(condition=condition, body=inner):
                return make(inner, {}) if self.value(condition, {}) else None
            case Loop(parameters=names, over=over, body=inner):
                items = self.value(over, {})
                return [make(inner, dict(zip(names, (item, at), strict=False))) for at, item in enumerate(items)]
        return make(body, {})

    def _resource(self, resource: Resource, body: Expression, local: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.value(body, local)
        found |= {"type": resource.type, "id": _id(resource.type, found["name"])}
        if not resource.existing:
            self._deployed.resources.append(found)
        known = RUNTIME.get(resource.type)
        runtime = {} if known is None else known(found["name"])
        return {**found, "properties": _merged(found.get("properties", {}), runtime)}

    def _module(self, module: Module, body: Expression, local: dict[str, Any]) -> dict[str, Any]:
        given = self.value(body, local)
        inner = _Scope(_read(self._file.path.parent / module.path), given["params"], self._deployed)
        return {"name": given["name"], "outputs": inner.run()}

    def value(self, node: Expression, local: dict[str, Any]) -> Any:
        match node:
            case Literal(value=value):
                return value
            case Text(parts=parts):
                return "".join(_text(self.value(part, local)) for part in parts)
            case Name(name=name):
                return local[name] if name in local else self._named(name)
            case Member(of=of, name=name, safe=safe):
                found = self.value(of, local)
                return found.get(name) if safe else found[name]
            case Index(of=of, index=index):
                return self.value(of, local)[self.value(index, local)]
            case Object(items=items):
                return {self.value(key, local): self.value(value, local) for key, value in items}
            case Array(items=items):
                return [self.value(item, local) for item in items]
            case Lambda(parameters=names, body=body):
                return lambda *values: self.value(body, {**local, **dict(zip(names, values, strict=True))})
            case Not(operand=operand):
                return not self._truth(operand, local)
            case Ternary(condition=condition, yes=yes, no=no):
                return self.value(yes if self._truth(condition, local) else no, local)
            case Binary():
                return self._binary(node, local)
            case Loop(parameters=names, over=over, body=body):
                items = self.value(over, local)
                return [
                    self.value(body, {**local, **dict(zip(names, (item, at), strict=False))})
                    for at, item in enumerate(items)
                ]
            case Call(function=function, arguments=arguments, of=None):
                return FUNCTIONS[function](*(self.value(argument, local) for argument in arguments))
            case Call(function="listKeys", of=Name()):
                return {"primaryKey": "a+key/of=redis="}
        raise AssertionError(f"{self._file.path.name}: cannot compute {node}")

    def _truth(self, node: Expression, local: dict[str, Any]) -> bool:
        value = self.value(node, local)
        assert isinstance(value, bool), f"{self._file.path.name}: {node} is no condition"
        return value

    def _binary(self, node: Binary, local: dict[str, Any]) -> Any:
        left = self.value(node.left, local)
        match node.operator:
            case "||":
                return left or self._truth(node.right, local)
            case "&&":
                return left and self._truth(node.right, local)
            case "??":
                return self.value(node.right, local) if left is None else left
        right = self.value(node.right, local)
        match node.operator:
            case "==":
                return left == right
            case "!=":
                return left != right
            case "+":
                return left + right
        raise AssertionError(f"{self._file.path.name}: {node.operator} is not known here")


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = one.keys() & other.keys()
    return {**one, **other, **{key: _merged(one[key], other[key]) for key in both if isinstance(one[key], dict)}}


def _id(kind: str, *names: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/{kind}/{'/'.join(names)}"


def _text(value: Any) -> str:
    """Resource Manager's text of a value: `string(true)` is `True`."""
    return str(value) if isinstance(value, (str, bool, int)) else json.dumps(value, separators=(",", ":"))


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _union(*values: Any) -> Any:
    if isinstance(values[0], dict):
        found: dict[str, Any] = {}
        for value in values:
            found = _merged(found, value)
        return found
    items = [item for value in values for item in value]
    return [item for at, item in enumerate(items) if item not in items[:at]]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": lambda items, item: item in items,
    "concat": lambda *lists: [item for each in lists for item in each],
    "empty": lambda value: value is None or len(value) == 0,
    "environment": lambda: {"suffixes": SUFFIXES},
    "filter": lambda items, test: [item for item in items if test(item)],
    "flatten": lambda lists: [item for each in lists for item in each],
    "guid": lambda *texts: _hash(*texts)[:36],
    "int": int,
    "items": lambda value: [{"key": key, "value": value[key]} for key in sorted(value)],
    "join": lambda items, between: between.join(_text(item) for item in items),
    "json": json.loads,
    "min": min,
    "map": lambda items, make: [make(item) for item in items],
    "replace": lambda text, old, new: text.replace(old, new),
    "resourceGroup": lambda *names: {"name": names[-1] if names else "rg"},
    "resourceId": _id,
    "split": lambda text, by: text.split(by),
    "string": _text,
    "subscription": lambda: {"id": f"/subscriptions/{SUBSCRIPTION}"},
    "subscriptionResourceId": lambda kind, name: f"/subscriptions/{SUBSCRIPTION}/providers/{kind}/{name}",
    "tenant": lambda: {"tenantId": TENANT},
    "toLower": str.lower,
    "toObject": lambda items, key, value: {key(item): value(item) for item in items},
    "toUpper": str.upper,
    "union": _union,
    "uniqueString": lambda *texts: _hash(*texts)[:13],
    "uriComponent": lambda text: quote(text, safe=""),
}
"""Bicep's functions that the files use. A function that is not here fails the tests."""
