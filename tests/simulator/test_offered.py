"""The models that a relay lists while the simulator answers: each does what its description says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.wire import CHAT, Answer, post

from chukei.simulator import Simulator, offered
from chukei.simulator.faults import parse_deployment
from chukei.simulator.prose import is_japanese

pytestmark = pytest.mark.anyio

OFFERED = offered("chat")
FAILURES = {each.id: each for each in OFFERED if each.failure}


def test_every_name_asks_for_what_it_is_listed_as() -> None:
    assert [each.id for each in OFFERED][:2] == ["chat", "gpt-5-mini"]
    for each in OFFERED:
        name, faults = parse_deployment(each.id)
        assert name in ("chat", "gpt-5-mini")
        assert each.failure == bool(faults)


def test_descriptions_in_both_languages_say_that_it_is_a_simulator() -> None:
    for each in OFFERED:
        assert each.description
        assert is_japanese(each.descriptions["ja"])
        if not each.failure:
            assert "(simulated)" in each.description
            assert "シミュレーター" in each.descriptions["ja"]


def test_a_default_model_of_the_configuration_comes_first() -> None:
    assert [each.id for each in offered("gpt-5-mini")][:2] == ["gpt-5-mini", "chat"]
    first, second, *_ = offered("gpt-4o")
    assert (first.id, first.description, first.failure) == ("gpt-4o", "gpt-4o (simulated)", False)
    assert first.descriptions["ja"].startswith("gpt-4o")
    assert second.id == "chat"


async def chat(sim: Simulator, model: str, content: str = "Hello") -> Answer:
    return await post(sim.url, CHAT.format(model), {"messages": [{"role": "user", "content": content}], "stream": True})


async def responses(sim: Simulator, model: str) -> Answer:
    return await post(sim.url, "/openai/v1/responses", {"model": model, "input": "Hello", "stream": True})


def last(answer: Answer) -> Any:
    return json.loads(answer.events[-1].partition(b"data: ")[2])


@pytest.mark.parametrize("text", ["Hello", "こんにちは"])
async def test_failures_strike_even_the_shortest_answers(simulate: Simulate, text: str) -> None:
    sim = await simulate()
    limited = await chat(sim, "chat--429-after-5", text)
    assert (limited.status, limited.headers["retry-after"]) == (429, "5")
    assert (await chat(sim, "chat--500", text)).status == 500
    assert (await chat(sim, "chat--filter-prompt", text)).json["error"]["code"] == "content_filter"
    reasons = {
        name: (await chat(sim, name, text)).chunk_objects[-1]["choices"][0]["finish_reason"]
        for name in ("chat--filter-completion-after-12", "chat--length-after-12")
    }
    assert list(reasons.values()) == ["content_filter", "length"]
    broken = await chat(sim, "chat--truncate-after-16", text)
    assert (broken.end, bool(broken.text), b"[DONE]" in broken.body) == ("cut", True, False)
    failed = await chat(sim, "chat--error-event-after-16", text)
    assert "error" in failed.chunk_objects[-1]
    assert b"[DONE]" not in failed.body


async def test_failures_strike_the_responses_api_too(sim: Simulator) -> None:
    assert last(await responses(sim, "chat--filter-completion-after-12"))["response"]["incomplete_details"] == {
        "reason": "content_filter"
    }
    assert last(await responses(sim, "chat--length-after-12"))["response"]["incomplete_details"] == {
        "reason": "max_output_tokens"
    }
    assert (await responses(sim, "chat--truncate-after-16")).end == "cut"
    assert last(await responses(sim, "chat--error-event-after-16"))["type"] == "response.failed"
    assert (await responses(sim, "chat--429-after-5")).status == 429
    assert (await responses(sim, "chat--500")).status == 500


async def test_the_slow_ones_answer_in_the_end(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = await simulate()
    waits: list[float] = []
    sleep = asyncio.sleep

    async def wait(seconds: float, *_: object) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("chukei.simulator.sending.asyncio.sleep", wait)
    answer = await chat(sim, "chat--stall-before-first-after-8")
    assert answer.events[-1] == b"data: [DONE]\n\n"
    assert 8.0 in waits
    assert (await chat(sim, "chat--slow")).text


def test_every_failure_is_tried_here() -> None:
    text = Path(__file__).read_text("utf-8")
    assert [name for name in FAILURES if f'"{name}"' not in text] == []
