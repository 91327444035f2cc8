"""All checks of a running relay, by its URL: the way there, its health, its deployments, and how a stream arrives."""

import ssl
import time
from collections.abc import Sequence
from functools import cache
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import getproxies_environment

import msgspec

from chukei.doctor.exchange import Exchange, get
from chukei.doctor.finding import Finding, Kind, Subject, any_failed, bounded
from chukei.doctor.network import Way, reach
from chukei.doctor.report import Report
from chukei.doctor.status_table import States, table
from chukei.doctor.teststream import StreamTest
from chukei.ports import Clock

ANSWER_SECONDS = 30.0
_MARKUP = (b"<!doctype", b"<html")


def address(given: str) -> SplitResult:
    """Return a relay's address: scheme, host and prefix of its paths.

    Raises:
        ValueError: it is not an address.
    """
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        name = (parts.hostname or "").encode("idna").decode()
        port = parts.port
        shown = f"{name}{parts.path}"
        if parts.scheme not in {"http", "https"} or not name or not shown.isprintable() or " " in shown:
            raise ValueError
    except ValueError:
        raise ValueError(f"{given!r} is not an http:// or https:// address") from None
    host = f"[{name}]" if ":" in name else name
    netloc = host if port is None else f"{host}:{port}"
    return SplitResult(parts.scheme, netloc, quote(parts.path.rstrip("/"), safe="/%"), "", "")


class Relay:
    """A relay by its URL. ``key`` is the caller's access key."""

    def __init__(self, url: str, key: str | None, way: Way) -> None:
        self.parts = address(url)
        self.url = self.parts.geturl()
        self.way = way
        self.subject = Subject(Kind.RELAY, self.url)
        self._key = key

    @property
    def sends_key(self) -> bool:
        """Whether requests carry an access key."""
        return bool(self._key)

    async def get(
        self, path: str, headers: Sequence[tuple[str, str]] = (), seconds: float = ANSWER_SECONDS
    ) -> Exchange:
        """Send a request over a new connection.

        Raises:
            ValueError, OSError: no answer of HTTP came.
        """
        findings, reached = await reach(self.subject, self.url, self.way)
        if reached is None:
            raise ConnectionError(findings[-1].seen)
        own = [("accept", "*/*")] + ([("authorization", f"Bearer {self._key}")] if self._key else [])
        target = self.parts.path + path
        return await get(reached, self.parts.netloc, target, [*own, *headers], self.way.clock, seconds)


def usual_way(clock: Clock, wall: Clock) -> Way:
    """Return the way that clients on this machine take: with its proxies and authorities."""

    @cache
    def context() -> ssl.SSLContext:
        return ssl.create_default_context()

    trust = "the variable SSL_CERT_FILE to it"
    return Way(context, trust, clock, wall, seconds=10.0, proxies=getproxies_environment())


async def inspect(
    url: str,
    key: str | None,
    *,
    idle: float = 0.0,
    pace: float | None = None,
    way: Way | None = None,
) -> Report:
    """Check a relay by its URL.

    ``idle`` are the seconds of silence in a second test stream; 0 leaves it out. ``pace`` are the seconds between two
    events, if not the relay's own.

    Raises:
        ValueError: the URL is not an address.
    """
    wall: Clock = time.time  # noqa: TID251 - certificates expire in Unix time
    relay = Relay(url, key, way or usual_way(time.monotonic, wall))
    subject = relay.subject
    if key and not (key.isascii() and key.isprintable()):
        seen = "CHUKEI_API_KEY has a line end or another character that no access key has"
        return Report([subject.failed("access", seen, "copy the key again, without spaces and line ends")])
    findings, reached = await reach(subject, relay.url, relay.way)
    if reached is None:
        return Report(findings)
    reached.close()
    findings += await bounded(subject, "health", 2 * ANSWER_SECONDS, _health(relay))
    if any_failed(findings):
        return Report(
            [*findings, Subject(Kind.STREAM, "the test stream").skipped("stream", "the relay is not healthy")]
        )
    states = States({})
    access = await bounded(subject, "access", 2 * ANSWER_SECONDS, _access(relay, states))
    findings += access
    if any_failed(access):
        stream = [Subject(Kind.STREAM, "the test stream").skipped("stream", "the relay does not serve this caller")]
    else:
        test = StreamTest(relay.get, relay.parts.hostname or "", reached.seconds, pace)
        stream = await test.run(idle)
    rows = [{"model": model} | msgspec.to_builtins(each) for model, some in states.models.items() for each in some]
    return Report([*findings, *stream], table(states) if rows else "", rows)


