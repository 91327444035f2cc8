"""What v1 can do beyond a plain chat: tiers, routed models, images and sound in streams, previews."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.fakes import JSON, FakeAnswer, FakeIncoming, FakeQuota
from tests.gateway.test_gateway import GatewayHarness
from tests.rows import rows

from chukei.accounts.estimate import MADE_IMAGE_TOKENS
from chukei.model import End, Headers
from chukei.record import RequestRecord
from chukei.stream import sse
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

TWO = {
    "CHUKEI_DEPLOYMENTS__AZURE__ENDPOINT": "https://r.openai.azure.com",
    "CHUKEI_DEPLOYMENTS__AZURE__API_KEY": "upstream-secret",
    "CHUKEI_MODELS__M__DEPLOYMENTS": "azure",
    "CHUKEI_DEFAULTS__MODEL": "m",
}
PRICES = "{ input = 1, output = 2, tiers = { priority = 2, flex = 0.5 } }"
ALLOWED = {"CHUKEI_GROUPS__EVERYBODY__SERVICE_TIERS": "default,flex"}
MONEY = {"CHUKEI_GROUPS__EVERYBODY__LIMITS": "{ money_per_month = 100 }"}
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "input": "hi", "max_tokens": 1000,
                         "max_output_tokens": 1000}  # fmt: skip
SPENT = {"input_tokens": 1000, "output_tokens": 500}


def events(*members: Mapping[str, object], named: bool = True) -> bytes:
    return b"".join(sse.write(json.dumps(each).encode(), str(each["type"]) if named else None) for each in members)


def answer(path: str, *, stream: bool, model: str = "gpt-5-nano-2025-08-07", tier: str = "default") -> FakeAnswer:
    """A chat or a response, which reports its model, its tier and a thousand tokens of input."""
    told: dict[str, object] = {"model": model, "service_tier": tier, "usage": SPENT}
    if path.endswith("responses"):
        done = {"type": "response.completed", "response": told}
        delta: dict[str, object] = {"type": "response.output_text.delta", "delta": "hi"}
        begun: dict[str, object] = {"type": "response.created", "response": {"model": model, "service_tier": "auto"}}
        whole = {"object": "response", "status": "completed", **told}
        read = events(begun, delta, done)
    else:
        usage = {"prompt_tokens": 1000, "completion_tokens": 500}
        choice = {"index": 0, "delta": {"content": "hi"}, "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        whole = {**told, "usage": usage, "choices": [{"index": 0, "finish_reason": "stop"}]}
        read = events(
            {"type": "", "model": model, "service_tier": tier, "choices": [choice]},
            {"type": "", "model": model, "service_tier": tier, "choices": [end]},
            {"type": "", "model": model, "service_tier": tier, "choices": [], "usage": usage},
            named=False,
        )
        read += sse.DONE
    return FakeAnswer([read]) if stream else FakeAnswer([json.dumps(whole).encode(), b""], headers=JSON)


async def served(
    path: str,
    body: dict[str, object],
    *answers: FakeAnswer,
    quotas: FakeQuota | None = None,
    settings: Mapping[str, str] = {},
) -> tuple[GatewayHarness, RequestRecord]:
    harness = GatewayHarness(*answers, quotas=quotas, environment={**TWO, **settings})
    _, record = await harness.serve(FakeIncoming(json.dumps({**ASKED, **body}).encode(), path=path))
    return harness, record


PATHS = ["/v1/chat/completions", "/v1/responses"]


@rows("path", PATHS)
@rows("stream", [True, False])
@rows(
    ("asked", "told", "cost"),
    [
        ("priority", "default", 2000),  # BerriAI/litellm#31837: Azure may serve less than was asked
        ("auto", "priority", 4000),  # and more than was asked, by the deployment's setting
        ("flex", "flex", 1000),
    ],
)
async def test_the_tier_in_the_answer_is_the_one_that_is_paid(
    path: str, stream: bool, asked: str, told: str, cost: int
) -> None:
    body: dict[str, object] = {"stream": stream, "service_tier": asked}
    _, record = await served(
        path, body, answer(path, stream=stream, tier=told), settings={"CHUKEI_MODELS__M__PRICES": PRICES}
    )
    assert (record.end, record.service_tier, record.cost) == (End.COMPLETED, told, cost)


@rows("path", PATHS)
@rows("stream", [True, False])
async def test_a_tier_that_is_not_allowed_is_refused(path: str, stream: bool) -> None:
    for tier in ("priority", "auto"):
        harness, record = await served(path, {"stream": stream, "service_tier": tier}, settings=ALLOWED)
        assert (record.status, record.code) == (403, "service_tier_not_allowed")
        assert record.rule == "groups.everybody.service_tiers"
        assert harness.upstream.requests == []


@rows("path", PATHS)
@rows(
    ("body", "up"),
    [
        ({}, None),
        ({"service_tier": "flex"}, "flex"),
        ({"service_tier": None}, None),
        ({"service_tier": "default"}, "default"),
    ],
)
async def test_any_other_request_passes_as_it_is(path: str, body: dict[str, object], up: str | None) -> None:
    harness, record = await served(path, body, answer(path, stream=False), settings=ALLOWED)
    assert record.status == 200
    assert json.loads(harness.upstream.requests[0][3]).get("service_tier") == up


async def test_the_operators_own_tier_is_not_asked_for_by_the_client() -> None:
    own = {"CHUKEI_MODELS__M__PARAMETERS": '{ service_tier = "priority" }'}
    harness, record = await served(PATHS[0], {}, answer(PATHS[0], stream=False), settings=ALLOWED | own)
    assert record.status == 200
    assert json.loads(harness.upstream.requests[0][3])["service_tier"] == "priority"


@rows(
    ("body", "parameters", "factor"),
    [({}, "{}", 2), ({"service_tier": "priority"}, "{}", 4), ({}, '{ service_tier = "flex" }', 1),
     ({"service_tier": "priority"}, '{ service_tier = "flex" }', 4)],
)  # fmt: skip
async def test_money_is_reserved_at_the_price_of_the_tier_that_goes_up(
    body: dict[str, object], parameters: str, factor: int
) -> None:
    quotas = FakeQuota()
    settings = {"CHUKEI_MODELS__M__PARAMETERS": parameters, "CHUKEI_MODELS__M__PRICES": PRICES, **MONEY}
    await served(PATHS[0], body, answer(PATHS[0], stream=False), quotas=quotas, settings=settings)
    [(_, _, amounts)] = quotas.reserved
    given = amounts.tokens - 1000
    assert amounts.money == -(-(given + 2 * 1000) * factor // 2)


@rows("path", PATHS)
@rows("stream", [True, False])
@rows(
    ("model", "cost"),
    [("gpt-5-nano-2025-08-07", 250), ("gpt-5-nano", 250), ("gpt-5-2025-08-07", 6_390), ("o9", 2_000)],
)
async def test_a_routed_request_costs_what_the_model_costs_that_answered(
    path: str, stream: bool, model: str, cost: int
) -> None:
    """BerriAI/litellm#22957, #40728: the answer names the model with its version, and the router's price is added."""
    by_model = '{ "gpt-5-nano" = { input = 0.05, output = 0.4 }, "gpt-5" = { input = 1.39, output = 10 } }'
    prices = f"{{ input = 1, output = 2, by_model = {by_model} }}"
    _, record = await served(
        path,
        {"stream": stream},
        answer(path, stream=stream, model=model),
        settings={"CHUKEI_MODELS__M__PRICES": prices},
    )
    assert (record.model, record.served_model, record.cost) == ("m", model, cost)


