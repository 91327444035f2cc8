"""Which trace a request belongs to, and whether its spans are recorded."""

from chukei import trace
from chukei.config import TelemetrySettings
from chukei.ids import new_id, new_span_id
from chukei.model import Caller, CallerKind, Headers
from chukei.trace import TraceContext

_UNSET = TelemetrySettings()


class Tracing:
    """Decides on each request's context. If not ``recording``, the relay only passes callers' contexts on.

    A context that is not accepted is ignored: who sends it could otherwise join any trace, and have the relay record
    as much as it likes (W3C Trace Context, §6 and §7).
    """

    def __init__(self, settings: TelemetrySettings = _UNSET, *, recording: bool = False) -> None:
        self._accept = settings.accept_context
        self._share = settings.sample
        self._follow = settings.follow_parent
        self._recording = recording

    def context(self, headers: Headers, who: Caller | None) -> TraceContext | None:
        """Return the context of a request; None if it has none and the relay records nothing."""
        given = trace.read(headers) if self._accepts(who) else None
        if not self._recording:
            return given
        if given is None:
            trace_id = new_id()
            sampled = trace.chosen(trace_id, self._share)
            return TraceContext(trace_id, new_span_id(), sampled=sampled, random=True)
        sampled = given.sampled if self._follow else trace.chosen(given.trace_id, self._share)
        return given.child(new_span_id(), sampled=sampled)

    def _accepts(self, who: Caller | None) -> bool:
        if self._accept == "callers":
            return who is not None and who.kind is not CallerKind.ANONYMOUS
        return self._accept == "all"
