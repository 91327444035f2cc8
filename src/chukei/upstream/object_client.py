"""Requests for stored objects: written for the resource that keeps them, sent with its credential.

There is no choice of a deployment, so there is no lease, no failover and no verdict on the deployment's health.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlencode

from chukei import azure
from chukei.azure import Passing
from chukei.errors import RelayError, UpstreamError
from chukei.model import Deployment, Dialect, Headers, Operation
from chukei.ports import Clock, Credential, Upstream
from chukei.record import Attempt
from chukei.request.fields import Fields
from chukei.request.object_routes import ObjectRoute
from chukei.trace import TraceContext
from chukei.upstream.attempt import CANCELLED, note_answer, passed_on
from chukei.upstream.connect import Opened, Waits, connect
from chukei.upstream.refusals import failure
from chukei.upstream.writing import UpstreamRequest

STATUSES = (200, 201, 202, 204)
"""Statuses of success. The classic API answers 201 for what it makes, and 204 for what it deletes."""

UPLOAD_SECONDS = 86_400.0
"""Bound of a whole upload. A part that is not taken, or does not come, ends it much earlier."""

AMBIGUOUS = frozenset({"upstream_lost", "upstream_timeout", "unexpected_answer", "unexpected_content_type"})
"""Failures after which a request may have had its effect, so that OpenAI's clients must not repeat it."""

Query = Sequence[tuple[str, str]]


@lru_cache(256)
def operation_of(route: ObjectRoute) -> Operation:
    """Return what answers to a route may be."""
    dialect = Dialect.RESPONSES if route.streams else Dialect.OPEN
    return Operation(route.name, route.path, dialect, large_events=True, media=route.media, statuses=STATUSES)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for an object to a deployment's resource, before it is written. ``path`` has the ids filled in.

    ``headers`` are the client's. A body may be given as its ``parts``, with their ``length`` if it is known.
    """

    route: ObjectRoute
    deployment: Deployment
    path: str
    query: Query = ()
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    parts: AsyncIterator[bytes] | None = None
    length: int | None = None
    api_version: str | None = None
    wants_stream: bool = False


class ObjectClient:
    """Sends requests for objects."""

    def __init__(
        self, upstream: Upstream, credentials: Mapping[str, Credential], clock: Clock, cap: int, passing: Passing
    ) -> None:
        self._upstream = upstream
        self._credentials = credentials
        self._clock = clock
        self._cap = cap
        self._passing = passing

    async def ask(
        self, asked: Asked, request_id: str, attempt: Attempt, waits: Waits, trace: TraceContext | None = None
    ) -> Opened:
        """Return the answer once it has begun. ``attempt`` is filled in either way.

        The time for the answer begins when a body in parts has been sent completely.

        Raises:
            UpstreamError: the resource failed or refused.
            RelayError, ClientGone: whatever the parts of the body raise.
        """
        started, route = self._clock(), asked.route
        try:
            credential = await self._credentials[asked.deployment.name].header()
            async with asyncio.timeout(None) as limit:
                parts = asked.parts
                if parts is not None:
                    parts, waits = _timed(parts, limit, waits.life), Waits(UPLOAD_SECONDS, 0.0, waits.stated)
                return await connect(
                    self._upstream,
                    _written(asked, parts, credential, request_id, passed_on(trace, attempt), self._passing),
                    operation_of(route),
                    wants_stream=asked.wants_stream,
                    waits=waits,
                    cap=self._cap,
                    sent=lambda: None,
                    answered=lambda answer: note_answer(attempt, answer),
                )
        except TimeoutError:
            attempt.code = "upstream_timeout"
            message = f"The upstream did not answer within {waits.stated:g} s."
            raise _final(failure("upstream_timeout", message), route) from None
        except UpstreamError as error:
            attempt.code = error.code
            raise _final(error, route) from None
        except BaseException as error:
            attempt.code = error.code if isinstance(error, RelayError) else CANCELLED
            raise
        finally:
            attempt.seconds = self._clock() - started


def _written(
    asked: Asked,
    parts: AsyncIterator[bytes] | None,
    credential: tuple[bytes, bytes],
    request_id: str,
    passed: Headers,
    passing: Passing,
) -> UpstreamRequest:
    deployment = asked.deployment
    version = azure.version_for(deployment, asked.api_version, passing.previews)
    headers = azure.headers_up(asked.headers, also=passing.headers)
    if parts is None:
        headers = [field for field in headers if field[0] != b"content-type"]
    if asked.body:
        headers.append((b"content-type", Fields.content_type))
    headers += [azure.ANY, credential, (b"user-agent", b"chukei"), (b"x-ms-client-request-id", request_id.encode())]
    return UpstreamRequest(
        deployment.endpoint,
        azure.object_target(asked.path, urlencode(asked.query), version),
        version,
        [*headers, *passed],
        asked.body,
        strip_usage=False,
        method=asked.route.method,
        background=asked.wants_stream,  # a resumed stream can be resumed again
        parts=parts,
        length=asked.length,
    )


async def _timed(parts: AsyncIterator[bytes], limit: asyncio.Timeout, seconds: float) -> AsyncIterator[bytes]:
    """Yield the parts, and start the time for the answer at their end."""
    async for part in parts:
        yield part
    limit.reschedule(asyncio.get_running_loop().time() + seconds)


def _final(error: UpstreamError, route: ObjectRoute) -> UpstreamError:
    """Tell OpenAI's clients not to repeat what may have had its effect."""
    if route.method == "POST" and error.kind in AMBIGUOUS:
        error.headers[:] = [field for field in error.headers if field[0] != b"x-should-retry"]
        error.headers.append((b"x-should-retry", b"false"))
    return error
