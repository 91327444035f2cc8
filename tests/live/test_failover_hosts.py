"""Failover as users see it: OpenAI's own client against the simulator, whose deployments fail as their names say."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from tests.live.both_hosts import CLIENT_KEY, UPSTREAM_KEY, Host, Hosts, Setup
from tests.live.simulated import Upstream

TEXT = "Streams flow, 中継."
MESSAGES = [{"role": "user", "content": f"repeat: {TEXT}"}]

INVISIBLE = {
    "429": "429-after-30",
    "500": "500",
    "503": "503",
    "408": "408",
    "key": "401",
    "missing": "404",
    "page": "html",
    "redirect": "redirect",
    "dropped": "drop-reset",
    "reset": "reset-after-0",
    "error": "error-first",
    "silent": "stall-before-headers",
}
WHOLE = [name for name in INVISIBLE if name not in ("error", "silent")]
"""These happen to answers that are no streams, too."""
STREAMED = {"role": "reset-after-role", "filter": "truncate-after-filter", "stalled": "stall-before-first"}
"""These happen inside a stream only."""
BROKEN_LATER = {"cut": "reset-after-6", "ended": "truncate-clean-after-6", "told": "error-event-after-6"}
UNMARKED = "truncate-clean-after-finish"
AS_USUAL = {
    "CHUKEI_POOL__MAX_COOLDOWN_SECONDS": "300",
    "CHUKEI_POOL__BREAKER_FAILURES": "3",
    "CHUKEI_POOL__MISCONFIGURED_SECONDS": "60",
}
"""Deployments that fail are left alone, other than in most tests."""


def _model(model: str, *faults: str) -> str:
    """A model with three deployments: those that fail first, then healthy ones."""
    names = [f"gpt-4o-{model}--{fault}" for fault in faults]
    names += [f"gpt-4o-{model}-{number}" for number in range(len(faults) + 1, 4)]
    labels = [f"{model}-{number}" for number in (1, 2, 3)]
    tables = [
        f'[deployments.{label}]\nendpoint = "{{simulator}}"\napi_key = {{ env = "TEST_UPSTREAM_KEY" }}\n'
        f'deployment = "{name}"\npriority = {number}\n'
        for number, (label, name) in enumerate(zip(labels, names, strict=True), 1)
    ]
    return f"[models.{model}]\ndeployments = {labels}\n".replace("'", '"') + "\n".join(tables)


def _setup() -> Setup:
    models = [_model(f"stream-{name}", fault) for name, fault in (INVISIBLE | STREAMED | BROKEN_LATER).items()]
    models += [_model(f"whole-{name}", fault) for name, fault in INVISIBLE.items() if name in WHOLE]
    models += [
        _model("unmarked", UNMARKED),
        _model("filtered", "filter-prompt"),
        _model("busy", *(f"429-after-{seconds}-times-1" for seconds in (9, 1, 5))),
        _model("broken", *["500"] * 3),
    ]
    head = "[auth]\nanonymous = true\n[pool]\ndeployment_header = true\n[stream]\nfirst_token_seconds = 1.0\n"
    head += "thinking_seconds = 1.0\n"
    return Setup("failover", AS_USUAL, "\n".join([head, *models]))


@pytest.fixture
def relay(hosts: Hosts) -> Host:
    """A relay with many models of three deployments each."""
    return hosts.get("server", _setup())


@pytest.fixture
def client(relay: Host) -> Iterator[Any]:
    with OpenAI(base_url=relay.base_url, api_key=CLIENT_KEY, max_retries=0, timeout=120) as client:
        yield client


def _read(chunks: Any, told: list[str]) -> None:
    for chunk in chunks:
        told.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)


def _asked(upstream: Upstream) -> list[str]:
    """Return the names of the deployments that were asked, without what tells the host and the model."""
    asked = [(exchange.deployment or "").partition("--")[2] or "healthy" for exchange in upstream.exchanges]
    # What a kept connection drops at once is sent once more on a new one, as RFC 9112 §9.3.1 lets clients do.
    return [name for name, before in zip(asked, ["", *asked], strict=False) if name != before or name != "drop-reset"]


@pytest.mark.parametrize("name", INVISIBLE | STREAMED)
def test_a_stream_that_another_deployment_answers(name: str, client: Any, upstream: Upstream) -> None:
    told: list[str] = []
    _read(client.chat.completions.create(model=f"stream-{name}", messages=MESSAGES, stream=True), told)
    assert "".join(told) == TEXT
    assert _asked(upstream) == [(INVISIBLE | STREAMED)[name], "healthy"]
    assert all(exchange.headers["api-key"] == UPSTREAM_KEY for exchange in upstream.exchanges)
    told.clear()
    _read(client.chat.completions.create(model=f"stream-{name}", messages=MESSAGES, stream=True), told)
    assert "".join(told) == TEXT


@pytest.mark.parametrize("name", [name for name in INVISIBLE if name in WHOLE])
def test_a_whole_answer_that_another_deployment_gives(name: str, client: Any, upstream: Upstream) -> None:
    raw = client.chat.completions.with_raw_response.create(model=f"whole-{name}", messages=MESSAGES)
    assert raw.headers["x-chukei-deployment"] == f"whole-{name}-2"
    assert raw.parse().choices[0].message.content == TEXT
    assert _asked(upstream) == [INVISIBLE[name], "healthy"]


def test_on_functions_as_well(hosts: Hosts, upstream: Upstream) -> None:
    """What fails over is the same code; there it runs on a loop and a client of the worker's."""
    setup = Setup(
        "failover-functions",
        AS_USUAL,
        "\n".join(["[auth]\nanonymous = true\n", _model("fn", "429-after-30"), _model("fn-cut", "reset-after-6")]),
    )
    relay = hosts.get("functions", setup)
    told: list[str] = []
    with OpenAI(base_url=relay.base_url, api_key=CLIENT_KEY, max_retries=0, timeout=120) as made:
        client: Any = made
        _read(client.chat.completions.create(model="fn", messages=MESSAGES, stream=True), told)
        assert "".join(told) == TEXT
        assert _asked(upstream) == ["429-after-30", "healthy"]
        with pytest.raises(openai.APIError):
            _read(client.chat.completions.create(model="fn-cut", messages=MESSAGES, stream=True), told)
        assert _asked(upstream)[2:] == ["reset-after-6"]


