"""Quotas that replicas share, on Redis: one script call at admission, one at settling.

A reservation that got no answer may have been made all the same, so it is given back later. What could not be settled
is kept, and settled when Redis is back, as long as it matters. Leases are renewed beside the requests, all together.

Needs the ``redis`` extra. Import it only where Redis is configured.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from contextlib import suppress

import msgspec

from chukei.accounts.limits import SETTLED, Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.quota import KEPT_SECONDS, RENEW_SECONDS, wanted
from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.commands import PendingCommand
from chukei.adapters.redis.line import COMMAND_SECONDS
from chukei.adapters.redis.quota_script import SERVER_TIME, QuotaCommands, read_answer, read_look, scripts
from chukei.adapters.redis.scripts import ANSWER_SECONDS, RedisScripts
from chukei.ports import Clock

logger = logging.getLogger(__name__)

OWED = 10_000
"""How many reservations are kept to be settled later; beyond that the oldest stay charged as reserved."""

RENEWED = 100
"""How many reservations' leases one call renews."""

PREPARED = 4096
"""For how many callers commands are kept, some kilobytes each."""


class RedisQuota:
    """See the QuotaStore port. ``url`` is as for RedisBoard; stores of one ``namespace`` share their accounts.

    ``patience`` is for how many seconds a request waits while Redis answers nothing. ``server_time`` is the expression
    by which the scripts know the time, for tests.

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
    ) -> None:
        self._namespace = namespace
        self._scripts = scripts(server_time)
        self._clock = clock
        self._prepared: dict[int, tuple[Sequence[Subject], QuotaCommands]] = {}
        self._held: OrderedDict[str, tuple[QuotaCommands, float]] = OrderedDict()  # not settled, since when
        self._owed: OrderedDict[str, tuple[PendingCommand, float]] = OrderedDict()  # until when it matters
        self._none_owed: asyncio.Event | None = None  # once somebody waits for it
        self._redis = RedisScripts(
            url,
            self._scripts,
            "quotas",
            at_first=lambda: [*self._renewals(), *self._still_owed()],
            regularly=self._renewals,
            period=RENEW_SECONDS,
            patience=patience,
        )

    def __repr__(self) -> str:
        state = "connected" if self._redis.up else "away"
        return f"<RedisQuota {state}, {len(self._held)} reservations, {len(self._owed)} unsettled>"

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        """See the QuotaStore port. Without any limit Redis is not asked.

        Raises:
            ValueError: there is or was a reservation of that id.
        """
        commands = self._commands(subjects)
        if not commands.limits:
            return Grant(id)
        call = PendingCommand(commands.reserve(id, estimate), self._scripts.reserve)
        try:
            answer = _integers(await self._redis.call(call))
        except BaseException:
            if call.sent:
                self._redis.submit(self._owe(id, commands, Amounts()))
            raise
        result = read_answer(id, commands.limits, estimate, answer)
        if isinstance(result, Grant):
            self._held[id] = commands, self._clock()
        return result

    def settle(self, id: str, actual: Amounts) -> Awaitable[None]:
        """See the QuotaStore port. Nobody has to wait: it leaves with what is asked next, or is kept and done later."""
        held = self._held.pop(id, None)
        if held is not None:
            self._redis.submit(self._owe(id, held[0], actual))
        return SETTLED

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        """See the QuotaStore port."""
        commands = self._commands(subjects)
        if not commands.limits:
            return ()
        call = PendingCommand(commands.reserve("", Amounts()), self._scripts.reserve)
        return read_look(commands.limits, _integers(await self._redis.call(call)))

    def start(self) -> None:
        """See the QuotaStore port."""
        self._redis.start()

    async def close(self) -> None:
        """See the QuotaStore port. While Redis is away there is nothing to wait for."""
        if self._redis.up and self._owed:
            self._none_owed = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._none_owed.wait()
        await self._redis.close()
        if self._owed:
            logger.warning("quotas: %d requests stay charged as reserved", len(self._owed))
            self._owed.clear()

    def _commands(self, subjects: Sequence[Subject]) -> QuotaCommands:
        """Return the commands of some subjects. A caller's are the same object as long as its policy is."""
        known = self._prepared.get(id(subjects))
        if known is not None and known[0] is subjects:
            return known[1]
        commands = QuotaCommands(self._namespace, self._scripts, wanted(subjects))
        if isinstance(subjects, tuple):
            if len(self._prepared) >= PREPARED:
                self._prepared.clear()
            self._prepared[id(subjects)] = subjects, commands
        return commands

    def _owe(self, id: str, commands: QuotaCommands, actual: Amounts) -> PendingCommand:
        """Keep what is to be settled until Redis has taken it."""
        call = PendingCommand(commands.settle(id, actual), self._scripts.settle, id, self._taken)
        self._owed[id] = call, self._clock() + commands.lasting
        if len(self._owed) > OWED:
            self._owed.popitem(last=False)
        return call

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
        """Return the calls that renew the leases of all reservations, without those that nobody seems to settle."""
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


def _integers(answer: object) -> list[int]:
    """Return a script's answer.

    Raises:
        StoreAway: it is none.
    """
    try:
        return msgspec.convert(answer, list[int])
    except msgspec.ValidationError:
        raise StoreAway("Redis answers strangely") from None
