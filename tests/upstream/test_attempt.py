"""One deployment asked: what the try's record says, what the pool hears, and that the place is given back."""

import asyncio

import pytest
from tests.fakes import JSON, FakeAnswer, FakeClock, FakeCredential, FakeUpstream
from tests.rows import rows

from chukei.azure import CHAT
from chukei.config import PoolSettings, StreamSettings
from chukei.errors import CallerError, UpstreamError
from chukei.model import Deployment, End, Model
from chukei.pool import DeploymentStatus, Lease, Pool
from chukei.pool.member import Status
from chukei.record import Attempt
from chukei.request import call as calls
from chukei.request.routes import Route
from chukei.stream import sse
from chukei.upstream.attempt import CANCELLED, DeploymentClient, LeasedAnswer
from chukei.upstream.connect import Waits
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

A = Deployment("a", "https://a.example", "gpt-4o", api_version="2024-10-21")
REQUEST = b'{"messages":[{"role":"user","content":"a"}],"stream":true,"max_completion_tokens":5}'
OUTPUT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
ERROR = b'data: {"error":{"message":"No.","type":"server_error","code":"server_error"}}\n\n'
PROMPT = Usage(output=5, estimated=True)
UNKNOWN = b'{"error":{"message":"No.","type":"invalid_request_error","param":"%s","code":"unknown_parameter"}}'
CONNECT = UpstreamError("connect_error", "No way.", end=End.CONNECT_ERROR)
LOST = UpstreamError("upstream_lost", "Gone.", end=End.UPSTREAM_LOST)


class Unsent(FakeUpstream):
    """Never gets as far as sending."""

    async def request(self, *_: object) -> FakeAnswer:
        raise CONNECT


