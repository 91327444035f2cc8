"""Quotas that replicas share, on Redis: one script call at admission, one at settling.

A reservation that got no answer may have been made all the same, so it is given back later. What could not be settled
is kept, and settled when Redis is back, as long as it matters. Leases are renewed beside the requests, all together.

Needs the ``redis`` extra. Import it only where Redis is configured: the library costs 50 to 100 ms.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from chukei.adapters.redis_client import COMMAND_SECONDS
from chukei.adapters.redis_quota_script import SERVER_TIME, Words, read_answer, read_look, scripts
from chukei.adapters.redis_scripts import ANSWER_SECONDS, Call, RedisScripts
from chukei.limits import RATES, Amounts, Grant, Headroom, Refusal, Subject
from chukei.ports import Clock, StoreAway
from chukei.quota import KEPT_SECONDS, KINDS, MINUTE_SECONDS, RENEW_SECONDS, Wanted, wanted

logger = logging.getLogger(__name__)

OWED = 10_000
"""How many reservations are kept to be settled later; beyond that the oldest stay charged as reserved."""

RENEWED = 100
"""How many reservations' leases one call renews."""


class _Held(NamedTuple):
    """A reservation of this process that is not settled."""

    limits: list[Wanted]
    since: float


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
        self._words = Words(namespace)
        self._scripts = scripts(server_time)
        self._clock = clock
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._owed: OrderedDict[str, tuple[Call, float]] = OrderedDict()  # with the time until which it matters
        self._none_owed = asyncio.Event()
        self._none_owed.set()
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
        limits = wanted(subjects)
        if not limits:
            return Grant(id)
        call = Call(self._scripts.reserve, self._words.keys(id, limits), self._words.reserve(id, limits, estimate))
        try:
            answer = _integers(await self._redis.call(call))
        except BaseException:
            if call.sent:
                self._redis.submit(self._owe(id, limits, Amounts()))
            raise
        result = read_answer(id, limits, estimate, answer)
        if isinstance(result, Grant):
            self._held[id] = _Held(limits, self._clock())
        return result

    async def settle(self, id: str, actual: Amounts) -> None:
        """See the QuotaStore port. Returns when it is done, or is to be done later."""
        held = self._held.pop(id, None)
        if held is None:
            return
        call = self._owe(id, held.limits, actual)
        if self._redis.up:
            with suppress(StoreAway):
                await self._redis.call(call)

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        """See the QuotaStore port."""
        limits = wanted(subjects)
        if not limits:
            return ()
        call = Call(self._scripts.reserve, self._words.keys("", limits), self._words.reserve("", limits, Amounts()))
        return read_look(limits, _integers(await self._redis.call(call)))

    def start(self) -> None:
        """See the QuotaStore port."""
        self._redis.start()

    async def close(self) -> None:
        """See the QuotaStore port. While Redis is away there is nothing to wait for."""
        if self._redis.up:
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMAND_SECONDS):
                    await self._none_owed.wait()
        await self._redis.close()
        if self._owed:
            logger.warning("quotas: %d requests stay charged as reserved", len(self._owed))
            self._owed.clear()

    def _owe(self, id: str, limits: list[Wanted], actual: Amounts) -> Call:
        """Keep what is to be settled until Redis has taken it."""

        def taken() -> None:
            self._owed.pop(id, None)
            if not self._owed:
                self._none_owed.set()

        call = Call(self._scripts.settle, self._words.keys(id, limits), self._words.settle(id, limits, actual), taken)
        calendar = any(KINDS[kind] not in RATES for _, kind, _ in limits)
        self._owed[id] = call, self._clock() + (KEPT_SECONDS if calendar else MINUTE_SECONDS)
        self._none_owed.clear()
        if len(self._owed) > OWED:
            self._owed.popitem(last=False)
        return call

    def _still_owed(self) -> list[Call]:
        now = self._clock()
        for id, (_, until) in list(self._owed.items()):
            if until <= now:
                del self._owed[id]
        if not self._owed:
            self._none_owed.set()
        return [call for call, _ in self._owed.values()]

    def _renewals(self) -> list[Call]:
        """Return the calls that renew the leases of all reservations, without those that nobody seems to settle."""
        now = self._clock()
        while self._held:
            oldest = next(iter(self._held))
            if now - self._held[oldest].since < KEPT_SECONDS:
                break
            del self._held[oldest]
        leases = [(id, self._words.leases(id, held.limits)) for id, held in self._held.items()]
        leases = [(id, keys) for id, keys in leases if keys]
        return [self._renewal(leases[begin : begin + RENEWED]) for begin in range(0, len(leases), RENEWED)]

    def _renewal(self, leases: Sequence[tuple[str, list[str]]]) -> Call:
        keys = [key for _, each in leases for key in each]
        arguments = [word for id, each in leases for word in (id, len(each) - 1)]
        return Call(self._scripts.renew, keys, arguments)


def _integers(answer: object) -> list[int]:
    """Return a script's answer.

    Raises:
        StoreAway: it is none.
    """
    try:
        return msgspec.convert(answer, list[int])
    except msgspec.ValidationError:
        raise StoreAway("Redis answers strangely") from None
