"""The file that ``chukei init`` writes: the answers as TOML, and as comments the settings that most people need next.

A line that begins with ``#`` and no space is a setting with its default or an example; removing the ``#`` sets it.
"""

import textwrap
from collections.abc import Iterator
from urllib.parse import urlsplit

from chukei.accounts.limits import Limit
from chukei.configuring import toml_text
from chukei.configuring.answers import KEY_VARIABLE, SHARED_KEY_VARIABLE, Answers, Resource, Target

WIDTH = 100

_HEAD = """\
Configuration of chukei. Every key that may stand here: docs/configuration.md, or `chukei config schema`.

`chukei check --config FILE` finds mistakes, `chukei doctor --config FILE` tries everything that is named here.

A line with # and no space after it is a setting: remove the # to set it. A variable such as
CHUKEI_SERVER__PORT=8000 takes precedence over this file.

Secrets do not stand in this file. { env = "NAME" } names a variable that has one, { file = "PATH" } a file."""

_SIMULATOR = """\
No resource is named, so the built-in simulator answers. For a real one, remove the # of these lines, and write the
address, the name of a deployment, and the variable that has the key:"""

_MODELS = """\
The names of models for clients. Of several deployments the least busy one is asked; one that is busy or fails is left
out for a while: docs/balancing.md"""

_TIER = """\
The tier: a deployment with a higher number is used while those of the lower ones are not available. Provisioned
deployments first, pay-as-you-go second."""

_ACCESS = {
    "local": """\
Who may call. Without a key, only users of this machine. Other machines need the shared key, or a key for each
caller: `chukei keys create NAME`. Entra ID: docs/access.md""",
    "shared": "Who may call: whoever has this key, as the API key of an OpenAI client.",
    "keys": "Who may call: callers with a key of their own. `chukei keys create NAME` makes one, and shows it once.",
}


def text_of(answers: Answers) -> str:
    """Return the file's text."""
    return "\n".join(_lines(answers)) + "\n"


def _lines(answers: Answers) -> Iterator[str]:
    yield from _prose(_HEAD)
    yield from ("", "[server]")
    yield from _prose('The address to listen on: "0.0.0.0" for every address of this machine.')
    yield _set("host", answers.host)
    yield _set("port", answers.port)
    yield from _prose("Sites whose pages may call from a browser.")
    yield '#cors_origins = ["https://app.example.com"]'
    yield from _auth(answers)
    yield from _limits(answers)
    if answers.resources:
        yield from _deployments(answers)
    else:
        yield from _example()
    yield from _stream()
    yield from _stores(answers)
    yield from ("", "[log]")
    yield from _prose('"json" for collectors of logs; "auto" is text on a terminal and JSON elsewhere.')
    yield '#format = "auto"'


def _prose(text: str) -> list[str]:
    """Return paragraphs as comments."""
    paragraphs = [textwrap.wrap(part, WIDTH, break_long_words=False) for part in text.split("\n\n")]
    return [f"# {line}".rstrip() for lines in paragraphs for line in (*lines, "")][:-1]


def _set(key: str, value: toml_text.Value) -> str:
    return f"{toml_text.key(key)} = {toml_text.value(value)}"


def _auth(answers: Answers) -> Iterator[str]:
    yield from ("", "[auth]")
    yield from _prose(_ACCESS[answers.access])
    shared = _set("api_key", {"env": SHARED_KEY_VARIABLE})
    if answers.access == "shared":
        yield shared
    else:
        yield "local = false" if answers.access == "keys" else "#" + shared


def _limits(answers: Answers) -> Iterator[str]:
    yield from ("", toml_text.table("groups", "everybody", "limits"))
    yield from _prose("The limits of each caller; docs/quotas.md says how they are counted.")
    examples = {Limit.REQUESTS_PER_MINUTE: 60, Limit.TOKENS_PER_MINUTE: 60_000, Limit.CONCURRENT: 10}
    for limit in Limit:
        if limit in answers.limits:
            yield _set(limit.value, answers.limits[limit])
        elif limit in examples:
            yield "#" + _set(limit.value, examples[limit])


