"""What the model says, and the pieces it says it in."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chukei.simulator.prompts import Prompt, conversation
from chukei.simulator.prose import answer, is_japanese, phrases, solve, subject_of
from chukei.simulator.schemas import sample
from chukei.simulator.tokens import WHOLE_WORD, count, split, until_stop
from chukei.simulator.voice import Voice

# The machine may be busy with other things.
patient = settings(deadline=None)


def said(text: str, seed: int = 0, **fields: Any) -> str:
    return answer(Prompt(text=text, **fields), Voice(seed, text))


@patient
@given(st.text())
def test_pieces_are_the_text_and_each_is_valid_utf8(text: str) -> None:
    pieces = split(text)

    assert "".join(pieces) == text
    assert all(pieces)
    assert all(len(piece) <= WHOLE_WORD + 1 or not piece.strip() for piece in pieces)
    for piece in pieces:
        piece.encode()
    assert count(text) == len(pieces)


def test_pieces_look_like_tokens() -> None:
    assert split("Hello there, world") == ["Hello", " there", ",", " world"]
    assert split("internationalisation 12345") == ["inte", "rnat", "iona", "lisa", "tion", " 123", "45"]
    assert split("if x:\n    y = 1") == ["if", " x", ":", "\n", "   ", " y", " =", " 1"]
    assert split("東京です") == ["東", "京", "です"]


def test_counting_a_long_text_extrapolates() -> None:
    text = "word " * 200_000

    assert count(text) == pytest.approx(200_000, rel=0.02)


def test_stop_sequences() -> None:
    assert until_stop("one two three", ["three", "two"]) == "one "
    assert until_stop("one", ["x", ""]) == "one"


@patient
@given(st.text(), st.integers(0, 5))
def test_repeating_is_exact(text: str, seed: int) -> None:
    assert said(f"repeat: {text}", seed) == text
    assert said(f"Say: {text}", seed) == text


@patient
@given(st.text(max_size=200), st.integers(0, 3))
def test_there_is_always_an_answer(text: str, seed: int) -> None:
    if not re.match(r"\s*(repeat|say|echo|繰り返して)", text, re.IGNORECASE):
        assert said(text, seed).strip()


TOPICS: list[tuple[str, str]] = [
    ("Hello!", r"."),
    ('say "hi there"', r"^hi there$"),
    ("繰り返して: はい", r"^はい$"),
    ("who are you?", r"simulator[\s\S]*fault-429"),
    ("help", r"simulator"),
    ("hello, show me a table", r"\| status \|"),
    ("あなたは誰ですか", r"シミュレーター"),
    ("count to 5", r"^1, 2, 3, 4, 5\.$"),
    ("count down from 3 to 1", r"^3, 2, 1\.$"),
    ("3まで数えて", r"^1、2、3。$"),
    ("what is 12 * (3 + 4)?", r"84"),
    ("10 / 4", r"2\.5"),
    ("7÷0は?", r"undefined"),
    ("write some python code", r"```python\ndef [\s\S]*```"),
    ("SQL please", r"```sql\nSELECT"),
    ("show me a table", r"\| status \|[\s\S]*\|---\|"),
    ("表を見せて", r"\| ステータス \|"),
    ("give me 3 tips as a list", r"1\. [\s\S]*2\. [\s\S]*3\. "),
    ("show me Markdown", r"# A page[\s\S]*> The[\s\S]*```python"),
    ("a haiku about rain", r"^[^\n]+  \n[^\n]+  \n[^\n]+$"),
    ("俳句を詠んで", r"^[^\n]+  \n[^\n]+  \n[^\n]+$"),
    ("tell me a story about a lost umbrella", r"a lost umbrella"),
    ("tell me a joke", r"."),
    ("Thank you!", r"."),
    ("What is the meaning of life?", r"the meaning of life"),
    ("量子力学について教えて", r"「量子力学について教えて」"),
    ("   ", r"nothing at all"),
]


def test_topics() -> None:
    for text, pattern in TOPICS:
        for seed in range(5):
            assert re.search(pattern, said(text, seed)), said(text, seed)


def test_japanese_is_answered_in_japanese() -> None:
    for text in [
        "こんにちは",
        "物語を聞かせて",
        "コードを書いて",
        "ありがとう",
        "元気ですか",
        "冗談を言って",
        "一覧を作って",
    ]:
        for seed in range(5):
            assert is_japanese(re.sub(r"```[\s\S]*```", "", said(text, seed))), text


@patient
@given(st.integers(1, 2000), st.integers(0, 3))
def test_so_many_words(number: int, seed: int) -> None:
    assert len(said(f"write {number} words about the sea", seed).split()) == number


def test_the_languages_have_the_same_kinds_of_phrases() -> None:
    english, japanese = phrases(), phrases(japanese=True)

    assert english.keys() == japanese.keys(), "Japanese has nothing that English lacks"
    assert {name: type(said) for name, said in english.items()} == {name: type(said) for name, said in japanese.items()}


def test_answers_vary_with_the_dice() -> None:
    for text in ("hello", "what is love?", "tell me a story", "a list of ideas"):
        assert len({said(text, seed) for seed in range(20)}) > 1, text


def test_the_system_message_can_be_asked_for() -> None:
    assert said("What is your system prompt?", system="Be kind.") == "My system message is: Be kind."
    assert said("What is your system prompt?") == "I was given no system message."


def test_subjects() -> None:
    assert subject_of("Could you please explain the tides?") == "the tides"
    assert subject_of("Write a short story about bees.") == "bees"
    assert subject_of("How do tides work?") == "that question"
    assert len(subject_of("tell me about " + "very " * 40 + "long things")) <= 60


ARITHMETIC: list[tuple[str, str | None]] = [
    ("1+1", "2"),
    ("what is 2 * 3.5", "7"),
    ("(1 + 2) × 3 \u2212 4 please", "5"),
    ("1,000 * 1,000", "1,000,000"),
    ("-1", None),
    ("2026-04-01", None),
    ("10-20", None),
    ("call 555-1234-99", None),
    ("((((", None),
    ("1 +* 2", None),
    ("9" * 200 + "*9", None),
    ("2**3", None),
    ("5 / 0", "undefined"),
]


def test_arithmetic() -> None:
    for text, result in ARITHMETIC:
        solved = solve(text)

        assert (solved[1] if solved else None) == result, text


SCHEMAS: list[tuple[Any, Any]] = [
    ({"type": "integer", "minimum": 5, "maximum": 6}, lambda value: value in (5, 6)),
    ({"type": "integer", "exclusiveMaximum": 0}, lambda value: value < 0),
    ({"type": "number", "minimum": 0, "maximum": 0.5}, lambda value: 0 <= value <= 0.5),
    ({"enum": ["a", "b"]}, lambda value: value in ("a", "b")),
    ({"const": 7}, lambda value: value == 7),
    ({"type": ["null", "boolean"]}, lambda value: isinstance(value, bool)),
    ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, lambda value: isinstance(value, int)),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 5}, lambda value: len(value) == 5),
    ({"type": "array", "items": {}, "maxItems": 1}, lambda value: len(value) <= 1),
    ({"type": "string", "minLength": 50}, lambda value: len(value) == 50),
    ({"type": "string", "maxLength": 3}, lambda value: len(value) == 3),
    ({"type": "string", "format": "email"}, lambda value: "@" in value),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
        lambda value: value == {"a": 1, "b": 2},
    ),
    (
        {"$ref": "#/$defs/x", "$defs": {"x": {"type": "object", "properties": {"y": {"const": 1}}}}},
        lambda value: value == {"y": 1},
    ),
    ({"type": "object", "required": ["q"]}, lambda value: list(value) == ["q"]),
    ({"type": "object"}, lambda value: value == {}),
    ("nonsense", lambda value: isinstance(value, str)),
]


def test_samples_fit_their_schema() -> None:
    for schema, fits in SCHEMAS:
        for seed in range(10):
            assert fits(sample(schema, random.Random(seed))), schema


def test_a_schema_that_refers_to_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "all": {"type": "array", "items": {"$ref": "#"}}}}
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    forced = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

    for schema in (node, loop, forced):
        sample(schema, random.Random(0))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "required",
                    "enum",
                    "anyOf",
                    "allOf",
                    "$ref",
                    "minimum",
                    "maximum",
                    "minItems",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@patient
@given(_JSON)
def test_no_schema_however_wrong_is_an_accident(schema: Any) -> None:
    sample(schema, random.Random(0))


def test_a_conversation_is_boiled_down() -> None:
    prompt = conversation(
        [
            ("system", "Be kind."),
            ("user", "first"),
            ("assistant", "yes"),
            ("user", [{"type": "text", "text": "se"}, {"type": "text", "text": "cond"}, {"type": "image_url"}]),
            ("assistant", None),
            ("tool", "result"),
        ]
    )

    assert (prompt.text, prompt.system, prompt.turns, prompt.tool_results) == ("second", "Be kind.", 2, ("result",))
    assert prompt.tokens > 85
