"""Ephemeral keys and WebRTC calls: what is sent, what the client gets, and how a call is counted and ended."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import JSON, FakeAnswer, FakeClock, FakeCredential, FakeHook, FakeIncoming, FakeReply
from tests.gateway.socket_fakes import FakeSocket, FakeSocketReply, FakeSocketUpstream

from chukei.accounts.admission import Admission
from chukei.accounts.policy import Policies
from chukei.adapters.memory_quota import MemoryQuota
from chukei.callers.gatekeeper import Gatekeeper
from chukei.callers.throttle import Throttle
from chukei.config import load
from chukei.errors import UpstreamError
from chukei.gateway.assets import Asset
from chukei.gateway.gateway import Gateway
from chukei.gateway.pages import Pages
from chukei.gateway.services import Services
from chukei.model import End, Headers
from chukei.pool import Pool
from chukei.ports import Credential, Peers
from chukei.upstream.failover import Failover

pytestmark = pytest.mark.anyio

KEY = "sk-of-the-relay-1234"
CONFIGURATION = """
[defaults]
model = "voice"
[models.voice]
deployments = ["a"]
[models.secret]
deployments = ["b"]
[deployments.a]
endpoint = "https://one.openai.azure.com"
deployment = "gpt-realtime"
api_key = { env = "UP" }
[deployments.b]
endpoint = "https://one.openai.azure.com"
deployment = "gpt-secret"
api_key = { env = "UP" }
[groups.everybody]
models = ["voice"]
caps = { max_output_tokens = 300 }
[groups.everybody.limits]
tokens_per_day = 700
[sockets]
"""
DICTATING = """
[defaults]
model = "voice"
[models.voice]
deployments = ["a"]
[models.dictation]
deployments = ["b"]
[deployments.a]
endpoint = "https://one.openai.azure.com"
deployment = "gpt-realtime"
api_key = { env = "UP" }
[deployments.b]
endpoint = "https://one.openai.azure.com"
deployment = "gpt-live"
api_key = { env = "UP" }
"""
SDP: Headers = [(b"content-type", b"application/sdp"), (b"location", b"/openai/v1/realtime/calls/rtc_123")]
DONE = {
    "type": "response.done",
    "response": {"id": "resp_1", "status": "completed", "usage": {"input_tokens": 300, "output_tokens": 200}},
}
CREATED = {"type": "response.created", "response": {"id": "resp_1"}}
GONE = UpstreamError("connect_error", "Gone.", end=End.CONNECT_ERROR)


class Harness:
    """A gateway between fakes."""

    def __init__(
        self,
        directory: Path,
        *answers: FakeAnswer | Exception,
        sockets: tuple[FakeSocket | UpstreamError, ...] = (),
        more: str = "",
        peers: Peers | None = None,
        configuration: str = CONFIGURATION,
    ) -> None:
        path = directory / "chukei.toml"
        path.write_text(configuration + more)
        settings = load(path, {"UP": "upstream-secret", "CHUKEI_API_KEY": KEY})
        self.clock, self.hook, self.upstream = FakeClock(), FakeHook(), FakeSocketUpstream(*answers, sockets=sockets)
        pool = Pool(
            settings.models, settings.pool, default=settings.default_model, open=settings.open, draw=lambda: 0.5
        )
        credentials: dict[str, Credential] = {name: FakeCredential() for name in "ab"}
        services = Services(
            gatekeeper=Gatekeeper(settings.auth, settings.server, throttle=Throttle(3, self.clock)),
            policies=Policies({}, settings.policies.groups),
            admission=Admission(MemoryQuota(clock=self.clock, wall=lambda: 1_700_000_000.0)),
            pool=pool,
            pages=Pages(pool, lambda name: Asset("text/html", b"page"), self.clock, simulated=False, pace=0.01),
            failover=Failover(settings, pool, self.upstream, credentials, self.clock),
            hooks=[self.hook],
            clock=self.clock,
            wall=self.clock,
            peers=peers,
        )
        self.gateway = Gateway(settings, services)

    async def post(
        self, path: str, body: bytes, key: str = KEY, kind: bytes = b"application/json"
    ) -> tuple[FakeReply, Any]:
        headers = [
            (b"host", b"localhost:7221"),
            (b"content-type", kind),
            (b"authorization", b"Bearer " + key.encode()),
        ]
        reply = FakeReply()
        bare, _, query = path.partition("?")
        await self.gateway.handle(FakeIncoming(body, path=bare, query=query, headers=headers), reply)
        return reply, json.loads(reply.body) if reply.body[:1] == b"{" else reply.body

    async def secret(self, session: dict[str, Any], **more: Any) -> tuple[FakeReply, Any]:
        return await self.post("/v1/realtime/client_secrets", json.dumps({"session": session, **more}).encode())

    def asked(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.upstream.requests[number][3])
        return found


def secret(value: str = "ek_upstream") -> FakeAnswer:
    made = {"value": value, "expires_at": 1_700_000_600, "session": {"type": "realtime", "model": "gpt-realtime"}}
    return FakeAnswer([json.dumps(made).encode(), b""], headers=JSON)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_a_key_is_the_relays_own(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secret())
    reply, made = await harness.secret({"type": "realtime", "model": "voice", "audio": {"output": {"voice": "alloy"}}})
    assert reply.status == 200
    assert made["value"].startswith("ek_")
    assert "upstream" not in made["value"]
    assert (made["expires_at"], made["session"]["model"]) == (1_700_000_600, "voice")
    assert harness.upstream.requests[0][1] == "/openai/v1/realtime/client_secrets"
    assert harness.asked(0)["session"] == {
        "type": "realtime",
        "model": "gpt-realtime",
        "audio": {"output": {"voice": "alloy"}},
        "max_output_tokens": 300,
    }
    (record,) = harness.hook.records
    assert (record.operation, record.status, record.end, record.model) == (
        "realtime_client_secrets",
        200,
        End.COMPLETED,
        "voice",
    )


async def test_a_model_that_is_not_allowed_gets_no_key(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    reply, made = await harness.secret({"type": "realtime", "model": "secret"})
    assert (reply.status, made["error"]["code"]) == (403, "model_not_allowed")
    assert not harness.upstream.requests


async def connected(
    harness: Harness, key: str, *more: tuple[bytes, bytes], path: str = "/v1/realtime"
) -> tuple[FakeSocketReply, FakeSocket]:
    """Open a session with a browser's handshake; return the reply, and the client's socket."""
    protocols = f"realtime, openai-insecure-api-key.{key}".encode()
    headers = [
        (b"host", b"localhost:7221"),
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"origin", b"https://app.example"),
        (b"sec-websocket-protocol", protocols),
        *more,
    ]
    socket = FakeSocket()
    reply = FakeSocketReply(socket)
    incoming = FakeIncoming(method="GET", path=path, headers=headers)
    incoming.upgrades = True
    socket.leave()
    await harness.gateway.handle(incoming, reply)
    return reply, socket


async def test_a_key_opens_a_session_at_its_deployment_until_it_expires(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secret(), sockets=(FakeSocket(),))
    _, made = await harness.secret({"type": "realtime", "model": "voice"}, expires_after={"seconds": 30})
    reply, _ = await connected(harness, made["value"])
    assert (reply.status, reply.socket.subprotocol) == (101, "realtime")
    ((_, target, headers),) = harness.upstream.opened
    assert target == "/openai/v1/realtime?model=gpt-realtime"
    assert (b"authorization", b"Bearer ek_upstream") in headers
    harness.clock.advance(31)
    reply, _ = await connected(harness, made["value"])
    assert reply.status == 401


@pytest.mark.parametrize("beside", [KEY, "a guess"])
async def test_a_key_beside_another_credential_is_ambiguous_whether_that_is_valid_or_not(
    tmp_path: Path, beside: str
) -> None:
    harness = Harness(tmp_path, secret(), sockets=(FakeSocket(),))
    _, made = await harness.secret({"type": "realtime", "model": "voice"})
    reply, _ = await connected(harness, made["value"], (b"api-key", beside.encode()))
    assert reply.status == 400


KEYLESS = UpstreamError("upstream_unauthorized", "Refused.", end=End.UPSTREAM_STATUS)
TRANSCRIBING = "intent=transcription&model=dictation"


async def opened(harness: Harness, path: str, query: str) -> FakeSocketReply:
    """Open a session with the caller's own key; return the reply."""
    reply = FakeSocketReply(FakeSocket())
    headers = [(b"host", b"localhost:7221"), (b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
    headers.append((b"authorization", b"Bearer " + KEY.encode()))
    incoming = FakeIncoming(method="GET", path=path, query=query, headers=headers)
    incoming.upgrades = True
    reply.socket.leave()
    await harness.gateway.handle(incoming, reply)
    return reply


@pytest.mark.parametrize(
    ("path", "query", "asked", "body"),
    [
        (
            "/v1/realtime",
            TRANSCRIBING,
            "/openai/v1/realtime/client_secrets",
            {"session": {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-live"}}}}},
        ),
        (
            "/openai/realtime",
            f"api-version=2025-04-01-preview&{TRANSCRIBING}",
            "/openai/realtimeapi/transcription_sessions?api-version=2025-04-01-preview",
            {"input_audio_transcription": {"model": "gpt-live"}},
        ),
    ],
)
async def test_a_model_that_takes_ephemeral_keys_only_gets_one(
    tmp_path: Path, path: str, query: str, asked: str, body: dict[str, Any]
) -> None:
    """BerriAI/litellm#38635, #38645: ``This operation requires ephemeral authentication.``"""
    made = json.dumps({"value": "ek_upstream", "client_secret": {"value": "ek_upstream"}}).encode()
    harness = Harness(
        tmp_path, FakeAnswer([made, b""], headers=JSON), sockets=(KEYLESS, FakeSocket()), configuration=DICTATING
    )
    reply = await opened(harness, path, query)
    assert reply.status == 101
    assert (harness.upstream.requests[0][1], harness.asked(0)) == (asked, body)
    refused, accepted = harness.upstream.opened
    assert refused[1] == accepted[1]
    assert (b"authorization", b"Bearer ek_upstream") in accepted[2]
    assert harness.hook.records[-1].tries[0].code is None


async def test_a_wrong_key_of_the_relays_gets_no_ephemeral_one(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path, FakeAnswer([b"{}", b""], status=401, headers=JSON), sockets=(KEYLESS,), configuration=DICTATING
    )
    assert (await opened(harness, "/v1/realtime", TRANSCRIBING)).status == 502
    other = Harness(tmp_path, sockets=(KEYLESS,))
    assert (await opened(other, "/v1/realtime", "model=voice")).status == 502
    assert not other.upstream.requests


async def test_a_call_that_only_transcribes_has_no_model(tmp_path: Path) -> None:
    side = FakeSocket()
    harness = Harness(
        tmp_path, FakeAnswer([b"v=0", b""], status=201, headers=SDP), sockets=(side,), configuration=DICTATING
    )
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "dictation"}}}}
    form = (
        '--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0 offer\r\n'
        f'--x\r\nContent-Disposition: form-data; name="session"\r\n\r\n{json.dumps(session)}\r\n--x--\r\n'
    )
    reply, _ = await harness.post("/v1/realtime/calls", form.encode(), kind=b"multipart/form-data; boundary=x")
    _, target, _, body = harness.upstream.requests[0][:4]
    assert (reply.status, target) == (201, "/openai/v1/realtime/calls")
    assert b'{"type":"transcription","audio":{"input":{"transcription":{"model":"gpt-live"}}}}' in body
    transcript = "conversation.item.input_audio_transcription.completed"
    side.put({"type": transcript, "item_id": "item_1", "usage": {"type": "duration", "seconds": 2}})
    side.leave()
    await eventually(lambda: len(harness.hook.records) == 3)
    counted = harness.hook.records[1]
    assert counted.usage is not None
    assert (counted.operation, counted.model, counted.usage.heard_ms) == ("realtime_transcription", "dictation", 2000)


