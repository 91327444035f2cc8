"""The usage of streams of the Messages API. Pure."""

import contextlib

import msgspec
from msgspec.structs import replace

from chukei.usage import DECODE_ERRORS, Usage, is_usage, reported, tier_in

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class MessageUsage:
    """The usage of one stream of the Messages API.

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
        usage = reported(msgspec.json.encode(self._members)) if self._members else None
        self.so_far = replace(usage, estimated=True) if usage is not None else None
        return usage
