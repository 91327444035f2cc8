"""What a process that stops tells of the requests that it waits for, in virtual time."""

from tests.rows import rows

from chukei.hosts.awaited import SECONDS, Awaited

HINT = ", Ctrl-C again to stop now"


def told(terminal: bool, reports: list[tuple[float, int, int]]) -> list[str]:
    """Return the lines after reports of time, running and stopped requests."""
    lines: list[str] = []
    now = 0.0
    awaited = Awaited(lambda level, text, **fields: lines.append(text), terminal=terminal, clock=lambda: now)
    for now, running, stopped in reports:  # noqa: B007 - the clock reads it
        awaited.progress(running, stopped)
    awaited.over()
    return lines


@rows(
    ("reports", "terminal", "log"),
    [
        ([], [], []),
        ([(0, 0, 0)], [], ["stopping: 0 requests running", "stopped: 0 requests ended early"]),
        (
            [(0, 3, 0), (SECONDS, 3, 0), (2 * SECONDS, 2, 0), (2.5 * SECONDS, 1, 0), (3 * SECONDS, 1, 0), (9, 0, 1)],
            [
                f"stopping: 3 requests running{HINT}",
                f"2 requests running{HINT}",
                f"1 request running{HINT}",
                "stopped: 1 request ended early",
            ],
            ["stopping: 3 requests running", "stopped: 1 request ended early"],
        ),
    ],
)
def test_lines(reports: list[tuple[float, int, int]], terminal: list[str], log: list[str]) -> None:
    assert told(True, reports) == terminal
    assert told(False, reports) == log


def test_the_fields_of_a_log_are_numbers() -> None:
    fields: list[dict[str, object]] = []
    awaited = Awaited(lambda level, text, **given: fields.append(given), terminal=False)
    awaited.progress(4, 1)
    awaited.over()
    assert fields == [{"running": 4}, {"stopped": 1}]