@pytest.mark.parametrize(
    ("path", "sent", "written"),
    [
        pytest.param(
            "client_secrets",
            {"session": {"type": "transcription", "audio": {"input": {"transcription": {"language": "ja"}}}}},
            {"language": "ja", "model": "whisper-1"},
            id="as OpenAI has it",
        ),
        pytest.param(
            "client_secrets",
            {"session": {"type": "transcription", "audio": {"input": {"transcription": {"model": None}}}}},
            {"model": "whisper-1"},
            id="with null",
        ),
        pytest.param("client_secrets", {"session": {"type": "transcription"}}, None, id="still to be configured"),
        pytest.param(
            "transcription_sessions",
            {"input_audio_transcription": {"language": "ja"}},
            {"language": "ja", "model": "whisper-1"},
            id="of the preview",
        ),
    ],
)
async def test_a_key_for_transcriptions_that_names_no_model_is_for_the_first_that_transcribes(
    tmp_path: Path, path: str, sent: dict[str, Any], written: dict[str, Any] | None
) -> None:
    made = json.dumps({"value": "ek_upstream", "client_secret": {"value": "ek_upstream"}}).encode()
    harness = Harness(
        tmp_path,
        FakeAnswer([made, b""], headers=JSON),
        configuration=DICTATING.replace("gpt-live", "whisper-1"),
    )
    reply, _ = await harness.post(f"/v1/realtime/{path}", json.dumps(sent).encode())
    assert (reply.status, harness.hook.records[-1].model) == (200, "dictation")
    asked = harness.asked(0)
    session = asked.get("session", asked)
    holder = session.get("audio", {}).get("input", {}).get("transcription", session.get("input_audio_transcription"))
    assert holder == written


