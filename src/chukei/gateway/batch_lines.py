"""The lines of a batch's input file: each is a request to a model, and is written as any other request is.

A client names the relay's model; the resource needs the name of a deployment (Microsoft: "Getting started with Azure
OpenAI batch deployments", input format). All lines of a file name one model and one address.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from chukei.accounts.cost import cost_of_batch
from chukei.accounts.estimate import Estimator, output_of, tier_of
from chukei.accounts.limits import Amounts
from chukei.accounts.policy import Policy
from chukei.azure import OPERATIONS
from chukei.errors import CallerError, RelayError
from chukei.model import MEBIBYTE, Model, Operation
from chukei.objects.references import Reference, search_chat, search_response, whole
from chukei.request import call as calls
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.request.lines import Lines, TooLong
from chukei.upstream.writing import fill
from chukei.usage import Usage

LONGEST_LINE = 16 * MEBIBYTE
"""Bytes of a line. Pictures of a dozen megabytes fit."""

MOST_LINES = 100_000
"""Requests of a file at most (Microsoft: "Azure OpenAI quotas and limits", batch)."""

OPERATION_AT = {
    prefix + operation.path: operation
    for operation in map(OPERATIONS.__getitem__, ("chat/completions", "responses", "completions", "embeddings"))
    for prefix in ("/", "/v1/")
}
"""The operations of batches by their addresses. An address that names a deployment is none of them."""

_MEMBERS = frozenset({"custom_id", "method", "url", "body"})


class Target(NamedTuple):
    """A model with the caller's rules applied, and the name of its deployment for batches."""

    model: Model
    deployment: str


Targets = Callable[[str | None], Sequence[Target]]
"""Returns the models that a line may mean, by the name in it.

Raises:
    CallerError: there is none, or not for this caller.
"""


@dataclass(slots=True)
class Contents:
    """What a file contains: ``lines`` requests to one model, and an estimate of what they may use together."""

    target: Target | None = None
    url: str = ""
    lines: int = 0
    input: int = 0
    output: int = 0
    money: int = 0

    @property
    def amounts(self) -> Amounts:
        """The estimate as quotas count it."""
        return Amounts(self.input + self.output, self.money)


class LineReader:
    """Reads the lines of one file in their order.

    If ``exact``, they must be as the relay writes them: it reads a file that is at the resource already. ``targets``
    may then return several models, of which one must fit all lines.
    """

    def __init__(
        self, targets: Targets, policy: Policy, estimator: Estimator, caller: str, param: str, *, exact: bool = False
    ) -> None:
        self.contents = Contents()
        self._targets = targets
        self._policy = policy
        self._estimator = estimator
        self._caller = caller
        self._param = param
        self._exact = exact
        self._name: str | None = None
        self._fitting: Sequence[Target] = ()
        self._lines = Lines(LONGEST_LINE)
        self._number = 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._lines.held

    def feed(self, data: bytes) -> tuple[bytes, list[Reference]]:
        """Return the lines that these bytes complete, as the resource needs them, and the objects that they name.

        Raises:
            CallerError: a line is no request of a batch, or its model is not for this caller.
        """
        try:
            lines = self._lines.feed(data)
        except TooLong:
            self._number += 1
            raise self._at_line(f"is longer than {LONGEST_LINE // MEBIBYTE} MiB.") from None
        return self._read(lines)

    def end(self) -> tuple[bytes, list[Reference]]:
        """Return the same for the last line.

        Raises:
            CallerError: see ``feed``; or there was no request at all.
        """
        last = self._read([self._lines.end()])
        if not self.contents.lines:
            raise CallerError(400, "invalid_batch_line", "The file of the batch has no lines.", param=self._param)
        return last

    def _read(self, lines: Sequence[bytes]) -> tuple[bytes, list[Reference]]:
        written, named = [], []
        for line in lines:
            self._number += 1
            if not line.strip():
                written.append(line)
                continue
            try:
                line, references = self._line(line)
            except RelayError as error:
                raise self._of_line(error) from None
            written.append(line)
            named += references
        return b"".join(written), named

    def _of_line(self, error: RelayError) -> CallerError:
        """Return the error of a line as one of the file. A model that is unknown is no unknown route."""
        status = 403 if error.status == 403 else 400
        message = f"Line {self._number}: {error.message}"
        return CallerError(status, error.code, message, param=self._param, type=error.type, rule=error.rule)

    def _at_line(self, why: str) -> CallerError:
        message = f"Line {self._number} {why}"
        return CallerError(400, "invalid_batch_line", message, param=self._param)

    def _line(self, raw: bytes) -> tuple[bytes, list[Reference]]:
        """Return a line as the resource needs it, and the objects that it names."""
        contents = self.contents
        line, operation, sent = _parsed(raw)
        url = line.text("url") or ""
        if contents.url not in ("", url):
            raise _bad(f"its url {url!r} is not that of the lines before it.")
        contents.url = url
        contents.lines += 1
        if contents.lines > MOST_LINES:
            raise _bad(f"a batch has at most {MOST_LINES:,} requests.")
        body = Fields(sent, param="body")
        calls.check(body, operation)
        if body.flag("background"):
            raise _bad("a request of a batch cannot have 'background'.")
        written = [(each, _written(body, operation, each)) for each in self._meant(body.text("model"))]
        if self._exact:
            written = [(each, text) for each, text in written if text == sent]
            if not written:
                raise _bad(
                    "it is not as this relay would write it. Upload the file by POST /files with purpose 'batch'."
                )
        self._fitting = [each for each, _ in written]
        contents.target, text = written[0]
        model = contents.target.model
        self._count(Call(operation, model.name, False, False, None, [], body, len(body.sent), body.sent), model)
        references = _references(body, operation)
        if text == sent:
            return raw, references
        line.set("body", text)
        return line.bytes(), references

    def _meant(self, name: str | None) -> Sequence[Target]:
        """Return the models that a line may mean, beside those before it."""
        if self.contents.target is not None and name == self._name:
            return self._fitting
        found = self._targets(name)
        if self.contents.target is not None:
            raise _bad("its model is not that of the lines before it.")
        self._name = name
        return found

    def _count(self, call: Call, model: Model) -> None:
        """Add the estimate of a request.

        Raises:
            CallerError: 403, it asks for a service tier that is not for this caller.
        """
        self._policy.check_tier(tier_of(call))
        given, made = self._estimator.prompt(call, model, self._caller), output_of(call, model)
        self.contents.input += given
        self.contents.output += made
        self.contents.money += cost_of_batch(Usage(given, made), model.prices) or 0


