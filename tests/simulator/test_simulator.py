"""The resource as a whole: who may ask, what exists, what is remembered, and that a seed decides it all."""

from __future__ import annotations

import ast
import asyncio
import random
import sys
from pathlib import Path

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.wire import CHAT, Answer, ask, get, post, question

import chukei.simulator
from chukei.simulator import Simulator, SimulatorSettings, serve
from chukei.simulator.tokens import Pace

pytestmark = pytest.mark.anyio


KEYS: list[tuple[dict[str, str], int]] = [
    ({"api_key": "right"}, 200),
    ({"api_key": "", "authorization": "Bearer right"}, 200),
    ({"api_key": "", "authorization": "bearer right"}, 200),
    ({"api_key": "wrong"}, 401),
    ({"api_key": ""}, 401),
    ({"api_key": "", "authorization": "Basic right"}, 401),
    ({"api_key": "", "authorization": "Bearer "}, 401),
]


async def test_the_key_is_demanded_in_either_header(simulate: Simulate) -> None:
    for headers, status in KEYS:
        sim = await simulate(api_key="right")

        answer = await post(sim.url, CHAT.format("gpt-4o"), question(), **headers)

        assert answer.status == status, headers
        if status == 401:
            assert answer.json["error"]["code"] == "401", headers
            assert answer.json["error"]["message"].startswith("Access denied due to invalid subscription key"), headers


async def test_any_key_will_do_by_default_but_there_must_be_one(sim: Simulator) -> None:
    assert (await post(sim.url, CHAT.format("gpt-4o"), question(), api_key="anything")).status == 200
    assert (await post(sim.url, CHAT.format("gpt-4o"), question(), api_key="")).status == 401


async def test_only_the_deployments_that_exist(simulate: Simulate) -> None:
    sim = await simulate(deployments=("gpt-4o", "a b/c"), faults={"special": "500"})

    assert (await ask(sim.url, "gpt-4o")).status == 200
    assert (await ask(sim.url, "gpt-4o--slow-2")).status == 200
    assert (await ask(sim.url, "a%20b%2Fc")).status == 200
    assert (await ask(sim.url, "special")).status == 500
    missing = await ask(sim.url, "gpt-5")
    assert missing.status == 404
    assert missing.body.startswith(
        b'{\n  "error": {\n    "type": "invalid_request_error",\n    "code": "DeploymentNotFound"'
    )
    assert (await post(sim.url, "/openai/v1/chat/completions", question(model="gpt-5"))).status == 404
    assert sim.exchanges[-1].deployment == "gpt-5"


async def test_only_the_api_versions_that_exist(simulate: Simulate) -> None:
    """In the words of Azure's front end."""
    sim = await simulate(api_versions=("2024-10-21",))
    path = "/openai/deployments/gpt-4o/chat/completions?api-version="
    assert (await post(sim.url, f"{path}2024-10-21", question())).status == 200
    other = await post(sim.url, f"{path}2023-01-01", question())
    assert (other.status, other.body) == (
        400,
        b'{"error":{"code":"BadRequest","message":"API version not supported"}}',
    )
    assert (await post(sim.url, "/openai/v1/chat/completions", question(model="gpt-4o"))).status == 200


