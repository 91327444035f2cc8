"""Token counts: what the upstream reports, and an estimate for streams that were cut before it could.

Shapes: chat and text completions report ``prompt_tokens``/``completion_tokens``, the Responses API, images and
transcriptions ``input_tokens``/``output_tokens``; see Microsoft's "Azure OpenAI in Azure AI Foundry Models REST API
reference". Transcriptions of some models report a duration instead (``{"type": "duration", "seconds": 2}``). Unknown
fields are skipped. A field that is missing, null or no plausible count is as if absent, and counts as zero.

Rejected prediction tokens and reasoning tokens are part of the output that is reported, so they need no sum of their
own. Only where a model served through Azure AI Foundry reports them beside its output does ``total_tokens`` say so.
"""

import math
import re

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding JSON of whatever origin may raise. Invalid UTF-8 is a ``UnicodeDecodeError``, which is a ValueError."""

BYTES_PER_TOKEN = 4
"""UTF-8 bytes for one token, on average. Counting bytes, not characters, keeps Japanese from being undercounted."""

MOST_COUNTED = 1_000_000_000
"""A larger count of one request is no count. No model takes or gives a hundredth of it."""

_NONE = msgspec.Raw()
_DIGITS = 10  # a count has no more


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one request, and milliseconds of sound that was heard.

    ``cached``, ``cache_written``, ``audio_input`` and ``image_input`` are part of ``input``; ``reasoning`` and
    ``audio_output`` are part of ``output``.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False
    cache_written: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    heard_ms: int = 0


class _Details(msgspec.Struct):
    """The parts of input or output, under the names that any API gives them."""

    cached_tokens: msgspec.Raw = _NONE
    cache_write_tokens: msgspec.Raw = _NONE
    audio_tokens: msgspec.Raw = _NONE
    image_tokens: msgspec.Raw = _NONE
    reasoning_tokens: msgspec.Raw = _NONE


class WireUsage(msgspec.Struct):
    """The ``usage`` object in either API's spelling."""

    prompt_tokens: msgspec.Raw = _NONE
    completion_tokens: msgspec.Raw = _NONE
    input_tokens: msgspec.Raw = _NONE
    output_tokens: msgspec.Raw = _NONE
    total_tokens: msgspec.Raw = _NONE
    reasoning_tokens: msgspec.Raw = _NONE  # flat on some models served through Azure AI Foundry
    prompt_tokens_details: msgspec.Raw = _NONE
    input_tokens_details: msgspec.Raw = _NONE
    input_token_details: msgspec.Raw = _NONE  # of transcriptions
    completion_tokens_details: msgspec.Raw = _NONE
    output_tokens_details: msgspec.Raw = _NONE
    output_token_details: msgspec.Raw = _NONE
    seconds: msgspec.Raw = _NONE

    def counted(self) -> Usage:
        """Return the counts in the relay's own words. A part is never more than the whole.

        A count that is missing is what the total leaves for it. Where the output's is none, and the total says nothing
        either, the whole is an estimate.
        """
        into = _details(self.prompt_tokens_details, self.input_tokens_details, self.input_token_details)
        out = _details(self.completion_tokens_details, self.output_tokens_details, self.output_token_details)
        given = _count(self.prompt_tokens) or _count(self.input_tokens)
        made = _count(self.completion_tokens) or _count(self.output_tokens)
        reasoning = _count(out.reasoning_tokens) or _count(self.reasoning_tokens)
        total = _count(self.total_tokens)
        odd = not made and (_is_odd(self.completion_tokens) or _is_odd(self.output_tokens))
        if not given and total > made:
            given = total - made
        elif odd and total > given:
            made, odd = total - given, False
        beside = total - given - made
        if 0 < beside <= reasoning:
            made += beside
        return Usage(
            input=given,
            output=made,
            cached=min(_count(into.cached_tokens), given),
            reasoning=min(reasoning, made),
            estimated=odd,
            cache_written=min(_count(into.cache_write_tokens), given),
            audio_input=min(_count(into.audio_tokens), given),
            audio_output=min(_count(out.audio_tokens), made),
            image_input=min(_count(into.image_tokens), given),
            heard_ms=min(_milliseconds(self.seconds), MOST_COUNTED),
        )


_NO_DETAILS = _Details()
_SAYS_MORE = re.compile(rb"[1-9]")
_ZERO = re.compile(rb"null|-?0+(?:\.0+)?")
_decode_details = msgspec.json.Decoder(_Details).decode


def _details(*spellings: msgspec.Raw) -> _Details:
    for raw in spellings:
        if raw is _NONE:
            continue
        text = bytes(raw)
        if text[:1] == b"{" and _SAYS_MORE.search(text) is not None:
            try:
                return _decode_details(raw)
            except DECODE_ERRORS:
                continue
    return _NO_DETAILS


def _count(raw: msgspec.Raw) -> int:
    """Return a count, 0 where it is none. A whole number may be written as ``12.0`` or ``1.2e1``."""
    if raw is _NONE:
        return 0
    text = bytes(raw)
    if text.isdigit() and len(text) <= _DIGITS:
        count = int(text)
        return count if count <= MOST_COUNTED else 0
    value = _number(text)
    return int(value) if value.is_integer() and value <= MOST_COUNTED else 0


def _is_odd(raw: msgspec.Raw) -> bool:
    """Whether something stands where a count should, and is none."""
    return raw is not _NONE and not _count(raw) and _ZERO.fullmatch(bytes(raw)) is None


def _milliseconds(raw: msgspec.Raw) -> int:
    value = _number(bytes(raw)) if raw is not _NONE else 0.0
    return math.ceil(value * 1000) if value <= MOST_COUNTED else 0


def _number(text: bytes) -> float:
    """Return a JSON number that is not negative; 0 for anything else, and for one of absurd length."""
    if not text[:1].isdigit() or len(text) > 32:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def reported(wire: WireUsage | None) -> Usage | None:
    """Return what a ``usage`` object reports; None where there is none, or no count in it."""
    usage = wire.counted() if wire is not None else None
    return usage if usage is not None and (usage.input or usage.output or usage.heard_ms) else None


def estimate(request_bytes: int, made_bytes: int = 0, events: int = 0) -> Usage:
    """Estimate what an answer has cost that was not counted.

    ``request_bytes`` is the size of the request's body, ``made_bytes`` that of the generated text which was relayed, in
    so many ``events``. Azure OpenAI sends at least one token in each, and several where it filters first; the larger of
    the two counts. Where nothing was seen the output is 0, which says nothing of it.
    """
    output = max(events, math.ceil(made_bytes / BYTES_PER_TOKEN))
    return Usage(input=math.ceil(request_bytes / BYTES_PER_TOKEN), output=output, estimated=True)
