"""From deployment to deployment, with a clock that stands still: the order, the bounds, what is on the record."""

import asyncio
import gc
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import JSON, FakeAnswer, FakeClock, FakeCredential, FakeObjectStore, FakeUpstream
from tests.rows import rows

from chukei.accounts.estimate import MOST_TOKENS, USUAL_OUTPUT
from chukei.accounts.objects import ObjectRecord, owner_of
from chukei.azure import CHAT, RESPONSES
from chukei.config import PoolSettings, load
from chukei.errors import CallerError, RelayError, Unavailable, UpstreamError
from chukei.model import Deployment, End, Model, Operation
from chukei.objects.registry import Objects
from chukei.pool import Pool
from chukei.record import RequestRecord
from chukei.request import call as calls
from chukei.request.routes import Route
from chukei.stream import sse
from chukei.upstream.attempt import LeasedAnswer
from chukei.upstream.failover import LATE_PAUSES, RETRY_RESERVE, Failover
from chukei.upstream.kept import LATE_SECONDS
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

STREAM = b'{"messages":[{"role":"user","content":"a"}],"stream":true,"max_completion_tokens":100}'
WHOLE = STREAM.replace(b"true", b"false")
OUTPUT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
PROMPT = Usage(output=100, estimated=True)
"""The prompt itself is weighed when the record is settled."""
LOST = UpstreamError("upstream_lost", "Gone.", end=End.UPSTREAM_LOST)
NEVER_OPENS: dict[str, Any] = {"breaker_failures": 0, "max_cooldown_seconds": 0.0}


def refusal(status: int, *fields: tuple[bytes, bytes], code: str = "x") -> FakeAnswer:
    body = json.dumps({"error": {"message": "No.", "code": code}}).encode()
    return FakeAnswer([body, b""], status=status, headers=[*JSON, *fields])


def good(region: bytes = b"East") -> FakeAnswer:
    answer = FakeAnswer([OUTPUT, sse.DONE])
    answer.headers = [*answer.headers, (b"x-ms-region", region)]
    return answer


class Slow(FakeUpstream):
    """Each request takes its time before it is answered, or lost."""

    def __init__(self, clock: FakeClock, seconds: float, *answers: FakeAnswer | Exception) -> None:
        super().__init__(*answers)
        self._clock = clock
        self._seconds = seconds

    async def request(self, *arguments: Any) -> FakeAnswer:
        self._clock.advance(self._seconds)
        return await super().request(*arguments)