IMAGE = {"input_tokens": 50, "output_tokens": 1372, "input_tokens_details": {"image_tokens": 40, "text_tokens": 10}}


@rows("kind", ["image_generation", "image_edit"])
async def test_partial_images_of_megabytes_come_through_and_are_counted(kind: str) -> None:
    large = "A" * (3 << 20)
    read = events(
        {"type": f"{kind}.partial_image", "b64_json": large, "partial_image_index": 0},
        {"type": f"{kind}.partial_image", "b64_json": large, "partial_image_index": 1},
        {"type": f"{kind}.completed", "b64_json": large, "usage": IMAGE},
    )
    parts = [read[at : at + 60_000] for at in range(0, len(read), 60_000)]
    quotas = FakeQuota()
    environment = {**TWO, **MONEY, "CHUKEI_MODELS__M__PRICES": "{ input = 5, image_input = 10, output = 40 }"}
    harness = GatewayHarness(FakeAnswer([*parts, b""]), quotas=quotas, environment=environment)
    body = json.dumps({"prompt": "a cat", "stream": True, "partial_images": 2, "image": []}).encode()
    reply, record = await harness.serve(
        FakeIncoming(body, path=f"/v1/images/{'generations' if kind[6] == 'g' else 'edits'}")
    )
    assert reply.body == read
    assert (record.end, record.usage) == (End.COMPLETED, Usage(50, 1372, image_input=40))
    assert record.cost == 10 * 5 + 40 * 10 + 1372 * 40
    assert quotas.reserved[0][2].tokens >= MADE_IMAGE_TOKENS + 200


