"""Calls of scripts on Redis, from a request's path: many at once cost few round trips, and none waits for long.

One session holds one connection, a line. Whatever breaks, or is too slow, ends the session, and until another stands
every call fails at once: that is the breaker, and the next session is its trial.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from functools import partial

from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.address import address_of
from chukei.adapters.redis.commands import PendingCommand, Script, command
from chukei.adapters.redis.line import COMMAND_SECONDS, Line, connect
from chukei.adapters.redis.session import Availability, Sessions, until_one_ends

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.07
"""How long a call waits for its answer while nothing else is answered; then Redis is away."""

BATCH = 100
"""How many calls that nobody waits for go into one round trip."""

DELAYS = 0.05, 1.0
"""Seconds between two attempts, the first and the last."""


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
        self._make = partial(Line, patience, self._failed)
        self._line: Line | None = None  # while a session lasts
        self._stands = False  # and nothing has to be called before anything else
        availability = Availability(logger, f"{what}: Redis is away", f"{what}: Redis is back")
        self._sessions = Sessions(self._session, availability, DELAYS)

    @property
    def up(self) -> bool:
        """Whether a session stands."""
        return self._stands and self._line is not None and not self._line.ended.done()

    def start(self) -> None:
        """Begin to connect."""
        self._sessions.start()

    async def close(self) -> None:
        """Stop. Calls that wait for an answer fail."""
        await self._sessions.close()

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
        if self._sessions.started and not self._sessions.tried.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._sessions.tried.wait()

    async def _session(self) -> None:
        async with aclosing(await connect(self._address, self._make)) as line:
            try:
                for script in self._scripts:
                    await line.ask(PendingCommand(command("SCRIPT", "LOAD", script.text)))
                self._line = line  # and what comes from now on is not among what is to be called at first
                await self._call_all(line, self._at_first())
                self._stands = True
                self._sessions.stands()
                await until_one_ends(line.until_ended(), self._repeat(line))
            finally:
                self._stands, self._line = False, None

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