NOT_THERE: list[tuple[str, str]] = [
    ("POST", "/openai/deployments/gpt-4o/chat/completions"),
    ("POST", "/openai/deployments/gpt-4o/chat/completions?api-version="),
    ("POST", "/openai/deployments/gpt-4o/nonsense?api-version=2024-10-21"),
    ("POST", "/openai/deployments/gpt-4o?api-version=2024-10-21"),
    ("POST", "/openai/responses"),
    ("POST", "/openai/v1/nonsense"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/"),
    ("GET", "/openai/v1/completions"),
    ("GET", "/openai/chat/completions"),
    ("GET", "/openai/models"),
    ("GET", "/favicon.ico"),
]


async def test_what_there_is_not(sim: Simulator) -> None:
    for method, path in NOT_THERE:
        answer = await (post(sim.url, path, question(model="x")) if method == "POST" else get(sim.url, path))

        assert answer.status == 404, path
        assert answer.body == b'{"error":{"code":"404","message": "Resource not found"}}', path


async def test_v1_takes_the_deployment_from_the_body(sim: Simulator) -> None:
    answer = await post(sim.url, "/openai/v1/chat/completions", question(model="dep/a b"))
    assert answer.text == "one two three"
    assert sim.exchanges[-1].deployment == "dep/a b"

    for body in (question(), question(model=""), question(model=3)):
        unnamed = await post(sim.url, "/openai/v1/chat/completions", body)
        assert (unnamed.status, unnamed.json["error"]["param"]) == (400, "model")


async def test_an_exchange_remembers_what_came_and_what_went(simulate: Simulate) -> None:
    sim = await simulate(record_sent=True)
    path = "/openai/deployments/my%2Fdep/chat/completions?api-version=2024-10-21&x=a%20b"

    answer = await post(sim.url, path, question(), x_request_id="abc")

    exchange = sim.exchanges[-1]
    assert (exchange.method, exchange.deployment, exchange.operation) == ("POST", "my/dep", "chat/completions")
    assert exchange.path == "/openai/deployments/my%2Fdep/chat/completions"
    assert exchange.query == {"api-version": "2024-10-21", "x": "a b"}
    assert exchange.headers["x-request-id"] == "abc"
    assert (exchange.status, exchange.streamed, exchange.ended) == (200, True, "completed")
    assert (exchange.prompt_tokens, exchange.completion_tokens) == (12, 3)
    assert exchange.sent == answer.body
    assert exchange.events == len(answer.events)
    assert "200 completed" in repr(exchange)


async def test_exchanges_are_bounded(simulate: Simulate) -> None:
    sim = await simulate(exchanges_kept=2)

    for number in range(3):
        await ask(sim.url, text=f"repeat: {number}")

    assert sim.requests == 3
    assert [b"repeat: 1" in sim.exchanges[0].body, b"repeat: 2" in sim.exchanges[1].body] == [True, True]
    assert "3 requests" in repr(sim)


def undated(answer: Answer) -> tuple[dict[str, str], bytes]:
    return {name: value for name, value in answer.headers.items() if name != "date"}, answer.body


async def test_the_same_seed_and_requests_give_the_same_bytes(simulate: Simulate) -> None:
    async def session(seed: int) -> list[tuple[dict[str, str], bytes]]:
        sim = await simulate(seed=seed, epoch=1_700_000_000)
        asked = ["hello", "hello", "tell me a story about bees", "write 50 words", "日本語で物語を聞かせて"]
        return [undated(await ask(sim.url, text=text, n=2)) for text in asked]

    first = await session(7)

    assert await session(7) == first
    assert await session(8) != first


async def test_the_same_question_again_gets_other_words_unless_they_are_pinned(sim: Simulator) -> None:
    text = "What is the meaning of streaming?"

    assert len({(await ask(sim.url, text=text)).text for _ in range(8)}) > 1
    assert len({(await ask(sim.url, text=text, temperature=0)).text for _ in range(8)}) == 1
    assert len({(await ask(sim.url, text=text, seed=5)).text for _ in range(8)}) == 1


async def test_serve_announces_itself_and_runs_until_cancelled() -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(serve(SimulatorSettings(first_token_seconds=0), "127.0.0.1", 0, lines.put_nowait))
    line = await lines.get()
    url = next(word for word in line.split() if word.startswith("http://"))

    assert "simulator" in line
    assert (await get(url, "/")).status == 200

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(OSError):
        await get(url, "/")


async def test_waiting_for_what_does_not_come_ends(sim: Simulator) -> None:
    with pytest.raises(TimeoutError):
        await sim.arrived(timeout=0.01)


async def test_tokens_come_at_the_pace_that_is_set(simulate: Simulate) -> None:
    sim = await simulate(first_token_seconds=0.1, inter_token_seconds=0.01, jitter=0)
    clock = asyncio.get_running_loop().time

    start = clock()
    streamed = await ask(sim.url, text="repeat: 1 2 3 4 5 6 7 8 9 10 11")
    spent = clock() - start

    assert streamed.end == "complete"
    assert 0.2 <= spent < 1.0


def test_pace_keeps_its_mean_whatever_the_jitter() -> None:
    for jitter in (0.0, 0.4, 1.0):
        pace = Pace(1.0, 0.02, jitter, random.Random(1))
        gaps = [pace.token() for _ in range(20_000)]
        assert sum(gaps) / len(gaps) == pytest.approx(0.02, rel=0.05)
        assert (max(gaps) > min(gaps)) == bool(jitter)
    assert Pace(0, 0, 0.4, random.Random(1)).total(50) == 0
    assert Pace(0.5, 0.1, 0, random.Random(1)).total(11) == pytest.approx(1.5)


BAD_SETTINGS: list[tuple[dict[str, object], str]] = [
    ({"first_token_seconds": -1}, "first_token_seconds must be 0 or more, not -1"),
    ({"inter_token_seconds": float("nan")}, "inter_token_seconds must be 0 or more, not nan"),
    ({"jitter": -0.1}, "jitter"),
    ({"exchanges_kept": 0}, "exchanges_kept must be 1 or more"),
    ({"api_key": ""}, "api_key must not be empty"),
    ({"deployments": ("a", "")}, "deployments must not contain an empty name"),
    ({"replay": Path("/nowhere.sse")}, "there is no file /nowhere.sse"),
    ({"send_buffer_bytes": 0}, "send_buffer_bytes must be 1 or more"),
]


def test_settings_that_make_no_sense() -> None:
    for settings, complaint in BAD_SETTINGS:
        with pytest.raises(ValueError, match=complaint):
            SimulatorSettings(**settings)  # type: ignore[arg-type]


def test_settings_name_all_mistakes_at_once() -> None:
    with pytest.raises(ValueError, match=r"first_token_seconds.*; jitter"):
        SimulatorSettings(first_token_seconds=-1, jitter=-1)
    assert SimulatorSettings().jitter > 0, "what is not set makes sense"


def test_it_imports_nothing_else_of_the_package() -> None:
    """So that it checks the relay independently."""
    allowed = {"chukei.simulator", "httptools", "msgspec", "websockets", "__future__"}
    for path in Path(chukei.simulator.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                top = ".".join(name.split(".")[:2]) if name.startswith("chukei") else name.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {name}"
