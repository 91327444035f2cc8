"""What ends a session, what is said of it, and that nothing of it is left."""

import asyncio
import logging

import pytest

from chukei.adapters.redis.line import RefusedError
from chukei.adapters.redis.session import Availability, Sessions, growing, reason, until_one_ends


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "TimeoutError"),
        (ConnectionError("Error 111"), "ConnectionError: Error 111"),
        (ConnectionError("x" * 1000), "ConnectionError: " + "x" * 200),
        (RefusedError("READONLY"), "RefusedError: READONLY"),
    ],
)
def test_a_reason_is_brief(error: Exception, said: str) -> None:
    assert reason(error) == said


def test_delays_grow_up_to_the_last() -> None:
    delays = growing(0.1, 1.0)
    for longest in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert longest / 2 <= next(delays) <= longest


@pytest.mark.anyio
async def test_who_waits_for_the_first_attempt_waits_for_no_other() -> None:
    attempts = 0

    async def fail() -> None:
        nonlocal attempts
        attempts += 1
        raise OSError

    sessions = Sessions(fail, Availability(logging.getLogger(__name__), "away", "back"), (0.0, 0.0))
    await sessions.first_attempt()  # there will be none
    sessions.start()
    await sessions.first_attempt()
    assert 0 < attempts < 10
    await sessions.close()
    assert not sessions.started


@pytest.mark.anyio
async def test_the_first_to_end_stops_the_others_and_says_why() -> None:
    waiting = asyncio.Event()
    ends: list[str] = []

    async def wait() -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("stopped")
            raise KeyError("lost on the way out")

    async def fail() -> None:
        await waiting.wait()
        raise OSError("first")

    with pytest.raises(OSError, match="first"):
        await until_one_ends(wait(), fail())
    assert ends == ["stopped"]


@pytest.mark.anyio
async def test_a_cancellation_from_within_is_a_failure_like_any_other() -> None:
    async def confused() -> None:
        raise asyncio.CancelledError

    with pytest.raises(OSError, match="from within"):
        await until_one_ends(confused())
