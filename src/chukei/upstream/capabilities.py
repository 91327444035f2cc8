"""The parameters that a deployment supports, by operation and api-version, corrected by its answers. Pure.

Source of the table: Microsoft's "Azure OpenAI in Azure AI Foundry Models API lifecycle", which names 2024-09-01-preview
as the first version with ``stream_options`` and ``max_completion_tokens``. The specification of the GA version
2024-10-21 (Azure/azure-rest-api-specs) lists neither, so the deployment's answers decide.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

import msgspec

from chukei.azure import ALL_V1, OUTPUT_LIMITS
from chukei.model import Deployment, Operation
from chukei.request.fields import Fields
from chukei.usage import DECODE_ERRORS

MAX_LEARNT = 1024
"""Corrections kept at most, so that clients that may name any deployment cannot fill the memory."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The parameters that one operation of a deployment supports.

    ``output_limit`` is the only supported name of a chat's output limit; None if both names are supported.
    """

    stream_options: bool = True
    output_limit: str | None = None


_ALL = Capabilities()
_BEFORE = {
    # operation: the first version that supports all ("-preview" sorts after it), and the capabilities before it
    "chat": ("2024-09-01", Capabilities(stream_options=False, output_limit="max_tokens")),
    "completions": ("2024-09-01", Capabilities(stream_options=False)),
}


def documented(operation: Operation, version: str) -> Capabilities:
    """Return the capabilities that Microsoft documents for an operation in an api-version, dated or ``v1``."""
    first, before = _BEFORE.get(operation.name, ("", _ALL))
    return _ALL if version in ALL_V1 or version >= first else before


def fit(fields: Fields, operation: Operation, capabilities: Capabilities) -> None:
    """Remove unsupported parameters, and rename the output limit to the supported name.

    Without ``stream_options`` the client gets no usage event, which the deployment cannot send anyway.
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


# "Unknown parameter: 'stream_options'." and "Unsupported parameter: 'max_tokens' is not supported with this model. Use
# 'max_completion_tokens' instead." come with a code and ``param``. Older versions, and models of other vendors, send
# only a text: "Unrecognized request argument supplied: stream_options".
_CODES = ("unknown_parameter", "unsupported_parameter")
_NAME = r"'?(\w+(?:\.\w+)*(?:, \w+(?:\.\w+)*)*)'?"
_TEXT = re.compile(r"(?:Unrecognized request arguments? supplied|Un(?:known|supported) parameter): " + _NAME)


def refused(error_body: bytes) -> list[str]:
    """Return the names of the parameters that a deployment's 400 rejects as unknown; empty for any other error."""
    try:
        error = msgspec.json.decode(error_body, type=_Refusal).error
    except DECODE_ERRORS:
        return []
    if error.code in _CODES and isinstance(error.param, str) and error.param:
        return [error.param]
    found = _TEXT.match(error.message) if isinstance(error.message, str) else None
    return found[1].split(", ") if found is not None else []


class LearntCapabilities:
    """The capabilities of each deployment: the table, with the corrections learnt since the start.

    Each of an entry's two facts is corrected at most once. So a deployment that contradicts itself cannot cause endless
    retries: a request that is rewritten after each correction is sent at most three times.
    """

    def __init__(self) -> None:
        self._learnt: dict[tuple[str, str, str], Capabilities] = {}

    def of(self, deployment: Deployment, operation: Operation, version: str) -> Capabilities:
        """Return the capabilities of an operation of a deployment in an api-version."""
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
        """Learn from the body of a deployment's 400; return whether to rewrite and resend the request.

        ``used`` are the capabilities with which the request was written: a resend is also worthwhile if another request
        has learnt the correction meanwhile. ``names`` are the fields that the client sent. A parameter whose name is
        part of a longer field name is ignored, because the error may refer to that field.
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
    """Return the capabilities after a refusal. A fact that differs from the table was corrected before and stays."""
    if name == "stream_options" and operation.name in _BEFORE:
        return replace(known, stream_options=False)
    limits = OUTPUT_LIMITS["chat"]
    if operation.name == "chat" and name in limits and known.output_limit == table.output_limit:
        return replace(known, output_limit=limits[1] if name == limits[0] else limits[0])
    return known
