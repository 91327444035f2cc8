"""The request that begins a response in the background (``background: true``).

Once the request was sent, the service may make the response, whatever becomes of the answer. So a client that leaves
does not end the wait for the response's id: without it, nobody could bill or find the response.
"""

import asyncio
from collections.abc import Coroutine

from chukei.accounts.admission import Reservation
from chukei.azure import version_for
from chukei.gateway.exchange import Exchange
from chukei.objects.jobs import Jobs
from chukei.record import RequestRecord
from chukei.request.call import Call
from chukei.stream.whole_answer import AnswerReport
from chukei.upstream.affinity import response_id_of
from chukei.upstream.attempt import LeasedAnswer
from chukei.usage import NO_UNITS

ID_SECONDS = 30.0
"""Seconds for which the id is awaited after the client has left."""

STOPPING_SECONDS = 1.0
"""The same while the relay shuts down."""


class Background:
    """One such request. ``id`` is the response's, once it is known to be in the making."""

    def __init__(self, exchange: Exchange, call: Call, reservation: Reservation, jobs: Jobs) -> None:
        self._exchange = exchange
        self._call = call
        self._reservation = reservation
        self._jobs = jobs
        self.id: str | None = None

    async def opened(self, opening: Coroutine[None, None, LeasedAnswer]) -> LeasedAnswer:
        """Return the answer once it has begun. If the request is stopped meanwhile, wait for the id first."""
        exchange, task = self._exchange, asyncio.create_task(opening)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            try:
                if exchange.stopped is not None and is_sent(exchange):
                    exchange.resume()
                    await asyncio.wait({task}, timeout=ID_SECONDS if exchange.deserted else STOPPING_SECONDS)
            finally:
                task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is None:
                self._begin(task.result())
                task.result().drop()
            raise
        self._begin(answer)
        return answer

    def _begin(self, answer: LeasedAnswer) -> None:
        opened, deployment = answer.opened, answer.lease.deployment
        if opened.stream is not None:
            id, ended = opened.stream.response_id, opened.stream.complete
        else:
            id = response_id_of(opened.first)
            ended = opened.whole and not AnswerReport.of(opened.first).pending
        if id is None or ended:
            return
        self.id = id
        self._exchange.goes_on = True
        version = version_for(deployment, self._call.api_version)
        self._jobs.begin(id, deployment.identity, version, self._exchange.record, self._reservation.keep())

    def settle(self, record: RequestRecord) -> None:
        """Settle the request. The usage of a response in the making is settled at its end, by whoever sees it."""
        stream = self._exchange.stream
        if self.id is None:
            self._reservation.settle(record)
            return
        record.usage, record.units, record.cost = None, NO_UNITS, 0
        if stream is not None:
            self._jobs.seen(self.id, stream)


def is_sent(exchange: Exchange) -> bool:
    """Whether a deployment may have begun a response: a request was sent, and no answer has refused it."""
    return any(attempt.usage is not None for attempt in exchange.record.tries)
