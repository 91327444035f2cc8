"""Calls of scripts on Redis, from a request's path: many at once cost few round trips, and none waits for long.

One session holds one connection, a line. Whatever breaks, or is too slow, ends the session, and until another stands
every call fails at once: that is the breaker, and the next session is its trial.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.client import COMMAND_SECONDS, address_of, reason, stopped, until_one_ends
from chukei.adapters.redis.commands import PendingCommand, Script, command
from chukei.adapters.redis.line import Line, connect

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.07
"""How long a call waits for its answer while nothing else is answered; then Redis is away."""

BATCH = 100
"""How many calls that nobody waits for go into one round trip."""

FIRST_DELAY, LAST_DELAY = 0.05, 1.0
"""Seconds between two attempts: doubled from the first to the last, each shortened by up to a half at random."""


class RedisScripts:
    """Calls ``scripts``. ``url`` is as for RedisBoard. ``what`` is said in the log to be what Redis is needed for.

    ``at_first`` returns what is to be called before anything else when a session begins, ``regularly`` what every
    ``period`` seconds. ``patience`` is for how many seconds a call waits while nothing is answered, at most one.

    Raises:
        ValueError: the URL is not usable.
    """

    def __init__(
        self,
        url: str,
        scripts: Iterable[Script],
        what: str,
        *,
        at_first: Callable[[], Sequence[PendingCommand]],
        regularly: Callable[[], Sequence[PendingCommand]],
        period: float,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self._address = address_of(url)
        self._scripts = tuple(scripts)
        self._what = what
        self._at_first = at_first
        self._regularly = regularly
        self._period = period
        self._patience = patience
        self._line: Line | None = None  # while a session lasts
        self._stands = False  # and nothing has to be called before anything else
        self._well = True
        self._tried = asyncio.Event()  # the first attempt is over
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether a session stands."""
        return self._stands and self._line is not None and not self._line.ended.done()

    def start(self) -> None:
        """Begin to connect."""
        if self._task is None:
            self._tried.clear()
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop. Calls that wait for an answer fail."""
        task, self._task = self._task, None
        if task is not None:
            await stopped([task])

    async def call(self, call: PendingCommand) -> object:
        """Make a call and wait for its answer.

        A process that has just started waits longer, once: its requests shall not be refused for what it has not asked.

        Raises:
            StoreAway: Redis is away, too slow, or refused.
        """
        line = self._line
        if line is None or not self._stands:
            await self._first_attempt()
            line = self._line
        if line is None or not self._stands or line.ended.done():
            raise StoreAway("Redis is away")
        return await line.call(call)

    def submit(self, call: PendingCommand) -> None:
        """Make a call soon, if there is a session."""
        if self._line is not None and not self._line.ended.done():
            self._line.submit(call)

    async def _first_attempt(self) -> None:
        if self._task is not None and not self._tried.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._tried.wait()

    async def _run(self) -> None:
        clock, delays = asyncio.get_running_loop().time, _delays()
        try:
            while True:
                began = clock()
                try:
                    await self._session()
                except Exception as error:  # noqa: BLE001 - nothing that a server can do may end the trying
                    if self._well:
                        logger.warning("%s: Redis is away: %s", self._what, reason(error))
                    self._well = False
                self._tried.set()
                if clock() - began > 2 * COMMAND_SECONDS + LAST_DELAY:  # no attempt takes as long
                    delays = _delays()
                await asyncio.sleep(next(delays))
        finally:
            self._tried.set()

    async def _session(self) -> None:
        line = await connect(self._address, self._patience, self._failed)
        try:
            for script in self._scripts:
                await line.ask(PendingCommand(command("SCRIPT", "LOAD", script.text)))
            self._line = line  # and what comes from now on is not among what is to be called at first
            await self._call_all(line, self._at_first())
            self._stands = True
            if not self._well:
                logger.info("%s: Redis is back", self._what)
            self._well = True
            self._tried.set()
            await until_one_ends(_until_ended(line), self._repeat(line))
        finally:
            self._stands, self._line = False, None
            await line.close()

    async def _repeat(self, line: Line) -> None:
        while True:
            await asyncio.sleep(self._period)
            await line.ask(PendingCommand(command("PING")))
            await self._call_all(line, self._regularly())

    async def _call_all(self, line: Line, calls: Sequence[PendingCommand]) -> None:
        """Make calls that nobody waits for, some at a time, lest others wait behind them."""
        for begin in range(0, len(calls), BATCH):
            *others, last = calls[begin : begin + BATCH]
            for call in others:
                line.submit(call)
            with suppress(StoreAway):  # if this one failed, that harms no other
                await line.ask(last)

    def _failed(self) -> None:
        """Say that one key holds something strange, which is no reason to give Redis up."""
        logger.error("%s: a script failed; does something else use the same keys?", self._what)


async def _until_ended(line: Line) -> None:
    await asyncio.wait({line.ended})
    raise line.ended.result()


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all replicas come at once
        delay = min(2 * delay, LAST_DELAY)
