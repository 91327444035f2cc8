"""What the relay answers itself: its pages, the list of models, a caller's own usage, health, the buffering test."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec

from chukei.accounts.policy import Policy
from chukei.azure import CHAT, EVENT_STREAM, UNBUFFERED
from chukei.errors import CallerError
from chukei.gateway.assets import Asset
from chukei.gateway.model_list import described
from chukei.model import Caller, End, Headers
from chukei.pool import Pool
from chukei.ports import Clock, Reply
from chukei.record import RequestRecord
from chukei.request.routes import ADMIN_PAGE, Page, Route
from chukei.stream import sse

CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
TEST_TEXT = "chukei 中継 relays every character as it comes."
TEST_SECONDS = 0.1
TEST_BOUNDS = {"pace": (0.01, 1.0), "silence": (0.0, 300.0)}
"""Parameters of the test stream and their bounds, in seconds: the time between two characters, and a pause in the
middle. Most proxies' limits on idle connections are a minute, some of Azure's four."""

_PAGE_HEADERS: Headers = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_JSON = (b"content-type", b"application/json")
_FRESH: Headers = [(b"cache-control", b"no-store")]
_VARIES: Headers = [(b"vary", b"accept-language")]
_SIMULATOR: Headers = [(b"x-chukei-simulator", b"true")]
_OPEN_PAGES = frozenset(
    {Page.REALTIME, Page.CHAT_PAGE, Page.ASSET, Page.LIVE, Page.READY, Page.ADMIN_PAGE, Page.ADMIN, Page.METRICS}
)

OwnUsage = Callable[[Caller, Policy], Awaitable[object]]
"""Returns a caller's usage and limits as a value that JSON can encode."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A page's request: its record, its caller's policy, whether the relay will shut down, its query and its fields.

    ``language`` is the tag of the language in which the reader prefers to be told about models; "" if it is unknown.
    """

    record: RequestRecord
    policy: Policy
    leaving: bool = False
    query: str = ""
    language: str = ""
    headers: Headers = field(default_factory=list)


class Pages:
    """Answers requests for pages.

    ``assets`` finds a file of the pages by its address; ``""`` is the chat page. ``pace`` is the time between two
    characters of the buffering test, in seconds. Without ``own_usage`` callers cannot ask for their usage. ``since`` is
    the creation time of the models, in Unix time: clients sort by it, and some refuse 0. ``max_body_bytes`` is the
    configured limit of a body; without it a chat's own limit is shown. ``sign_in`` is the origin from which the
    administrators' page fetches access tokens.
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
        max_body_bytes: int | None = None,
        sign_in: str | None = None,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._pace = pace
        self._assets = assets
        self._own_usage = own_usage
        self._since = since
        self._max_body_bytes = max_body_bytes or CHAT.max_body_bytes
        self._simulated = simulated
        self._sign_in = sign_in

    def renewed(
        self, pool: Pool, *, simulated: bool, max_body_bytes: int | None, sign_in: str | None = None
    ) -> "Pages":
        """Return the pages after a reload."""
        made = copy.copy(self)
        made._pool, made._simulated, made._max_body_bytes = pool, simulated, max_body_bytes or CHAT.max_body_bytes
        made._sign_in = sign_in
        return made

    def needs_caller(self, page: Page) -> bool:
        """Whether a page requires an authenticated caller. Administrators' pages check their own key."""
        return page not in _OPEN_PAGES

    async def answer(self, route: Route, reply: Reply, headers: Headers, visit: Visit) -> None:
        """Answer a page's request.

        Raises:
            CallerError: 404 for a file or model that does not exist, 403 for data that the caller may not see, 400 for
                a wrong parameter of the test stream.
            Unavailable: the caller's usage cannot be looked up now.
        """
        record, policy = visit.record, visit.policy
        headers = [*headers, *(_SIMULATOR if self._simulated else [])]
        record.status, record.end = 200, End.COMPLETED
        match route.page:
            case Page.ADMIN_PAGE if route.name.startswith("../"):
                record.status = 308
                await _send(reply, 308, [(b"location", route.name.encode()), *headers], b"")
            case Page.CHAT_PAGE | Page.ASSET | Page.ADMIN_PAGE:
                record.status, fields, body = self._asset(route.name).answer_to(visit.headers)
                await reply.start(record.status, [*fields, *self._page_headers(route), *headers])
                await reply.finish(body)
            case Page.MODELS:
                await _send(
                    reply, 200, [_JSON, *_VARIES, *headers], msgspec.json.encode(self._models(route.name, visit))
                )
            case Page.LIVE:
                await _send(reply, 200, [_JSON, *headers], b'{"status":"live"}')
            case Page.READY:
                ready = self._pool.ready(self._clock()) and not visit.leaving
                record.status = 200 if ready else 503
                status = b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
                await _send(reply, record.status, [_JSON, *headers], status)
            case Page.DEPLOYMENTS:
                await _send(reply, 200, [_JSON, *_FRESH, *headers], msgspec.json.encode(self._deployments(policy)))
            case Page.USAGE:
                await _send(reply, 200, [_JSON, *_FRESH, *headers], msgspec.json.encode(await self._usage(visit)))
            case Page.METRICS:  # they are served elsewhere if they are served at all
                raise CallerError(404, "unknown_route", "This relay serves no metrics: metrics.enabled is false.")
            case Page.TEST_STREAM:
                times = {"pace": self._pace, "silence": 0.0} | _test_times(visit.query)
                await _test_stream(reply, headers, self._clock, **times, empty=record.method == "HEAD")

    def _page_headers(self, route: Route) -> Headers:
        """Return the header fields of a page. Only the administrators' page may connect to where they sign in."""
        if self._sign_in is None or route.name != ADMIN_PAGE:
            return _PAGE_HEADERS
        policy = CONTENT_SECURITY_POLICY.replace(b"connect-src 'self'", b"connect-src 'self' " + self._sign_in.encode())
        return [(b"content-security-policy", policy), *_PAGE_HEADERS[1:]]

    def _asset(self, name: str) -> Asset:
        asset = self._assets(name)
        if asset is None:
            # During an upgrade another replica may have it. A cache may keep a 404 that does not say otherwise.
            raise CallerError(404, "unknown_route", "There is no such file.", headers=_FRESH)
        return asset

    async def _usage(self, visit: Visit) -> object:
        if self._own_usage is None or visit.record.who is None:
            raise CallerError(404, "unknown_route", "This relay does not tell callers what they have used.")
        return await self._own_usage(visit.record.who, visit.policy)

    def _models(self, name: str, visit: Visit) -> object:
        allows = visit.policy.allows
        if not name:
            shown = [self._pool.model(known) for known in self._pool.names if allows(known)]
            models = [described(model, self._since, visit.language) for model in shown]
            about = {"max_body_bytes": self._max_body_bytes, "simulator": self._simulated}
            return {"object": "list", "data": models, "chukei": about}
        model = self._pool.model(name, allows)
        visit.policy.check_model(model.name)
        return described(model, self._since, visit.language)

    def _deployments(self, policy: Policy) -> object:
        if policy.rules.see_deployment is False:
            message = f"You may not see the deployments: {policy.where['see_deployment']} is false."
            raise CallerError(403, "not_allowed", message, type="permission_error")
        return {"models": self._pool.status(self._clock())}