async def test_no_model_is_made_up_for_transcriptions_if_none_is_known_for_them(tmp_path: Path) -> None:
    harness = Harness(tmp_path, FakeAnswer([b'{"value": "ek_upstream"}', b""], headers=JSON), configuration=DICTATING)
    session = {"type": "transcription", "audio": {"input": {"transcription": {"language": "ja"}}}}
    reply, _ = await harness.post("/v1/realtime/client_secrets", json.dumps({"session": session}).encode())
    assert (reply.status, harness.asked(0)) == (200, {"session": session})


class Workers:
    """The link between two workers: each answers every question."""

    def __init__(self) -> None:
        self.handlers: list[tuple[str, Callable[[bytes], bytes]]] = []
        self.asked = 0

    def answer(self, subject: str, handler: Callable[[bytes], bytes], *, last: bool = False) -> None:
        self.handlers.append((subject, handler))

    async def ask(self, subject: str, argument: bytes = b"") -> list[bytes]:
        self.asked += 1
        return [handler(argument) for about, handler in self.handlers if about == subject]


async def test_workers_know_each_others_keys_and_calls(tmp_path: Path) -> None:
    workers, side = Workers(), FakeSocket()
    one = Harness(
        tmp_path,
        secret(),
        FakeAnswer([b"v=0", b""], status=201, headers=SDP),
        sockets=(side,),
        peers=workers,
    )
    two = Harness(tmp_path, FakeAnswer([b"", b""], headers=JSON), sockets=(FakeSocket(),), peers=workers)
    two.clock = one.clock
    _, made = await one.secret({"type": "realtime", "model": "voice"})
    reply, _ = await connected(two, made["value"])
    assert reply.status == 101
    assert (b"authorization", b"Bearer ek_upstream") in two.upstream.opened[0][2]
    await one.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    hung_up, _ = await two.post("/v1/realtime/calls/rtc_123/hangup", b"")
    assert hung_up.status == 200
    one.gateway.end_of(lambda who: True)
    reply, _ = await connected(two, made["value"])
    assert reply.status == 401
    side.leave()
    await eventually(lambda: one.gateway.live == 0)


