"""Calls of scripts on Redis, from a request's path: many at once cost few round trips, and none waits for long.

One session holds a few connections. What is to be called waits in a queue, from which a free connection takes all that
is there in one round trip. Whatever breaks, or is too slow, ends the session, and until another stands every call fails
at once: that is the breaker, and the next session is its trial.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha1

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from chukei.adapters.redis_client import COMMAND_SECONDS, ended, pool_for, reason, stopped, until_one_ends
from chukei.ports import Clock, StoreAway

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.075
"""How long a call waits for its answer while nothing else is answered; then Redis is away."""

LOOKS, LOOK_SECONDS = 4, 0.005
"""Before that is concluded, how often and for how long it is looked again: it may be this process that was busy."""

LANES = 4
"""How many round trips may be under way together."""

BATCH = 100
"""How many calls go into one round trip."""

FIRST_DELAY, LAST_DELAY = 0.05, 1.0
"""Seconds between two attempts: doubled from the first to the last, each shortened by up to a half at random."""

Word = str | int


class Call:
    """A script to call with its keys and arguments.

    ``done`` is called when Redis has answered, whether anybody waits for that or not. ``sent`` says that the script may
    have run, with or without an answer.
    """

    __slots__ = ("arguments", "done", "future", "keys", "script", "sent")

    def __init__(
        self, script: str, keys: Sequence[Word], arguments: Sequence[Word], done: Callable[[], None] | None = None
    ) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.done = done
        self.future: asyncio.Future[object] | None = None  # where somebody waits
        self.sent = False

    @property
    def given_up(self) -> bool:
        """Whether nobody wants it any more."""
        return self.done is None and self.future is not None and self.future.done()

    def command(self, name: str, script: str) -> tuple[Word, ...]:
        """Return the command, which is EVAL or EVALSHA."""
        return (name, script, len(self.keys), *self.keys, *self.arguments)

    def fail(self, why: str) -> None:
        """Tell who waits that there is no answer."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(StoreAway(why))

    def succeed(self, answer: object) -> None:
        """Hand the answer to who waits."""
        if self.done is not None:
            self.done()
        if self.future is not None and not self.future.done():
            self.future.set_result(answer)


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
        scripts: Iterable[str],
        what: str,
        *,
        at_first: Callable[[], Sequence[Call]],
        regularly: Callable[[], Sequence[Call]],
        period: float,
        patience: float = ANSWER_SECONDS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._pool = pool_for(url)
        self._names = {script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in scripts}
        self._what = what
        self._at_first = at_first
        self._regularly = regularly
        self._period = period
        self._patience = patience
        self._clock = clock
        self._queue: deque[Call] = deque()
        self._idle: list[asyncio.Future[None]] = []  # connections that wait for work
        self._well = True
        self._heard = 0.0
        self._broken: asyncio.Future[None] | None = None
        self._tried: asyncio.Future[None] | None = None  # done when the first attempt is over
        self._task: asyncio.Task[None] | None = None
        self.up = False

    def start(self) -> None:
        """Begin to connect."""
        if self._task is None:
            self._tried = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._run(self._tried))

    async def close(self) -> None:
        """Stop. Calls that wait for an answer fail."""
        task, self._task = self._task, None
        if task is not None:
            await stopped([task])

    async def call(self, call: Call) -> object:
        """Call a script and wait for its answer.

        Raises:
            StoreAway: Redis is away, too slow, or refused.
        """
        if not self.up and self._tried is not None:
            await asyncio.wait({self._tried}, timeout=self._patience)
        if not self.up:
            raise StoreAway("Redis is away")
        loop = asyncio.get_running_loop()
        call.future = loop.create_future()
        self.submit(call)
        timer = loop.call_later(self._patience, self._look, call, LOOKS)
        try:
            return await call.future
        finally:
            timer.cancel()

    def submit(self, call: Call) -> None:
        """Have a script called soon, if a session stands."""
        if not self.up:
            call.fail("Redis is away")
            return
        self._queue.append(call)
        while self._idle:
            work = self._idle.pop()
            if not work.done():
                work.set_result(None)
                break

    def _look(self, call: Call, left: int) -> None:
        """End the session when a call still has no answer, and nothing else was answered for as long."""
        if call.future is None or call.future.done():
            return
        loop = asyncio.get_running_loop()
        wait = self._patience - (self._clock() - self._heard)
        if wait > 0:  # it is only that so many ask
            loop.call_later(max(wait, LOOK_SECONDS), self._look, call, LOOKS)
            return
        if left:
            loop.call_later(LOOK_SECONDS, self._look, call, left - 1)
            return
        self.up = False
        call.fail("Redis is too slow")
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(TimeoutError("no answer in time"))

    async def _run(self, tried: asyncio.Future[None]) -> None:
        delays = _delays()
        try:
            while True:
                began = self._clock()
                try:
                    await self._session(tried)
                except Exception as error:  # noqa: BLE001 - nothing that a server can do may end the trying
                    if self._well:
                        logger.warning("%s: Redis is away: %s", self._what, reason(error))
                    self._well = False
                _conclude(tried)
                if self._clock() - began > 2 * COMMAND_SECONDS + LAST_DELAY:  # no attempt takes as long
                    delays = _delays()
                await asyncio.sleep(next(delays))
        finally:
            _conclude(tried)

    async def _session(self, tried: asyncio.Future[None]) -> None:
        client = Redis(connection_pool=self._pool())
        try:
            for script in self._names:
                await client.script_load(script)
            await self._send_all(client, self._at_first())
            self._broken = asyncio.get_running_loop().create_future()
            self.up = True
            if not self._well:
                logger.info("%s: Redis is back", self._what)
            self._well = True
            _conclude(tried)
            lanes = [self._lane(client) for _ in range(LANES)]
            await until_one_ends(self._broken_off(), self._repeat(client), *lanes)
        finally:
            self.up = False
            self._idle.clear()
            while self._queue:
                self._queue.popleft().fail("Redis is away")
            await ended(client.connection_pool.disconnect)

    async def _broken_off(self) -> None:
        assert self._broken is not None
        await self._broken

    async def _lane(self, client: Redis) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                work = loop.create_future()
                self._idle.append(work)
                await work
            calls = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            await self._send(client, [call for call in calls if not call.given_up])

    async def _repeat(self, client: Redis) -> None:
        while True:
            await asyncio.sleep(self._period)
            await client.ping()
            await self._send_all(client, self._regularly())

    async def _send_all(self, client: Redis, calls: Sequence[Call]) -> None:
        for begin in range(0, len(calls), BATCH):
            await self._send(client, calls[begin : begin + BATCH])

    async def _send(self, client: Redis, calls: Sequence[Call]) -> None:
        """Call scripts in one round trip, and in another those that Redis has forgotten."""
        for call in calls:
            call.sent = True
        try:
            answers = await _exchange(client, [call.command("EVALSHA", self._names[call.script]) for call in calls])
            unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            again = await _exchange(client, [calls[n].command("EVAL", calls[n].script) for n in unknown])
        except BaseException as error:
            self.up = False
            for call in calls:
                call.fail(type(error).__name__)
            raise
        for n, answer in zip(unknown, again, strict=True):
            answers[n] = answer
        self._heard = self._clock()
        self._hand_out(calls, answers)

    def _hand_out(self, calls: Sequence[Call], answers: Sequence[object]) -> None:
        """Give each call its answer. That one key holds something strange is no reason to give Redis up.

        Raises:
            ResponseError: Redis does not work at all: a read-only replica, full memory, missing rights.
        """
        refusal: ResponseError | None = None
        for call, answer in zip(calls, answers, strict=True):
            if not isinstance(answer, ResponseError):
                call.succeed(answer)
                continue
            if type(answer) is ResponseError:
                logger.error("%s: a script failed; does something else use the same keys?", self._what)
            else:
                refusal, self.up = answer, False
            call.fail(reason(answer))
        if refusal is not None:
            raise refusal


async def _exchange(client: Redis, commands: Sequence[tuple[Word, ...]]) -> list[object]:
    """Send commands in one round trip and return the answers, errors among them."""
    if not commands:
        return []
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute(raise_on_error=False))


def _conclude(tried: asyncio.Future[None]) -> None:
    if not tried.done():
        tried.set_result(None)


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all replicas come at once
        delay = min(2 * delay, LAST_DELAY)
