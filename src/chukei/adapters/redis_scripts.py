"""Calls of scripts on Redis, from a request's path: many at once cost few round trips, and none waits for long.

One session holds a few connections. What is to be called waits in a queue, from which a free connection takes all that
is there in one round trip. Whatever breaks, or is too slow, ends the session, and until another stands every call fails
at once: that is the breaker, and the next session is its trial.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha1

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from chukei.adapters.redis_client import COMMAND_SECONDS, ended, pool_for, reason, stopped, until_one_ends
from chukei.ports import StoreAway

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.07
"""How long a call waits for its answer while nothing else is answered; then Redis is away."""

LOOKS, LOOK_SECONDS = 3, 0.005
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
    ) -> None:
        self._pool = pool_for(url)
        self._names = {script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in scripts}
        self._what = what
        self._at_first = at_first
        self._regularly = regularly
        self._period = period
        self._patience = patience
        self._queue: deque[Call] = deque()
        self._waiting: set[Call] = set()  # those for whose answer somebody waits
        self._idle: list[asyncio.Future[None]] = []  # connections that wait for work
        self._well = True
        self._heard = 0.0
        self._broken = asyncio.Event()
        self._tried = asyncio.Event()  # the first attempt is over
        self._task: asyncio.Task[None] | None = None
        self.up = False

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

    async def call(self, call: Call) -> object:
        """Call a script and wait for its answer.

        A process that has just started waits longer, once: its requests shall not be refused for what it has not asked.

        Raises:
            StoreAway: Redis is away, too slow, or refused.
        """
        if self._task is not None and not self._tried.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._tried.wait()
        if not self.up:
            raise StoreAway("Redis is away")
        loop = asyncio.get_running_loop()
        call.future = loop.create_future()
        self._waiting.add(call)
        self.submit(call)
        timer = loop.call_later(self._patience, self._look, call, LOOKS)
        try:
            return await call.future
        finally:
            timer.cancel()
            self._waiting.discard(call)

    def submit(self, call: Call) -> None:
        """Have a script called soon, if a session stands."""
        if not self.up:
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
        wait = self._patience - (loop.time() - self._heard)
        if wait > 0:  # it is only that so many ask
            loop.call_later(max(wait, LOOK_SECONDS), self._look, call, LOOKS)
            return
        if left:
            loop.call_later(LOOK_SECONDS, self._look, call, left - 1)
            return
        self._give_up()
        self._broken.set()

    def _give_up(self) -> None:
        """Let nobody wait any longer."""
        self.up = False
        for call in self._waiting:
            call.fail("Redis is away")

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
        client = Redis(connection_pool=self._pool())
        try:
            for script in self._names:
                await client.script_load(script)
            await self._send_all(client, self._at_first())
            self._broken.clear()
            self.up = True
            if not self._well:
                logger.info("%s: Redis is back", self._what)
            self._well = True
            self._tried.set()
            lanes = [self._lane(client) for _ in range(LANES)]
            await until_one_ends(self._until_broken(), self._repeat(client), *lanes)
        finally:
            self._give_up()
            self._idle.clear()
            self._queue.clear()
            await ended(client.connection_pool.disconnect)

    async def _until_broken(self) -> None:
        await self._broken.wait()
        raise TimeoutError("no answer in time")

    async def _lane(self, client: Redis) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                work = loop.create_future()
                self._idle.append(work)
                await work
            calls = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            calls = [call for call in calls if not call.given_up]
            if calls:
                await self._send(client, calls)

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
        except BaseException:
            self._give_up()
            raise
        for n, answer in zip(unknown, again, strict=True):
            answers[n] = answer
        self._heard = asyncio.get_running_loop().time()
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
            elif type(answer) is not ResponseError:
                refusal = answer
            else:
                call.fail(reason(answer))
                logger.error("%s: a script failed; does something else use the same keys?", self._what)
        if refusal is not None:
            self._give_up()
            raise refusal


async def _exchange(client: Redis, commands: Sequence[tuple[Word, ...]]) -> list[object]:
    """Send commands in one round trip and return the answers, errors among them."""
    if not commands:
        return []
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute(raise_on_error=False))


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all replicas come at once
        delay = min(2 * delay, LAST_DELAY)