def begins_batch(line: bytes) -> bool:
    """Whether a file's first line has the form of a batch's."""
    try:
        found = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return found.keys() >= _MEMBERS


def _parsed(raw: bytes) -> tuple[Fields, Operation, bytes]:
    """Return a line, its operation and its body."""
    if b"\r" in raw.rstrip(b"\r\n"):
        raise _bad("it contains a carriage return, which some readers take for the end of a line.")
    line = Fields(raw)
    for name in line.names:
        if name not in _MEMBERS and name.casefold() in _MEMBERS:
            raise _bad(f"the field {name!r} must be spelt {name.casefold()!r}.")
    if not line.text("custom_id"):
        raise _bad("'custom_id' is missing.")
    if line.text("method") != "POST":
        raise _bad("'method' must be 'POST'.")
    operation = OPERATION_AT.get(line.text("url") or "")
    if operation is None:
        raise _bad(f"'url' must be one of {', '.join(OPERATION_AT)}.")
    body = line.raw("body")
    if body is None:
        raise _bad("'body' is missing.")
    return line, operation, body


def _written(body: Fields, operation: Operation, target: Target) -> bytes:
    """Return a request's body with what the model and the caller's rules add."""
    body = body.copy()
    fill(body, operation, target.model)
    if body.text("model") != target.deployment:
        body.set("model", msgspec.json.encode(target.deployment))
    return body.bytes()


def _references(body: Fields, operation: Operation) -> list[Reference]:
    if operation.name == "responses":
        return whole(search_response(body))
    return whole(search_chat(body)) if operation.name == "chat" else []


def _bad(why: str) -> CallerError:
    return CallerError(400, "invalid_batch_line", why)


def targets_for(policy: Policy, model_of: Callable[[str | None], Model], endpoint: str) -> Targets:
    """Return the targets of a file that names the relay's models, for a resource.

    ``model_of`` returns the model of a name, or the default one.
    """

    def targets(name: str | None) -> Sequence[Target]:
        model = model_of(policy.model_for(name))
        policy.check_model(model.name)
        deployment = deployment_at(model, endpoint)
        if deployment is None:
            message = f"the model {model.name!r} has no deployment for batches at the resource that keeps files."
            raise CallerError(400, "model_not_in_batches", message)
        return [Target(policy.applied_to(model), deployment)]

    return targets


def targets_at(policy: Policy, models: Callable[[str], Sequence[Model]], endpoint: str) -> Targets:
    """Return the targets of a file that is at the resource and names its deployments.

    ``models`` returns those to consider for a deployment's name.
    """

    def targets(name: str | None) -> Sequence[Target]:
        if name is None:
            raise CallerError(400, "missing_model", "'model' is missing.")
        meant = [model for model in models(name) if deployment_at(model, endpoint) == name]
        found = [Target(policy.applied_to(model), name) for model in meant if policy.allows(model.name)]
        if not found and meant:
            policy.check_model(meant[0].name)
        if not found:
            message = f"no model of this relay has the deployment {name[:80]!r} for batches."
            raise CallerError(400, "model_not_in_batches", message)
        return found

    return targets


def deployment_at(model: Model, endpoint: str) -> str | None:
    """Return the name of a model's deployment for batches at a resource; None if there is none."""
    if model.batch_deployment is not None:
        return model.batch_deployment
    there = (each.deployment for each in model.deployments if each.endpoint == endpoint and each.api == "openai")
    return next(there, None)
