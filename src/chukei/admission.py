"""Between knowing a caller and asking a deployment: may this request be made, and on whose account?

What it may use is reserved before it is sent and corrected when it is over, however it ends.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

import msgspec

from chukei.call import Call
from chukei.errors import CallerError, RelayError, Unavailable, come_back
from chukei.estimate import Estimator, cost_of, output_of
from chukei.ids import new_id
from chukei.limits import MICRO, RATES, SETTLED, Amounts, Grant, Headroom, Limit, Refusal
from chukei.model import End, Headers, Model
from chukei.policy import Policy
from chukei.stores import QuotaStore, StoreAway
from chukei.usage import Usage

SHORTLY: Headers = [(b"retry-after", b"2")]
_NAMES = {
    limit: tuple(b"x-ratelimit-%b-%b" % (what, kind) for what in (b"limit", b"remaining", b"reset"))
    for limit, kind in ((Limit.REQUESTS_PER_MINUTE, b"requests"), (Limit.TOKENS_PER_MINUTE, b"tokens"))
}
_WORDS = {
    Limit.REQUESTS_PER_MINUTE: "requests per minute",
    Limit.TOKENS_PER_MINUTE: "tokens per minute",
    Limit.TOKENS_PER_DAY: "tokens per day",
    Limit.TOKENS_PER_MONTH: "tokens per month",
    Limit.MONEY_PER_MONTH: "money per month",
    Limit.CONCURRENT: "concurrent requests",
}


class Admitted:
    """One request's reservation. ``headers`` tell the caller what is left of its own limits."""

    __slots__ = ("_admission", "_call", "_id", "_model", "headers")

    def __init__(self, admission: "Admission", call: Call, model: Model, grant: Grant | None) -> None:
        self._admission = admission
        self._call = call
        self._model = model
        self._id = grant.id if grant is not None else None
        self.headers = _headers(grant.headroom) if grant is not None else []

    def estimated(self, used: Usage, served: str | None) -> Usage:
        """Return the usage of an answer that was not counted, from the estimate of what was relayed.

        Its prompt is taken as it was reserved. All the output that was reserved is taken where nothing of it was seen,
        or where the model, which Azure calls ``served``, may have reasoned unseen; never less than what was relayed.
        """
        estimator = self._admission.estimator
        output = used.output
        if not output or estimator.may_reason(self._call, self._model, served):
            output = max(output, output_of(self._call, self._model))
        return msgspec.structs.replace(used, input=estimator.prompt(self._call, self._model), output=output)

    def settle(self, used: Usage | None) -> int | None:
        """Correct the reservation to what was used, in the background; return what that cost, if the model has a price.

        A second time does nothing more.
        """
        usage = used or Usage()
        cost = cost_of(usage, self._model.prices)
        if used is not None:
            self._admission.estimator.learn(self._call, self._model, used)
        if self._id is not None:
            self._admission.settle(self._id, Amounts(usage.input + usage.output, cost or 0))
            self._id = None
        return cost


class Admission:
    """Admits requests within the limits of their callers. Without a store there are no limits.

    ``books_full`` says that further requests could not be accounted for.
    """

    def __init__(self, store: QuotaStore | None, books_full: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._books_full = books_full
        self.estimator = Estimator()
        self._settling: set[asyncio.Future[None]] = set()

    async def admit(self, call: Call, model: Model, policy: Policy) -> Admitted:
        """Reserve what a request may use. Without limits nothing is asked of the store.

        Raises:
            CallerError: 429 where it may be tried again later, 403 where a quota is used up, 400 where it asks for
                more than its limits could ever grant.
            Unavailable: the accounts cannot be asked, and the configuration says to refuse then; or the ledger is full.
        """
        if self._books_full():
            message = "This relay cannot account for further requests at the moment; try again shortly."
            raise Unavailable("ledger_full", message, end=End.REFUSED, headers=SHORTLY)
        if self._store is None or not policy.subjects:
            return Admitted(self, call, model, None)
        estimate = self.estimator.amounts(call, model)
        try:
            answer = await self._store.reserve(new_id(), policy.subjects, estimate)
        except StoreAway:
            message = "What you may use cannot be looked up at the moment; try again shortly."
            raise Unavailable("quota_unavailable", message, end=End.REFUSED, headers=SHORTLY) from None
        if isinstance(answer, Refusal):
            raise refused(answer, policy)
        return Admitted(self, call, model, answer)

    async def headroom(self, policy: Policy) -> tuple[Headroom, ...]:
        """Return what a caller has left.

        Raises:
            StoreAway: the accounts cannot be asked.
        """
        return await self._store.headroom(policy.subjects) if self._store is not None and policy.subjects else ()

    def settle(self, id: str, actual: Amounts) -> None:
        """Settle a reservation beside whatever else goes on."""
        if self._store is None:
            return
        settling = self._store.settle(id, actual)
        if settling is not SETTLED:
            task = asyncio.ensure_future(settling)
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """Wait for what is being settled."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=2.0)


def refused(refusal: Refusal, policy: Policy) -> RelayError:
    """Return what the caller is told: which limit, where it stands, how much was asked, and when to come back."""
    kind, _, name = refusal.subject.partition(":")
    own = kind == "caller"
    place = policy.where.get(refusal.limit.value, "") if own else f"groups.{name}.total.{refusal.limit.value}"
    what = _WORDS[refusal.limit]
    whose = "your limit" if own else f"the limit of {'all callers' if name == 'everybody' else f'the group {name}'}"
    money = refusal.limit is Limit.MONEY_PER_MONTH
    most, used, asked = (_shown(value, money=money) for value in (refusal.most, refusal.used, refusal.asked))
    said = f"{what.capitalize()}: {whose} is {most} ({place}), {used} are taken, and this request asks for {asked}."
    if math.isinf(refusal.seconds):
        message = f"{said} It could never be granted; ask for less, for instance with a lower output limit."
        return CallerError(400, "request_exceeds_limit", message)
    wait = max(refusal.seconds, 0.001)
    headers = come_back(wait)
    if refusal.limit in RATES:
        message = f"{said} Try again in {math.ceil(wait)} s."
        return CallerError(429, "rate_limit_exceeded", message, type="rate_limit_error", headers=headers)
    headers = [headers[0], (b"x-should-retry", b"false")]
    return CallerError(403, "insufficient_quota", said, type="insufficient_quota", headers=headers)


def _shown(value: int, *, money: bool) -> str:
    return f"{value / MICRO:,.2f}" if money else f"{value:,}"


def _headers(headroom: Sequence[Headroom]) -> Headers:
    """Return OpenAI's fields for the caller's own limits per minute."""
    headers: Headers = []
    for left in headroom:
        names = _NAMES.get(left.limit)
        if names is not None and left.subject.startswith("caller:"):
            most, remaining, reset = names
            headers.append((most, b"%d" % left.most))
            headers.append((remaining, b"%d" % left.remaining))
            headers.append((reset, b"%.3fs" % max(left.reset, 0.0)))
    return headers
