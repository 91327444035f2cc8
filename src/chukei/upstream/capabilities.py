"""What a deployment's API knows: one table by operation and api-version, corrected by the deployment's answers. Pure.

Source of the table: Microsoft's "Azure OpenAI in Azure AI Foundry Models API lifecycle", which names 2024-09-01-preview
as the first version with ``stream_options`` and ``max_completion_tokens``. The specification of the GA version
2024-10-21 (Azure/azure-rest-api-specs) lists neither; what a deployment then really knows, its answers tell.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

import msgspec

from chukei.azure import OUTPUT_LIMITS, V1
from chukei.model import Deployment, Operation
from chukei.request.fields import Fields
from chukei.usage import DECODE_ERRORS

MAX_LEARNT = 1024
"""How many corrections are kept; where clients may name any deployment, they must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one operation of a deployment knows.

    ``output_limit`` is the one name under which a chat may limit its output; None where both are known.
    """

    stream_options: bool = True
    output_limit: str | None = None


_ALL = Capabilities()
_BEFORE = {
    # operation: the first version that knows all, whose "-preview" sorts behind it; what the versions before it know
    "chat": ("2024-09-01", Capabilities(stream_options=False, output_limit="max_tokens")),
    "completions": ("2024-09-01", Capabilities(stream_options=False)),
}


def documented(operation: Operation, version: str) -> Capabilities:
    """Return what Microsoft documents of an operation in an api-version, dated or ``v1``."""
    first, before = _BEFORE.get(operation.name, ("", _ALL))
    return _ALL if version == V1 or version >= first else before


def fit(fields: Fields, operation: Operation, capabilities: Capabilities) -> None:
    """Take away what the deployment does not know, and name the output limit as it does.

    A client whose ``stream_options`` are taken away gets no usage event: the deployment has none to give.
    """
    if not capabilities.stream_options:
        fields.remove("stream_options")
    if capabilities.output_limit is not None:
        for name in OUTPUT_LIMITS.get(operation.name, ()):
            fields.rename(name, capabilities.output_limit)


class _Error(msgspec.Struct):
    message: object = None
    param: object = None
    code: object = None


class _Refusal(msgspec.Struct):
    error: _Error


# With "Unknown parameter: 'stream_options'." and with "Unsupported parameter: 'max_tokens' is not supported with this
# model. Use 'max_completion_tokens' instead." come a code and ``param``. Older versions, and models of other vendors,
# have no more than a text: "Unrecognized request argument supplied: stream_options".
_CODES = ("unknown_parameter", "unsupported_parameter")
_NAME = r"'?(\w+(?:\.\w+)*(?:, \w+(?:\.\w+)*)*)'?"
_TEXT = re.compile(r"(?:Unrecognized request arguments? supplied|Un(?:known|supported) parameter): " + _NAME)


def refused(error_body: bytes) -> list[str]:
    """Return the names of the parameters that a deployment's 400 says it does not know; none for any other error."""
    try:
        error = msgspec.json.decode(error_body, type=_Refusal).error
    except DECODE_ERRORS:
        return []
    if error.code in _CODES and isinstance(error.param, str) and error.param:
        return [error.param]
    found = _TEXT.match(error.message) if isinstance(error.message, str) else None
    return found[1].split(", ") if found is not None else []


class LearntCapabilities:
    """What is known of each deployment: the table, and what its answers have corrected since the start.

    Each of an entry's two facts is corrected once at most, so a deployment that contradicts itself is not believed for
    ever, and a request that is written anew after each lesson is written three times at most.
    """

    def __init__(self) -> None:
        self._learnt: dict[tuple[str, str, str], Capabilities] = {}

    def of(self, deployment: Deployment, operation: Operation, version: str) -> Capabilities:
        """Return what an operation of a deployment knows in an api-version."""
        learnt = self._learnt.get((deployment.identity, operation.name, version))
        return learnt if learnt is not None else documented(operation, version)

    def learn(
        self,
        deployment: Deployment,
        operation: Operation,
        version: str,
        error_body: bytes,
        *,
        used: Capabilities | None = None,
        names: Collection[str] = (),
    ) -> bool:
        """Learn from the body of a deployment's 400; return whether the request is worth writing anew.

        ``used`` is what it was written with: it is worth it, too, when another request has taught the same meanwhile.
        ``names`` are the fields that the client sent. One whose name merely contains a parameter's could make an
        answer look as if it were about that parameter, so it teaches nothing.
        """
        before = after = self.of(deployment, operation, version)
        parameters = refused(error_body)
        for parameter in parameters:
            if not any(parameter in name and parameter != name for name in names):
                after = _corrected(after, documented(operation, version), operation, parameter)
        if after != before:
            self._keep((deployment.identity, operation.name, version), after)
        return bool(parameters) and after != (used or before)

    def _keep(self, key: tuple[str, str, str], capabilities: Capabilities) -> None:
        if key not in self._learnt and len(self._learnt) >= MAX_LEARNT:
            del self._learnt[next(iter(self._learnt))]
        self._learnt[key] = capabilities


def _corrected(known: Capabilities, table: Capabilities, operation: Operation, name: str) -> Capabilities:
    """Return what is known once the parameter was refused; what differs from the table was corrected already."""
    if name == "stream_options" and operation.name in _BEFORE:
        return replace(known, stream_options=False)
    limits = OUTPUT_LIMITS["chat"]
    if operation.name == "chat" and name in limits and known.output_limit == table.output_limit:
        return replace(known, output_limit=limits[1] if name == limits[0] else limits[0])
    return known
