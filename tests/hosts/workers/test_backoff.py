"""When workers that have ended are replaced, in virtual time."""

from tests.rows import rows

from chukei.hosts.workers.backoff import FORGET_SECONDS, Backoff


@rows(
    ("runs", "delays"),
    [
        ([(0, 10)], [0]),
        ([(0, 9)], [1]),
        (
            [(0, 9), (10, 11), (13, 14), (18, 19), (27, 28), (44, 45), (75, 76), (106, 107)],
            [1, 2, 4, 8, 16, 30, 30, 30],
        ),
        ([(0, 9), (10, 11), (0, 12), (13, 14)], [1, 2, 0, 4]),
        ([(0, 9), (10, 11), (9 + FORGET_SECONDS, 11 + FORGET_SECONDS)], [1, 2, 1]),
    ],
)
def test_delays(runs: list[tuple[float, float]], delays: list[float]) -> None:
    backoff = Backoff()
    assert [backoff.delay(started, ended) for started, ended in runs] == delays
