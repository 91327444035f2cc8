"""What the replicas tell each other of deployments, on Redis: published, and kept for whoever starts later.

A change is published, and while it holds it is also a key that Redis itself expires, so no replica's clock is compared
with another's. One session holds all connections: whatever breaks, or is silent for two seconds, ends it, and a new one
is tried after a growing delay. A request waits for nothing here but ``home``, and for that a tenth of a second.

Needs the ``redis`` extra. Import it only where Redis is configured: the library costs 50 to 100 ms.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from chukei.adapters.redis.client import (
    COMMAND_SECONDS,
    ended,
    pipelined,
    pool_for,
    reason,
    stopped,
    undisturbed,
    until_one_ends,
)
from chukei.adapters.redis.messages import BATCH, MAX_BYTES, BoardKeys, Outbox
from chukei.model import Change, Condition
from chukei.ports import Clock

logger = logging.getLogger(__name__)

SILENT_SECONDS = 1.0
"""After this long without a message a ping is sent; after as long again without an answer Redis is away."""

HOME_SECONDS = 0.1
"""How long a request waits at most to learn where its stateful id was made."""

FIRST_DELAY, LAST_DELAY = 0.1, 5.0
"""Seconds between two attempts: doubled from the first to the last, each shortened by up to a half at random."""


class RedisBoard:
    """See the Board port. ``heard`` is told what other replicas found out about any of the ``subjects``.

    ``url`` is ``redis://`` or, with TLS, ``rediss://[user:password@]host[:port][/number]``, with options for TLS only
    (``?ssl_ca_certs=…``); it is neither logged nor shown. Boards of one ``namespace`` hear each other.

    Raises:
        ValueError: the URL is not usable.
    """

    def __init__(
        self,
        url: str,
        subjects: Iterable[str],
        heard: Callable[[Change], None],
        *,
        namespace: str = "chukei",
        clock: Clock = time.monotonic,
    ) -> None:
        self._pool = pool_for(url)
        self._subjects = frozenset(subjects)
        self._heard = heard
        self._clock = clock
        self._keys = BoardKeys(namespace, secrets.token_hex(8))
        self._outbox = Outbox(self._keys, clock)
        self._news = asyncio.Event()  # something waits to be sent
        self._sent = asyncio.Event()  # nothing waits any more
        self._hearing = _Availability("Redis is away and each replica learns for itself", "Redis is back")
        self._telling = _Availability("Redis does not take what this replica learnt", "Redis takes it again")
        self._client: Redis | None = None  # while a session stands
        self._stood_at = 0.0
        self._doubtful = False  # an answer was too slow, and nothing was heard since
        self._asking: set[asyncio.Task[str | None]] = set()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "connected" if self._client is not None else "away"
        return f"<RedisBoard {state}, {len(self._subjects)} subjects, {len(self._outbox)} unsent>"

    def publish(self, change: Change) -> None:
        """See the Board port. While Redis is away the last change for each subject is kept until it expires."""
        self._outbox.add(change)
        self._news.set()

    def remember(self, made: str, home: str) -> None:
        """See the Board port. Only a digest of the id leaves the process."""
        self._outbox.add_made(made, home)
        self._news.set()

    async def home(self, made: str) -> str | None:
        """See the Board port. Returns at once while Redis is away or has just been too slow."""
        client = self._client
        if client is None or self._doubtful:
            return None
        asking = asyncio.create_task(self._ask(client, self._keys.made_key(made)))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            done, _ = await asyncio.wait({asking}, timeout=HOME_SECONDS)
        finally:
            asking.cancel()
        if not done:
            self._doubtful = True
        return asking.result() if done and not asking.cancelled() else None

    async def _ask(self, client: Redis, key: str) -> str | None:
        try:
            value: object = await client.getrange(key, 0, MAX_BYTES)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the request goes on without
            logger.debug("it cannot be told where an id was made: %s", reason(error))
            return None
        return value.decode("utf-8", "replace") or None if isinstance(value, bytes) else None

    def start(self) -> None:
        """See the Board port."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """See the Board port. While Redis is away there is nothing to wait for."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._hearing.well and (self._outbox or self._client is not None):
            self._sent.clear()
            self._news.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._sent.wait()
        task.cancel()
        await asyncio.wait({task})

    async def _run(self) -> None:
        delays = _delays()
        while True:
            self._stood_at = self._clock()
            try:
                await self._session()
            except Exception as error:  # noqa: BLE001 - nothing that a server can do may end the hearing
                self._hearing.lost(reason(error))
            if self._clock() - self._stood_at > 2 * LAST_DELAY:  # no attempt takes as long
                delays = _delays()
            await asyncio.sleep(next(delays))

    async def _session(self) -> None:
        """Hear and tell until something breaks. Only tasks that can be stopped for certain speak to Redis."""
        client = Redis(connection_pool=self._pool())
        hearing = client.pubsub()
        try:
            await until_one_ends(self._join(client, hearing))
            self._client, self._stood_at, self._doubtful = client, self._clock(), False
            self._hearing.found()
            await until_one_ends(self._listen(hearing), self._speak(client))
        finally:
            self._client = None
            await undisturbed(self._leave(client, hearing))

    async def _leave(self, client: Redis, hearing: PubSub) -> None:
        await stopped(self._asking)
        await ended(hearing.aclose)
        await ended(client.connection_pool.disconnect)

    async def _join(self, client: Redis, hearing: PubSub) -> None:
        """Subscribe first and read then, so that nothing falls between."""
        await hearing.subscribe(self._keys.channel)
        if await hearing.get_message(timeout=COMMAND_SECONDS) is None:
            raise TimeoutError("no answer")
        await self._tell(client)  # before reading, so that what it undoes is not read
        await self._catch_up(client)

    async def _listen(self, hearing: PubSub) -> None:
        """Take messages, and notice silence: the library's own health check never misses the answer to its ping."""
        pinged = False
        while True:
            message = await hearing.get_message(timeout=SILENT_SECONDS)
            if message is not None:
                pinged = self._doubtful = False
                if message["type"] == "message":
                    self._take(message["data"])
                await asyncio.sleep(0)  # what has arrived is read without waiting: let others run
            elif pinged:
                raise TimeoutError("no answer to a ping")
            else:
                pinged = True
                await hearing.ping()

    async def _catch_up(self, client: Redis) -> None:
        """Read what holds now."""
        subjects = list(self._subjects)
        for start in range(0, len(subjects), BATCH):
            async with client.pipeline(transaction=False) as pipeline:
                for subject in subjects[start : start + BATCH]:
                    for condition in (Condition.COOLING, Condition.OPEN):
                        key = self._keys.key(condition, subject)
                        pipeline.execute_command("GETRANGE", key, 0, MAX_BYTES)
                        pipeline.execute_command("PTTL", key)
                answers = await pipeline.execute(raise_on_error=False)
            for value, left in zip(answers[::2], answers[1::2], strict=True):
                if isinstance(left, int) and left > 0:
                    self._take(value, left / 1000)

    def _take(self, data: object, left: float | None = None) -> None:
        """Hand a change on, if it is one: anybody who can reach Redis may have written it."""
        change = self._keys.heard(data, left)
        if change is None or change.subject not in self._subjects:
            return
        try:
            self._heard(change)
        except Exception:
            logger.exception("what another replica learnt could not be taken up")

    async def _speak(self, client: Redis) -> None:
        """Send what waits; what is refused, again after a growing delay."""
        delays = _delays()
        while True:
            await self._news.wait()
            if await self._tell(client):
                delays = _delays()
            else:
                # After a failover the address may lead to another server, which takes it.
                await client.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(next(delays))

    async def _tell(self, client: Redis) -> bool:
        """Send what waits, in batches; False when Redis refuses: a read-only replica, full memory, missing rights.

        Not a transaction, for with its memory full Redis still publishes what it cannot keep.
        """
        self._news.clear()
        while self._outbox:
            commands, put_back = self._outbox.batch()
            refusal: Exception | None = None
            try:
                refusal = await pipelined(client, commands)
            except BaseException:
                put_back()
                self._news.set()
                raise
            if refusal is not None:
                put_back()
                self._news.set()
                self._telling.lost(reason(refusal))
                return False
            if commands:
                self._telling.found()
        self._sent.set()
        return True


class _Availability:
    """Logs that something is no longer well, once, and that it is again."""

    def __init__(self, lost: str, found: str) -> None:
        self._lost, self._found = lost, found
        self.well = True

    def lost(self, reason: str) -> None:
        if self.well:
            logger.warning("%s: %s", self._lost, reason)
        self.well = False

    def found(self) -> None:
        if not self.well:
            logger.info("%s", self._found)
        self.well = True


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all replicas come at once
        delay = min(2 * delay, LAST_DELAY)
