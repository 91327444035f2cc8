"""One request for stored objects while it is served, and what others may see of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from chukei.accounts.admission import Admission
from chukei.accounts.policy import Policy
from chukei.gateway.exchange import Exchange
from chukei.model import Headers
from chukei.objects.answers import Json
from chukei.objects.references import Reference
from chukei.pool import Pool
from chukei.ports import Incoming, Reply
from chukei.request.object_routes import ObjectRoute
from chukei.request.routes import Route
from chukei.stream.stream import Stream
from chukei.stream.whole_answer import AnswerReport
from chukei.upstream.connect import Opened
from chukei.upstream.failover import Failover
from chukei.upstream.object_client import Asked, Query

if TYPE_CHECKING:
    from chukei.objects.jobs import Jobs


Witness = Callable[[str, AnswerReport | Stream | None], None]
"""Is told each answer that describes a response, by the response's id; None that it was deleted."""


Deleting = Callable[[str], Awaitable[None]]
"""Is told the id of a response before it is deleted, and awaited."""


async def nobody_waits(_: str) -> None:
    """Ignore that a response will be deleted."""


def nobody(*_: object) -> None:
    """Ignore what answers describe."""


class Services(Protocol):
    """The part of the gateway's services that is needed."""

    @property
    def pool(self) -> Pool:
        """The models."""
        ...

    @property
    def admission(self) -> Admission:
        """The quotas of callers."""
        ...

    @property
    def jobs(self) -> "Jobs | None":
        """The batches that are not billed yet."""
        ...

    @property
    def failover(self) -> Failover:
        """Who has the registry of known objects, connections and credentials."""
        ...


@dataclass(slots=True)
class ObjectRequest:
    """One request while it is served. ``headers`` are those of every answer to it.

    ``reach`` is told the bytes of its body in memory. A body that flows is in ``parts``; ``length`` is theirs if it is
    known, ``content_type`` if it is not the client's. ``told`` gets an answer of success.
    """

    exchange: Exchange
    route: Route
    object: ObjectRoute
    policy: Policy
    incoming: Incoming
    reply: Reply
    headers: Headers
    reach: Callable[[int], None]
    query: Query = ()
    body: bytes = b""
    parts: AsyncIterator[bytes] | None = None
    length: int | None = None
    content_type: bytes | None = None
    told: Callable[[Json], None] | None = None
    references: list[Reference] = field(default_factory=list)

    @property
    def sent_headers(self) -> Headers:
        """The client's header fields, with the content type of what is sent."""
        headers = self.incoming.headers
        if self.content_type is None:
            return headers
        return [*(field for field in headers if field[0] != b"content-type"), (b"content-type", self.content_type)]

    @property
    def caller(self) -> str:
        """The caller's name, for its budgets."""
        return self.exchange.record.caller or ""


Ask = Callable[[ObjectRequest, Asked], Awaitable[Opened]]
"""Asks a resource in the course of a request, which notes the attempt.

Raises:
    UpstreamError: it failed or refused.
"""
