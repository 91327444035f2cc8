"""The names of OpenTelemetry's conventions for generative AI, by version.

They are still in development and differ between versions, so all of them are here. Up to 1.41 they are versions of the
general conventions (https://github.com/open-telemetry/semantic-conventions), later of a repository of their own
(https://github.com/open-telemetry/semantic-conventions-genai).
"""

from dataclasses import dataclass, replace

OPERATION = "gen_ai.operation.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - a name

OPERATIONS = {"completions": "text_completion", "responses": "chat", "messages": "chat"}
"""The conventions' names of the relay's operations that have another name there. Both chats are a ``chat``."""

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The bounds of the buckets that the conventions give for durations, in seconds."""

TOKENS = tuple(4**power for power in range(14))
"""The bounds of the buckets that the conventions give for tokens."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one version; None for what it has no name for.

    The first names are attributes of spans: the provider with its ``provider_value``, whether it streams, the seconds
    to the first chunk, and tokens. The last are metrics.
    """

    provider: str
    provider_value: str
    service_tier: str
    duration: str
    stream: str | None = None
    first_chunk: str | None = None
    cache_read: str | None = None
    cache_write: str | None = None
    reasoning: str | None = None
    time_to_first_chunk: str | None = None
    time_per_output_chunk: str | None = None
    token_usage: str | None = None
    input_tokens: str | None = None
    output_tokens: str | None = None


_1_36 = Names(
    provider="gen_ai.system",
    provider_value="az.ai.openai",
    service_tier="gen_ai.openai.response.service_tier",
    duration="gen_ai.client.operation.duration",
    token_usage="gen_ai.client.token.usage",  # noqa: S106 - a name
)
_1_41 = Names(
    provider="gen_ai.provider.name",
    provider_value="azure.ai.openai",
    service_tier="openai.response.service_tier",
    stream="gen_ai.request.stream",
    first_chunk="gen_ai.response.time_to_first_chunk",
    cache_read="gen_ai.usage.cache_read.input_tokens",
    cache_write="gen_ai.usage.cache_creation.input_tokens",
    reasoning="gen_ai.usage.reasoning.output_tokens",
    duration="gen_ai.client.operation.duration",
    time_to_first_chunk="gen_ai.client.operation.time_to_first_chunk",
    time_per_output_chunk="gen_ai.client.operation.time_per_output_chunk",
    token_usage="gen_ai.client.token.usage",  # noqa: S106 - a name
)
_GENAI_0_1 = replace(
    _1_41,
    cache_write="gen_ai.usage.cache_write.input_tokens",
    duration="gen_ai.client.inference.duration",
    time_to_first_chunk="gen_ai.client.inference.time_to_first_chunk",
    time_per_output_chunk="gen_ai.client.inference.time_per_output_chunk",
    token_usage=None,
    input_tokens="gen_ai.client.inference.operation.input_tokens",
    output_tokens="gen_ai.client.inference.operation.output_tokens",
)

VERSIONS = {"1.36": _1_36, "1.41": _1_41, "genai-0.1": _GENAI_0_1}
"""The names by the value of ``telemetry.genai``."""
