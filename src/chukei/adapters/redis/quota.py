"""Quotas that replicas share, on Redis: one script call at admission, one at settling.

A session has one line for all requests, so concurrent requests share round trips, and none waits for long. A failure or
a slow answer ends the session. Until there is another, every call fails at once: that is the circuit breaker, and the
next session is its trial.

A reservation without an answer may have been made, so it is released later. A settlement that fails is queued until
Redis is back, as long as it still matters. Leases are renewed in the background, all together.

This module needs the ``redis`` extra. Import it only if Redis is configured.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from contextlib import aclosing, suppress
from functools import partial

import msgspec

from chukei.accounts.limits import SETTLED, Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.quota import KEPT_SECONDS, RENEW_SECONDS, wanted
from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.address import address_of
from chukei.adapters.redis.commands import PendingCommand, command
from chukei.adapters.redis.line import Line, connect
from chukei.adapters.redis.quota_script import SERVER_TIME, QuotaCommands, read_answer, read_look, scripts
from chukei.adapters.redis.session import Availability, Sessions, before_long, until_one_ends
from chukei.metrics.definitions import STORE_AVAILABLE
from chukei.metrics.snapshot import Reading
from chukei.ports import Clock

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.07
"""Seconds for which a request waits for its answer while nothing else is answered; then Redis is unavailable."""

DELAYS = 0.05, 1.0
"""Seconds between two attempts to connect, the first and the last."""

OWED = 10_000
"""How many reservations are kept to be settled later; beyond that the oldest stay charged as reserved."""

KEPT = 20_000
"""How many reservations without slots are known at most, about a kilobyte each."""

RENEWED = 100
"""How many reservations' leases one call renews."""

BATCH = 100
"""How many calls that nobody waits for go into one round trip."""

PREPARED = 4096
"""For how many callers commands are kept, some kilobytes each."""


