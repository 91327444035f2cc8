"""Spans in the format of OTLP: messages of ``opentelemetry.proto.collector.trace.v1`` as bytes. Pure.

The SDK makes an object of each attribute and has protobuf write it, which costs half of a short request (decision
0029). Here most attributes of a span are those of its form, which is written once and remembered. The numbers of the
fields are those of https://github.com/open-telemetry/opentelemetry-proto, their format is
https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Iterable, Mapping

from chukei.adapters.telemetry.spans import ENDED, MOST_FORMS, Form, Span, Value

MAX_HOW = 200
"""Characters of how an attempt ended, an error code of the upstream at most."""

_SAMPLED, _HAS_IS_REMOTE, _IS_REMOTE = 1, 0x100, 0x200
_FAILED = b"\x7a\x02\x18\x02"
"""The status of a span that ended in an error."""
_time = struct.Struct("<BQ").pack
_times = struct.Struct("<BQBQBBI").pack


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
        return b"\x18" + (_SHORT[value] if 0 <= value < 1024 else _varint(value & 0xFFFF_FFFF_FFFF_FFFF))
    if isinstance(value, float):
        return b"\x21" + struct.pack("<d", value)
    return b"\x2a" + _sized(b"".join([b"\x0a" + _sized(_value(each)) for each in value]))


def _head(name: str) -> bytes:
    """Write the key of a ``KeyValue``, and the tag of its value. The names are the code's own, so few."""
    head = _heads[name] = b"\x0a" + _sized(name.encode()) + b"\x12"
    return head


_heads: dict[str, bytes] = {}


def _pair(name: str, value: Value) -> bytes:
    """Write a ``KeyValue`` after its length."""
    made = _value(value)
    size = len(made)
    if size >= 512:
        return _sized(_head(name) + _sized(made))
    head = _heads.get(name) or _head(name)
    return _SHORT[len(head) + size + (1 if size < 128 else 2)] + head + _SHORT[size] + made


class Encoder:
    """Writes the spans of one service. ``resource`` describes the service."""

    def __init__(self, resource: Mapping[str, Value], version: str) -> None:
        described = b"".join([b"\x0a" + _pair(name, value) for name, value in resource.items()])
        scope = b"\x0a" + _sized(b"chukei") + b"\x12" + _sized(version.encode())
        self._resource = b"\x0a" + _sized(described)
        self._scope = b"\x0a" + _sized(scope)
        self._forms: dict[int, tuple[Form, bytes]] = {}  # the form is kept, so that its id stays its own
        self._events: dict[tuple[str, str], bytes] = {}

    def span(self, span: Span) -> bytes:
        """Return a ``Span`` as a field of its ``ScopeSpans``."""
        form = span.form
        known = self._forms.get(id(form)) or self._written(form)
        parent = "" if span.parent_id is None else f"2208{span.parent_id}"
        parts = [bytes.fromhex(f"0a10{span.trace_id}1208{span.span_id}{parent}"), known[1]]
        if span.state:
            parts += (b"\x1a", _sized(span.state.encode()))
        for name, value in span.attributes.items():
            parts += (b"\x4a", _pair(name, value))
        for name, moment, how in span.events:
            rest = self._events.get((name, how)) or self._written_event(name, how)
            parts += (b"\x5a", _SHORT[9 + len(rest)], _time(0x09, moment), rest)
        flags = _SAMPLED | _HAS_IS_REMOTE | (_IS_REMOTE if span.remote else 0)
        parts.append(_times(0x39, span.start, 0x41, span.end, 0x85, 0x01, flags))
        return b"\x12" + _sized(b"".join(parts))

    def request(self, spans: Iterable[bytes]) -> bytes:
        """Return an ``ExportTraceServiceRequest`` with spans that were written before."""
        written = list(spans)
        size = len(self._scope) + sum(map(len, written))
        head = self._resource + b"\x12" + _varint(size)
        return b"".join([b"\x0a", _varint(len(head) + size), head, self._scope, *written])

    def _written(self, form: Form) -> tuple[Form, bytes]:
        """Write a form as fields of a ``Span``, and remember it."""
        parts = [b"\x2a", _sized(form.name.encode("utf-8", "replace")), b"\x30", _varint(form.kind)]
        for name, value in form.attributes.items():
            parts += (b"\x4a", _pair(name, value))
        if form.failed:
            parts.append(_FAILED)
        if len(self._forms) >= MOST_FORMS:
            self._forms.clear()
        known = self._forms[id(form)] = (form, b"".join(parts))
        return known

    def _written_event(self, name: str, how: str) -> bytes:
        """Write an event without its time, and remember it."""
        made = b"\x12" + _sized(name.encode())
        if how:
            made += b"\x1a" + _pair(ENDED, how[:MAX_HOW])
        if len(self._events) >= MOST_FORMS:
            self._events.clear()
        self._events[name, how] = made
        return made
