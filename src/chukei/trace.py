"""A request's place in a distributed trace (W3C Trace Context, https://www.w3.org/TR/trace-context/)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace of a request, and the span that stands for it.

    ``trace_id`` has 32 hexadecimal digits, span ids have 16. ``parent_id`` is the caller's span, or None if the trace
    begins here. ``state`` is the caller's ``tracestate``, or empty.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    sampled: bool = False
    state: str = ""