@rows("stream", [True, False])
async def test_an_image_that_a_response_makes_is_counted_and_has_its_price(stream: bool) -> None:
    """Wei-Shaw/sub2api#1999, #4644: its tokens are not in the response's usage."""
    tools = {"image_gen": {"input_tokens": 20, "output_tokens": 7024, "output_tokens_details": {"image_tokens": 7000}}}
    told = {"object": "response", "status": "completed", "model": "gpt-5.5", "usage": SPENT, "tool_usage": tools}
    partial = {"type": "response.image_generation_call.partial_image", "partial_image_b64": "A" * (2 << 20)}
    read = events(
        {"type": "response.created", "response": {}}, partial, {"type": "response.completed", "response": told}
    )
    made = FakeAnswer([read]) if stream else FakeAnswer([json.dumps(told).encode(), b""], headers=JSON)
    body: dict[str, object] = {"stream": stream, "tools": [{"type": "image_generation", "partial_images": 1}]}
    quotas = FakeQuota()
    prices = "{ input = 1, output = 2, image_output = 40 }"
    _, record = await served(
        "/v1/responses", body, made, quotas=quotas, settings={**MONEY, "CHUKEI_MODELS__M__PRICES": prices}
    )
    assert record.usage == Usage(1020, 7524, image_output=7000)
    assert record.cost == 1020 + 524 * 2 + 7000 * 40
    assert quotas.reserved[0][2].money > MADE_IMAGE_TOKENS * 40


async def test_a_transcription_flows_and_is_counted_by_its_sound() -> None:
    """BerriAI/litellm#21310: each delta leaves when it comes. OpenAI's own lines end with CRLF here."""
    usage = {"type": "tokens", "input_tokens": 37, "input_token_details": {"audio_tokens": 30}, "output_tokens": 12}
    reads = [
        b'data: {"type":"transcript.text.delta","delta":"Ruby"}\r\n\r\n',
        b'data: {"type":"transcript.text.delta","delta":" is"}\r\n\r\n',
        b"data: "
        + json.dumps({"type": "transcript.text.done", "text": "Ruby is", "usage": usage}).encode()
        + b"\r\n\r\n",
        b"data: [DONE]\r\n\r\n",
    ]
    form = b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
    form += b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
    headers: Headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=b")]
    prices = {"CHUKEI_MODELS__M__PRICES": "{ input = 1, audio_input = 6, output = 10 }"}
    harness = GatewayHarness(FakeAnswer(reads), environment={**TWO, **prices})
    reply, record = await harness.serve(FakeIncoming(form, path="/v1/audio/transcriptions", headers=headers))
    assert reply.body == b"".join(reads)
    assert reply.sent[:2] == reads[:2]
    assert (record.end, record.stream) == (End.COMPLETED, True)
    assert record.usage == Usage(37, 12, audio_input=30)
    assert record.cost == 7 * 1 + 30 * 6 + 12 * 10


