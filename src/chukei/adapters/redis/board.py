"""What replicas share on Redis: changes of deployments, what is known about stored objects, ephemeral keys and calls.

A change is published. While it is valid it is also a key that Redis itself expires, so replicas' clocks need not agree.
A session has two lines, because a connection that has subscribed cannot send other commands. A failure, or a silence of
two seconds, ends the session, and a new one is tried after a growing delay. A request waits only for ``find``, and only
for a tenth of a second.

This module needs the ``redis`` extra. Import it only if Redis is configured.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial

from chukei.accounts.objects import ObjectRecord
from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.address import address_of
from chukei.adapters.redis.commands import Argument, PendingCommand, command
from chukei.adapters.redis.line import Line, RefusedError, connect
from chukei.adapters.redis.messages import BATCH, MAX_BYTES, MAX_TEXT_BYTES, BoardKeys, Command, Outbox, record_of
from chukei.adapters.redis.session import Availability, Sessions, before_long, growing, reason, until_one_ends
from chukei.metrics.definitions import STORE_AVAILABLE
from chukei.metrics.snapshot import Reading
from chukei.model import Change, Condition
from chukei.ports import Clock

logger = logging.getLogger(__name__)

PING_SECONDS = 1.0
"""Seconds between two pings on each connection. After as long without an answer Redis is unavailable."""

FIND_SECONDS = 0.1
"""Most seconds for which a request waits for what is known about the objects that it names."""

DELAYS = 0.1, 5.0
"""Seconds between two attempts, the first and the last."""


_SETTLED = "settled"


class RedisBoard:
    """See the Board, the ObjectStore, the JobBoard and the HoldStore ports.

    ``heard`` is called with other replicas' changes of any of the ``subjects``.

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
        self._address = address_of(url)
        self._subjects = frozenset(subjects)
        self._heard = heard
        self._keys = BoardKeys(namespace, secrets.token_hex(8))
        self._outbox = Outbox(self._keys, clock)
        self._news = asyncio.Event()  # there are pending commands, or the line has ended
        self._sent = asyncio.Event()  # there are no pending commands
        self._hearing = Availability(logger, "Redis is away and each replica learns for itself", "Redis is back")
        self._telling = Availability(logger, "Redis does not take what this replica learnt", "Redis takes it again")
        self._sessions = Sessions(self._session, self._hearing, DELAYS)
        self._line: Line | None = None  # for commands, during a session
        self._doubtful = False  # an answer was too slow, and none has come since

    def __repr__(self) -> str:
        state = "connected" if self._line is not None else "away"
        return f"<RedisBoard {state}, {len(self._subjects)} subjects, {len(self._outbox)} unsent>"

    def readings(self) -> list[Reading]:
        """Return whether Redis can be asked and takes changes, as a metric."""
        return [(STORE_AVAILABLE, ("board",), self._line is not None and self._telling.well)]

    def publish(self, change: Change) -> None:
        """See the Board port. While Redis is unavailable the last change of each subject is kept until it expires."""
        self._outbox.add(change)
        self._news.set()

    def keep(self, id: str, record: ObjectRecord) -> None:
        """See the ObjectStore port."""
        self._outbox.keep(id, record)
        self._news.set()

    def drop(self, id: str) -> None:
        """See the ObjectStore port."""
        self._outbox.drop(id)
        self._news.set()

    def follow(self, subjects: Iterable[str]) -> None:
        """See the Board port."""
        self._subjects = frozenset(subjects)

    async def find(self, ids: Sequence[str]) -> list[ObjectRecord | None]:
        """See the ObjectStore port. It raises at once while Redis is unavailable or has just been too slow.

        It also raises if an id is unknown and Redis takes nothing: then it may not know what others have made.
        """
        texts = await self._ask(*[("GETRANGE", self._keys.object_key(id), 0, MAX_BYTES) for id in ids])
        found = [record_of(id, text) for id, text in zip(ids, texts, strict=True)]
        if None in found:
            await self._ask(("SET", self._keys.probe, "", "XX"))  # writes nothing, and is refused like other writes
        return found

    async def _ask(self, *commands: Command) -> list[str]:
        """Return the answer to each command.

        Raises:
            StoreAway: Redis is unavailable, refuses, or has just been too slow.
        """
        if self._line is None or self._doubtful:
            raise StoreAway("Redis is away, or too slow")
        asking = [self._line.call(_refusable(*each)) for each in commands]
        try:
            _, late = await asyncio.wait(asking, timeout=FIND_SECONDS)
        finally:
            for each in asking:
                each.cancel()
        if late:
            self._doubtful = True
            raise StoreAway("Redis is too slow")
        return [_told(each) for each in asking]

    def keep_job(self, id: str, text: str) -> None:
        """See the JobBoard port."""
        if self._fits(text):
            self._outbox.keep_job(id, text or _SETTLED)
            self._news.set()

    async def find_job(self, id: str) -> str | None:
        """See the JobBoard port."""
        try:
            text = await self._text(self._keys.job_key(id))
        except StoreAway:
            return None
        return "" if text == _SETTLED else text or None

    def hold(self, name: str, text: str, seconds: float) -> None:
        """See the HoldStore port."""
        if self._fits(text):
            self._outbox.hold(name, text, seconds)
            self._news.set()

    def release(self, name: str) -> None:
        """See the HoldStore port."""
        self.hold(name, "", 0)

    async def held(self, name: str) -> str | None:
        """See the HoldStore port. It raises as ``find`` does."""
        return await self._text(self._keys.hold_key(name)) or None

    async def _text(self, key: str) -> str:
        [text] = await self._ask(("GETRANGE", key, 0, MAX_TEXT_BYTES - 1))
        return text

    def _fits(self, text: str) -> bool:
        """Whether a text can be read again. One that is too long is not sent, and the log says so."""
        size = len(text.encode("utf-8", "replace"))
        if size > MAX_TEXT_BYTES:
            logger.error("Redis is not given a record of %d bytes, so other replicas lack it", size)
        return size <= MAX_TEXT_BYTES

    def start(self) -> None:
        """See the Board port."""
        self._sessions.start()

    async def close(self) -> None:
        """See the Board port. While Redis is unavailable it does not wait."""
        if self._sessions.started and self._hearing.well and (self._outbox or self._line is not None):
            self._sent.clear()
            self._news.set()
            await before_long(self._sent)
        await self._sessions.close()

    async def _session(self) -> None:
        """Subscribe first, then read, so that no change is missed; receive and publish until the session breaks."""
        make = partial(Line, message=self._hear)
        async with aclosing(await connect(self._address, make)) as hearing:
            await hearing.ask(PendingCommand(command("SUBSCRIBE", self._keys.channel)))
            line = await self._open()
            try:
                await self._tell(line)  # before reading, so that outdated changes are not read
                await self._catch_up(line)
                self._line, self._doubtful = line, False
                self._sessions.stands()
                await until_one_ends(hearing.until_ended(), self._ping(hearing), self._speak(line))
            finally:
                current, self._line = self._line, None
                await (line if current is None else current).aclose()

    async def _ping(self, hearing: Line) -> None:
        """Send pings on both lines, so that they end if Redis does not answer, and are not idle if it does."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            for line in (hearing, self._line):
                if line is not None and not line.ended.done():
                    line.submit(PendingCommand(command("PING"), done=self._answered))

    def _answered(self, _: str) -> None:
        self._doubtful = False

    async def _catch_up(self, line: Line) -> None:
        """Read the changes that are valid now."""
        keys = [self._keys.key(each, of) for of in self._subjects for each in (Condition.COOLING, Condition.OPEN)]
        for start in range(0, len(keys), 2 * BATCH):
            asked = [
                _refusable(*arguments)
                for key in keys[start : start + 2 * BATCH]
                for arguments in (("GETRANGE", key, 0, MAX_BYTES), ("PTTL", key))
            ]
            answers = await line.ask(*asked)
            for value, left in zip(answers[::2], answers[1::2], strict=True):
                if isinstance(left, int) and left > 0:
                    self._take(value, left / 1000)

    def _hear(self, data: object) -> None:
        self._doubtful = False
        self._take(data)

    def _take(self, data: object, left: float | None = None) -> None:
        """Pass a change on if it is valid. Anybody with access to Redis may have written it."""
        change = self._keys.heard(data, left)
        if change is None or change.subject not in self._subjects:
            return
        try:
            self._heard(change)
        except Exception:
            logger.exception("what another replica learnt could not be taken up")

    async def _open(self) -> Line:
        """Return a line for commands. When it ends, ``_speak`` wakes up even if nothing is pending."""
        line = await connect(self._address)
        line.ended.add_done_callback(lambda _: self._news.set())
        return line

    async def _speak(self, line: Line) -> None:
        """Send pending commands. If Redis refused them, or closed the line, open another one.

        Redis and proxies close idle connections, which is no outage: the session ends only if no line can be opened.
        """
        clock, delays = asyncio.get_running_loop().time, growing(*DELAYS)
        opened = clock()
        while True:
            await self._news.wait()
            try:
                told = await self._tell(line)
            except ConnectionError:
                told = False
                self._news.set()
            closed = line.ended.done()
            if closed and not isinstance(line.ended.result(), ConnectionError):
                raise line.ended.result()
            if told and not closed:
                delays = growing(*DELAYS)
                continue
            if not closed or clock() - opened < PING_SECONDS:
                await asyncio.sleep(next(delays))
            # After a failover the address may lead to another server, which accepts the commands.
            old, self._line = line, await self._open()
            line, opened = self._line, clock()
            await old.aclose()

    async def _tell(self, line: Line) -> bool:
        """Send pending commands in batches; False if Redis refuses: a read-only replica, full memory, missing rights.

        It is not a transaction: with full memory Redis still publishes changes that it cannot store.
        """
        self._news.clear()
        while self._outbox:
            commands, taken = self._outbox.batch()
            answers = await line.ask(*[_refusable(*arguments) for arguments in commands])
            refusal = next((answer for answer in answers if isinstance(answer, RefusedError)), None)
            if refusal is not None:
                self._news.set()
                self._telling.lost(refusal)
                return False
            taken()
            if commands:
                self._telling.found()
        self._sent.set()
        return True


def _told(asked: "asyncio.Future[object]") -> str:
    """Return the text that Redis has sent; empty if it has sent none.

    Raises:
        StoreAway: it refuses, or the line has broken.
    """
    answer = asked.exception() or asked.result()
    if isinstance(answer, Exception):
        raise StoreAway(f"Redis does not tell: {reason(answer)}")
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else ""


def _refusable(*arguments: Argument) -> PendingCommand:
    return PendingCommand(command(*arguments), refusable=True)
