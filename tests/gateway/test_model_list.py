"""What the list of models says about each of them."""

from typing import Any

from tests.rows import rows

from chukei.azure import OPERATIONS, REALTIME
from chukei.config.model_facts import APIS
from chukei.gateway.model_list import apis_of, described, language_of
from chukei.model import Deployment, Model

EAST = Deployment("east", "https://east.example", "prod")
NOTHING = {
    "description": None,
    "apis": ["chat"],
    "input": None,
    "context_tokens": None,
    "output_tokens": None,
    "max_images": None,
    "failure": False,
}


def told(model: Model, language: str = "") -> Any:
    """Return what the list says besides OpenAI's fields."""
    shown = described(model, 7, language)
    assert list(shown) == ["id", "object", "created", "owned_by", "chukei"], "the fields of OpenAI's stay"
    assert (shown["id"], shown["object"], shown["created"]) == (model.name, "model", 7)
    return shown["chukei"]


def test_what_is_not_known_is_null() -> None:
    assert told(Model("chat", (EAST,))) == NOTHING


def test_what_is_configured_is_told() -> None:
    model = Model(
        "chat",
        (EAST,),
        description="Quick.",
        apis=("responses",),
        input=("text",),
        context_tokens=400_000,
        output_tokens=128_000,
        max_images=0,
        failure=True,
    )
    assert told(model) == {
        "description": "Quick.",
        "apis": ("responses",),
        "input": ("text",),
        "context_tokens": 400_000,
        "output_tokens": 128_000,
        "max_images": 0,
        "failure": True,
    }


@rows(
    ("output_tokens", "caps", "expected"),
    [
        (None, None, None),
        (None, {"temperature": 1}, None),
        (None, {"max_tokens": 4096}, 4096),
        (8000, {"max_completion_tokens": 4096}, 4096),
        (8000, {"max_output_tokens": 9000.0}, 8000),
    ],
)
def test_a_cap_is_the_limit_of_an_answer(output_tokens: int | None, caps: Any, expected: int | None) -> None:
    assert told(Model("chat", (EAST,), caps=caps, output_tokens=output_tokens))["output_tokens"] == expected


@rows(
    ("language", "expected"),
    [("", "Quick."), ("ja", "速い。"), ("JA-jp", "速い。"), ("jam", "Quick."), ("en-GB", "Quick.")],
)
def test_readers_are_told_in_their_language(language: str, expected: str) -> None:
    assert told(Model("chat", (EAST,), description="Quick.", descriptions={"ja": "速い。"}), language)[
        "description"
    ] == (expected)


@rows(
    ("accepted", "expected"),
    [(None, ""), (b"", ""), (b"ja", "ja"), (b"de-DE,ja;q=0.9", "de-DE"), (b" ja;q=0.5 , en", "ja"), (b"\xff", "ÿ")],
)
def test_the_first_language_counts(accepted: bytes | None, expected: str) -> None:
    assert language_of(accepted) == expected


@rows(
    ("name", "version", "expected"),
    [
        ("prod", None, ["chat"]),
        ("gpt-35-turbo", None, ["chat"]),
        ("gpt-4o", None, ["chat", "responses"]),
        ("GPT-5-mini-eu", "v1", ["chat", "responses"]),
        ("gpt-5.4", "preview", ["chat", "responses"]),
        ("o4-mini", "2025-03-01-preview", ["chat", "responses"]),
        ("gpt-4.1", "2024-10-21", ["chat"]),
        ("gpt-4", None, ["chat"]),
        ("gpt-4ominous", None, ["chat"]),
        ("text-embedding-3-small", None, ["embeddings"]),
        ("gpt-image-1", None, ["image_generation", "image_edit"]),
        ("gpt-4o-transcribe", None, ["transcription", "translation"]),
        ("whisper", None, ["transcription", "translation"]),
        ("gpt-4o-mini-tts", None, ["speech"]),
        ("gpt-4o-realtime-preview", None, ["realtime"]),
        ("gpt-4o-audio-preview", None, ["chat"]),
    ],
)
def test_apis_follow_from_the_deployment(name: str, version: str | None, expected: list[str]) -> None:
    assert apis_of([Deployment("d", "https://east.example", name, api_version=version)]) == expected


def test_claude_has_its_own_api() -> None:
    assert apis_of([Deployment("d", "https://east.example", "gpt-4o", api="anthropic")]) == ["messages"]


def test_what_all_deployments_serve_counts() -> None:
    new, old = Deployment("a", "https://a.example", "gpt-4o"), Deployment("b", "https://b.example", "gpt-35-turbo")
    assert apis_of([new, old]) == apis_of([old, new]) == ["chat"]
    assert apis_of([new, Deployment("c", "https://c.example", "whisper")]) == []


def test_the_names_are_those_of_operations() -> None:
    assert set(APIS) <= {operation.name for operation in (*OPERATIONS.values(), REALTIME)}
