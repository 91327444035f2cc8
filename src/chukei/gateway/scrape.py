"""``GET /metrics``: who may read it, and one page from the snapshots of all worker processes."""

import asyncio
from collections.abc import Callable, Sequence

from chukei.callers.gatekeeper import is_direct
from chukei.callers.operator_key import OperatorKey
from chukei.errors import CallerError
from chukei.model import End, Headers, header
from chukei.ports import Incoming, Peers, Reply
from chukei.record import RequestRecord
from chukei.request.routes import Page

COUNTS, GAUGES = "metrics", "gauges"
"""The subjects on which the worker processes ask each other for snapshots. Only counts outlive a worker."""

WritePage = Callable[[Sequence[bytes], str], tuple[str, bytes]]
"""Writes a page from encoded snapshots, in the format that an ``Accept`` header asks for; returns its content type
and its bytes. It is called in a thread."""


class Scrape:
    """Serves the page. ``key`` is the operators' key; without one only this machine may read, unless it is ``open``."""

    def __init__(self, peers: Peers, write: WritePage, *, key: OperatorKey | None = None, open: bool = False) -> None:
        self._peers = peers
        self._write = write
        self._key = key
        self._open = open
        self._turn = asyncio.Lock()  # many pages at a time would take the processor from requests

    async def serve(self, incoming: Incoming, reply: Reply, record: RequestRecord) -> None:
        """Serve a request. Other sites' pages may not read the answer, so it has no CORS headers.

        Raises:
            CallerError: 401 for a wrong or missing key, 429 after too many of them, 403 if there is no key and the
                request does not come from this machine.
        """
        record.operation = Page.METRICS
        self._check(incoming)
        accept = (header(incoming.headers, b"accept") or b"").decode("latin-1")
        async with self._turn:
            snapshots = [*await self._peers.ask(COUNTS), *await self._peers.ask(GAUGES)]
            content_type, page = await asyncio.to_thread(self._write, snapshots, accept)
        record.status, record.end = 200, End.COMPLETED
        headers: Headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(page)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"vary", b"accept"),
            (b"x-request-id", record.request_id.encode()),
        ]
        await reply.start(200, headers)
        await reply.finish(page)

    def _check(self, incoming: Incoming) -> None:
        if self._open:
            return
        if self._key is not None:
            self._key.check(incoming.headers, incoming.source)
        elif not (incoming.local and is_direct(incoming.headers)):
            message = (
                "Metrics are served on the relay's own machine only. Its operator can set metrics.api_key, "
                "or metrics.open = true to serve them to everybody."
            )
            raise CallerError(403, "metrics_not_open", message, type="permission_error")


def wrong_key() -> CallerError:
    """Return the error for a wrong or missing key."""
    message = "The key for metrics is needed: send it as 'Authorization: Bearer KEY'."
    challenge = [(b"www-authenticate", b'Bearer realm="chukei metrics"')]
    return CallerError(401, "invalid_metrics_key", message, type="authentication_error", headers=challenge)
