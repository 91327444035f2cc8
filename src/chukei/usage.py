"""Token counts: the upstream's reports, and an estimate for streams that ended before the report.

Chat and text completions report ``prompt_tokens``/``completion_tokens``; the Responses API, images and transcriptions
report ``input_tokens``/``output_tokens``; see Microsoft's "Azure OpenAI in Azure AI Foundry Models REST API reference".
So does the Messages API, whose ``input_tokens`` exclude those that were read from the cache or stored there (Anthropic:
"Prompt caching", tracking cache performance).
Transcriptions of some models report a duration instead (``{"type": "duration", "seconds": 2}``). Unknown fields are
skipped. A field that is missing, null or implausible counts as zero.

Rejected prediction tokens and reasoning tokens are part of the reported output, so they are not added. Some models
served through Azure AI Foundry report them in addition to the output; then ``total_tokens`` shows it.
"""

import contextlib
import math
import re
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec.structs import replace

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)
"""Exceptions of decoding untrusted JSON. Invalid UTF-8 is a ``UnicodeDecodeError``, which is a ValueError."""

BYTES_PER_TOKEN = 4
"""UTF-8 bytes for one token, on average. Bytes, unlike characters, do not undercount Japanese."""

DENSE_BYTES = 3
"""UTF-8 bytes for one token of dense text, such as code. Text without a usage report is assumed to be dense."""

MOST_COUNTED = 1_000_000_000
"""Upper bound of a plausible count of one request. No model reads or writes a hundredth of it."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one request, and milliseconds of transcribed sound.

    ``cached``, ``cache_written``, ``audio_input`` and ``image_input`` are part of ``input``; ``reasoning``,
    ``audio_output`` and ``image_output`` are part of ``output``. ``cached_audio`` and ``cached_image`` are part of
    ``cached``, and of ``audio_input`` and ``image_input`` as well; ``written_for_hour`` is part of ``cache_written``.
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
    image_output: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    written_for_hour: int = 0


_COUNTS = tuple(name for name in Usage.__struct_fields__ if name != "estimated")


def plus(one: Usage, other: Usage) -> Usage:
    """Return the sum, which is an estimate if a part is."""
    sums = {name: getattr(one, name) + getattr(other, name) for name in _COUNTS}
    return Usage(estimated=one.estimated or other.estimated, **sums)


AUTO = "auto"
"""A size or quality that Azure chooses."""


@dataclass(frozen=True, slots=True)
class Units:
    """Billable units other than tokens: images of a size and quality, characters of speech, milliseconds of sound."""

    images: int = 0
    size: str = AUTO
    quality: str = AUTO
    characters: int = 0
    heard_ms: int = 0


NO_UNITS = Units()


_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_COUNTED)] | None


class _Cached(msgspec.Struct, gc=False):
    """The parts of cached input, which realtime responses tell apart."""

    audio_tokens: _Count = None
    image_tokens: _Count = None


_NO_CACHED = _Cached()


class _Details(msgspec.Struct, gc=False):
    """The parts of input or output, under the names of all APIs."""

    cached_tokens: _Count = None
    cache_write_tokens: _Count = None
    audio_tokens: _Count = None
    image_tokens: _Count = None
    reasoning_tokens: _Count = None
    cached_tokens_details: _Cached | None = None


_NO_DETAILS = _Details()


class _Written(msgspec.Struct, gc=False):
    """The parts of what the Messages API stored in its cache, by how long they stay there."""

    ephemeral_1h_input_tokens: _Count = None


class _WireUsage(msgspec.Struct, gc=False):
    """The ``usage`` object in either API's spelling."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    input_tokens: _Count = None
    output_tokens: _Count = None
    total_tokens: _Count = None
    reasoning_tokens: _Count = None  # at the top level for some models served through Azure AI Foundry
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    input_token_details: _Details | None = None  # of transcriptions
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    output_token_details: _Details | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=MOST_COUNTED)] | None = None
    cache_read_input_tokens: _Count = None  # of the Messages API
    cache_creation_input_tokens: _Count = None
    cache_creation: _Written | None = None

    def counted(self, *, odd: bool = False) -> Usage:
        """Return the counts as ``Usage``. A part is never larger than the whole.

        In the Messages API ``input_tokens`` are those beside the cache; other services that send its names of cached
        tokens as well include them. A missing prompt count is computed from the total. So is the output if its value is
        ``odd``, that is, not a plausible count; if the total does not tell it either, the result is marked as an
        estimate.
        """
        into = self.prompt_tokens_details or self.input_tokens_details or self.input_token_details or _NO_DETAILS
        out = self.completion_tokens_details or self.output_tokens_details or self.output_token_details or _NO_DETAILS
        given = self.prompt_tokens or self.input_tokens or 0
        made = self.completion_tokens or self.output_tokens or 0
        reasoning = out.reasoning_tokens or self.reasoning_tokens or 0
        total = self.total_tokens or 0
        read, written = self.cache_read_input_tokens or 0, self.cache_creation_input_tokens or 0
        if self.prompt_tokens is None and not total:
            given += read + written
        if not given and total > made:
            given = total - made
        elif odd and total > given:
            made, odd = total - given, False
        if reasoning:
            beside = total - given - made
            if 0 < beside <= reasoning:
                made += beside
            reasoning = min(reasoning, made)
        kinds = into.cached_tokens_details or _NO_CACHED
        for_hour = self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation is not None else 0
        return Usage(
            given,
            made,
            min(into.cached_tokens or read, given),
            reasoning,
            odd,
            min(into.cache_write_tokens or written, given),
            min(into.audio_tokens or 0, given),
            min(out.audio_tokens or 0, made),
            min(into.image_tokens or 0, given),
            math.ceil(self.seconds * 1000) if self.seconds else 0,
            min(out.image_tokens or 0, made),
            min(kinds.audio_tokens or 0, into.audio_tokens or 0, given),
            min(kinds.image_tokens or 0, into.image_tokens or 0, given),
            min(for_hour or 0, written, given),
        )


