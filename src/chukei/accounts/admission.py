"""Admission of a request under its caller's quotas.

The amounts that a request may use are reserved before it is sent, and settled when it is over, however it ends.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from chukei.accounts.cost import cost_of
from chukei.accounts.estimate import Estimator, choices_of, output_of, tier_of, units_of
from chukei.accounts.limits import MICRO, RATES, SETTLED, Amounts, Grant, Headroom, Limit, Limits, Refusal, Subject
from chukei.accounts.policy import Policy
from chukei.accounts.stores import QuotaStore, StoreAway
from chukei.azure import MESSAGES
from chukei.errors import CallerError, RelayError, Unavailable, come_back
from chukei.ids import new_id
from chukei.model import End, Headers, Model
from chukei.record import Attempt, RequestRecord
from chukei.request.call import Call
from chukei.usage import NO_UNITS, Usage

logger = logging.getLogger(__name__)

ENDED = frozenset({"cancelled", "hedge_lost"})
"""The codes of attempts that the relay itself ended."""

QUICKEST = 300
"""Tokens a second of one choice; no model is faster."""

UNSEEN = QUICKEST // 2
"""Tokens of one choice that may have been generated but not received when an answer is cut off: those of half a second,
until Azure notices that the connection is closed."""

NOTHING = Usage()
NONE = Amounts(0, 0)
SHORTLY: Headers = [(b"retry-after", b"2")]
_NAMES = {
    limit: tuple(b"x-ratelimit-%b-%b" % (what, kind) for what in (b"limit", b"remaining", b"reset"))
    for limit, kind in ((Limit.REQUESTS_PER_MINUTE, b"requests"), (Limit.TOKENS_PER_MINUTE, b"tokens"))
}
_LIMIT_NAMES = {
    Limit.REQUESTS_PER_MINUTE: "requests per minute",
    Limit.TOKENS_PER_MINUTE: "tokens per minute",
    Limit.TOKENS_PER_DAY: "tokens per day",
    Limit.TOKENS_PER_MONTH: "tokens per month",
    Limit.MONEY_PER_MONTH: "money per month",
    Limit.CONCURRENT: "concurrent requests",
}


class Kept(NamedTuple):
    """What is reserved for work that goes on after its request: the reservation, if there is one, and its subjects.

    ``most`` is the usage to charge if the service never reports any.
    """

    id: str | None
    subjects: tuple[Subject, ...]
    most: Usage


class Reservation:
    """One request's reservation. ``headers`` report the caller's remaining limits."""

    __slots__ = ("_admission", "_call", "_caller", "_id", "_model", "_subjects", "headers")

    def __init__(
        self,
        admission: "Admission",
        call: Call,
        model: Model,
        grant: Grant | None,
        caller: str = "",
        *,
        subjects: tuple[Subject, ...] = (),
    ) -> None:
        self._admission = admission
        self._call = call
        self._model = model
        self._caller = caller
        self._id = grant.id if grant is not None else None
        self._subjects = subjects
        self.headers = _headers(grant.headroom) if grant is not None else []

    def settle(self, record: RequestRecord) -> None:
        """Settle the reservation in the background, and record the usage and its cost.

        Idempotent. It does not raise, whatever an upstream has reported: otherwise a concurrency slot would leak.
        """
        id, self._id = self._id, None
        try:
            used = self._bill(record, learn=id is not None)
        except Exception:
            logger.exception("request %s could not be billed; it stays as reserved", record.request_id)
            used = self._admission.estimator.amounts(self._call, self._model, self._caller)
        if id is not None:
            self._admission.settle(id, used)

    def keep(self) -> Kept:
        """Keep what is reserved beyond the request, but for its concurrency slot, and leave settling to the caller."""
        id, self._id = self._id, None
        if id is not None:
            self._admission.release(id)
        call, model = self._call, self._model
        given = self._admission.estimator.uncounted(call, model, self._caller)
        most = Usage(input=given, output=output_of(call, model), estimated=True)
        return Kept(id, self._subjects if id is not None else (), most)

    def _bill(self, record: RequestRecord, *, learn: bool) -> Amounts:
        """Record the usage and cost of the request, and return the amounts to charge to its caller.

        A request that was not sent, or was refused, costs nothing. If it was sent and Azure reported no usage, it is
        charged as reserved and marked as an estimate. So is an answer that reports no tokens although it has some, such
        as one in the background. Attempts that lost are charged too, since Azure bills them.
        """
        call, model, shown, usage = self._call, self._model, record.answering, record.usage
        if call.operation.free:
            record.usage, record.cost = None, 0
            return NONE
        if usage is None and shown is not None and call.operation.counted:
            usage = shown.usage
        if usage is not None and not usage.estimated:
            self._admission.estimator.note_reasoning(call, model, usage)
            if learn:
                self._admission.estimator.learn(call, model, usage, self._caller)
            if not usage.input and usage.output and call.operation.generates:  # the report lacks the input tokens
                given = self._admission.estimator.uncounted(call, model, self._caller)
                usage = replace(usage, input=given, estimated=True)
        elif usage is not None:
            silent = shown if shown is not None and usage is shown.usage else None
            usage = self._estimate(usage, silent, record.served_model, len(record.finish_reasons))
        answered = shown is not None and shown.usage is not None
        record.usage, record.units = usage, units_of(call, model, usage) if answered else NO_UNITS
        served, tier = record.served_model, record.service_tier
        cost = cost_of(usage or NOTHING, model.prices, record.units, served=served, tier=tier)
        charged = usage or NOTHING
        tokens, money = charged.input + charged.output, cost or 0
        used = answered or usage is not None
        for attempt in record.lost:
            if attempt.usage is not None:
                used = True
                attempt.usage = lost = self._estimate(attempt.usage, attempt, None)
                tokens += lost.input + lost.output
                money += cost_of(lost, model.prices, units_of(call, model), served=served, tier=tier) or 0
        unknown = used and (cost is None or (usage is None and record.units is NO_UNITS))
        record.cost = None if unknown else money
        return Amounts(tokens, money)

    def _estimate(self, usage: Usage, silent: Attempt | None, served: str | None, finished: int = 0) -> Usage:
        """Estimate the usage of an answer without a usage report; never less than ``usage``.

        ``silent`` is an attempt without output. ``served`` is Azure's name of the model. ``finished`` is the number of
        choices with a finish reason. The whole reserved output is charged if no output was received, or if the model
        may have reasoned invisibly. An attempt that the relay ended before its first token is charged at most what the
        fastest model can generate in that time. If not all choices finished, ``UNSEEN`` tokens a choice are added.
        """
        call, model, estimator = self._call, self._model, self._admission.estimator
        given, made, most = estimator.uncounted(call, model, self._caller), usage.output, output_of(call, model)
        choices = choices_of(call, model)
        if not (call.operation.name == MESSAGES.name and usage.input):  # a stream of messages begins with its input
            usage = replace(usage, input=max(usage.input, given))
        if silent is not None and silent.code in ENDED and call.stream:
            made = min(max(made, most), math.ceil(silent.seconds * QUICKEST * choices) + UNSEEN * choices)
        elif silent is not None or not made or estimator.may_reason(call, model, served):
            made = max(made, most)
        elif finished < choices:
            made = max(made, min(made + UNSEEN * choices, most))
        return replace(usage, output=made, estimated=True)


class Admission:
    """Admits requests within the limits of their callers. Without a store there are no limits.

    ``ledger_full`` says whether the ledger cannot take further entries.
    """

    def __init__(self, store: QuotaStore | None, ledger_full: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._ledger_full = ledger_full
        self.estimator = Estimator()
        self._settling: set[asyncio.Future[None]] = set()

    async def admit(self, call: Call, model: Model, policy: Policy, caller: str = "") -> Reservation:
        """Reserve the estimated usage of a request. Without limits the store is not asked.

        If the estimate exceeds what a limit could ever grant, only the certain part of it is reserved: a learnt ratio
        or possible hidden input must not make a request impossible.

        Raises:
            CallerError: 429 if a rate limit is exceeded, 403 if a quota is used up or the service tier is not allowed,
                400 if the request asks for more than its limits could ever grant.
            Unavailable: the quota store is unavailable, and the configuration says to refuse then; or the ledger is
                full.
        """
        if policy.rules.service_tiers is not None:
            policy.check_tier(tier_of(call))
        self._check_ledger()
        if self._store is None or not policy.subjects:
            return Reservation(self, call, model, None, caller)
        estimate = NONE if call.operation.free else self.estimator.amounts(call, model, caller)
        try:
            answer = await self._store.reserve(new_id(), policy.subjects, estimate)
            if isinstance(answer, Refusal) and math.isinf(answer.seconds):
                least = estimate if call.operation.free else self.estimator.least(call, model)
                if least != estimate:
                    answer = await self._store.reserve(new_id(), policy.subjects, least)
        except StoreAway:
            raise _quota_away() from None
        if isinstance(answer, Refusal):
            raise refused(answer, policy)
        return Reservation(self, call, model, answer, caller, subjects=policy.subjects)

    def _check_ledger(self) -> None:
        if self._ledger_full():
            message = "This relay cannot account for further requests at the moment; try again shortly."
            raise Unavailable("ledger_full", message, end=End.REFUSED, headers=SHORTLY)

    async def count(self, policy: Policy) -> Headers:
        """Count a request that uses no tokens: as one of ``requests_per_minute``, not as ``concurrent``.

        Returns the header fields that report the caller's remaining requests.

        Raises:
            CallerError: 429, the rate limit is exceeded.
            Unavailable: the quota store is unavailable, and the configuration says to refuse then.
        """
        if self._store is None or not policy.rates:
            return []
        try:
            answer = await self._store.reserve(new_id(), policy.rates, NONE)
        except StoreAway:
            raise _quota_away() from None
        if isinstance(answer, Refusal):
            raise refused(answer, policy)
        self.settle(answer.id, NONE)
        return _headers(answer.headroom)

    async def set_aside(self, policy: Policy, estimate: Amounts, most: Usage) -> Kept:
        """Reserve an estimate under the caller's quotas of a day or longer, for work that takes hours.

        Its rates per minute and its concurrency do not apply. ``most`` is the usage to charge if none is reported.

        Raises:
            CallerError: 403 if a quota is used up, 400 if the estimate exceeds what a quota could ever grant.
            Unavailable: as for ``admit``.
        """
        self._check_ledger()
        quotas = tuple(subject for each in policy.subjects if (subject := Subject(each.name, _quotas(each))).limits)
        if self._store is None or not quotas:
            return Kept(None, (), most)
        id = new_id()
        try:
            answer = await self._store.reserve(id, quotas, estimate)
        except StoreAway:
            raise _quota_away() from None
        if isinstance(answer, Refusal):
            raise refused(answer, policy)
        return Kept(id, quotas, most)

    async def headroom(self, policy: Policy) -> tuple[Headroom, ...]:
        """Return the remaining amounts of a caller's limits.

        Raises:
            StoreAway: the quota store is unavailable.
        """
        return await self._store.headroom(policy.subjects) if self._store is not None and policy.subjects else ()

    def release(self, id: str) -> None:
        """Release the concurrency slot of a reservation, which stays charged."""
        if self._store is not None:
            self._store.release(id)

    def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> None:
        """Settle a reservation in the background. ``subjects`` are those of one that another process may have made."""
        if self._store is None:
            return
        settling = self._store.settle(id, actual, subjects) if subjects else self._store.settle(id, actual)
        if settling is not SETTLED:
            task = asyncio.ensure_future(settling)
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """Wait for pending settlements, two seconds at most."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=2.0)


