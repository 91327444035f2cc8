"""Hedged requests: ask two deployments for one answer, take the first that begins, and cancel the other."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeVar


class _Droppable(Protocol):
    def drop(self) -> None: ...


Won = TypeVar("Won", bound=_Droppable)


async def first_to_answer(
    first: Coroutine[None, None, Won], after: float, second: Callable[[], Coroutine[None, None, Won] | None]
) -> Won:
    """Run ``first``, and also ``second`` if the first takes longer than ``after`` seconds. Return the first result.

    If one fails, the other keeps running. When this function returns, raises or is cancelled, the coroutine without a
    returned result was cancelled and its result dropped.

    Raises:
        Exception: the exception of the last one to fail, if both fail.
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
        _drop(won)  # cancelled while the other one was being stopped: the result will not be used
        raise
    return won.result()


async def _first_success(tasks: Sequence[asyncio.Task[Won]]) -> asyncio.Task[Won]:
    """Wait for the first task that succeeds. If two succeed at the same moment, the one started first wins."""
    running = set(tasks)
    while True:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done and task.exception() is None:
                return task
        if not running:
            return done.pop()


async def _stop(tasks: Sequence[asyncio.Task[Won]]) -> None:
    """Cancel tasks and drop results that they return nevertheless, even if this coroutine itself is cancelled."""
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
