"""The ``usage`` objects of the Messages API. Pure."""

import contextlib

import msgspec
from msgspec.structs import replace

from chukei.usage import COUNTS, DECODE_ERRORS, Usage, is_usage, reported

_BESIDE = frozenset({"compaction", "advisor_message"})
"""Iterations whose tokens are billed, but which the counts of the whole message leave out."""


class _Tier(msgspec.Struct, gc=False):
    service_tier: object = None


class _Iterations(msgspec.Struct, gc=False):
    iterations: list[msgspec.Raw] | None = None


class _Iteration(msgspec.Struct, gc=False):
    type: object = None


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_iterations = msgspec.json.Decoder(_Iterations).decode
_iteration = msgspec.json.Decoder(_Iteration).decode


def tier_in(raw: bytes | msgspec.Raw) -> str | None:
    """Return the ``service_tier`` in a ``usage`` object."""
    try:
        tier = msgspec.json.decode(raw, type=_Tier).service_tier
    except DECODE_ERRORS:
        return None
    return tier if isinstance(tier, str) else None


def message_usage(raw: bytes | msgspec.Raw) -> Usage | None:
    """Decode a ``usage`` object; None if it is missing or contains no count.

    What a summary of the conversation or an advisor has used is counted with the message.
    """
    usage = reported(raw)
    if b'"iterations"' not in bytes(raw):
        return usage
    with contextlib.suppress(*DECODE_ERRORS):
        for each in _iterations(raw).iterations or ():
            used = reported(each) if _iteration(each).type in _BESIDE else None
            if used is not None:
                total = usage or Usage()
                sums = {name: getattr(total, name) + getattr(used, name) for name in COUNTS}
                usage = replace(total, estimated=total.estimated or used.estimated, **sums)
    return usage


class MessageUsage:
    """The usage of one stream.

    Its first event reports the input, its last but one the output. Each may report all counts again; a later one holds.
    ``so_far`` has the latest counts, marked as an estimate, and ``service_tier`` is that of the report.
    """

    __slots__ = ("_members", "service_tier", "so_far")

    def __init__(self) -> None:
        self._members: dict[str, msgspec.Raw] = {}
        self.service_tier: str | None = None
        self.so_far: Usage | None = None

    def add(self, raw: msgspec.Raw) -> Usage | None:
        """Take the ``usage`` of an event, if it has one; return all counts, None if there are none."""
        if is_usage(raw):
            with contextlib.suppress(*DECODE_ERRORS):
                for name, value in _members(raw).items():
                    begin = bytes(value)[:1]
                    if begin.isdigit() or (name, begin) in {("cache_creation", b"{"), ("iterations", b"[")}:
                        self._members[name] = value
            self.service_tier = tier_in(raw) or self.service_tier
        usage = message_usage(msgspec.json.encode(self._members)) if self._members else None
        self.so_far = replace(usage, estimated=True) if usage is not None else None
        return usage
