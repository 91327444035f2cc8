"""Two deployments asked for one answer: the first to speak wins, the other is stopped."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


Won = TypeVar("Won", bound=_Closable)


async def first_to_speak(
    first: Coroutine[None, None, Won], after: float, second: Callable[[], Coroutine[None, None, Won] | None]
) -> Won:
    """Return what ``first`` returns, or, if it takes longer than ``after`` seconds, what the first of the two returns.

    One that fails leaves the other running. What is not returned has been stopped and closed when this returns or
    raises, also when this itself is cancelled.

    Raises:
        Exception: what the last one to fail raised.
    """
    tasks = [asyncio.create_task(first)]
    won: Won | None = None
    try:
        await asyncio.wait(tasks, timeout=after)
        if not tasks[0].done() and (other := second()) is not None:
            tasks.append(asyncio.create_task(other))
        won = await _first_success(tasks)
        return won
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and task.exception() is None and task.result() is not won:
                task.result().close()


async def _first_success(tasks: list[asyncio.Task[Won]]) -> Won:
    running = set(tasks)
    while True:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is None:
                return task.result()
        if not running:
            return done.pop().result()