class FailoverHarness:
    """Deployments of falling priority among fakes; the answers come in the order of the requests."""

    def __init__(
        self,
        *answers: FakeAnswer | Exception,
        count: int = 3,
        seconds: float = 0.0,
        model: str | None = None,
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        self.upstream = Slow(self.clock, seconds, *answers)
        places = [
            Deployment(name, f"https://{name}.example", "gpt-4o", priority=number)
            for number, name in enumerate("abcdefgh"[:count], 1)
        ]
        pool = PoolSettings(**settings)
        self.pool = Pool({"chat": Model("chat", tuple(places))}, pool, default="chat", open=None, draw=lambda: 0.5)
        credentials = {place.name: FakeCredential() for place in places}
        loaded = load(None, {})
        known = replace(loaded, pool=pool, objects=replace(loaded.objects, model=model))
        self.failover = Failover(known, self.pool, self.upstream, credentials, self.clock)
        self.record = RequestRecord("request-1", "POST", "/")

    async def open(self, body: bytes = STREAM, operation: Operation = CHAT) -> LeasedAnswer:
        self.record = RequestRecord("request-1", "POST", "/")
        call = calls.read(Route(operation=operation), operation, [(b"content-type", b"application/json")], body)
        return await self.failover.open(call, self.record)

    async def fails(self, body: bytes = STREAM, operation: Operation = CHAT) -> RelayError:
        """Open what cannot be opened; no place may be kept."""
        with pytest.raises(RelayError) as raised:
            await self.open(body, operation)
        assert self.outstanding == {}
        return raised.value

    @property
    def asked(self) -> str:
        """The deployments that were asked, in order."""
        return "".join(endpoint.removeprefix("https://")[0] for endpoint, *_ in self.upstream.requests)

    @property
    def codes(self) -> list[tuple[str, str | None]]:
        return [(attempt.deployment, attempt.code) for attempt in self.record.tries]

    @property
    def outstanding(self) -> dict[str, int]:
        """The tokens that each deployment is thought to work on."""
        [known] = self.pool.status(self.clock()).values()
        return {one.deployment: one.outstanding_tokens for one in known if one.outstanding}


class SearchedBody(bytes):
    """A body that counts how often names of references are looked for in it."""

    searches = 0

    def __contains__(self, wanted: object) -> bool:
        self.searches += wanted == b'"file_id"'
        return super().__contains__(wanted)  # type: ignore[operator]


@rows(("model", "searches"), [(None, 0), ("chat", 1)])
async def test_a_chat_is_searched_for_files_only_where_callers_may_make_them(model: str | None, searches: int) -> None:
    harness = FailoverHarness(good(), model=model)
    body = SearchedBody(STREAM)
    (await harness.open(body)).drop()
    assert body.searches == searches


async def test_the_record_is_that_of_whoever_answered_and_names_all() -> None:
    harness = FailoverHarness(LOST, refusal(429), good(b"West"))
    answer = await harness.open()
    assert answer.opened.first == OUTPUT
    assert harness.codes == [("a", "upstream_lost"), ("b", "upstream_429"), ("c", None)]
    assert [attempt.usage for attempt in harness.record.tries] == [PROMPT, None, PROMPT]
    record = harness.record
    assert (record.model, record.deployment, record.region, record.usage) == ("chat", "c", "West", PROMPT)
    assert harness.outstanding == {"c": len(STREAM) // 4 + 100}
    answer.close()
    assert harness.outstanding == {}


@rows(
    ("body", "tokens"),
    [
        (STREAM, 100),
        (STREAM.replace(b"max_completion_tokens", b"max_tokens"), 100),
        (STREAM.replace(b"100", b"1e2"), 100),
        (STREAM.replace(b"100", b"-1"), USUAL_OUTPUT),
        (STREAM.replace(b"100", b"99999999999"), MOST_TOKENS),
        (STREAM.replace(b"max_completion_tokens", b"n"), 100 * USUAL_OUTPUT),
    ],
)
async def test_what_a_request_may_cost(body: bytes, tokens: int) -> None:
    harness = FailoverHarness(good())
    answer = await harness.open(body)
    assert harness.outstanding == {"a": len(body) // 4 + tokens}
    answer.drop()


@rows("attempts", [1, 2, 3, 5])
async def test_so_many_may_fail(attempts: int) -> None:
    answers = [refusal(500, (b"x-should-retry", b"true")) for _ in range(5)]
    harness = FailoverHarness(*answers, count=6, attempts=attempts)
    error = await harness.fails()
    assert harness.asked == "abcdef"[:attempts]
    marks = [value for name, value in error.headers if name == b"x-should-retry"]
    assert marks == [b"true" if attempts == 1 else b"false"], "it is for the relay to say, once it has tried again"


async def test_refusals_for_being_busy_do_not_count() -> None:
    harness = FailoverHarness(*(refusal(429) for _ in range(4)), LOST, good(), count=6, attempts=2)
    (await harness.open()).drop()
    assert harness.asked == "abcdef"


async def test_each_deployment_is_asked_once_even_if_it_stays_available() -> None:
    harness = FailoverHarness(*(refusal(429, (b"retry-after", b"7")) for _ in range(9)), **NEVER_OPENS)
    error = await harness.fails()
    assert harness.asked == "abc"
    assert (error.status, error.code) == (429, "upstream_429")
    assert dict(error.headers) == dict(JSON) | {b"retry-after": b"7"}


async def test_the_deadline_ends_the_tries_of_a_stream() -> None:
    harness = FailoverHarness(*[LOST] * 6, count=6, seconds=50, attempts=6, deadline_seconds=120)
    error = await harness.fails()
    assert error.code == "upstream_lost"
    assert harness.asked == "abc"
    assert [attempt.seconds for attempt in harness.record.tries] == [50, 50, 50]


async def test_the_time_for_an_answer_is_that_of_all_tries() -> None:
    harness = FailoverHarness(*[LOST] * 6, count=6, seconds=250, attempts=6, deadline_seconds=120)
    await harness.fails(WHOLE)
    assert harness.asked == "abc", "600 s are upstream.answer_seconds"


async def test_retries_are_a_share_of_all_requests() -> None:
    harness = FailoverHarness(*[LOST] * 1000, count=2, **NEVER_OPENS)
    for _ in range(RETRY_RESERVE + 100):
        await harness.fails()
    retries = harness.asked.count("b")
    assert RETRY_RESERVE + 20 <= retries <= RETRY_RESERVE + 40
    harness.clock.advance(3)
    for _ in range(4):
        await harness.fails()
    assert 3 <= harness.asked.count("b") - retries <= 4, "and one a second"


async def test_without_a_share_nothing_is_retried() -> None:
    harness = FailoverHarness(LOST, retry_share=0.0)
    assert (await harness.fails()).code == "upstream_lost"
    assert harness.codes == [("a", "upstream_lost")]


async def test_a_single_deployments_error_passes_as_it_is() -> None:
    harness = FailoverHarness(refusal(500, code="server_error"), count=1)
    error = await harness.fails()
    assert (error.status, error.headers) == (500, JSON)
    assert b"server_error" in error.body


@rows("status", [400, 409, 413, 415, 422])
async def test_a_callers_mistake_is_for_nobody_else(status: int) -> None:
    harness = FailoverHarness(refusal(status))
    assert (await harness.fails()).status == status
    assert harness.asked == "a"


async def test_nobody_is_asked_while_all_are_away() -> None:
    harness = FailoverHarness(*(refusal(429, (b"retry-after", b"30")) for _ in range(3)), good())
    assert isinstance(await harness.fails(), Unavailable)
    harness.clock.advance(29)
    error = await harness.fails()
    assert (error.status, error.code) == (429, "all_deployments_busy")
    assert dict(error.headers) == {b"retry-after": b"1", b"retry-after-ms": b"1000"}
    assert (harness.asked, harness.record.tries, harness.record.deployment) == ("abc", [], None)
    harness.clock.advance(1)
    (await harness.open()).drop()
    assert harness.codes == [("a", None)]


async def test_a_model_that_there_is_not() -> None:
    harness = FailoverHarness()
    error = await harness.fails(STREAM[:-1] + b',"model":"other"}')
    assert isinstance(error, CallerError)
    assert (error.status, harness.record.model, harness.record.tries) == (404, None, [])


async def test_cancelling_during_the_second_try() -> None:
    harness = FailoverHarness(LOST)
    opening = asyncio.create_task(harness.open())
    async with asyncio.timeout(60):
        while harness.asked != "ab":
            await asyncio.sleep(0)
    assert list(harness.outstanding) == ["b"]
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert harness.codes == [("a", "upstream_lost"), ("b", "cancelled")]
    assert (harness.record.deployment, harness.record.usage) == ("b", PROMPT)
    assert harness.outstanding == {}


# The Responses API's own failure.

ASK = b'{"input":"a","stream":true}'
CREATED = b'event: response.created\ndata: {"type":"response.created","response":{"id":"r1"}}\n\n'


def failed(code: str) -> FakeAnswer:
    error = f'{{"type":"response.failed","response":{{"id":"r1","error":{{"code":"{code}","message":"No."}}}}}}'
    return FakeAnswer([CREATED, f"event: response.failed\ndata: {error}\n\n".encode(), b""])


async def test_a_failed_response_is_given_up_for_a_better_one() -> None:
    first = failed("server_error")
    delta = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"hi"}\n\n'
    harness = FailoverHarness(first, FakeAnswer([CREATED + delta]))
    answer = await harness.open(ASK, RESPONSES)
    assert answer.opened.first == CREATED + delta
    assert harness.codes == [("a", "server_error"), ("b", None)]
    assert first.aborted
    assert list(harness.outstanding) == ["b"]
    answer.drop()


async def test_a_failed_response_is_delivered_when_nothing_better_comes() -> None:
    first, second = failed("server_error"), failed("server_error")
    harness = FailoverHarness(first, second, LOST)
    answer = await harness.open(ASK, RESPONSES)
    assert answer.opened.answer is second
    assert answer.opened.first.startswith(CREATED)
    assert (first.aborted, second.aborted) == (True, False)
    assert harness.record.deployment == "b", "the answer is its"
    assert list(harness.outstanding) == ["b"]
    answer.drop()
    assert harness.outstanding == {}


async def test_a_filtered_response_is_the_callers_affair() -> None:
    harness = FailoverHarness(failed("content_filter"))
    answer = await harness.open(ASK, RESPONSES)
    assert answer.opened.first.startswith(CREATED)
    assert harness.codes == [("a", None)]
    answer.drop()


BACKGROUND = b'{"input":"a","background":true}'
QUEUED = b'{"id":"resp_1","object":"response","status":"queued"}'
NOT_CONNECTED = UpstreamError("connect_error", "No.", end=End.CONNECT_ERROR)


@rows("refused", [NOT_CONNECTED, refusal(429), refusal(503), refusal(401), refusal(404, code="DeploymentNotFound")])
async def test_a_background_response_moves_after_a_refusal(refused: FakeAnswer | UpstreamError) -> None:
    harness = FailoverHarness(refused, FakeAnswer([QUEUED, b""], headers=JSON))
    (await harness.open(BACKGROUND, RESPONSES)).drop()
    assert harness.asked == "ab"


@rows("failed", [LOST, refusal(500), refusal(502), refusal(504), refusal(408), FakeAnswer([b""], headers=JSON)])
async def test_a_background_response_that_may_have_begun_is_not_begun_again(failed: FakeAnswer | UpstreamError) -> None:
    harness = FailoverHarness(failed, good())
    error = await harness.fails(BACKGROUND, RESPONSES)
    assert harness.asked == "a"
    assert [value for name, value in error.headers if name == b"x-should-retry"] == [b"false"]


@rows("code", ["server_error", "rate_limit_exceeded"])
async def test_an_error_inside_the_answer_to_a_background_response_is_final(code: str) -> None:
    event = b'event: error\ndata: {"type":"error","error":{"message":"No.","code":"%s"}}\n\n' % code.encode()
    harness = FailoverHarness(FakeAnswer([event, b""]), good())
    error = await harness.fails(BACKGROUND[:-1] + b',"stream":true}', RESPONSES)
    assert harness.asked == "a"
    assert [value for name, value in error.headers if name == b"x-should-retry"] == [b"false"]


REFERENCE = b'{"input":[{"type":"item_reference","id":"fc_1"}]}'
NOT_FOUND = b'{"error":{"message":"Item with id \'fc_1\' not found.","type":"invalid_request_error","param":"input"}}'
DONE = b'{"id":"resp_2","object":"response","status":"completed"}'


CONTINUED = b'{"input":"a","previous_response_id":"resp_1"}'


def not_found(status: int = 400, body: bytes = NOT_FOUND) -> FakeAnswer:
    return FakeAnswer([body, b""], status=status, headers=JSON)


def after_an_item(*answers: FakeAnswer, age: float, count: int) -> FailoverHarness:
    harness = FailoverHarness(*answers, count=count)
    harness.failover.objects = Objects(clock=harness.clock)
    harness.failover.late_pauses = (0.0,) * len(LATE_PAUSES)
    home = f"https://{'ab'[count - 1]}.example/gpt-4o"
    harness.failover.objects.made("fc_1", ObjectRecord("item", home, owner_of(None), None))
    harness.clock.advance(age)
    return harness


@rows("count", [1, 2])
async def test_an_item_that_was_only_just_made_is_asked_for_again(count: int) -> None:
    harness = after_an_item(not_found(), FakeAnswer([DONE, b""], headers=JSON), age=1.0, count=count)
    (await harness.open(REFERENCE, RESPONSES)).drop()
    assert harness.asked == "ab"[count - 1] * 2
    assert harness.outstanding == {}


async def test_it_is_asked_for_no_more_than_a_few_times() -> None:
    harness = after_an_item(*(not_found() for _ in LATE_PAUSES), not_found(404), age=1.0, count=2)
    assert (await harness.fails(REFERENCE, RESPONSES)).status == 404
    assert harness.asked == "b" * (1 + len(LATE_PAUSES))
    assert LATE_SECONDS - sum(LATE_PAUSES) < 10, "the last question comes when Azure has found what it will find"


@rows(("count", "asked"), [(1, "a"), (2, "")])
async def test_encrypted_content_is_looked_for_where_it_could_be_another_s(count: int, asked: str) -> None:
    harness = FailoverHarness(FakeAnswer([DONE, b""], headers=JSON), count=count)
    harness.failover.objects = Objects([FakeObjectStore(away=True)], clock=harness.clock)
    body = b'{"input":[{"type":"reasoning","encrypted_content":"gAAAA"}],"store":false}'
    if asked:
        (await harness.open(body, RESPONSES)).drop()
    else:
        assert (await harness.fails(body, RESPONSES)).status == 503
    assert harness.asked == asked


async def test_what_cannot_be_decrypted_is_no_matter_of_time() -> None:
    unreadable = b'{"error":{"message":"No.","code":"invalid_encrypted_content","param":null}}'
    harness = after_an_item(not_found(body=unreadable), age=1.0, count=2)
    assert (await harness.fails(REFERENCE, RESPONSES)).status == 400
    assert harness.asked == "b"


async def test_what_another_process_has_deleted_meanwhile_is_not_waited_for() -> None:
    missing = b'{"error":{"message":"No.","code":"previous_response_not_found","param":"previous_response_id"}}'
    harness = FailoverHarness(*(not_found(body=missing) for _ in "ab"), count=1)
    objects = harness.failover.objects = Objects([FakeObjectStore()], clock=harness.clock)
    harness.failover.late_pauses = (0.0,) * len(LATE_PAUSES)
    objects.made("resp_1", ObjectRecord("response", "https://a.example/gpt-4o", owner_of(None), None))
    objects.stored("resp_1")
    assert (await harness.fails(CONTINUED, RESPONSES)).status == 400
    assert harness.asked == "aa"


@rows(("stored", "complete", "asked"), [(True, True, "aaa"), (False, True, "a"), (True, False, "a")])
async def test_a_response_that_has_only_just_ended_is_waited_for(stored: bool, complete: bool, asked: str) -> None:
    """dotnet/extensions#7704, microsoft/agent-framework#6419: 400 ``previous_response_not_found`` for some seconds."""
    made = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'
    ended = b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_1"}}\n\n'
    missing = b'{"error":{"message":"No.","code":"previous_response_not_found","param":"previous_response_id"}}'
    harness = FailoverHarness(
        FakeAnswer([made, b'data: {"type":"response.output_text.delta","delta":"a"}\n\n']),
        *(not_found(body=missing) for _ in "ab"),
        FakeAnswer([DONE, b""], headers=JSON),
        count=1,
    )
    harness.failover.objects = Objects(clock=harness.clock)
    harness.failover.late_pauses = (0.0,) * len(LATE_PAUSES)
    answer = await harness.open(b'{"input":"a","stream":true,"store":%s}' % json.dumps(stored).encode(), RESPONSES)
    stream = answer.opened.stream
    assert stream is not None
    if complete:
        stream.feed(ended)
    assert answer.made is None or stored
    if answer.made is not None:
        answer.made(answer, stream.items)
    answer.drop()
    harness.clock.advance(7.0)
    harness.upstream.requests.clear()
    if asked == "a":
        assert (await harness.fails(CONTINUED, RESPONSES)).status == 400
    else:
        (await harness.open(CONTINUED, RESPONSES)).drop()
    assert harness.asked == asked


async def test_an_item_that_was_made_long_ago_is_gone() -> None:
    harness = after_an_item(not_found(), age=LATE_SECONDS, count=2)
    assert (await harness.fails(REFERENCE, RESPONSES)).status == 400
    assert harness.asked == "b"


def leased() -> int:
    return sum(type(each) is LeasedAnswer for each in gc.get_objects())


async def test_an_answer_leaves_nothing_to_collect() -> None:
    """A request's body is gone with its answer, and does not wait for the garbage collector."""
    harness = FailoverHarness(FakeAnswer([DONE, b""], headers=JSON))
    gc.collect()
    gc.disable()
    try:
        before = leased()
        answer = await harness.open(b'{"input":"a"}', RESPONSES)
        assert answer.made is not None
        answer.made(answer, ())
        answer.close()
        assert leased() == before + 1
        del answer
        assert leased() == before
    finally:
        gc.enable()
