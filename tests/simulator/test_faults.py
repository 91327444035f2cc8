"""Faults: how they are asked for, and what each does on the wire."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.wire import CHAT, Answer, Connection, ask, post, question

from chukei.simulator import Simulator, SimulatorSettings
from chukei.simulator.exchanges import Event, stream
from chukei.simulator.faults import FAULTS, Fault, FaultSpecError, parse, parse_deployment, table
from chukei.simulator.injection import Endings, inject

pytestmark = pytest.mark.anyio


SPECS: list[tuple[str, tuple[Fault, ...]]] = [
    ("429", (Fault("429", (22.0, "tokens")),)),
    ("429:3,requests*2", (Fault("429", (3.0, "requests"), times=2),)),
    ("reset:10%25", (Fault("reset", (10,), percent=25.0),)),
    ("reset:finish", (Fault("reset", ("finish",)),)),
    ("slow:0.5+stall:3,1.5", (Fault("slow", (0.5,)), Fault("stall", (3, 1.5)))),
    ("redirect:http://x/a-b?c=d", (Fault("redirect", ("http://x/a-b?c=d", 307)),)),
    ("stall-before-first", (Fault("stall-before-first", (None,)),)),
]


def test_specs() -> None:
    for spec, faults in SPECS:
        assert parse(spec) == faults, spec


DEPLOYMENTS: list[tuple[str, str, tuple[Fault, ...]]] = [
    ("gpt-4o", "gpt-4o", ()),
    ("fault-429", "", (Fault("429", (22.0, "tokens")),)),
    ("gpt-4o--429-after-3", "gpt-4o", (Fault("429", (3.0, "tokens")),)),
    ("fault-429-3-requests-times-2", "", (Fault("429", (3.0, "requests"), times=2),)),
    ("fault-429:3*2", "", (Fault("429", (3.0, "tokens"), times=2),)),
    ("fault-reset-10-percent-50", "", (Fault("reset", (10,), percent=50.0),)),
    ("x--slow-3-and-reset-after-10", "x", (Fault("slow", (3.0,)), Fault("reset", (10,)))),
    ("fault-stall-before-first-2", "", (Fault("stall-before-first", (2.0,)),)),
    ("fault-stall-done", "", (Fault("stall", ("done", None)),)),
    ("a--b", "a--b", ()),
    ("a--500x", "a--500x", ()),
]


def test_names_of_deployments() -> None:
    for deployment, name, faults in DEPLOYMENTS:
        assert parse_deployment(deployment) == (name, faults), deployment


BAD_SPECS: list[tuple[str, str]] = [
    ("", "unknown fault ''"),
    ("429x", "unknown fault '429x'"),
    ("nonsense:3", "unknown fault 'nonsense:3'"),
    ("reset:-1", "position cannot be '-1'"),
    ("reset:nowhere", "position cannot be 'nowhere'"),
    ("slow:quick", "factor cannot be 'quick'"),
    ("slow:inf", "factor cannot be 'inf'"),
    ("burst:0", "tokens cannot be '0'"),
    ("429:1,2", "kind cannot be '2'"),
    ("500:1", "takes at most 0 arguments"),
    ("reset:1%200", "percent must be from 0 to 100"),
    ("reset:1%1.2.3", "percent must be from 0 to 100"),
]


def test_specs_that_make_no_sense() -> None:
    for spec, complaint in BAD_SPECS:
        with pytest.raises(FaultSpecError, match="^.*" + complaint.replace("'", ".")):
            parse(spec)


def test_the_table_names_every_fault() -> None:
    assert all(f"| `{name}` |" in table() for name in FAULTS)


async def test_an_unknown_fault_is_no_deployment(sim: Simulator) -> None:
    answer = await ask(sim.url, "fault-nonsense")

    assert answer.status == 404
    assert answer.json["error"]["code"] == "DeploymentNotFound"
    assert "stall-before-first" in answer.json["error"]["message"]


STATUS: dict[str, tuple[int, Any]] = {
    "401": (401, "401"),
    "403": (403, "403"),
    "404": (404, "DeploymentNotFound"),
    "408": (408, "Timeout"),
    "429": (429, "RateLimitReached"),
    "429:1,requests": (429, "RateLimitReached"),
    "429:1,no_capacity": (429, "no_capacity"),
    "429:1,provisioned": (429, "429"),
    "500": (500, None),
    "503": (503, "503"),
    "529": (529, None),
    "filter-prompt": (400, "content_filter"),
}


async def test_errors_instead_of_an_answer(simulate: Simulate) -> None:
    for spec in STATUS:
        sim = await simulate(faults={"gpt-4o": spec})

        answer = await ask(sim.url)

        status, code = STATUS[spec]
        assert (answer.status, answer.json["error"]["code"]) == (status, code), spec
        assert answer.headers["content-type"] == "application/json", spec
        assert sim.exchanges[-1].fault == spec.split(":")[0], spec
        assert sim.exchanges[-1].ended == "fault", spec


async def test_429_says_when_to_come_back(sim: Simulator) -> None:
    answer = await ask(sim.url, "gpt-4o--429-after-1.5")

    assert answer.headers["retry-after"] == "2"
    assert answer.headers["retry-after-ms"] == "1500"
    assert "Please retry after 2 seconds" in answer.json["error"]["message"]
    assert b'"message": ' in answer.body, "Azure's gateway puts a space there"


async def test_a_blocked_prompt_says_which_category(sim: Simulator) -> None:
    error = (await ask(sim.url, "fault-filter-prompt")).json["error"]

    assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert error["innererror"]["content_filter_result"]["jailbreak"] == {"filtered": True, "detected": True}


async def test_html_and_redirect(simulate: Simulate) -> None:
    sim = await simulate(faults={"page": "html:502", "moved": "redirect:http://127.0.0.1:9/x,308"})

    assert (await ask(sim.url, "fault-html-799")).status == 799
    page = await ask(sim.url, "page")
    assert (page.status, page.headers["content-type"]) == (502, "text/html")
    assert page.body.startswith(b"<!DOCTYPE html>")

    moved = await ask(sim.url, "moved")
    assert (moved.status, moved.headers["location"]) == (308, "http://127.0.0.1:9/x")


async def test_no_answer_at_all(sim: Simulator) -> None:
    for how, failure in (("fin", asyncio.IncompleteReadError), ("reset", ConnectionResetError)):
        with pytest.raises(failure):
            await ask(sim.url, f"gpt-4o--drop-{how}")
        assert (sim.exchanges[-1].ended, sim.exchanges[-1].status) == ("fault", None)


async def test_a_blocked_completion_stops_with_its_reason(sim: Simulator) -> None:
    answer = await ask(sim.url, "gpt-4o--filter-completion-2")

    last = answer.chunk_objects[-1]["choices"][0]
    assert answer.text == "one two"
    assert last["finish_reason"] == "content_filter"
    assert last["content_filter_results"]["violence"]["filtered"]
    assert answer.events[-1] == b"data: [DONE]\n\n"


async def test_an_answer_ends_at_a_limit(sim: Simulator) -> None:
    answer = await ask(sim.url, "gpt-4o--length-2")
    assert answer.text == "one two"
    assert answer.chunk_objects[-1]["choices"][0]["finish_reason"] == "length"

    lower = await ask(sim.url, "gpt-4o--length-2", max_tokens=1)
    assert lower.text == "one", "the client's own limit is lower"


async def test_breaks_come_after_exactly_so_many_events(sim: Simulator) -> None:
    for fault, end in (("reset", "reset"), ("truncate", "cut"), ("badchunk", "malformed")):
        for position in (0, 1, 3):
            answer = await ask(sim.url, f"gpt-4o--{fault}-{position}")
            assert (len(answer.events), answer.end) == (position, end), fault
            assert b"".join(answer.events) == answer.body
            assert await sim.exchanges[-1].finished() == "fault"
            assert sim.exchanges[-1].events == position


POSITIONS: list[tuple[str, int]] = [
    ("role", 2),
    ("token", 3),
    ("finish", 6),
    ("usage", 7),
    ("done", 8),
    ("99", 8),
]


async def test_positions_by_kind(sim: Simulator) -> None:
    for position, events in POSITIONS:
        answer = await ask(sim.url, f"gpt-4o--truncate-{position}", stream_options={"include_usage": True})

        assert (len(answer.events), answer.end) == (events, "cut"), position


async def test_ends_that_look_clean(sim: Simulator) -> None:
    short = await ask(sim.url, "gpt-4o--truncate-clean-3")
    assert (len(short.events), short.end) == (3, "complete")

    undone = await ask(sim.url, "gpt-4o--no-done")
    assert (len(undone.events), undone.end) == (6, "complete")
    assert undone.chunk_objects[-1]["choices"][0]["finish_reason"] == "stop"
    assert sim.exchanges[-1].ended == "fault"


async def test_a_break_inside_an_event(simulate: Simulate) -> None:
    faults = {"fin": "mid-event:2", "reset": "mid-event:2,reset", "seven": "mid-event:0,fin,7"}
    sim = await simulate(faults=faults)

    fin = await ask(sim.url, "fin")
    assert (len(fin.events), fin.end) == (2, "cut")
    assert not fin.body.endswith(b"\n\n")
    assert sim.exchanges[-1].events == 2
    assert (await ask(sim.url, "reset")).end == "reset"
    assert (await ask(sim.url, "seven")).body == b"data: {"


async def test_an_error_inside_a_200(sim: Simulator) -> None:
    for fault, before in [("error-event-3", 3), ("error-first", 0)]:
        answer = await ask(sim.url, f"gpt-4o--{fault}")

        assert (answer.status, answer.end, len(answer.events)) == (200, "complete", before + 1), fault
        assert answer.chunk_objects[-1]["error"] == {
            "message": "The server had an error while processing your request. Sorry about that!",
            "type": "server_error",
            "param": None,
            "code": None,
        }, fault


async def test_an_error_inside_a_responses_stream_is_numbered_on(sim: Simulator) -> None:
    body = {"input": "repeat: one two", "stream": True, "model": "gpt-4o--error-event-3"}

    answer = await post(sim.url, "/openai/v1/responses", body)

    objects = answer.chunk_objects
    assert [entry["sequence_number"] for entry in objects] == [0, 1, 2, 3, 4]
    assert [entry["type"] for entry in objects[-2:]] == ["error", "response.failed"]


async def test_a_silence_lasts_until_the_client_leaves(sim: Simulator) -> None:
    for fault, chunks in (("stall-before-first", 0), ("stall-2", 2), ("stall-done", 7), ("mid-event-1-stall", 2)):
        async with await Connection.open(sim.url) as connection:
            connection.send("POST", CHAT.format(f"gpt-4o--{fault}"), json.dumps(question()).encode())
            await connection.head()
            for _ in range(chunks):
                await connection.chunk()
            exchange = sim.exchanges[-1]
            assert exchange.ended is None
        assert await exchange.finished() == "client_left"


async def test_no_headers_until_the_client_leaves(sim: Simulator) -> None:
    async with await Connection.open(sim.url) as connection:
        connection.send("POST", CHAT.format("fault-stall-before-headers"), json.dumps(question()).encode())
        exchange = await sim.arrived()
        assert (exchange.ended, sim.running) == (None, 1)
    assert await exchange.finished() == "client_left"
    assert exchange.events == 0


async def test_a_silence_may_end(sim: Simulator) -> None:
    for fault in ("stall-before-headers-0.01", "stall-before-first-0.01", "stall-2-0.01"):
        answer = await ask(sim.url, f"gpt-4o--{fault}")
        assert (answer.text, answer.end) == ("one two three", "complete")
        assert sim.exchanges[-1].ended == "completed"


async def test_bursts_merge_tokens_into_one_write(sim: Simulator) -> None:
    answer = await ask(sim.url, "gpt-4o--burst-2")

    assert [chunk.count(b"\n\n") for chunk in answer.chunks] == [1, 1, 2, 1, 1, 1]
    assert answer.text == "one two three"
    assert sim.exchanges[-1].events == 7


async def test_pieces_are_chunks_of_their_own(sim: Simulator) -> None:
    for fault, size in [("bytewise", 1), ("split-7", 7)]:
        answer = await ask(sim.url, f"gpt-4o--{fault}", text="repeat: 世界")

        assert max(map(len, answer.chunks)) == size, fault
        assert answer.text == "世界", fault
        assert answer.end == "complete", fault
        assert sim.exchanges[-1].events == len(answer.events), fault


async def test_gzip_comes_unasked(sim: Simulator) -> None:
    answer = await ask(sim.url, "gpt-4o--gzip")

    assert answer.headers["content-encoding"] == "gzip"
    plain = Answer(200, {}, [zlib.decompress(answer.body, wbits=31)])
    assert plain.text == "one two three"


async def test_odd_events(sim: Simulator) -> None:
    giant = await ask(sim.url, "gpt-4o--giant-2-100000")
    assert len(giant.events[2]) == 100_000
    assert giant.events[-1] == b"data: [DONE]\n\n"

    garbled = await ask(sim.url, "gpt-4o--invalid-utf8-2")
    with pytest.raises(UnicodeDecodeError):
        garbled.events[2].decode()

    commented = await ask(sim.url, "gpt-4o--comments")
    assert commented.events[0].startswith(b":")
    assert commented.body.count(b": keep-alive\n\n") == 7

    crlf = await ask(sim.url, "gpt-4o--crlf")
    assert crlf.body.count(b"\r\n\r\n") == 7
    assert b"\n" not in crlf.body.replace(b"\r\n", b"")


def test_slow_multiplies_every_wait() -> None:
    """Shown on the steps, not on a clock: the waits are five times those without it."""
    reply = stream([Event(b"a", 0.5), Event(b"b", 0.0), Event(b"c", 2.0)], prompt_tokens=0)

    inject(reply, parse("slow:5")[0], Endings(lambda sent: b""))

    assert [step.wait for step in reply.steps if isinstance(step, Event)] == [2.5, 0.0, 10.0]


async def test_a_fault_for_the_first_requests_only(simulate: Simulate) -> None:
    sim = await simulate(faults={"gpt-4o": "503*2"})

    assert [(await ask(sim.url)).status for _ in range(4)] == [503, 503, 200, 200]
    assert [(await ask(sim.url, "x--429-times-1")).status for _ in range(2)] == [429, 200]


async def test_a_fault_with_a_probability_is_drawn_from_the_seed(simulate: Simulate) -> None:
    async def statuses(seed: int) -> list[int]:
        sim = await simulate(seed=seed, faults={"gpt-4o": "500%50"})
        return [(await ask(sim.url, text="repeat: x")).status for _ in range(20)]

    first = await statuses(1)
    assert set(first) == {200, 500}
    assert await statuses(1) == first
    assert await statuses(2) != first


async def test_several_faults_at_once(sim: Simulator) -> None:
    answer = await ask(sim.url, "gpt-4o--split-7-and-truncate-3")

    assert (len(answer.events), answer.end) == (3, "cut")
    assert max(map(len, answer.chunks)) == 7
    assert sim.exchanges[-1].fault == "split+truncate"


async def test_breaks_of_an_answer_that_is_not_streamed(sim: Simulator) -> None:
    body = question(stream=False)
    for fault, end in (
        ("reset-0", "reset"),
        ("truncate-0", "cut"),
        ("mid-event-0", "cut"),
        ("badchunk-0", "malformed"),
    ):
        answer = await post(sim.url, CHAT.format(f"gpt-4o--{fault}"), body)
        assert (answer.status, answer.end) == (200, end), fault

    pieces = await post(sim.url, CHAT.format("gpt-4o--bytewise"), body)
    assert pieces.json["choices"][0]["message"]["content"] == "one two three"


COVERED = {
    *(spec.split(":")[0] for spec in STATUS),
    "html",
    "redirect",
    "drop",
    "filter-completion",
    "filter-async",
    "length",
} | {
    *("reset", "truncate", "badchunk", "truncate-clean", "no-done", "mid-event", "error-event", "error-first", "gzip"),
    *("stall-before-headers", "stall-before-first", "stall", "burst", "bytewise", "split", "giant", "invalid-utf8"),
    *("comments", "crlf", "slow"),
    *("socket-limit", "socket-close", "socket-silence", "socket-deaf"),  # in test_sockets
    *("job-fails", "job-stays-queued", "file-gone"),  # in test_kept_responses and test_files
}


def test_every_fault_has_a_test() -> None:
    assert set(FAULTS) == COVERED


def test_settings_refuse_a_bad_spec() -> None:
    with pytest.raises(ValueError, match=r"faults\['x'\]: unknown fault 'nonsense'"):
        SimulatorSettings(faults={"x": "nonsense"})