_decode = msgspec.json.Decoder(_WireUsage).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OUTPUTS = ("completion_tokens", "output_tokens")
_ZERO = re.compile(rb"null|-?0+(?:\.0+)?")
_OBJECTS = ("_details", "cache_creation")  # the ends of their names


class _Part(msgspec.Struct, gc=False):
    type: object = None
    iterations: list[msgspec.Raw] | None = None


_BESIDE = frozenset({"compaction", "advisor_message"})
"""Iterations of the Messages API whose tokens are billed beside those of the message."""


def is_usage(raw: msgspec.Raw) -> bool:
    """Whether the value of ``usage`` is an object. Anything else, including null, is not a report."""
    return bytes(raw)[:1] == b"{"


def reported(raw: bytes | msgspec.Raw) -> Usage | None:
    """Decode a ``usage`` object; None if it is missing or contains no count.

    What a summary of the conversation or an advisor has used, which the counts of a message leave out, is added.
    """
    if not raw:
        return None
    usage = _counted(raw)
    if b'"iterations"' in bytes(raw):
        with contextlib.suppress(*DECODE_ERRORS):
            for each in msgspec.json.decode(raw, type=_Part).iterations or ():
                if msgspec.json.decode(each, type=_Part).type in _BESIDE:
                    usage = plus(usage, _counted(each))
    return usage if usage.input or usage.output or usage.heard_ms else None


def _counted(raw: bytes | msgspec.Raw) -> Usage:
    try:
        return _decode(raw).counted()
    except DECODE_ERRORS:
        return _plausible(raw)


class _ToolUsage(msgspec.Struct, gc=False):
    image_gen: msgspec.Raw = msgspec.Raw()


def with_tools(usage: Usage | None, raw: bytes | msgspec.Raw) -> Usage | None:
    """Add the tokens in the ``tool_usage`` of a response: those of the images that it made, which ``usage`` leaves out.

    If they are not told apart, all output of the tool is images.
    """
    if usage is None or not raw or b"image_gen" not in bytes(raw):
        return usage
    try:
        made = reported(msgspec.json.decode(raw, type=_ToolUsage).image_gen)
    except DECODE_ERRORS:
        return usage
    if made is None:
        return usage
    return replace(
        usage,
        input=usage.input + made.input,
        output=usage.output + made.output,
        image_input=usage.image_input + made.image_input,
        image_output=usage.image_output + (made.image_output or made.output),
    )


class _Tier(msgspec.Struct, gc=False):
    service_tier: object = None


def tier_in(raw: bytes | msgspec.Raw) -> str | None:
    """Return the ``service_tier`` in a ``usage`` object, where the Messages API has it."""
    try:
        tier = msgspec.json.decode(raw, type=_Tier).service_tier
    except DECODE_ERRORS:
        return None
    return tier if isinstance(tier, str) else None


def _plausible(raw: bytes | msgspec.Raw) -> Usage:
    """Decode a ``usage`` object without its implausible values."""
    try:
        members = _decode_members(raw)
    except DECODE_ERRORS:
        return Usage()
    counts = _counts(members)
    odd = any(
        name in members and not counts[name] and _ZERO.fullmatch(bytes(members[name])) is None for name in _OUTPUTS
    )
    return msgspec.convert(counts, _WireUsage).counted(odd=odd)


def _counts(members: dict[str, msgspec.Raw]) -> dict[str, object]:
    """Return the counts in a ``usage`` object or in a part of one."""
    counts: dict[str, object] = {}
    for name, value in members.items():
        if name.endswith(_OBJECTS):
            with contextlib.suppress(*DECODE_ERRORS):
                counts[name] = _counts(_decode_members(value))
        else:
            counts[name] = _number(bytes(value)) if name == "seconds" else _count(value)
    return counts


def _count(raw: msgspec.Raw) -> int:
    """Return a count, or 0 for anything else. A whole number may be written as ``12.0`` or ``1.2e1``."""
    value = _number(bytes(raw))
    return int(value) if value.is_integer() else 0


def _number(text: bytes) -> float:
    """Return a JSON number; 0 for a negative or implausibly large number, and for anything else."""
    if not text[:1].isdigit() or len(text) > 32:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if value <= MOST_COUNTED else 0.0


def estimate(generated_bytes: int = 0, events: int = 0) -> Usage:
    """Estimate the output of an answer without a usage report. The prompt is estimated elsewhere, from the request.

    ``generated_bytes`` is the size of the generated text that was relayed in a number of ``events``. Azure OpenAI sends
    at least one token in each event, and several if it filters first, so the larger of both estimates is used. If
    nothing was relayed the output is 0, which means unknown.
    """
    return Usage(output=max(events, math.ceil(generated_bytes / DENSE_BYTES)), estimated=True)
