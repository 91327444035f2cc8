"""What LiteLLM calls for one entry of its ``model_list``: an Azure OpenAI deployment, or something else."""

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import parse_qsl

from chukei.config.endpoints import clean_endpoint, split_address
from chukei.config.upstreams import DEPLOYMENT_NAME
from chukei.configuring.address import DEPLOYMENT_IN_PATH, looks_like_key
from chukei.configuring.import_draft import Given

V1_NAMES = frozenset({"v1", "preview", "latest"})
"""The versions for which LiteLLM calls /openai/v1."""

_ROUTES = ("responses/", "o_series/", "gpt5_series/")
"""What LiteLLM takes off in front of a deployment's name to choose how it calls it."""

_AZURE_HOSTS = (".azure.com", ".azure.us", ".azure.cn")
_AZURE_NAMES = ("AZURE", "AOAI", "FOUNDRY")
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?", re.ASCII)
_API = re.compile(r"/openai|/api/projects/")
"""Where the path of an API begins, or that of a project of a Foundry resource."""

_FOUNDRY_HOSTS = (".services.ai.azure.com", ".openai.azure.com", ".cognitiveservices.azure.com")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]+")
_CLAUDE = (
    "Claude on Azure speaks Anthropic's Messages API, into which the relay translates no chats; for Anthropic's "
    'clients write a deployment with api = "anthropic"'
)


@dataclass(frozen=True, slots=True)
class Address:
    """An ``api_base``, taken apart. ``problem`` says why it cannot stand in the file, without repeating it."""

    endpoint: str | None = None
    deployment: str | None = None
    api_version: str | None = None
    problem: str | None = None
    path: str = ""
    host: str = ""

    @property
    def azure(self) -> bool:
        """Whether the host is one of Azure's."""
        return self.host.endswith(_AZURE_HOSTS)

    @property
    def label(self) -> str:
        """The first part of the host's name."""
        return self.host.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment. ``difference`` says where the relay calls it in another way than LiteLLM does."""

    deployment: Given
    difference: str | None = None
    v1: bool = False
    wildcard: bool = False


class NotAzure(Exception):
    """The entry calls something that the relay does not. The message says what, as the end of a sentence."""


def address(text: str) -> Address:
    """Take an address apart that may go on after the resource's host, as LiteLLM allows."""
    if "://" not in text:  # LiteLLM's own pages have addresses like this
        text = f"https://{text}" if "." in text.partition("/")[0] else ""
    parts = split_address(text)
    if parts is None or not parts.hostname or not _HOST.fullmatch(parts.hostname):
        return Address(problem="is not the address of a resource")
    if not _HOST.fullmatch(parts.netloc):
        return Address(problem="is not the address of a resource", host=parts.hostname)
    query = dict(parse_qsl(parts.query))
    version = query.pop("api-version", None)
    if query or parts.fragment:
        return Address(
            problem="has a query, which may be a credential, so it is not copied", path=parts.path, host=parts.hostname
        )
    found = DEPLOYMENT_IN_PATH.search(parts.path)
    if found is None and "/openai/v1" in parts.path:
        version = "v1"
    path = _API.split(parts.path, maxsplit=1)[0].rstrip("/").removesuffix("/models")
    endpoint, fault = clean_endpoint(f"{parts.scheme}://{parts.netloc}{path}", plain_http=True)
    if fault is not None:
        return Address(problem="is not the address of a resource", path=parts.path, host=parts.hostname)
    return Address(endpoint, found[1] if found else None, version, path=parts.path, host=parts.hostname)


def is_dated(version: str) -> bool:
    """Whether a text is a dated version of Azure's classic API."""
    try:
        return bool(_DATED.fullmatch(version)) and bool(date.fromisoformat(version[:10]))
    except ValueError:
        return False


def target(model: Given, provider: str | None, base: Given, where: Address, *, versioned: bool) -> Target:
    """Return the deployment that an entry calls.

    ``provider`` is its ``custom_llm_provider``; ``versioned`` says that it has an ``api_version``.

    Raises:
        NotAzure: it calls something else.
    """
    azure = where.azure or (base.variable is not None and any(name in base.variable for name in _AZURE_NAMES))
    if model.variable is not None:
        if not (azure or versioned or any(name in model.variable for name in _AZURE_NAMES)):
            raise NotAzure("its model comes from a variable, so its provider is unknown; say it by --value")
        return Target(model)
    kind, slash, rest = (model.text or "").partition("/")
    if provider in _READERS and not (slash and kind in _READERS):
        kind, rest = provider, model.text or ""
    elif not slash:
        kind, rest = "openai", kind
    reader = _READERS.get(kind)
    if reader is None:
        raise NotAzure(f"it calls the provider {kind[:40]!r}, and the relay calls Azure OpenAI only")
    if rest.startswith("claude"):
        raise NotAzure(_CLAUDE)
    return reader(rest, where, azure)


def _openai(rest: str, where: Address, azure: bool) -> Target:
    if not azure:
        raise NotAzure("it calls OpenAI or a server like it, and the relay calls Azure OpenAI only")
    return Target(_named(rest, where), v1=True)


def _azure(rest: str, where: Address, azure: bool) -> Target:
    if rest.startswith("speech/"):
        raise NotAzure("it calls Azure AI Speech, which is not Azure OpenAI")
    responses = rest.startswith("responses/")
    for route in _ROUTES:
        rest = rest.removeprefix(route)
    difference = (
        "LiteLLM turns chat completions into requests of the Responses API; the relay passes on the API that the "
        "client uses"
    )
    return Target(_named(rest, where), difference if responses else None, wildcard=rest == "*")


def _foundry(rest: str, where: Address, azure: bool) -> Target:
    if where.host and not where.host.endswith(_FOUNDRY_HOSTS):
        raise NotAzure("it calls a serverless endpoint for one model, which has no deployments")
    if where.path.rstrip("/").endswith("/anthropic"):
        raise NotAzure(_CLAUDE)
    difference = "LiteLLM calls the Foundry resource's inference API; the relay calls its /openai/v1"
    return Target(_named(rest, where), difference, v1=True, wildcard=rest == "*")


_READERS = {"azure": _azure, "azure_text": _azure, "azure_ai": _foundry, "openai": _openai}
_READERS["text-completion-openai"] = _openai


def _named(rest: str, where: Address) -> Given:
    name = where.deployment or rest
    if name == "*":
        return Given(text=name)
    variable = re.fullmatch(r"\$\{([A-Z_][A-Z0-9_]*)\}", name)
    if variable is not None:
        return Given(variable=variable[1])
    if not name:
        raise NotAzure("it names no deployment")
    if not DEPLOYMENT_NAME.fullmatch(name):
        raise NotAzure("what it names cannot be a deployment; put the deployment's name after azure/")
    if looks_like_key(name):
        raise NotAzure("what it names looks like a key, not like a deployment")
    return Given(text=name)
