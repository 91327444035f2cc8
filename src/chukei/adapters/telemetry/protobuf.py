"""Spans in the format of OTLP: messages of ``opentelemetry.proto.collector.trace.v1`` as bytes. Pure.

The SDK makes an object of each attribute and has protobuf write it, which costs half of a short request (decision
0029). Most attributes have one of a few values. So each pair of a name and a value is written once and remembered. The
numbers of the fields are those of https://github.com/open-telemetry/opentelemetry-proto, their format is
https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Iterable, Mapping

from chukei.adapters.telemetry.spans import AZURE_REQUEST_ID, REQUEST_ID, Span, Value

MOST_REMEMBERED = 4096
"""Pairs of each kind that are remembered, about a megabyte; then they are forgotten."""

_UNIQUE = frozenset({REQUEST_ID, AZURE_REQUEST_ID})
_SAMPLED, _HAS_IS_REMOTE, _IS_REMOTE = 1, 0x100, 0x200
_FAILED = b"\x7a\x02\x18\x02"
"""The status of a span that ended in an error."""


def _varint(value: int) -> bytes:
    """Write a number that is not negative: seven bits in each byte, the lowest first."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


_SHORT = [_varint(value) for value in range(1024)]


def _sized(data: bytes) -> bytes:
    """Return data after its length, as text and messages are written."""
    size = len(data)
    return (_SHORT[size] if size < 1024 else _varint(size)) + data


def _value(value: Value) -> bytes:
    """Write an ``AnyValue``."""
    if isinstance(value, str):
        return b"\x0a" + _sized(value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10" + _varint(value)
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return b"\x21" + struct.pack("<d", value)
    return b"\x2a" + _sized(b"".join([b"\x0a" + _sized(_value(each)) for each in value]))


def _pair(name: str, value: Value) -> bytes:
    """Write a ``KeyValue`` after its length."""
    return _sized(b"\x0a" + _sized(name.encode()) + b"\x12" + _sized(_value(value)))


class Encoder:
    """Writes the spans of one service. ``resource`` describes the service."""

    def __init__(self, resource: Mapping[str, Value], version: str) -> None:
        described = b"".join([b"\x0a" + _pair(name, value) for name, value in resource.items()])
        scope = b"\x0a" + _sized(b"chukei") + b"\x12" + _sized(version.encode())
        self._resource = b"\x0a" + _sized(described)
        self._scope = b"\x0a" + _sized(scope)
        self._texts: dict[tuple[str, Value], bytes] = {}
        self._numbers: dict[tuple[str, Value], bytes] = {}

    def span(self, span: Span) -> bytes:
        """Return a ``Span`` as a field of its ``ScopeSpans``."""
        parts = [b"\x0a\x10", bytes.fromhex(span.trace_id), b"\x12\x08", bytes.fromhex(span.span_id)]
        if span.state:
            parts += (b"\x1a", _sized(span.state.encode()))
        if span.parent_id is not None:
            parts += (b"\x22\x08", bytes.fromhex(span.parent_id))
        times = struct.pack("<cBcQcQ", b"\x30", span.kind, b"\x39", span.start, b"\x41", span.end)
        parts += (b"\x2a", _sized(span.name.encode("utf-8", "replace")), times)
        self._add(parts, b"\x4a", span.attributes)
        for name, moment, attributes in span.events:
            event = [struct.pack("<cQ", b"\x09", moment), b"\x12", _sized(name.encode())]
            self._add(event, b"\x1a", attributes)
            parts += (b"\x5a", _sized(b"".join(event)))
        if span.failed:
            parts.append(_FAILED)
        flags = _SAMPLED | _HAS_IS_REMOTE | (_IS_REMOTE if span.remote else 0)
        parts.append(struct.pack("<HI", 0x0185, flags))
        return b"\x12" + _sized(b"".join(parts))

    def request(self, spans: Iterable[bytes]) -> bytes:
        """Return an ``ExportTraceServiceRequest`` with spans that were written before."""
        scope_spans = self._scope + b"".join(spans)
        return b"\x0a" + _sized(self._resource + b"\x12" + _sized(scope_spans))

    def _add(self, parts: list[bytes], tag: bytes, attributes: Mapping[str, Value]) -> None:
        """Add the attributes to a message, as fields with this tag."""
        for name, value in attributes.items():
            # Numbers have a dictionary of their own: as keys, 1 and True are the same.
            kind = type(value)
            known = self._numbers if kind is int else self._texts if kind is not bool and kind is not float else {}
            pair = known.get((name, value))
            if pair is None:
                pair = _pair(name, value)
                if name not in _UNIQUE:
                    if len(known) >= MOST_REMEMBERED:
                        known.clear()
                    known[name, value] = pair
            parts += (tag, pair)