async def test_a_guessed_key_is_refused_before_anybody_is_asked_and_counted(tmp_path: Path) -> None:
    workers = Workers()
    one = Harness(tmp_path, secret(), peers=workers)
    two = Harness(tmp_path, sockets=(FakeSocket(),), peers=workers)
    two.clock = one.clock
    _, made = await one.secret({"type": "realtime", "model": "voice"})
    key: str = made["value"]
    guesses = [key[:-1] + ("0" if key[-1] != "0" else "1"), key.upper(), key + "0", "ek_" + "x" * 43, "ek_"]
    statuses = [(await connected(two, each))[0].status for each in guesses]
    assert (statuses, workers.asked) == ([401, 401, 401, 429, 429], 0)
    refused, told = await two.post("/v1/realtime/calls", b"v=0", guesses[0], kind=b"application/sdp")
    assert (refused.status, told["error"]["code"], workers.asked) == (429, "too_many_failures", 0)
    reply, _ = await connected(two, key)
    assert reply.status == 101, "a valid key from the same address is always accepted"


async def test_a_key_opens_nothing_else(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secret())
    _, made = await harness.secret({"type": "realtime", "model": "voice"})
    reply, _ = await connected(harness, made["value"], path="/v1/responses")
    assert reply.status == 401
    reply_to_chat, _ = await harness.post("/v1/chat/completions", b"{}", made["value"])
    assert reply_to_chat.status == 401
    again, told = await harness.post("/v1/realtime/client_secrets", b"{}", made["value"])
    assert (again.status, told["error"]["code"]) == (401, "invalid_api_key")


