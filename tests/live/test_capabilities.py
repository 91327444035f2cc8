"""Deployments of one model with different APIs in one pool: every request is adapted to its deployment."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Hold, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.plain_http import Answer, post
from tests.live.pools import SECRETS, Table, pool_file, pool_settings
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, ROLE, delta
from tests.live.relays import InProcessRelay, RelayProcess, eventually

from chukei.model import End
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

VERSIONS = {"old": "2024-02-01", "older-ga": "2024-06-01", "ga": "2024-10-21", "new": "v1"}
KNOW_USAGE = {"ga", "new"}
MESSAGES = [{"role": "user", "content": "repeat: one two three"}]


def question(**fields: Any) -> bytes:
    return json.dumps({"messages": MESSAGES, **fields}).encode()


# Several api-versions in one pool, against the simulator, which refuses what Azure's versions refuse.


class Mixed:
    """A relay to one resource for each api-version."""

    def __init__(self, relay: InProcessRelay, simulators: dict[str, Simulator]) -> None:
        self.relay, self.simulators = relay, simulators

    async def ask_each(self, body: bytes, path: str = CHAT) -> dict[str, Answer]:
        """Ask until each deployment has answered; return what each said."""
        answers: dict[str, Answer] = {}
        for _ in range(40):
            count = len(self.relay.records)
            answer = await post(self.relay.url, path, body)
            record = await self.relay.record(count + 1)
            assert answer.status == 200, (record.deployment, answer.body)
            assert record.end in (End.COMPLETED, End.LENGTH)
            assert len(record.tries) == 1
            assert record.deployment is not None
            answers[record.deployment] = answer
            if len(answers) == len(VERSIONS):
                return answers
        raise AssertionError(f"only {list(answers)} were asked")

    def sent(self, name: str) -> Any:
        """The body that reached a deployment last."""
        return json.loads(self.simulators[name].exchanges[-1].body)


@pytest.fixture
async def mixed(tmp_path: Path) -> AsyncIterator[Mixed]:
    async with AsyncExitStack() as stack:
        simulators, deployments = {}, {}
        for name, version in VERSIONS.items():
            settings = SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)
            simulators[name] = await stack.enter_async_context(Simulator(settings))
            deployments[name] = {"endpoint": simulators[name].url, "api_version": version}
        settings_ = pool_settings(tmp_path, deployments, pool={"affinity": []})
        yield Mixed(await stack.enter_async_context(InProcessRelay(settings_)), simulators)


def said(answer: Answer) -> str:
    events = [event.removeprefix(b"data: ") for event in answer.body.split(b"\n\n")]
    chunks = [json.loads(event) for event in events if event.startswith(b"{")]
    return "".join(
        choice.get("delta", {}).get("content") or "" for piece in chunks for choice in piece.get("choices", ())
    )


def has_usage(answer: Answer) -> bool:
    return b'"usage":{' in answer.body


async def test_a_plain_stream_everywhere_and_usage_where_there_is_one(mixed: Mixed) -> None:
    answers = await mixed.ask_each(question(stream=True))

    for name, answer in answers.items():
        assert said(answer) == "one two three"
        assert answer.body.endswith(DONE)
        assert not has_usage(answer), "the relay asked for it, not the client"
        assert ("stream_options" in mixed.sent(name)) is (name in KNOW_USAGE)
    for record in mixed.relay.records:
        assert record.usage is not None
        assert record.usage.estimated is (record.deployment not in KNOW_USAGE)
        if record.deployment in KNOW_USAGE:
            assert record.usage.output == 3


async def test_a_client_that_wants_usage_gets_it_where_there_is_one(mixed: Mixed) -> None:
    answers = await mixed.ask_each(question(stream=True, stream_options={"include_usage": True}))

    for name, answer in answers.items():
        assert said(answer) == "one two three"
        assert has_usage(answer) is (name in KNOW_USAGE)


# The request is written before it is known what kind of answer comes.
@pytest.mark.parametrize(("limit", "stream"), [("max_tokens", True), ("max_completion_tokens", False)])
async def test_an_output_limit_under_either_name_holds_everywhere(mixed: Mixed, limit: str, stream: bool) -> None:
    answers = await mixed.ask_each(question(stream=stream, **{limit: 2}))

    for name, answer in answers.items():
        text = said(answer) if stream else answer.json()["choices"][0]["message"]["content"]
        assert text == "one two"
        assert mixed.sent(name)[limit if name in KNOW_USAGE else "max_tokens"] == 2
    assert {record.finish_reasons.get(0) for record in mixed.relay.records} <= {"length", None}


async def test_text_completions_everywhere(mixed: Mixed) -> None:
    answers = await mixed.ask_each(b'{"prompt":"repeat: one two","stream":true}', "/v1/completions")

    for name, answer in answers.items():
        assert answer.body.endswith(DONE)
        assert ("stream_options" in mixed.sent(name)) is (name in KNOW_USAGE)


async def test_one_at_a_time_they_all_take_part(mixed: Mixed) -> None:
    for _ in range(20):
        assert (await post(mixed.relay.url, CHAT, question(stream=True))).status == 200

    assert [len(simulator.exchanges) for simulator in mixed.simulators.values()] == [5, 5, 5, 5]


# What the table does not say is learnt from a refusal, once.

ANSWER = FILTER + ROLE + delta("Hello") + FINISH + DONE


def refuses(name: bytes, code: bytes, message: bytes) -> Script:
    error = b'{"error":{"message":"%s","type":"invalid_request_error","param":%s,"code":%s}}'
    param = b'"%s"' % name if code else b"null"
    body = error % (message, param, b'"%s"' % code if code else b"null")
    return (Send(head("application/json", status="400 Bad Request", length=len(body)) + body),)


STREAM_OPTIONS = refuses(b"stream_options", b"unknown_parameter", b"Unknown parameter: 'stream_options'.")
STREAM_OPTIONS_IN_WORDS = refuses(b"stream_options", b"", b"Unrecognized request argument supplied: stream_options")
MAX_TOKENS = refuses(
    b"max_tokens",
    b"unsupported_parameter",
    b"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
)
ANSWERS: Script = (Send(head() + chunk(ANSWER) + LAST_CHUNK),)


class Learning:
    """Two deployments, ``a`` before ``b``."""

    def __init__(self, relay: InProcessRelay, a: FaultUpstream, b: FaultUpstream) -> None:
        self.relay, self.a, self.b = relay, a, b

    def knows_no(self, name: str, refusal: Script) -> None:
        self.a.script = lambda visit: refusal if name in json.loads(visit.body) else ANSWERS


@pytest.fixture
async def learning(tmp_path: Path) -> AsyncIterator[Learning]:
    async with FaultUpstream(ANSWERS) as a, FaultUpstream(ANSWERS) as b:
        deployments: dict[str, Table] = {
            "a": {"endpoint": a.url, "api_version": "v1"},
            "b": {"endpoint": b.url, "priority": 2},
        }
        async with InProcessRelay(pool_settings(tmp_path, deployments)) as relay:
            yield Learning(relay, a, b)


@pytest.mark.parametrize(
    ("name", "refusal", "fields"),
    [
        ("stream_options", STREAM_OPTIONS, {}),
        ("stream_options", STREAM_OPTIONS_IN_WORDS, {}),
        ("max_tokens", MAX_TOKENS, {"max_tokens": 9}),
    ],
    ids=["unknown_parameter", "in words", "unsupported_parameter"],
)
async def test_a_refusal_teaches_once_and_nobody_notices(
    learning: Learning, name: str, refusal: Script, fields: dict[str, Any]
) -> None:
    learning.knows_no(name, refusal)
    for number in range(1, 4):
        answer = await post(learning.relay.url, CHAT, question(stream=True, **fields))

        assert (answer.status, answer.body) == (200, ANSWER)
        assert len(learning.a.visits) == 1 + number
        record = await learning.relay.record(number)
        assert [(attempt.deployment, attempt.code) for attempt in record.tries] == [("a", None)]
        assert (record.end, record.code) == (End.COMPLETED, None)
    assert [name in json.loads(visit.body) for visit in learning.a.visits] == [True, False, False, False]
    assert not learning.b.visits
    if fields:
        assert json.loads(learning.a.visits[-1].body)["max_completion_tokens"] == 9


async def test_two_refusals_of_one_request_are_both_taken_in(learning: Learning) -> None:
    def script(visit: Visit) -> Script:
        asked = json.loads(visit.body)
        if "max_tokens" in asked:
            return MAX_TOKENS
        return STREAM_OPTIONS if "stream_options" in asked else ANSWERS

    learning.a.script = script
    for number in range(1, 3):
        answer = await post(learning.relay.url, CHAT, question(stream=True, max_tokens=9))
        assert (answer.status, answer.body) == (200, ANSWER)
        assert len(learning.a.visits) == 2 + number


async def test_requests_under_way_profit_from_one_refusal(learning: Learning) -> None:
    """All of them were written before anything was learnt, so that each is refused once and written anew."""
    count = 5

    def script(visit: Visit) -> Script:
        return (Hold(), *STREAM_OPTIONS) if b"stream_options" in visit.body else ANSWERS

    learning.a.script = script
    asking = [asyncio.create_task(post(learning.relay.url, CHAT, question(stream=True))) for _ in range(count)]
    await eventually(lambda: len(learning.a.visits) == count)
    for visit in tuple(learning.a.visits):
        await visit.holding()
        visit.release()

    assert {(answer.status, answer.body) for answer in await asyncio.gather(*asking)} == {(200, ANSWER)}
    assert len(learning.a.visits) == 2 * count
    assert not learning.b.visits


@pytest.mark.parametrize(
    "refusal",
    [
        refuses(b"temprature", b"unknown_parameter", b"Unknown parameter: 'temprature'."),
        refuses(b"temprature", b"", b"Unrecognized request argument supplied: temprature"),
        refuses(b"messages[0].nme", b"unknown_parameter", b"Unknown parameter: 'messages[0].nme'."),
        refuses(b"temperature", b"unsupported_value", b"Unsupported value: 'temperature' does not support 0."),
    ],
)
async def test_a_client_s_own_mistake_is_its_own(learning: Learning, refusal: Script) -> None:
    learning.a.script = refusal
    answer = await post(learning.relay.url, CHAT, question(stream=True, temprature=0))

    (step,) = refusal
    assert isinstance(step, Send)
    assert answer.status == 400
    assert step.data.endswith(answer.body)
    assert len(learning.a.visits) == 1
    assert not learning.b.visits


async def test_a_deployment_that_refuses_what_is_not_sent_is_not_asked_for_ever(learning: Learning) -> None:
    learning.a.script = STREAM_OPTIONS  # whatever comes
    for number in range(1, 3):
        answer = await post(learning.relay.url, CHAT, question(stream=True))
        assert (answer.status, answer.error["code"]) == (400, "unknown_parameter")
        assert len(learning.a.visits) == 1 + number


# Azure's own spillover, inside one resource.

SPILLED = ["x-ms-spillover-from-deployment: gpt-4o", "x-ms-deployment-name: gpt-4o-paygo"]


@pytest.mark.parametrize("theirs", [(), (("x-ms-spillover-deployment", "expensive"),)], ids=["none", "the client's"])
async def test_only_the_configuration_lets_a_deployment_spill(tmp_path: Path, theirs: tuple[tuple[str, str]]) -> None:
    async with FaultUpstream(ANSWERS) as a, FaultUpstream(ANSWERS) as b:
        deployments = {"a": {"endpoint": a.url, "spillover": "gpt-4o-paygo"}, "b": {"endpoint": b.url}}
        async with InProcessRelay(pool_settings(tmp_path, deployments, pool={"affinity": []})) as relay:
            while not (a.visits and b.visits):
                assert (await post(relay.url, CHAT, question(stream=True), theirs)).status == 200
                assert len(relay.records) < 10
            assert {visit.headers.get("x-ms-spillover-deployment") for visit in a.visits} == {"gpt-4o-paygo"}
            assert {visit.headers.get("x-ms-spillover-deployment") for visit in b.visits} == {None}


# The head is read before it is known what kind of answer comes.
@pytest.mark.parametrize(
    ("fields", "spilled", "stream"),
    [
        ([], False, True),
        (["x-ms-is-spilled-over: false"], False, False),
        (["x-ms-is-spilled-over: true"], True, True),
        (["x-ms-is-spilled-over: True"], True, False),
        (SPILLED, True, True),
        (SPILLED, True, False),
        ([*SPILLED, "x-ms-is-spilled-over: true"], True, True),
    ],
)
async def test_what_spilled_over_is_on_the_record(
    tmp_path: Path, fields: list[str], spilled: bool, stream: bool
) -> None:
    whole = b'{"id":"c","object":"chat.completion","choices":[]}'
    answer = (
        head("text/event-stream; charset=utf-8", *fields) + chunk(ANSWER) + LAST_CHUNK
        if stream
        else head("application/json", *fields, length=len(whole)) + whole
    )
    async with FaultUpstream((Send(answer),)) as a:
        deployments = {"a": {"endpoint": a.url, "spillover": "gpt-4o-paygo"}}
        async with InProcessRelay(pool_settings(tmp_path, deployments)) as relay:
            got = await post(relay.url, CHAT, question(stream=stream))
            record = await relay.record()

    assert got.status == 200
    assert record.spilled is spilled
    assert record.tries[0].spilled is spilled
    assert not {name for name in got.names if "spill" in name or "deployment" in name}


async def test_what_spilled_over_is_in_the_log(tmp_path: Path) -> None:
    async with FaultUpstream((Send(head("text/event-stream", *SPILLED) + chunk(ANSWER) + LAST_CHUNK),)) as a:
        file = pool_file(tmp_path / "pool.toml", {"a": {"endpoint": a.url, "spillover": "gpt-4o-paygo"}})
        with RelayProcess({**SECRETS, "CHUKEI_LOG__FORMAT": "json"}, "--config", str(file)) as relay:
            assert (await post(relay.url, CHAT, question(stream=True))).status == 200

    (line,) = [json.loads(line) for line in relay.log if '"path":' in line]
    assert line["spilled_over"] is True