@pytest.mark.parametrize("name", BROKEN_LATER)
def test_a_break_after_output_is_an_error_and_nobody_else_is_asked(name: str, client: Any, upstream: Upstream) -> None:
    told: list[str] = []
    chunks = client.chat.completions.create(model=f"stream-{name}", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError):
        _read(chunks, told)
    assert told
    assert TEXT.startswith("".join(told))
    assert _asked(upstream) == [BROKEN_LATER[name]]


def test_an_answer_that_is_whole_but_for_its_last_mark_is_whole(client: Any, upstream: Upstream) -> None:
    told: list[str] = []
    _read(client.chat.completions.create(model="unmarked", messages=MESSAGES, stream=True), told)
    assert "".join(told) == TEXT
    assert _asked(upstream) == [UNMARKED]


def test_the_content_filter_is_the_callers_affair(client: Any, upstream: Upstream) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="filtered", messages=MESSAGES, stream=True)
    assert raised.value.code == "content_filter"
    assert _asked(upstream) == ["filter-prompt"]


def test_all_busy_is_waited_for(client: Any, upstream: Upstream) -> None:
    """The stock client hears when the first is back, waits for so long, and has its answer."""
    answer = client.with_options(max_retries=2).chat.completions.create(model="busy", messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    busy = [f"429-after-{seconds}-times-1" for seconds in (9, 1, 5)]
    assert _asked(upstream) == [*busy, busy[1]]


def test_all_broken_is_told_at_once(client: Any, upstream: Upstream) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        client.with_options(max_retries=2).chat.completions.create(model="broken", messages=MESSAGES)
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert _asked(upstream) == ["500"] * 3