@rows("stream", [True, False])
async def test_sound_in_a_chat_is_counted_and_has_its_price(stream: bool) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 68,
        "prompt_tokens_details": {"audio_tokens": 80},
        "completion_tokens_details": {"audio_tokens": 51, "text_tokens": 17},
    }
    sound = {"index": 0, "delta": {"audio": {"data": "A" * 90_000, "transcript": "Hello!"}}, "finish_reason": None}
    end = {"index": 0, "delta": {"audio": {"expires_at": 1}}, "finish_reason": "stop"}
    read = [
        events({"type": "", "choices": [sound]}, named=False),
        events({"type": "", "choices": [end]}, {"type": "", "choices": [], "usage": usage}, named=False) + sse.DONE,
    ]
    whole = {"choices": [{"index": 0, "message": {"audio": {"data": "A"}}, "finish_reason": "stop"}], "usage": usage}
    made = FakeAnswer(read) if stream else FakeAnswer([json.dumps(whole).encode(), b""], headers=JSON)
    body: dict[str, object] = {
        "stream": stream,
        "stream_options": {"include_usage": True},
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "pcm16"},
    }
    prices = {"CHUKEI_MODELS__M__PRICES": "{ input = 1, audio_input = 40, output = 2, audio_output = 80 }"}
    quotas = FakeQuota()
    _, record = await served(PATHS[0], body, made, quotas=quotas, settings=prices | MONEY)
    assert record.usage == Usage(100, 68, audio_input=80, audio_output=51)
    assert record.cost == 20 * 1 + 80 * 40 + 17 * 2 + 51 * 80
    assert quotas.reserved[0][2].money > 1000 * 80, "all of it may be sound"


@rows(
    ("query", "allowed", "target"),
    [
        ("api-version=preview", "preview", "/openai/v1/responses?api-version=preview"),
        ("api-version=preview", "latest", "/openai/v1/responses"),
        ("api-version=latest", "preview,latest", "/openai/v1/responses?api-version=latest"),
        ("", "preview", "/openai/v1/responses"),
        ("api-version=preview", "", "/openai/v1/responses"),
    ],
)
@rows("path", ["/v1/responses", "/openai/v1/responses", "/openai/responses"])
async def test_a_preview_is_asked_for_only_with_leave(path: str, query: str, allowed: str, target: str) -> None:
    settings = {"CHUKEI_UPSTREAM__PASS_VERSIONS": allowed} if allowed else {}
    harness = GatewayHarness(answer("/responses", stream=False), environment={**TWO, **settings})
    await harness.serve(FakeIncoming(json.dumps(ASKED).encode(), path=path, query=query))
    assert harness.upstream.requests[0][1] == target


async def test_headers_of_features_pass_with_leave() -> None:
    headers: Headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"aoai-evals", b"preview"),
        (b"foundry-features", b"x"),
    ]
    settings = {**TWO, "CHUKEI_UPSTREAM__PASS_HEADERS": "AOAI-Evals"}
    harness = GatewayHarness(answer("/responses", stream=False), environment=settings)
    await harness.serve(FakeIncoming(json.dumps(ASKED).encode(), path="/v1/responses", headers=headers))
    sent = dict(harness.upstream.requests[0][2])
    assert sent[b"aoai-evals"] == b"preview"
    assert b"foundry-features" not in sent


async def test_a_project_of_foundry_is_asked_below_its_path() -> None:
    project = "https://r.services.ai.azure.com/api/projects/p"
    settings = {**TWO, "CHUKEI_DEPLOYMENTS__AZURE__ENDPOINT": f"{project}/openai/v1/"}
    harness = GatewayHarness(answer("/responses", stream=False), environment=settings)
    incoming = FakeIncoming(
        json.dumps(ASKED).encode(), path="/openai/responses", query="api-version=2025-04-01-preview"
    )
    await harness.serve(incoming)
    assert harness.upstream.requests[0][:2] == (project, "/openai/v1/responses")