async def test_a_key_goes_with_its_caller(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secret())
    _, made = await harness.secret({"type": "realtime", "model": "voice"})
    harness.gateway.end_of(lambda who: True)
    reply, _ = await connected(harness, made["value"])
    assert reply.status == 401


async def test_a_call_is_watched_and_counted(tmp_path: Path) -> None:
    side = FakeSocket()
    harness = Harness(tmp_path, FakeAnswer([b"v=0 answer", b""], status=201, headers=SDP), sockets=(side,))
    reply, answer = await harness.post("/v1/realtime/calls?model=voice", b"v=0 offer", kind=b"application/sdp")
    assert (reply.status, answer) == (201, b"v=0 answer")
    assert (b"location", b"/v1/realtime/calls/rtc_123") in reply.headers
    assert harness.upstream.requests[0][1] == "/openai/v1/realtime/calls?model=gpt-realtime"
    assert harness.upstream.opened[0][1] == "/openai/v1/realtime?call_id=rtc_123"
    side.put(CREATED, DONE)
    side.leave()
    await eventually(lambda: harness.gateway.live == 0 and len(harness.hook.records) == 3)
    counted = harness.hook.records[1]
    assert counted.usage is not None
    assert (counted.operation, counted.usage.input, counted.usage.output) == ("realtime", 300, 200)
    assert harness.hook.records[2].operation == "realtime_call"


async def test_a_call_that_names_no_session_gets_the_models_own(tmp_path: Path) -> None:
    side = FakeSocket()
    harness = Harness(tmp_path, FakeAnswer([b"v=0", b""], status=201, headers=SDP), sockets=(side,))
    await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    assert side.events == [{"type": "session.update", "session": {"max_output_tokens": 300, "type": "realtime"}}]
    side.leave()
    await eventually(lambda: harness.gateway.live == 0)


async def test_open_calls_count_as_sessions(tmp_path: Path) -> None:
    one, two = FakeSocket(), FakeSocket()
    answers = [FakeAnswer([b"v=0", b""], status=201, headers=SDP) for _ in range(2)]
    harness = Harness(tmp_path, *answers, sockets=(one, two), more="per_caller = 1\n")
    reply, _ = await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    refused, told = await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    assert (reply.status, refused.status, told["error"]["code"]) == (201, 429, "too_many_sockets")
    one.leave()
    await eventually(lambda: harness.hook.records[-1].operation == "realtime_call")
    again, _ = await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    assert again.status == 201
    two.leave()
    await eventually(lambda: harness.gateway.live == 0)


async def test_preparing_requests_are_counted(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secret(), more="[groups.everybody.total]\nrequests_per_minute = 1\n")
    await harness.secret({"type": "realtime", "model": "voice"})
    reply, told = await harness.secret({"type": "realtime", "model": "voice"})
    assert (reply.status, told["error"]["code"]) == (429, "rate_limit_exceeded")
    assert len(harness.upstream.requests) == 1


async def test_a_model_that_is_no_name_is_refused(tmp_path: Path) -> None:
    form = '--x\r\nContent-Disposition: form-data; name="session"\r\n\r\n{"model":["voice"]}\r\n--x--\r\n'
    harness = Harness(tmp_path)
    reply, _ = await harness.post("/v1/realtime/calls", form.encode(), kind=b"multipart/form-data; boundary=x")
    assert reply.status == 400


