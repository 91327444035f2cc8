"""How signals ask a process to stop, in virtual time."""

from signal import SIGHUP, SIGINT, SIGTERM, Signals

from tests.rows import rows

from chukei.hosts.leaving import HANDING_SECONDS, REPEAT_SECONDS, Leave, Stopping

AT_ONCE = Leave()
LATER = REPEAT_SECONDS


@rows(
    ("signals", "drain", "leave", "status"),
    [
        ([], 5, None, 0),
        ([(SIGTERM, 0)], 5, Leave(5, HANDING_SECONDS), 0),
        ([(SIGTERM, 0)], 0, AT_ONCE, 0),
        ([(SIGINT, 0)], 5, AT_ONCE, 0),
        ([(SIGHUP, 0)], 5, AT_ONCE, 0),
        ([(SIGINT, 0), (SIGINT, LATER)], 5, AT_ONCE, 130),
        ([(SIGTERM, 0), (SIGTERM, LATER)], 5, Leave(5, HANDING_SECONDS), 143),
        ([(SIGTERM, 0), (SIGINT, LATER)], 5, Leave(5, HANDING_SECONDS), 130),
        ([(SIGINT, 0), (SIGTERM, LATER)], 5, AT_ONCE, 143),
        ([(SIGTERM, 0), (SIGTERM, LATER / 2)], 5, Leave(5, HANDING_SECONDS), 0),
        ([(SIGINT, 0), (SIGINT, LATER / 2), (SIGINT, LATER), (SIGTERM, 9)], 5, AT_ONCE, 130),
        ([(SIGINT, 0), (SIGHUP, 9)], 5, AT_ONCE, 0),
        ([(SIGHUP, 0), (SIGINT, LATER)], 5, AT_ONCE, 130),
    ],
)
def test_signals(signals: list[tuple[Signals, float]], drain: float, leave: Leave | None, status: int) -> None:
    now = 0.0
    stopping = Stopping(drain, clock=lambda: now)
    for number, now in signals:  # noqa: B007 - the clock reads it
        stopping.signalled(number)
    assert (stopping.leave, stopping.status) == (leave, status)
    assert stopping.at_once == (status > 0)
