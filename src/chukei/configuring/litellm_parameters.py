"""Request parameters and time limits that LiteLLM has for each deployment, as those of the relay's models."""

import re

from chukei.config.parameters import PARAMETERS
from chukei.configuring.import_draft import Draft, reference, target
from chukei.configuring.import_source import Node
from chukei.configuring.toml_text import Value

TIMES = ("stream_timeout", "timeout")
"""LiteLLM's time limits of an entry; for a stream the first of them counts."""

LONGEST = 86_400.0
SHORTEST = 0.01

_NEVER = {"model", "messages", "input", "prompt", "stream", "stream_options"}
"""What the relay sets itself or leaves to clients."""

_LITELLMS = {"metadata"}
"""A parameter of OpenAI whose name means something else in LiteLLM's file."""

_SECRET = re.compile(
    r"(?i)(^|_)(key|secret|password|token|authorization|authentication|credential|connection_string)s?$"
)
"""Names, below a parameter, of what may be a credential."""

_ADDRESS = re.compile(r"://[^/\s]*@|://\S*\?")
"""An address with a user's name or a query, either of which may be a credential."""


class Parameters:
    """Writes the parameters of one model from the ``litellm_params`` of all its entries."""

    def __init__(self, draft: Draft, model: str, entries: list[Node]) -> None:
        self._draft = draft
        self._report = draft.report
        self._model = model
        self._entries = entries

    def write(self) -> None:
        """Write what all entries of the model agree on, and report all."""
        found: dict[str, list[Node]] = {}
        for entry in self._entries:
            for key, node in _parameters(entry):
                found.setdefault(key, []).append(node)
        kept = {key: value for key, nodes in found.items() if (value := self._value(key, nodes)) is not None}
        if kept:
            self._draft.set(("models", self._model), "parameters", kept)
        self._write_times()

    def _value(self, key: str, nodes: list[Node]) -> Value | None:
        """Return the value that all entries give a parameter, or None; report its nodes."""
        values = [value_of(node) for node in nodes]
        why = _unusable(key, nodes)
        if why is None and any(value is None for value in values):
            why = "null, nan and inf have no form in both TOML and JSON; the relay fills in nothing"
        if why is None and (len(nodes) != len(self._entries) or any(value != values[0] for value in values)):
            why = "not all deployments of the model have this value, and the relay has parameters by model only"
        for node in nodes:
            if why is not None:
                self._report.dropped(node, why)
            elif key in PARAMETERS:
                self._report.mapped(node, target("models", self._model, "parameters", key), _FILLED)
            else:
                message = f"{_FILLED}; it is no parameter that OpenAI documents, so Azure may refuse it"
                self._report.approximated(node, target("models", self._model, "parameters", key), message)
        return values[0] if why is None else None

    def _write_times(self) -> None:
        chosen = [next((entry.table[key] for key in TIMES if key in entry.table), None) for entry in self._entries]
        times = [node.number if node is not None else None for node in chosen]
        usable = [time for time in times if time is not None and SHORTEST <= time <= LONGEST]
        if len(usable) == len(self._entries):
            self._draft.set(("models", self._model), "first_token_seconds", max(usable))
        for entry in self._entries:
            for key in TIMES:
                node = entry.table.get(key)
                if node is None:
                    continue
                if node in chosen and len(usable) == len(self._entries):
                    self._report.approximated(node, target("models", self._model, "first_token_seconds"), _FIRST)
                elif node in chosen:
                    self._report.dropped(node, _NO_TIME)
                else:
                    self._report.dropped(node, _WHOLE)


_FILLED = "filled in where a client does not send it"
_FIRST = (
    "LiteLLM applies it to each read; the relay to the first sign of life of a stream. The longest of the model's "
    "deployments counts; whole answers have one limit for all models, upstream.answer_seconds"
)
_NO_TIME = "not every deployment of the model has such a time in seconds, from 0.01 to 86400, and a model has one"
_WHOLE = "whole answers have one limit for all models: upstream.answer_seconds"


def _parameters(entry: Node) -> list[tuple[str, Node]]:
    own = [(key, node) for key, node in entry.table.items() if key in PARAMETERS - _LITELLMS]
    extra = entry.table.get("extra_body")
    names = {key for key, _ in own}
    return own + [(key, node) for key, node in (extra.table.items() if extra else ()) if key not in names]


def _unusable(key: str, nodes: list[Node]) -> str | None:
    if key in _NEVER:
        return "is the client's or the relay's to set"
    if any(_may_be_secret(key, node) for node in nodes):
        return "holds what may be a credential, or comes from a variable: the file cannot hold either"
    return None


def _may_be_secret(key: str, node: Node) -> bool:
    """Whether a parameter, or anything below it, may be a credential: by its name, or as part of an address."""
    for leaf in node.leaves():
        text = leaf.value.strip() if isinstance(leaf.value, str) else ""
        if reference(text) is not None or _ADDRESS.search(text):
            return True
    return (key not in PARAMETERS and _named_secret(key, node)) or _secret_below(node)


def _secret_below(node: Node) -> bool:
    members = [*node.table.items(), *(("", each) for each in node.items)]
    return any(_named_secret(name, each) or _secret_below(each) for name, each in members)


def _named_secret(name: str, node: Node) -> bool:
    """Whether a name says that its value is a credential, and the value could be one."""
    return bool(_SECRET.search(name)) and any(isinstance(leaf.value, str) for leaf in node.leaves())


def value_of(node: Node) -> Value | None:
    """Return a value for TOML; None if it is null, or holds null or a number that is none."""
    if node.value is None:
        return None
    if isinstance(node.value, float):
        return node.value if abs(node.value) < float("inf") else None
    if isinstance(node.value, dict):
        table = {key: value_of(each) for key, each in node.value.items()}
        return {key: each for key, each in table.items() if each is not None} if None not in table.values() else None
    if isinstance(node.value, list):
        found = [value_of(each) for each in node.value]
        return [each for each in found if each is not None] if None not in found else None
    return node.value
