"""How failures are counted: by source, with bounded memory, on a clock that the tests move."""

import pytest
from tests.fakes import FakeClock
from tests.rows import rows

from chukei.callers.throttle import Throttle, source_of


def failing(throttle: Throttle, times: int, source: str = "192.0.2.1") -> list[float | None]:
    return [throttle.failed(source) for _ in range(times)]


def test_the_allowance_and_then_a_wait() -> None:
    throttle = Throttle(20, FakeClock())
    assert failing(throttle, 20) == [None] * 20
    assert failing(throttle, 2) == [3.0, 3.0], "a refused failure costs nothing more"


def test_it_refills_evenly() -> None:
    clock = FakeClock()
    throttle = Throttle(20, clock)
    failing(throttle, 21)
    clock.advance(2.5)
    assert throttle.failed("192.0.2.1") == pytest.approx(0.5)
    clock.advance(0.5)
    assert throttle.failed("192.0.2.1") is None
    clock.advance(3600)
    assert failing(throttle, 21) == [None] * 20 + [pytest.approx(3.0)]


def test_sources_do_not_count_for_each_other() -> None:
    throttle = Throttle(1, FakeClock())
    assert failing(throttle, 2) == [None, 60.0]
    assert throttle.failed("192.0.2.2") is None


def test_none_are_counted_if_so_configured() -> None:
    throttle = Throttle(0, FakeClock())
    assert failing(throttle, 1000) == [None] * 1000
    assert throttle.sources == 0


def test_memory_is_bounded_and_the_longest_quiet_is_forgotten() -> None:
    throttle = Throttle(1, FakeClock(), max_sources=3)
    for last in (1, 2, 3, 1, 4):
        throttle.failed(f"192.0.2.{last}")
    assert throttle.sources == 3
    assert throttle.failed("192.0.2.1") is not None
    assert throttle.failed("192.0.2.2") is None, "forgotten"


@rows(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("not an address", "not an address"),
        ("x" * 10_000, "x" * 64),
    ],
)
def test_what_one_source_is(address: str, source: str) -> None:
    assert source_of(address) == source
