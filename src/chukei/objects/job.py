"""Work that goes on at the service after its request: what is kept until its end is seen, and its bill. Pure.

It is a response that is made in the background, or a batch. The request that began a response has an entry of its own
in the ledger, without tokens, and the bill is a second entry; a batch has its bill only. The bill's id and its time
follow from the object's id and the request, so however many relays see the end, and however often, the ledger has it
once.
"""

import hashlib
import math

import msgspec
from msgspec.structs import replace

from chukei.accounts.admission import QUICKEST, UNSEEN, Kept
from chukei.accounts.cost import cost_of, cost_of_batch
from chukei.accounts.ledger import Entry
from chukei.accounts.limits import Amounts
from chukei.model import End, Model
from chukei.objects.kinds import BATCH, RESPONSE
from chukei.stream.whole_answer import AnswerReport
from chukei.usage import DECODE_ERRORS, Usage

BOUND_SECONDS = 85_800.0
"""Seconds after which a response that has not ended is charged as reserved: ten minutes before the reservation
expires."""

BATCH_BOUND_SECONDS = 14 * 86_400.0
"""The same for a batch. Most end within a day, but Azure does not end one that takes longer (Microsoft: "Getting
started with Azure OpenAI batch deployments")."""

_LONGEST_PAUSE = 6 * 3600.0
"""Seconds between two looks at most."""

_BROKEN_OFF = frozenset({"cancelled", "failed"})


class Job(msgspec.Struct, frozen=True):
    """A response or a batch in the making, which ``kind`` tells.

    ``id`` is its id, ``identity`` that of the deployment or resource that makes it, ``version`` the one of its API.
    ``entry`` is the bill but for what the end will tell; its time is that of the request. ``kept`` is what is reserved.
    """

    id: str
    identity: str
    version: str
    entry: Entry
    kept: Kept
    kind: str = RESPONSE

    @property
    def bound(self) -> float:
        """Seconds after which it is charged as reserved."""
        return BATCH_BOUND_SECONDS if self.kind == BATCH else BOUND_SECONDS


class Bill(msgspec.Struct, frozen=True):
    """What is written to the ledger, and charged."""

    entry: Entry
    amounts: Amounts


def text_of(job: Job) -> str:
    """Return a job as the stores keep it."""
    return msgspec.json.encode(job).decode()


def read(text: str) -> Job | None:
    """Return a stored job; None for a text that another program wrote."""
    try:
        return _decoder.decode(text)
    except DECODE_ERRORS:
        return None


_decoder = msgspec.json.Decoder(Job)


def bill_of(job: Job, report: AnswerReport | None, model: Model | None, seconds: float) -> Bill:
    """Return the bill of a job that has ended ``seconds`` after it was begun.

    ``report`` is None if its end is not known. ``model`` has the prices, and may be configured no longer.

    Work without a usage report is charged as reserved. If a response failed or was cancelled, its output is at most
    what the fastest model could have generated until then.
    """
    reasons = report.finish_reasons if report is not None else {}
    reason = reasons.get(0)
    usage = report.usage if report is not None else None
    if usage is None:
        usage = job.kept.most
        if reason in _BROKEN_OFF and job.kind == RESPONSE:
            usage = replace(usage, output=min(usage.output, math.ceil(seconds * QUICKEST) + UNSEEN))
    served, tier = (report.model, report.service_tier) if report is not None else (None, None)
    prices = model.prices if model is not None else None
    if job.kind == BATCH:
        cost, requests = cost_of_batch(usage, prices, served), job.entry.requests if report is None else report.requests
    else:
        cost, requests = cost_of(usage, prices, served=served, tier=tier), 0
    entry = replace(
        job.entry,
        id=_entry_id(job),
        end=str(_end_of(report)),
        status=200,
        code=None,
        finish_reason=reason,
        wasted=0,
        retries=0,
        hedges=0,
        duration=seconds * 1000,
        served_model=served,
        service_tier=tier,
        cost=cost,
        requests=requests,
        **_counts(usage),
    )
    return Bill(entry, Amounts(usage.input + usage.output, cost or 0))


def _counts(usage: Usage) -> dict[str, int | bool]:
    return {
        "input": usage.input,
        "cached": usage.cached,
        "output": usage.output,
        "reasoning": usage.reasoning,
        "estimated": usage.estimated,
        "cache_written": usage.cache_written,
        "audio_input": usage.audio_input,
        "audio_output": usage.audio_output,
    }


def _end_of(report: AnswerReport | None) -> End:
    if report is None:
        return End.BACKGROUND
    return End.CLIENT_ABORTED if report.finish_reasons.get(0) == "cancelled" else report.end


def _entry_id(job: Job) -> str:
    """Return the id of the bill, 32 hexadecimal digits like every entry's."""
    return hashlib.blake2b(f"{job.identity} {job.id}".encode("utf-8", "replace"), digest_size=16).hexdigest()


def next_look(age: float, first: float, bound: float = BOUND_SECONDS) -> float:
    """Return the age at which to look next: ``first`` seconds, then twice that, and so on up to the bound."""
    if age >= bound:
        return age
    doublings = max(math.floor(math.log2(age / first)) + 1, 0) if age >= first else 0
    return min(first * 2.0**doublings, max(age, first) + _LONGEST_PAUSE, bound)
