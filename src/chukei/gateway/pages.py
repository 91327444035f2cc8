"""What the relay answers itself: its pages, the list of models, a caller's own usage, health, the buffering test."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from chukei.accounts.policy import Policy
from chukei.azure import EVENT_STREAM, UNBUFFERED
from chukei.errors import CallerError
from chukei.model import Caller, End, Headers
from chukei.pool import Pool
from chukei.ports import Clock, Reply
from chukei.record import RequestRecord
from chukei.request.routes import Page, Route
from chukei.stream import sse

CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
TEST_TEXT = "chukei 中継 relays every character as it comes."
TEST_SECONDS = 0.1

_PAGE_HEADERS: Headers = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]
_JSON = (b"content-type", b"application/json")
_FRESH: Headers = [(b"cache-control", b"no-store")]
_OPEN_PAGES = frozenset({Page.CHAT_PAGE, Page.ASSET, Page.LIVE, Page.READY, Page.ADMIN_PAGE, Page.ADMIN})

OwnUsage = Callable[[Caller, Policy], Awaitable[object]]
"""Returns a caller's usage and limits as a value that JSON can encode."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the pages."""

    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Visit:
    """A page's request: its record, its caller's policy, and whether the relay is shutting down."""

    record: RequestRecord
    policy: Policy
    draining: bool = False


class Pages:
    """Answers requests for pages.

    ``assets`` finds a file of the chat page by its name; ``""`` is the page itself. ``pace`` is the time between two
    characters of the buffering test, in seconds. Without ``own_usage`` callers cannot ask for their usage. ``since`` is
    the creation time of the models, in Unix time: clients sort by it, and some refuse 0.
    """

    def __init__(
        self,
        pool: Pool,
        assets: Callable[[str], Asset | None],
        clock: Clock,
        *,
        simulated: bool,
        pace: float = TEST_SECONDS,
        own_usage: OwnUsage | None = None,
        since: int = 0,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._pace = pace
        self._assets = assets
        self._own_usage = own_usage
        self._since = since
        self._mark: Headers = [(b"x-chukei-simulator", b"true")] if simulated else []

    def needs_caller(self, page: Page) -> bool:
        """Whether a page requires an authenticated caller. Administrators' pages check their own key."""
        return page not in _OPEN_PAGES

    async def answer(self, route: Route, reply: Reply, headers: Headers, visit: Visit) -> None:
        """Answer a page's request.

        Raises:
            CallerError: 404 for a file or model that does not exist, 403 for data that the caller may not see.
            Unavailable: the caller's usage cannot be looked up now.
        """
        record, policy = visit.record, visit.policy
        headers = [*headers, *self._mark]
        record.status, record.end = 200, End.COMPLETED
        match route.page:
            case Page.ADMIN_PAGE if route.name.startswith("../"):
                record.status = 308
                await _send(reply, 308, [(b"location", route.name.encode()), *headers], b"")
            case Page.CHAT_PAGE | Page.ASSET | Page.ADMIN_PAGE:
                asset = self._asset(route.name)
                content_type = (b"content-type", asset.content_type.encode())
                await _send(reply, 200, [content_type, *_PAGE_HEADERS, *headers], asset.content)
            case Page.MODELS:
                await _send(reply, 200, [_JSON, *headers], msgspec.json.encode(self._models(route.name, policy)))
            case Page.LIVE:
                await _send(reply, 200, [_JSON, *headers], b'{"status":"live"}')
            case Page.READY:
                ready = self._pool.ready(self._clock()) and not visit.draining
                record.status = 200 if ready else 503
                status = b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
                await _send(reply, record.status, [_JSON, *headers], status)
            case Page.DEPLOYMENTS:
                await _send(reply, 200, [_JSON, *_FRESH, *headers], msgspec.json.encode(self._deployments(policy)))
            case Page.USAGE:
                await _send(reply, 200, [_JSON, *_FRESH, *headers], msgspec.json.encode(await self._usage(visit)))
            case Page.TEST_STREAM:
                await _test_stream(reply, headers, self._pace, silent=record.method == "HEAD")

    def _asset(self, name: str) -> Asset:
        asset = self._assets(name)
        if asset is None:
            raise CallerError(404, "unknown_route", "There is no such file.")
        return asset

    async def _usage(self, visit: Visit) -> object:
        if self._own_usage is None or visit.record.who is None:
            raise CallerError(404, "unknown_route", "This relay does not tell callers what they have used.")
        return await self._own_usage(visit.record.who, visit.policy)

    def _models(self, name: str, policy: Policy) -> object:
        if not name:
            shown = [known for known in self._pool.names if policy.allows(known)]
            return {"object": "list", "data": [self._model(known) for known in shown]}
        policy.check_model(self._pool.model(name, policy.allows).name)
        return self._model(name)

    def _model(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "chukei"}

    def _deployments(self, policy: Policy) -> object:
        if policy.rules.see_deployment is False:
            message = f"You may not see the deployments: {policy.where['see_deployment']} is false."
            raise CallerError(403, "not_allowed", message, type="permission_error")
        return {"models": self._pool.status(self._clock())}


async def _send(reply: Reply, status: int, headers: Headers, body: bytes) -> None:
    await reply.start(status, [*headers, (b"content-length", str(len(body)).encode())])
    await reply.finish(body)


async def _test_stream(reply: Reply, headers: Headers, pace: float, *, silent: bool) -> None:
    """Send one character at a time: if they arrive all at once, a proxy on the way buffers.

    ``silent`` is for HEAD requests, which get no body and must not wait for one.
    """
    await reply.start(200, [EVENT_STREAM, *UNBUFFERED, *headers])
    for character in "" if silent else TEST_TEXT:
        await reply.send(sse.write(character))
        await asyncio.sleep(pace)
    await reply.finish(sse.DONE)