class DeploymentHarness:
    """One deployment among fakes."""

    def __init__(
        self,
        *answers: FakeAnswer | Exception,
        upstream: FakeUpstream | None = None,
        credential: FakeCredential | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.upstream = upstream or FakeUpstream(*answers)
        settings = PoolSettings(breaker_failures=1)
        model = Model("chat", (A,))
        self.pool = Pool({"chat": model}, settings, default="chat", open=None, draw=lambda: 0.5)
        self.attempt = Attempt("a")
        credentials = {"a": credential or FakeCredential()}
        self.asking = DeploymentClient(self.upstream, credentials, StreamSettings(), self.clock)

    async def ask(self, seconds: float = 60.0) -> tuple[LeasedAnswer, Lease]:
        lease = self.pool.choose("chat", self.clock(), cost=9)
        call = calls.read(Route(operation=CHAT), CHAT, [(b"content-type", b"application/json")], REQUEST)
        return await self.asking.ask(lease, call, "request-1", self.attempt, Waits(seconds, seconds, seconds)), lease

    @property
    def status(self) -> DeploymentStatus:
        [status] = self.pool.status(self.clock())["chat"]
        return status


def refusal(status: int, body: bytes) -> FakeAnswer:
    return FakeAnswer([body, b""], status=status, headers=JSON)


async def test_an_answer_keeps_its_place_until_it_is_closed() -> None:
    answer = FakeAnswer([OUTPUT, sse.DONE])
    answer.headers = [*answer.headers, (b"apim-request-id", b"r-1"), (b"x-ms-region", b"Japan East")]
    harness = DeploymentHarness(answer)
    leased, _ = await harness.ask()
    assert leased.opened.first == OUTPUT
    assert (harness.attempt.code, harness.attempt.usage) == (None, PROMPT)
    assert (harness.attempt.upstream_request_id, harness.attempt.region) == ("r-1", "Japan East")
    assert (harness.status.outstanding, harness.status.outstanding_tokens) == (1, 9)
    leased.close()
    leased.close()
    assert (harness.status.outstanding, harness.status.outstanding_tokens) == (0, 0)
    assert not answer.aborted
    leased.drop()
    assert answer.aborted


async def test_a_break_after_the_beginning_is_noted_once() -> None:
    harness = DeploymentHarness(FakeAnswer([OUTPUT]))
    leased, _ = await harness.ask()
    leased.broke(LOST)
    leased.broke(CONNECT)
    leased.drop()
    assert (harness.attempt.code, harness.attempt.usage) == ("upstream_lost", PROMPT)
    assert (harness.status.failed, harness.status.status, harness.status.why) == (1, Status.OPEN, "upstream_lost")


@rows(
    ("harness", "code", "usage", "status"),
    [
        pytest.param(DeploymentHarness(upstream=Unsent()), "connect_error", None, Status.OPEN, id="never sent"),
        pytest.param(DeploymentHarness(LOST), "upstream_lost", PROMPT, Status.OPEN, id="sent and lost"),
        pytest.param(DeploymentHarness(refusal(429, b"{}")), "upstream_429", None, Status.COOLING, id="429"),
        pytest.param(DeploymentHarness(refusal(500, b"{}")), "upstream_500", None, Status.OPEN, id="500"),
        pytest.param(DeploymentHarness(refusal(401, b"{}")), "upstream_unauthorized", None, Status.OPEN, id="401"),
        pytest.param(DeploymentHarness(refusal(400, b"{}")), "upstream_400", None, Status.READY, id="400"),
        pytest.param(DeploymentHarness(FakeAnswer([ERROR])), "server_error", PROMPT, Status.OPEN, id="error in a 200"),
        pytest.param(DeploymentHarness(FakeAnswer([b""])), "upstream_lost", PROMPT, Status.OPEN, id="empty"),
        pytest.param(
            DeploymentHarness(
                credential=FakeCredential(UpstreamError("upstream_identity_unavailable", "", end=End.CONNECT_ERROR))
            ),
            "upstream_identity_unavailable",
            None,
            Status.OPEN,
            id="no token",
        ),
    ],
)
async def test_a_failure_is_told_and_gives_the_place_back(
    harness: DeploymentHarness, code: str, usage: Usage | None, status: Status
) -> None:
    with pytest.raises(UpstreamError) as raised:
        await harness.ask()
    assert raised.value.code == code
    assert (harness.attempt.code, harness.attempt.usage) == (code, usage)
    assert (harness.status.outstanding, harness.status.outstanding_tokens) == (0, 0)
    # A caller's mistake leaves no trace at the deployment.
    assert (harness.status.status, harness.status.last_error) == (status, None if status is Status.READY else code)
    assert harness.status.failed == (status is not Status.READY)


async def test_silence_ends_after_the_seconds_it_may_take() -> None:
    harness = DeploymentHarness()
    with pytest.raises(UpstreamError, match=r"within 0\.01 s"):
        await harness.ask(0.01)
    assert (harness.attempt.code, harness.attempt.usage) == ("upstream_timeout", PROMPT)
    assert harness.upstream.cancelled


async def test_cancelling_blames_nobody() -> None:
    harness = DeploymentHarness()
    asking = asyncio.create_task(harness.ask())
    await harness.upstream.asked.wait()
    harness.clock.advance(3)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (harness.attempt.code, harness.attempt.usage, harness.attempt.seconds) == (CANCELLED, PROMPT, 3)
    assert (harness.status.status, harness.status.failed, harness.status.outstanding) == (Status.READY, 0, 0)


async def test_a_deployment_that_knows_less_is_asked_once_more_as_it_wants_it() -> None:
    harness = DeploymentHarness(refusal(400, UNKNOWN % b"max_completion_tokens"), FakeAnswer([OUTPUT]))
    leased, _ = await harness.ask()
    first, second = (body for *_, body in harness.upstream.requests)
    assert b'"max_completion_tokens":5' in first
    assert b'"max_tokens":5' in second
    assert (harness.attempt.code, harness.attempt.usage, harness.status.failed) == (None, PROMPT, 0)
    leased.drop()


async def test_what_was_refused_and_then_not_sent_cost_nothing() -> None:
    class OnceOnly(FakeUpstream):
        async def request(self, *arguments: object) -> FakeAnswer:
            if self.requests:
                raise CONNECT
            return await super().request(*arguments)  # type: ignore[arg-type]

    harness = DeploymentHarness(upstream=OnceOnly(refusal(400, UNKNOWN % b"max_completion_tokens")))
    with pytest.raises(UpstreamError):
        await harness.ask()
    assert (harness.attempt.code, harness.attempt.usage) == ("connect_error", None)


async def test_a_call_that_cannot_be_written_says_why() -> None:
    class Refusing(FakeCredential):
        async def header(self) -> tuple[bytes, bytes]:
            raise CallerError(400, "cannot_be_written", "No.")

    harness = DeploymentHarness(credential=Refusing())
    with pytest.raises(CallerError):
        await harness.ask()
    assert (harness.attempt.code, harness.status.failed, harness.status.outstanding) == ("cannot_be_written", 0, 0)
