"""Every recorded exchange once more, through the relay: status, headers and bytes are those recorded.

Where the relay answers differently, a rule below says so, with the words of the documentation that allow it.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.policy import HTTP
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from tests.live.both_hosts import OPEN, Host, Hosts
from tests.live.fault_scripts import LAST_CHUNK, Script, Send, chunk
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recorded_exchanges import EXCHANGES, STREAMS, RecordedExchange, parameters

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs"

OWN_HEADERS = {
    "x-request-id",
    "date",
    "server",
    "connection",
    "content-length",
    "transfer-encoding",
    "cache-control",
    "x-accel-buffering",
    "x-content-type-options",
    "vary",
}
"""Fields that an answer may have from the relay or from its host, whatever the upstream sent."""


@dataclass(frozen=True)
class Expected:
    """What the client gets. ``body`` of None says that ``error`` is looked at instead."""

    status: int
    body: bytes | None
    error: Callable[[Any], bool] = lambda _: False
    asks_upstream: bool = True


@dataclass(frozen=True)
class Rule:
    """A difference that ``words`` on a page of the documentation allow, and the exchanges to which it applies."""

    page: str
    words: str
    applies: Callable[[RecordedExchange], bool]
    expected: Callable[[RecordedExchange], Expected]


_UNSERVED = re.compile(r"(GET|POST) /v1/(files|batches|assistants|threads/.*|vector_stores|fine_tuning/.*)")


def _is_unserved(exchange: RecordedExchange) -> bool:
    return _UNSERVED.fullmatch(f"{exchange.method} {exchange.path.partition('?')[0]}") is not None


def _code(code: str) -> Callable[[Any], bool]:
    return lambda error: bool(error["code"] == code)


def _has_error_object(exchange: RecordedExchange) -> bool:
    return exchange.answer[:1] == b"{" and isinstance(json.loads(exchange.answer).get("error"), dict)


def _is_error_in_stream(exchange: RecordedExchange) -> bool:
    return exchange.streamed and b'"type":"error"' in exchange.answer and b".delta" not in exchange.answer


def _same_error(exchange: RecordedExchange) -> Callable[[Any], bool]:
    events = [line.removeprefix(b"data: ") for line in exchange.answer.splitlines() if line.startswith(b"data: ")]
    said = [event["error"] for event in map(json.loads, events) if "error" in event]
    return lambda error: error == said[0]


RULES = (
    Rule(
        "http.md",
        "`route_not_served` if OpenAI",
        _is_unserved,
        lambda exchange: Expected(
            404,
            None,
            _code("route_not_served"),
            asks_upstream=False,
        ),
    ),
    Rule(
        "http.md",
        "no other model takes messages: 400 `wrong_api`",
        lambda exchange: exchange.path == "/v1/messages",
        lambda _: Expected(400, None, _code("wrong_api"), asks_upstream=False),
    ),
    Rule(
        "http.md",
        "the models that the caller may use",
        lambda exchange: exchange.path == "/v1/models",
        lambda _: Expected(200, None, asks_upstream=False),
    ),
    Rule(
        "errors.md",
        "A 401 or 403 from Azure becomes a 502",
        lambda exchange: exchange.status in (401, 403),
        lambda exchange: Expected(
            502, None, _code("upstream_unauthorized" if exchange.status == 401 else "upstream_forbidden")
        ),
    ),
    Rule(
        "errors.md",
        "An error inside a 200",
        _is_error_in_stream,
        lambda exchange: Expected(429, None, _same_error(exchange)),
    ),
    Rule(
        "errors.md",
        "that text as its `message`: one line",
        lambda exchange: exchange.status >= 400 and not _has_error_object(exchange),
        lambda exchange: Expected(
            exchange.status, None, lambda error: error["message"] == " ".join(exchange.answer.decode().split())
        ),
    ),
)


def _rule(exchange: RecordedExchange) -> Rule | None:
    return next((rule for rule in RULES if rule.applies(exchange)), None)


@cache
def passes_down(name: str) -> bool:
    """Whether the documentation says that a field of the upstream's answer reaches the client."""
    (row,) = [line for line in (DOCS / "http.md").read_text().splitlines() if "| the upstream, on good" in line]
    return any(re.fullmatch(form.replace("*", ".*"), name) for form in re.findall(r"`([a-z*-]+)`", row))