class RedisQuota:
    """See the QuotaStore port. ``url`` is as for RedisBoard; stores of one ``namespace`` share their accounts.

    ``patience`` is for how many seconds a request waits while Redis answers nothing, at most one. ``server_time``, the
    expression by which the scripts know the time, and ``renew_seconds`` are for tests.

    Raises:
        ValueError: the URL is not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "chukei",
        patience: float = ANSWER_SECONDS,
        clock: Clock = time.monotonic,
        server_time: str = SERVER_TIME,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._address = address_of(url)
        self._namespace = namespace
        self._make = partial(Line, patience, _failed)
        self._clock = clock
        self._scripts = scripts(server_time)
        self._renew_seconds = renew_seconds
        self._prepared: dict[int, tuple[Sequence[Subject], QuotaCommands]] = {}
        self._held: OrderedDict[str, tuple[QuotaCommands, float]] = OrderedDict()  # not settled, since when
        self._kept: OrderedDict[str, tuple[QuotaCommands, float]] = OrderedDict()  # the same, without slots
        self._owed: OrderedDict[str, tuple[PendingCommand, float]] = OrderedDict()  # until when it matters
        self._none_owed: asyncio.Event | None = None  # once somebody waits for it
        self._line: Line | None = None  # while a session lasts
        self._stands = False  # and what is owed has been settled
        availability = Availability(logger, "quotas: Redis is away", "quotas: Redis is back")
        self._sessions = Sessions(self._session, availability, DELAYS)

    def __repr__(self) -> str:
        state = "connected" if self._standing() else "away"
        return f"<RedisQuota {state}, {len(self._held)} reservations, {len(self._owed)} unsettled>"

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        """See the QuotaStore port. Without any limit Redis is not asked.

        Raises:
            ValueError: a reservation with this id exists or existed.
        """
        commands = self._commands(subjects)
        if not commands.limits:
            return Grant(id)
        call = PendingCommand(commands.reserve(id, estimate), self._scripts.reserve)
        try:
            answer = await self._ask(call)
        except BaseException:
            if call.sent:
                self._settle(id, commands, Amounts())
            raise
        result = read_answer(id, commands.limits, estimate, answer)
        if isinstance(result, Grant):
            self._held[id] = commands, self._clock()
        return result

    def release(self, id: str) -> None:
        """See the QuotaStore port. If Redis is unavailable, the leases expire, since they are not renewed."""
        held = self._held.pop(id, None)
        if held is None:
            return
        self._kept[id] = held
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        if self._line is not None and not self._line.ended.done():
            for lease in held[0].leases(id)[1:]:
                self._line.submit(PendingCommand(command("ZREM", lease, id), refusable=True))

    def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> Awaitable[None]:
        """See the QuotaStore port. It does not wait: the command is sent with the next ones, or queued."""
        held = self._held.pop(id, None) or self._kept.pop(id, None)
        if held is not None:
            self._settle(id, held[0], actual)
        elif subjects:
            self._settle(id, self._commands(subjects), actual)
        return SETTLED

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        """See the QuotaStore port."""
        commands = self._commands(subjects)
        if not commands.limits:
            return ()
        call = PendingCommand(commands.reserve("", Amounts()), self._scripts.reserve)
        return read_look(commands.limits, await self._ask(call))

    def start(self) -> None:
        """See the QuotaStore port."""
        self._sessions.start()

    async def close(self) -> None:
        """See the QuotaStore port. While Redis is unavailable it does not wait."""
        if self._standing() and self._owed:
            self._none_owed = asyncio.Event()
            await before_long(self._none_owed)
        await self._sessions.close()
        if self._owed:
            logger.warning("quotas: %d requests stay charged as reserved", len(self._owed))
            self._owed.clear()

    def _commands(self, subjects: Sequence[Subject]) -> QuotaCommands:
        """Return the commands of subjects, cached by identity: a caller's policy always has the same tuple."""
        known = self._prepared.get(id(subjects))
        if known is not None and known[0] is subjects:
            return known[1]
        commands = QuotaCommands(self._namespace, self._scripts, wanted(subjects))
        if isinstance(subjects, tuple):
            if len(self._prepared) >= PREPARED:
                self._prepared.clear()
            self._prepared[id(subjects)] = subjects, commands
        return commands

    def readings(self) -> list[Reading]:
        """Return whether Redis can be asked, as a metric."""
        return [(STORE_AVAILABLE, ("quota",), self._standing() is not None)]

    def _standing(self) -> Line | None:
        """Return the line of the current session."""
        line = self._line
        return line if line is not None and self._stands and not line.ended.done() else None

    async def _ask(self, call: PendingCommand) -> list[int]:
        """Make a call and return the answer of its script.

        A process that has just started waits longer, once, so that its first requests are not refused.

        Raises:
            StoreAway: Redis is unavailable, too slow, refused the call or sent an invalid answer.
        """
        if not self._stands:
            await self._sessions.first_attempt()
        line = self._standing()
        if line is None:
            raise StoreAway("Redis is away")
        try:
            return msgspec.convert(await line.call(call), list[int])
        except msgspec.ValidationError:
            raise StoreAway("Redis answers strangely") from None

    def _settle(self, id: str, commands: QuotaCommands, actual: Amounts) -> None:
        """Settle as soon as there is a session; pending settlements are kept until Redis has accepted them."""
        call = PendingCommand(commands.settle(id, actual), self._scripts.settle, id, self._taken)
        self._owed[id] = call, self._clock() + commands.lasting
        if len(self._owed) > OWED:
            self._owed.popitem(last=False)
        if self._line is not None and not self._line.ended.done():
            self._line.submit(call)

    def _taken(self, id: str) -> None:
        self._owed.pop(id, None)
        if not self._owed and self._none_owed is not None:
            self._none_owed.set()

    def _still_owed(self) -> list[PendingCommand]:
        now = self._clock()
        for id, (_, until) in list(self._owed.items()):
            if until <= now:
                del self._owed[id]
        return [call for call, _ in self._owed.values()]

    def _renewals(self) -> list[PendingCommand]:
        """Return the calls that renew the leases of all reservations, except those that are too old."""
        now = self._clock()
        while self._held:
            oldest = next(iter(self._held))
            if now - self._held[oldest][1] < KEPT_SECONDS:
                break
            del self._held[oldest]
        leases = [(id, commands.leases(id)) for id, (commands, _) in self._held.items()]
        leases = [(id, keys) for id, keys in leases if keys]
        return [self._renewal(leases[begin : begin + RENEWED]) for begin in range(0, len(leases), RENEWED)]

    def _renewal(self, leases: Sequence[tuple[str, list[str]]]) -> PendingCommand:
        keys = [key for _, each in leases for key in each]
        arguments = [argument for id, each in leases for argument in (id, len(each) - 1)]
        return self._scripts.renew.call(keys, arguments)

    async def _session(self) -> None:
        async with aclosing(await connect(self._address, self._make)) as line:
            try:
                for script in self._scripts:
                    await line.ask(PendingCommand(command("SCRIPT", "LOAD", script.text)))
                self._line = line  # and what comes from now on is not among what is called at first
                await _call_all(line, [*self._renewals(), *self._still_owed()])
                self._stands = True
                self._sessions.stands()
                await until_one_ends(line.until_ended(), self._renew(line))
            finally:
                self._stands, self._line = False, None

    async def _renew(self, line: Line) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            await line.ask(PendingCommand(command("PING")))
            await _call_all(line, self._renewals())


async def _call_all(line: Line, calls: Sequence[PendingCommand]) -> None:
    """Make calls that nobody waits for, some at a time, lest others wait behind them."""
    for begin in range(0, len(calls), BATCH):
        *others, last = calls[begin : begin + BATCH]
        for call in others:
            line.submit(call)
        with suppress(StoreAway):  # if this one failed, that harms no other
            await line.ask(last)


def _failed() -> None:
    """Say that one key holds something strange, which is no reason to give Redis up."""
    logger.error("quotas: a script failed; does something else use the same keys?")
