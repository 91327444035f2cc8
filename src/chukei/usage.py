"""Token counts: what the upstream reports, and an estimate for streams that were cut before it could.

Shapes: chat and text completions report ``prompt_tokens``/``completion_tokens``, the Responses API ``input_tokens``/
``output_tokens``; see Microsoft's "Azure OpenAI in Azure AI Foundry Models REST API reference". Unknown fields are
skipped, a field that is missing or null counts as zero; counts that are not whole numbers are no report at all.
"""

import math

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


def reported(wire: WireUsage | None) -> Usage | None:
    """Return what a ``usage`` object reports; None where there is none, or no count in it."""
    usage = wire.counted() if wire is not None else None
    return usage if usage is not None and (usage.input or usage.output) else None


def estimate(request_bytes: int, made_bytes: int = 0, events: int = 0) -> Usage:
    """Estimate what an answer has cost that was not counted.

    ``request_bytes`` is the size of the request's body, ``made_bytes`` that of the generated text which was relayed, in
    so many ``events``. Azure OpenAI sends at least one token in each, and several where it filters first; the larger of
    the two counts. Where nothing was seen the output is 0, which says nothing of it.
    """
    output = max(events, math.ceil(made_bytes / BYTES_PER_TOKEN))
    return Usage(input=math.ceil(request_bytes / BYTES_PER_TOKEN), output=output, estimated=True)