@pytest.fixture(scope="module")
def replaying(scripted: FaultUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Relays in front of the upstream that plays the recordings."""
    running = Hosts(scripted.url, tmp_path_factory.mktemp("replaying"))
    yield running
    running.close()


@pytest.fixture
def host(replaying: Hosts) -> Host:
    return replaying.get("server", OPEN)


def play(exchange: RecordedExchange) -> Script:
    """Return the script that answers as it was recorded: streams event by event, all else in one write."""
    if not exchange.chunked:
        return [Send(exchange.head + exchange.answer)]
    parts = re.findall(rb".+?\r?\n\r?\n|.+\Z", exchange.answer, re.DOTALL) if exchange.streamed else [exchange.answer]
    return [Send(exchange.head), *(Send(chunk(part)) for part in parts if part), Send(LAST_CHUNK)]


def served_on(path: str) -> str:
    """Return the relay's own path for the one that DeepSeek's and Azure's resources have at their root."""
    return "/v1/chat/completions" if path == "/chat/completions" else path


async def ask(host: Host, exchange: RecordedExchange) -> RawClient:
    """Ask as it was recorded, and read the whole answer."""
    async with RawClient(host.url) as client:
        fields = [*exchange.asked_with, ("host", "relay.example"), ("content-length", str(len(exchange.request)))]
        head = [f"{exchange.method} {served_on(exchange.path)} HTTP/1.1", *(f"{key}: {value}" for key, value in fields)]
        client.sent(exchange.method)
        await client.send("\r\n".join([*head, "", ""]).encode() + exchange.request)
        await client.head()
        await client.rest()
    return client


@pytest.mark.parametrize("exchange", parameters())
async def test_what_was_recorded_comes_through(exchange: RecordedExchange, host: Host, scripted: FaultUpstream) -> None:
    await comes_through(exchange, host, scripted)


async def test_on_functions_as_well(replaying: Hosts, scripted: FaultUpstream) -> None:
    """One exchange of each kind: what a host writes does not depend on who answered."""
    each = {exchange.kind: exchange for exchange in (*EXCHANGES, *STREAMS)}
    for exchange in each.values():
        await comes_through(exchange, replaying.get("functions", OPEN), scripted)


async def comes_through(exchange: RecordedExchange, host: Host, scripted: FaultUpstream) -> None:
    await scripted.drop()
    scripted.script = play(exchange)
    client = await ask(host, exchange)
    rule = _rule(exchange)
    expected = rule.expected(exchange) if rule else Expected(exchange.status, exchange.answer)
    assert client.status == expected.status, client.body
    if expected.body is not None:
        assert client.body == expected.body
    elif expected.status >= 400:
        assert expected.error(json.loads(client.body)["error"]), client.body
    assert bool(scripted.visits) is expected.asks_upstream
    if not expected.asks_upstream:
        return
    recorded = {name: value for name, value in exchange.answered_with if passes_down(name)}
    if expected.body is None:
        recorded.pop("content-type", None)  # the relay writes the body, so it says what it is
    got = {name: value for name, value in client.headers.items() if name in recorded}
    assert got == recorded
    assert client.headers.keys() - recorded.keys() <= OWN_HEADERS | {"content-type", "x-should-retry"}
    went_up(exchange, scripted)


def went_up(exchange: RecordedExchange, scripted: FaultUpstream) -> None:
    """Compare what reached the upstream with what the client had sent."""
    visit = scripted.visits[0 if exchange.request else -1]  # an unknown id in the path is looked for first
    if exchange.path.lstrip("/").startswith(("openai/", "v1/")):
        path = "/" + exchange.path.lstrip("/")
        assert visit.target == (path if path.startswith("/openai/") else f"/openai{path}")
    if not exchange.request:
        assert visit.body == b""
        return
    if exchange.asked is None:
        assert _parts(dict(exchange.asked_with)["content-type"], exchange.request) == _parts(
            visit.headers["content-type"], visit.body
        )
        return
    sent = json.loads(visit.body)
    asked = dict(exchange.asked)
    if asked.get("stream") and "stream_options" not in asked:
        sent.pop("stream_options", None)
    for one in (sent, asked):
        one.pop("model", None)  # the name of the deployment, where the API wants it in the body
    assert sent == asked


def _parts(content_type: str, form: bytes) -> dict[str, Any]:
    """Return how each part's file name ends, and its value, by its name. Only heads are read by the library."""
    boundary = _head(b"content-type: " + content_type.encode()).get_boundary()
    parts = (b"\r\n" + form).split(f"\r\n--{boundary}".encode())[1:-1]
    found = {}
    for part in parts:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        read = _head(head)
        # What a backslash in a file's name is, readers do not agree on. Services look at what the name ends with.
        ending = PureWindowsPath(read.get_filename() or "").suffix
        found[str(read.get_param("name", header="content-disposition"))] = (ending, value)
    del found["model"]
    return found


def _head(head: bytes) -> Message:
    return message_from_bytes(head + b"\r\n\r\n", policy=HTTP)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.words))
def test_every_difference_is_documented(rule: Rule) -> None:
    assert rule.words in (DOCS / rule.page).read_text()
