"""Two deployments asked for one answer: the first to speak wins, the other is stopped."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeVar


class _Droppable(Protocol):
    def drop(self) -> None: ...


Won = TypeVar("Won", bound=_Droppable)


async def first_to_speak(
    first: Coroutine[None, None, Won], after: float, second: Callable[[], Coroutine[None, None, Won] | None]
) -> Won:
    """Return what ``first`` returns, or, if it takes longer than ``after`` seconds, what the first of the two returns.

    One that fails leaves the other running. What is not returned has been stopped and dropped when this returns or
    raises. When this itself is cancelled, that is everything.

    Raises:
        Exception: what the last one to fail raised.
    """
    tasks = [asyncio.create_task(first)]
    try:
        await asyncio.wait(tasks, timeout=after)
        if not tasks[0].done() and (other := second()) is not None:
            tasks.append(asyncio.create_task(other))
        won = await _first_success(tasks)
    except BaseException:
        await _stop(tasks)
        raise
    try:
        await _stop([task for task in tasks if task is not won])
    except BaseException:
        _drop(won)  # cancelled while the other one was being stopped: nobody will take what was won
        raise
    return won.result()


async def _first_success(tasks: Sequence[asyncio.Task[Won]]) -> asyncio.Task[Won]:
    """Wait for the first task that succeeds; of two in the same moment the one that was asked first."""
    running = set(tasks)
    while True:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done and task.exception() is None:
                return task
        if not running:
            return done.pop()


async def _stop(tasks: Sequence[asyncio.Task[Won]]) -> None:
    """Stop tasks and drop what they return all the same; each does so even if this is not waited for."""
    running = [task for task in tasks if not task.done()]
    for task in tasks:
        if task.done():
            _drop(task)
        else:
            task.add_done_callback(_drop)
            task.cancel()
    if running:
        await asyncio.wait(running)


def _drop(task: asyncio.Task[Won]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().drop()
