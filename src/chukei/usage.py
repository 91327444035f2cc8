"""Token counts: what the upstream reports, and an estimate for streams that were cut before it could.

Shapes: chat and text completions report ``prompt_tokens``/``completion_tokens``, the Responses API ``input_tokens``/
``output_tokens``; see Microsoft's "Azure OpenAI in Azure AI Foundry Models REST API reference". Unknown fields are
skipped, a field that is missing or null counts as zero; counts that are not whole numbers are no report at all.
"""

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding JSON of whatever origin may raise. Invalid UTF-8 is a ``UnicodeDecodeError``, which is a ValueError."""

BYTES_PER_TOKEN = 4
"""UTF-8 bytes for one token, on average. Counting bytes, not characters, keeps Japanese from being undercounted."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one request. ``cached`` is part of ``input``, ``reasoning`` part of ``output``."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = 0


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = 0


class WireUsage(msgspec.Struct):
    """The ``usage`` object in either API's spelling."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None  # flat on some models served through Azure AI Foundry
    prompt_tokens_details: _InputDetails | None = None
    input_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def counted(self) -> Usage:
        """Return the counts in the relay's own words."""
        into = self.prompt_tokens_details or self.input_tokens_details
        out = self.completion_tokens_details or self.output_tokens_details
        return Usage(
            input=self.prompt_tokens or self.input_tokens or 0,
            output=self.completion_tokens or self.output_tokens or 0,
            cached=(into.cached_tokens if into else 0) or 0,
            reasoning=(out.reasoning_tokens if out else self.reasoning_tokens) or 0,
        )


class _Answer(msgspec.Struct):
    usage: WireUsage | None = None


def of_answer(body: bytes) -> Usage | None:
    """Return the usage that a whole JSON answer reports, or None where it reports none."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except DECODE_ERRORS:
        return None
    return answer.usage.counted() if answer.usage else None


def estimate(request_bytes: int, events: int) -> Usage:
    """Estimate what a stream cut short has cost.

    ``request_bytes`` is the size of the request's body; ``events`` the number of output events relayed. Azure OpenAI
    sends about one token in each event.
    """
    return Usage(input=request_bytes // BYTES_PER_TOKEN, output=events, estimated=True)