async def test_the_id_of_a_call_is_no_key(tmp_path: Path) -> None:
    side = FakeSocket()
    hung_up = FakeAnswer([b"", b""], headers=JSON)
    harness = Harness(tmp_path, FakeAnswer([b"v=0", b""], status=201, headers=SDP), hung_up, sockets=(side,))
    await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    reply, _ = await connected(harness, "rtc_123")
    assert reply.status == 401
    side.leave()


async def test_a_call_is_hung_up_at_a_limit(tmp_path: Path) -> None:
    side = FakeSocket()
    hung_up = FakeAnswer([b"", b""], headers=JSON)
    harness = Harness(tmp_path, FakeAnswer([b"v=0", b""], status=201, headers=SDP), hung_up, sockets=(side,))
    await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    side.put(CREATED, DONE, {"type": "response.created", "response": {"id": "resp_2"}})
    await eventually(lambda: harness.hook.records[-1].operation == "realtime_call")
    assert harness.upstream.requests[1][1] == "/openai/v1/realtime/calls/rtc_123/hangup"
    assert harness.hook.records[-1].code == "insufficient_quota"


async def test_a_call_that_cannot_be_watched_is_hung_up(tmp_path: Path) -> None:
    hung_up = FakeAnswer([b"", b""], headers=JSON)
    harness = Harness(tmp_path, FakeAnswer([b"v=0", b""], status=201, headers=SDP), hung_up, sockets=(GONE,))
    reply, told = await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    assert (reply.status, told["error"]["code"]) == (502, "connect_error")
    assert harness.upstream.requests[1][1].endswith("/hangup")


async def test_a_call_ends_when_the_relay_stops(tmp_path: Path) -> None:
    side = FakeSocket()
    hung_up = FakeAnswer([b"", b""], headers=JSON)
    harness = Harness(tmp_path, FakeAnswer([b"v=0", b""], status=201, headers=SDP), hung_up, sockets=(side,))
    await harness.post("/v1/realtime/calls?model=voice", b"v=0", kind=b"application/sdp")
    await eventually(lambda: harness.gateway.live == 1)
    await asyncio.sleep(0)
    harness.gateway.stop_all()
    await eventually(lambda: harness.gateway.live == 0)
    assert harness.upstream.requests[1][1].endswith("/hangup")
    assert harness.hook.records[-1].end is End.SERVER_SHUTDOWN


async def test_calls_can_be_switched_off(tmp_path: Path) -> None:
    harness = Harness(tmp_path, more="calls = false\n")
    reply, told = await harness.post("/v1/realtime/calls", b"v=0", kind=b"application/sdp")
    assert (reply.status, told["error"]["code"]) == (404, "route_not_served")


async def test_only_its_caller_hangs_up_a_call(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    reply, told = await harness.post("/v1/realtime/calls/rtc_999/hangup", b"")
    assert (reply.status, told["error"]["code"]) == (404, "call_not_found")


async def test_the_session_of_a_call_in_a_form_is_written_for_the_deployment(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path,
        FakeAnswer([b"v=0", b""], status=201, headers=SDP),
        FakeAnswer([b"", b""], headers=JSON),
        sockets=(FakeSocket(),),
    )
    session = json.dumps({"type": "realtime", "model": "voice", "max_output_tokens": "inf"})
    form = (
        '--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0 offer\r\n'
        f'--x\r\nContent-Disposition: form-data; name="session"\r\n\r\n{session}\r\n--x--\r\n'
    )
    reply, _ = await harness.post("/v1/realtime/calls", form.encode(), kind=b"multipart/form-data; boundary=x")
    assert reply.status == 201
    body = harness.upstream.requests[0][3]
    assert b'"model":"gpt-realtime"' in body
    assert b'"max_output_tokens":300' in body
    assert b"v=0 offer" in body
    await eventually(lambda: harness.gateway.live == 1)
    harness.gateway.stop_all()
    await eventually(lambda: len(harness.upstream.requests) == 2)
