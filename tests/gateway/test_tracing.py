"""Whose context is accepted, who decides on sampling, and what is passed on if nothing is recorded."""

from dataclasses import replace

from tests.rows import rows

from chukei import trace
from chukei.config import TelemetrySettings
from chukei.gateway.tracing import Tracing
from chukei.model import Caller, CallerKind

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
KEY, NOBODY = Caller("a", CallerKind.KEY), Caller("anonymous", CallerKind.ANONYMOUS)


def sent(flags: str = "01") -> list[tuple[bytes, bytes]]:
    return [(trace.PARENT, f"00-{ID}-{SPAN}-{flags}".encode())]


@rows(
    ("accept", "who", "accepted"),
    [
        ("callers", KEY, True),
        ("callers", Caller("local", CallerKind.LOCAL), True),
        ("callers", NOBODY, False),
        ("callers", None, False),
        ("all", NOBODY, True),
        ("all", None, True),
        ("none", KEY, False),
    ],
)
def test_whose_context_is_accepted(accept: str, who: Caller | None, accepted: bool) -> None:
    settings = replace(TelemetrySettings(), accept_context=accept)  # type: ignore[arg-type] # a row of the table
    own = Tracing(settings, recording=True).context(sent(), who)
    assert own is not None
    assert (own.trace_id == ID, own.parent_id) == (accepted, SPAN if accepted else None)
    passed_on = Tracing(settings).context(sent(), who)
    assert (passed_on is not None) == accepted


@rows(
    ("flags", "share", "follow", "sampled"),
    [
        ("01", 0.0, True, True),
        ("00", 1.0, True, False),
        ("01", 0.0, False, False),
        ("00", 1.0, False, True),
    ],
)
def test_who_decides(flags: str, share: float, follow: bool, sampled: bool) -> None:
    settings = TelemetrySettings(sample=share, follow_parent=follow)
    found = Tracing(settings, recording=True).context(sent(flags), KEY)
    assert found is not None
    assert found.sampled is sampled


def test_a_trace_that_begins_here() -> None:
    tracing = Tracing(TelemetrySettings(sample=0.5), recording=True)
    found = [context for _ in range(200) if (context := tracing.context([], KEY)) is not None]
    assert len({context.trace_id for context in found} | {context.span_id for context in found}) == 400
    assert all(context.parent_id is None and context.random and not context.foreign for context in found)
    assert {context.sampled for context in found} == {True, False}


def test_without_recording_the_context_is_the_caller_s_own() -> None:
    found = Tracing().context([*sent(), (trace.STATE, b"a=1")], KEY)
    assert found is not None
    assert trace.write(found) == [*sent(), (trace.STATE, b"a=1")]
    assert Tracing().context([], KEY) is None
