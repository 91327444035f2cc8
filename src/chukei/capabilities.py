"""What a deployment's API knows: one table by operation and api-version, corrected by the deployment's answers. Pure.

Source of the table: Microsoft's specification of each api-version (Azure/azure-rest-api-specs, AzureOpenAI/inference)
and its page "Azure OpenAI in Azure AI Foundry Models API lifecycle".
"""

from dataclasses import dataclass

from chukei.model import Deployment, Operation
from chukei.wire import V1


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one operation of a deployment knows.

    ``output_limit`` is the one name under which a chat may limit its output, None where both are known.
    """

    stream_options: bool = True
    output_limit: str | None = None


_EVERYTHING = Capabilities()
_BEFORE = {
    # operation: the first version that knows everything, and what those before it know
    "chat": ("2024-09-01", Capabilities(stream_options=False, output_limit="max_tokens")),
    "completions": ("2024-09-01", Capabilities(stream_options=False)),
}


def documented(operation: Operation, version: str) -> Capabilities:
    """Return what Microsoft's documentation says of an operation in an api-version, dated or ``v1``."""
    first, before = _BEFORE.get(operation.name, ("", _EVERYTHING))
    return _EVERYTHING if version == V1 or version >= first else before


class Known:
    """What is known of each deployment: the table, and what its answers have corrected."""

    def __init__(self) -> None:
        self._learnt: dict[tuple[str, str, str], Capabilities] = {}

    def of(self, deployment: Deployment, operation: Operation, version: str) -> Capabilities:
        """Return what the deployment knows."""
        learnt = self._learnt.get((deployment.identity, operation.name, version))
        return learnt if learnt is not None else documented(operation, version)

    def learn(self, deployment: Deployment, operation: Operation, version: str, error_body: bytes) -> bool:
        """Learn from a 400; return whether a request written anew would now differ."""
        return False
