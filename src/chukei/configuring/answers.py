"""What ``chukei init`` needs to know, from flags or from questions; each value is checked where it comes in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal

from chukei.accounts.limits import Limit
from chukei.config.settings import ServerSettings
from chukei.config.upstreams import DEPLOYMENT_NAME
from chukei.configuring.address import NotAnAddress, Pasted, looks_like_key, understand

KEY_VARIABLE = "AZURE_OPENAI_API_KEY"
SHARED_KEY_VARIABLE = "CHUKEI_API_KEY"
ACCESS = ("local", "shared", "keys")
"""Who may call: users of this machine; whoever has the shared key; whoever has a key of their own."""

_SERVER = ServerSettings()
_MAX_LIMIT = 2**53
_MAX_MONEY = 10**9
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MODEL = re.compile(r"[\w.:/@ -]{1,128}", re.ASCII)


class BadAnswer(ValueError):
    """A value that cannot be used; the message says why and what helps. It holds no secret."""


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment on a resource, and the name of the model under which clients ask for it."""

    model: str
    deployment: str


@dataclass(frozen=True, slots=True)
class Resource:
    """An Azure OpenAI resource. ``key`` is the variable that has its key, None for an Entra ID identity."""

    endpoint: str
    targets: tuple[Target, ...]
    key: str | None


@dataclass(frozen=True, slots=True)
class Store:
    """The address of a store as TOML has it: text, or the name of a variable for an address with a password."""

    value: str | Mapping[str, str]

    @property
    def variable(self) -> str | None:
        """The variable that must be set."""
        return None if isinstance(self.value, str) else self.value["env"]


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that goes into the file. Without ``resources`` the simulator answers."""

    resources: tuple[Resource, ...] = ()
    client_id: str | None = None
    access: Literal["local", "shared", "keys"] = "local"
    limits: Mapping[Limit, int | float] = field(default_factory=dict)
    redis: Store | None = None
    ledger: Store | None = None
    host: str = _SERVER.host
    port: int = _SERVER.port

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that the file names, in its order."""
        keys = [resource.key for resource in self.resources]
        shared = SHARED_KEY_VARIABLE if self.access == "shared" else None
        stores = [store.variable for store in (self.redis, self.ledger) if store is not None]
        return tuple(dict.fromkeys(name for name in (*keys, shared, *stores) if name is not None))

    @property
    def identity(self) -> bool:
        """Whether an Entra ID identity is used."""
        return any(resource.key is None for resource in self.resources)


def address(text: str) -> Pasted:
    """Read the address of a resource, however it was copied."""
    try:
        return understand(text)
    except NotAnAddress as error:
        raise BadAnswer(str(error)) from None


