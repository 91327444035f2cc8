"""A request's place in a distributed trace (W3C Trace Context, https://www.w3.org/TR/trace-context/). Pure."""

import re
from collections.abc import Iterable

import msgspec

Fields = list[tuple[bytes, bytes]]
"""Header fields; names are in lower case."""

PARENT, STATE = b"traceparent", b"tracestate"

MAX_MEMBERS = 32
"""Members of a ``tracestate``; a longer list is invalid (W3C, §3.3.1.2)."""

MAX_STATE = 512
"""Characters of a ``tracestate`` that are passed on; every implementation must accept as many (W3C, §3.3.1.5)."""

_LONG_MEMBER = 128
"""Members that are longer are the first to be dropped (W3C, §3.3.1.5)."""

_SAMPLED, _RANDOM = 1, 2
_LENGTH = 55
_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
# The key as in Level 2, which includes the keys of Level 1.
_MEMBER = re.compile(
    rb"([a-z0-9][a-z0-9_*/@-]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """The trace of a request, and the span that stands for it.

    ``trace_id`` has 32 hexadecimal digits, span ids have 16. ``parent_id`` is the caller's span, or None if the trace
    begins here. ``sampled`` says that spans are recorded, ``random`` that the trace id is random (Level 2). ``state``
    is the caller's ``tracestate``, or empty. ``foreign`` says that the relay has no span in the trace and ``span_id``
    is the caller's.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    sampled: bool = False
    state: str = ""
    random: bool = False
    foreign: bool = False

    def child(self, span_id: str, *, sampled: bool) -> "TraceContext":
        """Return the context of a span of the relay's own below this one."""
        return TraceContext(self.trace_id, span_id, self.span_id, sampled, self.state, self.random)


def read(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the caller's context; None if the request has none or an invalid one.

    An invalid ``traceparent``, or more than one, is the same as none (W3C, §4.3). A later version is read as far as
    this one goes. Unknown flags are ignored. An invalid ``tracestate`` is left out.
    """
    parents = [value for name, value in headers if name == PARENT]
    if len(parents) != 1:  # most requests have none
        return None
    value = parents[0].strip(b" \t")
    form = _FORM.match(value)
    if form is None or (len(value) > _LENGTH and (form[1] == b"00" or value[_LENGTH : _LENGTH + 1] != b"-")):
        return None
    trace_id, span_id, flags = form[2].decode(), form[3].decode(), int(form[4], 16)
    if form[1] == b"ff" or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(
        trace_id,
        span_id,
        sampled=bool(flags & _SAMPLED),
        state=_state([value for name, value in headers if name == STATE]),
        random=bool(flags & _RANDOM),
        foreign=True,
    )


def _state(values: list[bytes]) -> str:
    """Return the combined ``tracestate``, or empty if it is invalid (W3C, §3.3.1): the fields count as one list."""
    members = [member for member in (part.strip(b" \t") for part in b",".join(values).split(b",")) if member]
    forms = [_MEMBER.fullmatch(member) for member in members]
    if len(members) > MAX_MEMBERS or None in forms or len({form[1] for form in forms if form}) < len(members):
        return ""
    if _joined(members) > MAX_STATE:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while members and _joined(members) > MAX_STATE:
        members.pop()
    return b",".join(members).decode("ascii")


def _joined(members: list[bytes]) -> int:
    return sum(map(len, members)) + len(members) - 1


def write(context: TraceContext, span_id: str | None = None) -> Fields:
    """Return the fields of a request that is sent within the trace, by ``span_id`` or by the context's own span."""
    flags = _SAMPLED * context.sampled | _RANDOM * context.random
    fields = [(PARENT, f"00-{context.trace_id}-{span_id or context.span_id}-{flags:02x}".encode())]
    if context.state:
        fields.append((STATE, context.state.encode()))
    return fields


def chosen(trace_id: str, share: float) -> bool:
    """Whether a trace is in a sample of this share.

    The last 64 bits of the id decide, as in OpenTelemetry's SDKs (``TraceIdRatioBased``), so all that use the same
    share choose the same traces.
    """
    return share >= 1.0 or int(trace_id[16:], 16) < round(share * 2**64)