async def _send(reply: Reply, status: int, headers: Headers, body: bytes) -> None:
    await reply.start(status, [*headers, (b"content-length", str(len(body)).encode())])
    await reply.finish(body)


def _test_times(query: str) -> dict[str, float]:
    """Read the parameters of the test stream. Others are ignored, as browsers and probes add their own.

    Raises:
        CallerError: 400, a value is out of bounds.
    """
    times = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in TEST_BOUNDS:
            low, high = TEST_BOUNDS[name]
            try:
                times[name] = float(text)
            except ValueError:
                times[name] = -1.0
            if not low <= times[name] <= high:
                message = f"'{name}' is a number of seconds from {low:g} to {high:g}."
                raise CallerError(400, "invalid_query", message, param=name)
    return times


async def _test_stream(
    reply: Reply, headers: Headers, clock: Clock, *, pace: float, silence: float, empty: bool
) -> None:
    """Send one character at a time: if they arrive all at once, a proxy on the way buffers.

    Each event's id is the time of its sending in milliseconds since the first, so that a reader can tell a delay on the
    way from one at the sender. ``empty`` is for HEAD requests, which get no body and must not wait for one.
    """
    await reply.start(200, [EVENT_STREAM, *UNBUFFERED, *headers])
    begun = clock()
    for place, character in enumerate("" if empty else TEST_TEXT):
        if silence and place == len(TEST_TEXT) // 2:
            await asyncio.sleep(silence)
        await reply.send(b"id: %d\n" % ((clock() - begun) * 1000) + sse.write(character))
        await asyncio.sleep(pace)
    await reply.finish(sse.DONE)
