"""Two coroutines for one answer: who wins, and that nothing of the other is left."""

import asyncio
import gc
from collections.abc import Callable, Coroutine

import pytest
from tests.rows import rows

from chukei.upstream.hedge import first_to_answer

pytestmark = pytest.mark.anyio

AT_ONCE = 0.0
NEVER = 60.0


class Failed(Exception):
    """What a speaker says who has nothing to say."""


class Speaker:
    """Somebody who is asked: silent until told what to do. It can be dropped once it has spoken."""

    def __init__(self, name: str, *, stubborn: bool = False) -> None:
        self.name = name
        self.asked = asyncio.Event()
        self.stopping = asyncio.Event()
        self.may_stop = asyncio.Event()
        if not stubborn:
            self.may_stop.set()
        self.cancelled = False
        self.ended = False
        self.dropped = 0
        self._verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def speak(self) -> None:
        self._verdict.set_result(None)

    def fail(self) -> None:
        self._verdict.set_exception(Failed(self.name))

    def drop(self) -> None:
        self.dropped += 1

    async def ask(self) -> "Speaker":
        self.asked.set()
        try:
            await self._verdict
        except asyncio.CancelledError:
            self.cancelled = True
            self.stopping.set()
            await self.may_stop.wait()
            raise
        finally:
            self.ended = True
        return self

    async def ask_and_speak_when_stopped(self) -> "Speaker":
        """Speak in the very moment of being stopped, so that being stopped comes too late."""
        self.asked.set()
        try:
            await self._verdict
        except asyncio.CancelledError:
            self.cancelled = True
        self.ended = True
        return self


def then(speaker: Speaker) -> Callable[[], Coroutine[None, None, Speaker]]:
    return lambda: speaker.ask()


def nobody() -> None:
    return None


def forbidden() -> Coroutine[None, None, Speaker] | None:
    raise AssertionError("nobody else was to be asked")


async def race(
    first: Speaker, second: Speaker, after: float = AT_ONCE
) -> tuple[asyncio.Task[Speaker], set[asyncio.Task[object]]]:
    """Start the race with both asked; return its task, and those that there were before."""
    before = asyncio.all_tasks()
    running = asyncio.create_task(first_to_answer(first.ask(), after, then(second)))
    await second.asked.wait()
    return running, before


def assert_nothing_is_left(before: set[asyncio.Task[object]]) -> None:
    assert {task for task in asyncio.all_tasks() if not task.done()} <= before
    gc.collect()  # an exception that nobody took would be reported by the loop, and fail the test


async def test_the_first_speaks_in_time_and_nobody_else_is_asked() -> None:
    first = Speaker("first")
    first.speak()

    assert await first_to_answer(first.ask(), NEVER, forbidden) is first
    assert first.dropped == 0


async def test_the_first_fails_in_time_and_nobody_else_is_asked() -> None:
    first = Speaker("first")
    first.fail()

    with pytest.raises(Failed, match="first"):
        await first_to_answer(first.ask(), NEVER, forbidden)


async def test_the_first_wins_although_a_second_was_asked() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    first.speak()

    assert await running is first
    assert (first.dropped, second.dropped) == (0, 0)
    assert second.cancelled
    assert second.ended
    assert_nothing_is_left(before)


async def test_the_second_wins() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    second.speak()

    assert await running is second
    assert (first.dropped, second.dropped) == (0, 0)
    assert first.cancelled
    assert first.ended
    assert_nothing_is_left(before)


async def test_the_first_fails_and_the_second_goes_on() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    first.fail()
    async with asyncio.timeout(60):
        while not first.ended:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not running.done()
    second.speak()

    assert await running is second
    assert not second.cancelled
    assert_nothing_is_left(before)


async def test_the_second_fails_and_the_first_goes_on() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    second.fail()
    async with asyncio.timeout(60):
        while not second.ended:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not running.done()
    first.speak()

    assert await running is first
    assert not first.cancelled
    assert_nothing_is_left(before)


@rows("order", [("first", "second"), ("second", "first")])
async def test_both_fail_and_the_last_failure_counts(order: tuple[str, str]) -> None:
    speakers = {"first": Speaker("first"), "second": Speaker("second")}
    running, before = await race(speakers["first"], speakers["second"])

    speakers[order[0]].fail()
    async with asyncio.timeout(60):
        while not speakers[order[0]].ended:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    speakers[order[1]].fail()

    with pytest.raises(Failed, match=order[1]):
        await running
    assert_nothing_is_left(before)


async def test_both_fail_in_the_same_turn() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    first.fail()
    second.fail()

    with pytest.raises(Failed):
        await running
    assert_nothing_is_left(before)


async def test_both_speak_in_the_same_turn_and_the_other_is_dropped() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    second.speak()
    first.speak()

    assert await running is first
    assert (first.dropped, second.dropped) == (0, 1)
    assert_nothing_is_left(before)


async def test_one_that_speaks_while_it_is_stopped_is_dropped() -> None:
    first, second = Speaker("first"), Speaker("second")
    before = asyncio.all_tasks()
    running = asyncio.create_task(first_to_answer(first.ask_and_speak_when_stopped(), AT_ONCE, then(second)))
    await second.asked.wait()

    second.speak()

    assert await running is second
    assert first.cancelled
    assert (first.dropped, second.dropped) == (1, 0)
    assert_nothing_is_left(before)


async def test_there_is_no_second_so_the_first_is_waited_for() -> None:
    first = Speaker("first")
    asked = asyncio.Event()

    def second() -> None:
        asked.set()

    running = asyncio.create_task(first_to_answer(first.ask(), AT_ONCE, second))
    await asked.wait()
    await asyncio.sleep(0)
    assert not running.done()
    first.speak()

    assert await running is first
    assert first.dropped == 0


async def test_there_is_no_second_and_the_first_fails() -> None:
    first = Speaker("first")
    running = asyncio.create_task(first_to_answer(first.ask(), AT_ONCE, nobody))
    await first.asked.wait()
    first.fail()

    with pytest.raises(Failed):
        await running


async def test_what_the_second_raises_before_it_is_asked_stops_the_first() -> None:
    first = Speaker("first")

    with pytest.raises(AssertionError, match="nobody else"):
        await first_to_answer(first.ask(), AT_ONCE, forbidden)
    assert first.cancelled
    assert first.ended


async def test_cancelled_before_a_second_was_asked() -> None:
    first = Speaker("first")
    before = asyncio.all_tasks()
    running = asyncio.create_task(first_to_answer(first.ask(), NEVER, forbidden))
    await first.asked.wait()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert first.cancelled
    assert_nothing_is_left(before)


async def test_cancelled_while_both_run() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert first.cancelled
    assert second.cancelled
    assert first.ended
    assert second.ended
    assert_nothing_is_left(before)


async def test_cancelled_when_one_has_just_spoken_drops_it() -> None:
    first, second = Speaker("first"), Speaker("second")
    running, before = await race(first, second)

    second.speak()
    await asyncio.sleep(0)  # it has returned; the race has not heard of it yet
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert second.dropped == 1
    assert first.cancelled
    assert_nothing_is_left(before)


async def test_cancelled_while_the_loser_is_being_stopped_drops_the_winner() -> None:
    first, second = Speaker("first", stubborn=True), Speaker("second")
    running, before = await race(first, second)
    second.speak()
    await first.stopping.wait()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert (first.dropped, second.dropped) == (0, 1)
    first.may_stop.set()
    async with asyncio.timeout(60):
        while not first.ended:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert_nothing_is_left(before)