def _quotas(subject: Subject) -> Limits:
    """Return the limits of a subject that hold for a day or longer."""
    own = subject.limits
    return Limits(
        tokens_per_day=own.tokens_per_day, tokens_per_month=own.tokens_per_month, money_per_month=own.money_per_month
    )


def _quota_away() -> Unavailable:
    message = "What you may use cannot be looked up at the moment; try again shortly."
    return Unavailable("quota_unavailable", message, end=End.REFUSED, headers=SHORTLY)


def refused(refusal: Refusal, policy: Policy) -> RelayError:
    """Return the error for a refusal. It names the limit, where it is configured, the amounts, and when to retry."""
    kind, _, name = refusal.subject.partition(":")
    own = kind == "caller"
    place = policy.place_of(refusal.subject, refusal.limit)
    what = _LIMIT_NAMES[refusal.limit]
    whose = "your limit" if own else f"the limit of {'all callers' if name == 'everybody' else f'the group {name}'}"
    money = refusal.limit is Limit.MONEY_PER_MONTH
    most, used, asked = (_shown(value, money=money) for value in (refusal.most, refusal.used, refusal.asked))
    said = f"{what.capitalize()}: {whose} is {most} ({place}), {used} are taken, and this request asks for {asked}."
    if math.isinf(refusal.seconds):
        message = f"{said} It could never be granted; ask for less, for instance with a lower output limit."
        return CallerError(400, "request_exceeds_limit", message, rule=place)
    wait = max(refusal.seconds, 0.001)
    headers = come_back(wait)
    if refusal.limit in RATES:
        message = f"{said} Try again in {math.ceil(wait)} s."
        return CallerError(429, "rate_limit_exceeded", message, type="rate_limit_error", headers=headers, rule=place)
    headers = [headers[0], (b"x-should-retry", b"false")]
    return CallerError(403, "insufficient_quota", said, type="insufficient_quota", headers=headers, rule=place)


def _shown(value: int, *, money: bool) -> str:
    return f"{value / MICRO:,.2f}" if money else f"{value:,}"


def _headers(headroom: Sequence[Headroom]) -> Headers:
    """Return OpenAI's rate limit headers for the caller's own limits per minute."""
    headers: Headers = []
    for left in headroom:
        names = _NAMES.get(left.limit)
        if names is not None and left.subject.startswith("caller:"):
            most, remaining, reset = names
            headers.append((most, b"%d" % left.most))
            headers.append((remaining, b"%d" % left.remaining))
            headers.append((reset, b"%.3fs" % max(left.reset, 0.0)))
    return headers
