"""The ledger's entry for a finished request. Pure."""

from datetime import datetime

from chukei.accounts.ledger import Entry
from chukei.azure import OPERATIONS, REALTIME, TRANSCRIPTION_IN_SESSION
from chukei.record import RequestRecord
from chukei.usage import Usage

BATCH = "batch"
"""The operation of a batch's bill. The requests for batches are operations of stored objects, which have no entry."""

_NAMES = frozenset(
    {
        *(operation.name for operation in OPERATIONS.values() if not operation.free),
        BATCH,
        REALTIME.name,
        TRANSCRIPTION_IN_SESSION,
    }
)
_NOTHING = Usage()


def entry_of(record: RequestRecord, *, id: str, time: datetime) -> Entry | None:
    """Return the entry of a request, or None if it gets no entry.

    Every request of a known caller for an operation of a model that may cost something gets an entry, whatever its
    outcome. Similar requests that the relay itself refused share one. Requests for pages, stored objects and unknown
    routes, and requests that failed authentication, get none, so that a client without a credential cannot fill the
    database.

    ``id`` must be unique among all relays. ``time`` is when the request ended, with a time zone. The group is the
    caller's first. ``retries`` counts the deployments asked in sequence after the first, ``hedges`` those asked in
    parallel.
    """
    who, operation = record.who, record.operation
    if who is None or operation is None or operation not in _NAMES:
        return None
    usage = record.usage or _NOTHING
    tries, ends = record.tries, record.finish_reasons
    hedges = sum([attempt.hedge for attempt in tries])
    return Entry(
        id=id,
        time=time,
        request_id=record.request_id,
        caller=who.name,
        kind=str(who.kind),
        group=who.groups[0] if who.groups else None,
        key_id=who.key_id,
        operation=operation,
        model=record.model,
        deployment=record.deployment,
        stream=record.stream,
        status=record.status,
        end=str(record.end or ""),
        code=record.code,
        finish_reason=next(iter(ends.values())) if ends else None,
        input=usage.input,
        cached=usage.cached,
        output=usage.output,
        reasoning=usage.reasoning,
        estimated=usage.estimated,
        wasted=sum([lost.usage.input + lost.usage.output for lost in record.lost if lost.usage is not None]),
        cost=0 if usage is _NOTHING and record.answering is None else record.cost,  # an unsent request costs nothing
        first_token=None if record.first_token is None else record.first_token * 1000,
        duration=record.duration * 1000,
        retries=max(len(tries) - hedges - 1, 0),
        hedges=hedges,
        upstream_request_id=record.upstream_request_id,
        region=record.region,
        served_model=record.served_model,
        service_tier=record.service_tier,
        cache_written=usage.cache_written,
        audio_input=usage.audio_input,
        audio_output=usage.audio_output,
        images=record.units.images,
        characters=record.units.characters,
        heard_ms=usage.heard_ms or record.units.heard_ms,
        requests=record.count,
    )