def _deployments(answers: Answers) -> Iterator[str]:
    names = _names(answers.resources)
    models: dict[str, list[str]] = {}
    for resource in answers.resources:
        for target in resource.targets:
            models.setdefault(target.model, []).append(names[resource.endpoint, target.deployment])
    if len(models) > 1:
        yield from ("", "[defaults]", *_prose("The model for requests that name none."))
        yield _set("model", next(iter(models)))
    yield from ("", *_prose(_MODELS))
    for number, (model, deployments) in enumerate(models.items()):
        yield from ("",) if number else ()
        yield toml_text.table("models", model)
        yield _set("deployments", list(dict.fromkeys(deployments)))
        if not number:
            yield from _prose("Filled in where a client does not send them, and the most that a client may ask for.")
            yield "#parameters = { temperature = 0.3 }"
            yield "#caps = { max_completion_tokens = 4096 }"
            yield from _prose("Prices of a million tokens, for costs and limits by money.")
            yield "#prices = { input = 2.5, cached = 1.25, output = 10 }"
    first = True
    for resource in answers.resources:
        for deployment in dict.fromkeys(target.deployment for target in resource.targets):
            yield ""
            yield from _deployment(names[resource.endpoint, deployment], resource, deployment, answers.client_id, first)
            first = False


def _deployment(name: str, resource: Resource, deployment: str, client_id: str | None, first: bool) -> Iterator[str]:
    yield toml_text.table("deployments", name)
    yield _set("endpoint", resource.endpoint)
    yield _set("deployment", deployment)
    if resource.key is not None:
        yield _set("api_key", {"env": resource.key})
    else:
        yield "identity = true"
        if client_id is not None:
            yield _set("client_id", client_id)
        elif first:
            yield from _prose("The client id of a user-assigned identity.")
            yield '#client_id = "00000000-0000-0000-0000-000000000000"'
    if first:
        yield from _prose(_TIER)
        yield "#priority = 1"
        yield from _prose(
            'Requests go to the v1 API, or to the dated version that a client names; "2024-10-21" fixes it.'
        )
        yield '#api_version = "v1"'


def _names(resources: tuple[Resource, ...]) -> dict[tuple[str, str], str]:
    """Return the table name of each deployment: its own, with that of its resource where there are several."""
    found: dict[tuple[str, str], str] = {}
    for resource in resources:
        label = (urlsplit(resource.endpoint).hostname or "").partition(".")[0]
        for target in resource.targets:
            wanted = target.deployment if len(resources) == 1 else f"{label}-{target.deployment}"
            taken = {name for place, name in found.items() if place != (resource.endpoint, target.deployment)}
            name, number = wanted, 2
            while name in taken:
                name, number = f"{wanted}-{number}", number + 1
            found[resource.endpoint, target.deployment] = name
    return found


def _example() -> Iterator[str]:
    example = Resource("https://YOUR-RESOURCE.openai.azure.com", (Target("chat", "gpt-4o"),), KEY_VARIABLE)
    yield from ("", *_prose(_SIMULATOR))
    for line in (
        toml_text.table("models", "chat"),
        _set("deployments", ["gpt-4o"]),
        *_deployment("gpt-4o", example, "gpt-4o", None, first=False),
    ):
        yield "#" + line


def _stream() -> Iterator[str]:
    yield from ("", "[stream]")
    yield from _prose("Seconds of silence after which the client gets a comment, so that no proxy closes it.")
    yield "#heartbeat_seconds = 15.0"
    yield from _prose("Seconds after which another deployment is asked, because this one gave no sign of life.")
    yield "#first_token_seconds = 60.0"


def _stores(answers: Answers) -> Iterator[str]:
    yield from ("", "[stores]")
    yield from _prose("Where replicas and workers count limits together. Without it each process counts for itself.")
    yield '#quota = "redis://127.0.0.1:6379/0"' if answers.redis is None else _set("quota", answers.redis.value)
    yield from _prose("The ledger of usage and keys: a file in the user's state folder, unless it is set.")
    yield '#ledger = "sqlite:///chukei.db"' if answers.ledger is None else _set("ledger", answers.ledger.value)