def targets(text: str) -> tuple[Target, ...]:
    """Read names of deployments, separated by commas, each as ``DEPLOYMENT`` or ``MODEL=DEPLOYMENT``."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        model, equals, deployment = part.rpartition("=")
        model, deployment = model.strip() if equals else deployment.strip(), deployment.strip()
        if looks_like_key(model) or looks_like_key(deployment):
            raise BadAnswer("this looks like a key; a deployment has a name such as gpt-4o")
        if not DEPLOYMENT_NAME.fullmatch(deployment):
            raise BadAnswer(f"{deployment!r} is not the name of a deployment: letters, digits, - _ and . only")
        if not _MODEL.fullmatch(model) or not model.strip():
            raise BadAnswer(f"{model!r} is not a name that clients can send for a model")
        found.append(Target(model, deployment))
    return tuple(dict.fromkeys(found))


def variable(text: str) -> str:
    """Read the name of an environment variable."""
    name = text.strip().removeprefix("$").removeprefix("{").removesuffix("}")
    if looks_like_key(name) and not re.fullmatch(r"[A-Z_]+[A-Z0-9_]*", name):
        raise BadAnswer("this looks like a key; give the name of the variable that holds it, never the key")
    if not _VARIABLE.fullmatch(name):
        raise BadAnswer("this is not the name of a variable: letters, digits and _ only")
    return name


def limit(name: str, text: str) -> tuple[Limit, int | float]:
    """Read one limit: a whole number, or for money an amount."""
    try:
        kind = Limit(name.strip().replace("-", "_"))
    except ValueError:
        raise BadAnswer(f"{name!r} is not a limit; there are {', '.join(Limit)}") from None
    try:
        amount = Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        raise BadAnswer(f"{kind.value} must be a number") from None
    if kind is Limit.MONEY_PER_MONTH:
        if not (amount.is_finite() and 0 < amount <= _MAX_MONEY):
            raise BadAnswer(f"{kind.value} must be more than 0 and at most {_MAX_MONEY}")
        return kind, float(amount)
    if not (amount.is_finite() and 0 < amount <= _MAX_LIMIT and amount == int(amount)):
        raise BadAnswer(f"{kind.value} must be a whole number from 1 to {_MAX_LIMIT}")
    return kind, int(amount)


def host(text: str) -> str:
    """Read an address to listen on."""
    name = text.strip()
    if not re.fullmatch(r"[\w.:%-]+", name, re.ASCII):
        raise BadAnswer("this is not an address to listen on; write 127.0.0.1, 0.0.0.0 or a name")
    return name


def client_id(text: str) -> str:
    """Read the client id of an identity."""
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text.strip(), re.ASCII | re.IGNORECASE):
        raise BadAnswer("this is not the client id of an identity: `az identity show --query clientId` shows it")
    return text.strip()


def limits(texts: Iterable[str]) -> dict[Limit, int | float]:
    """Read limits in the form ``NAME=NUMBER``."""
    return dict(limit(*part.partition("=")[::2]) for part in texts)


def redis(text: str) -> Store | None:
    """Read the address of a Redis; ``memory`` and nothing mean none."""
    return _store(text, "REDIS_URL", ("redis://", "rediss://"), "memory", "redis://HOST:6379/0, rediss:// with TLS")


def ledger(text: str) -> Store | None:
    """Read the address of the ledger's database; nothing means the default."""
    schemes = ("sqlite:///", "postgresql://", "postgres://", "none")
    return _store(text, "LEDGER_URL", schemes, "", 'sqlite:///PATH/TO/FILE.db, postgresql://… or "none"')


def _store(text: str, name: str, schemes: tuple[str, ...], nothing: str, examples: str) -> Store | None:
    given = text.strip()
    if given in ("", nothing):
        return None
    if not given.startswith(schemes) or (given in schemes and given != "none"):
        raise BadAnswer(f"this is not an address of that kind; write {examples}")
    if not given.isascii() or not given.isprintable():
        raise BadAnswer("the address has control or non-ASCII characters; copy it again")
    secret = "@" in given or "password=" in given.lower()
    return Store({"env": name} if secret else given)


def resources(
    addresses: Iterable[str], deployments: Iterable[str], keys: Iterable[str], *, identity: bool
) -> tuple[Resource, ...]:
    """Combine what the flags say: each deployment is on each resource, besides the one that its address names."""
    pasted = [address(text) for text in addresses]
    everywhere = [target for text in deployments for target in targets(text)]
    endpoints = list(dict.fromkeys(each.endpoint for each in pasted))
    names = _keys([variable(key) for key in keys], len(endpoints), identity=identity)
    found = []
    for endpoint, key in zip(endpoints, names, strict=True):
        own = [each.deployment for each in pasted if each.endpoint == endpoint and each.deployment is not None]
        all_of_it = (*(target for name in own for target in targets(name)), *everywhere)
        if not all_of_it:
            raise BadAnswer(f"which deployments of {endpoint}? Give --deployment NAME, as often as there are any")
        found.append(Resource(endpoint, tuple(dict.fromkeys(all_of_it)), key))
    if everywhere and not found:
        raise BadAnswer("--deployment needs the --endpoint of its resource")
    return tuple(found)


def _keys(given: list[str], count: int, *, identity: bool) -> list[str | None]:
    """Return the variable of each resource's key."""
    if identity:
        if given:
            raise BadAnswer("--identity means that there is no key; leave out --key-env")
        return [None] * count
    if not given:
        return [key_variable(number) for number in range(count)]
    if not count:
        raise BadAnswer("--key-env needs the --endpoint of a resource")
    if len(given) not in (1, count):
        raise BadAnswer(f"--key-env is given {len(given)} times for {count} resources; once for all, or one for each")
    return [given[0]] * count if len(given) == 1 else [*given]


def key_variable(number: int) -> str:
    """Return the usual name of the variable for the key of a resource, counted from 0."""
    return KEY_VARIABLE if number == 0 else f"{KEY_VARIABLE}_{number + 1}"