async def _health(relay: Relay) -> list[Finding]:
    subject = relay.subject
    try:
        live = await relay.get("/health/live")
    except (ValueError, OSError) as error:
        return [subject.failed("health", str(error), "look at what listens there: it does not answer as a relay does")]
    strange = _strange(subject, live)
    if strange is not None:
        return [strange]
    ready = await relay.get("/health/ready")
    if ready.status != 200:
        remedy = "wait if it is shutting down; else run chukei doctor beside the relay, to see what is wrong"
        return [subject.failed("health", f"alive but not ready (status {ready.status})", remedy)]
    return [subject.ok("health", f"alive and ready, over HTTP/{live.version}")]


def _strange(subject: Subject, answer: Exchange) -> Finding | None:
    """Return what is wrong with an answer that a relay would not give, or None."""
    if 300 <= answer.status < 400:
        where = answer.headers.get("location", "nowhere")[:200]
        remedy = "use that address if it is the relay's; a page to sign in must not stand before an API"
        return subject.failed("health", f"redirects (status {answer.status}) to {where}", remedy)
    if answer.body.lstrip()[:9].lower().startswith(_MARKUP):
        remedy = "let API clients pass without that page; a page to sign in must not stand before an API"
        return subject.failed("health", f"an HTML page answers (status {answer.status}), not the relay", remedy)
    if answer.status in {502, 503, 504}:
        remedy = "start the relay, or correct the address of the relay in what stands in front of it"
        return subject.failed("health", f"something in front of the relay answers with status {answer.status}", remedy)
    if answer.status != 200 or b'"live"' not in answer.body:
        return subject.failed(
            "health", f"status {answer.status}: this is not a relay", "correct the URL, also its path"
        )
    return None


async def _access(relay: Relay, states: States) -> list[Finding]:
    subject = relay.subject
    answer = await relay.get("/health/deployments")
    if answer.status == 401:
        if relay.sends_key:
            remedy = "compare it with the keys of this relay; `chukei keys list` shows those of its database"
            return [subject.failed("access", "status 401: the relay refuses the key in CHUKEI_API_KEY", remedy)]
        remedy = "set CHUKEI_API_KEY to an access key of the relay"
        return [subject.failed("access", "status 401: the relay asks for a key, and none was sent", remedy)]
    if answer.status == 403:
        return [subject.skipped("deployments", "this caller may not see the deployments")]
    try:
        found = msgspec.json.decode(answer.body, type=States)
    except msgspec.DecodeError:
        remedy = "correct the URL, or look at what rewrites the relay's answers"
        return [subject.failed("access", f"status {answer.status}, and no list of deployments", remedy)]
    states.models.update(found.models)
    away = [
        f"{state.deployment} is {state.status} ({state.why or 'no reason known'})"
        for some in found.models.values()
        for state in some
        if state.status in {"open", "cooling"}
    ]
    access = subject.ok("access", "the relay serves this caller")
    count = sum(map(len, found.models.values()))
    if away:
        remedy = "run chukei doctor beside the relay: it asks each deployment and says what is wrong"
        return [access, subject.warning("deployments", "; ".join(dict.fromkeys(away)), remedy)]
    return [access, subject.ok("deployments", f"{count} of {count} available")]
