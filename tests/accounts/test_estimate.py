"""What a request may take, and what it cost."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from tests.rows import rows

from chukei.accounts.cost import cost_of
from chukei.accounts.estimate import (
    HIDDEN_TOKENS,
    IMAGE_TOKENS,
    MADE_IMAGE_TOKENS,
    MOST_CHOICES,
    MOST_TOKENS,
    SOUND_TOKENS,
    USUAL_OUTPUT,
    Estimator,
    at_most,
    load_of,
    output_of,
    units_of,
)
from chukei.accounts.limits import Amounts
from chukei.azure import OPERATIONS
from chukei.model import Deployment, Long, Model, Prices, per_million
from chukei.request import call as calls
from chukei.request.call import Call
from chukei.request.routes import Route
from chukei.usage import NO_UNITS, Units, Usage

PLACE = (Deployment("a", "https://a.example", "gpt"),)
PLAIN = Model("chat", PLACE)
JSON = [(b"content-type", b"application/json")]


def call(operation: str = "chat", /, **fields: object) -> Call:
    body = {"messages": [{"role": "user", "content": "hi"}]} if operation == "chat" else {"input": "hi"}
    return written(operation, json.dumps(body | fields))


def written(operation: str, body: str) -> Call:
    """A call whose JSON is as it is given."""
    [found] = [each for each in OPERATIONS.values() if each.name == operation]
    return calls.read(Route(found), found, JSON, body.encode())


def form(operation: str, file: bytes = b"x", **fields: str) -> Call:
    parts = [f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    head = '--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    raw = "".join(parts).encode() + head.encode() + file + b"\r\n--B--\r\n"
    [found] = [each for each in OPERATIONS.values() if each.name == operation]
    return calls.read(Route(found), found, [(b"content-type", b"multipart/form-data; boundary=B")], raw)


class TestOutput:
    @rows(
        ("fields", "tokens"),
        [
            ({}, USUAL_OUTPUT),
            ({"max_tokens": 7}, 7),
            ({"max_completion_tokens": 9}, 9),
            ({"max_completion_tokens": 9, "n": 3}, 27),
            ({"max_completion_tokens": None}, USUAL_OUTPUT),
            ({"max_completion_tokens": 0}, USUAL_OUTPUT),  # Azure's to refuse, as are the next ones
            ({"max_completion_tokens": -5}, USUAL_OUTPUT),
            ({"max_completion_tokens": True}, USUAL_OUTPUT),
            ({"max_completion_tokens": "many"}, USUAL_OUTPUT),
            ({"max_completion_tokens": []}, USUAL_OUTPUT),
            ({"max_completion_tokens": 10**30}, MOST_TOKENS),
            ({"max_completion_tokens": 999_999_999, "n": 999}, MOST_TOKENS),
            ({"n": 0}, USUAL_OUTPUT),
            ({"max_tokens": 4096, "max_completion_tokens": 1}, 4096),  # either may go up
            ({"max_tokens": 1, "max_completion_tokens": 4096}, 4096),
            ({"max_tokens": 10, "n": 2, "best_of": 5}, 50),
        ],
    )
    def test_the_highest_limit_that_may_go_up_counts_for_each_choice(
        self, fields: dict[str, object], tokens: int
    ) -> None:
        assert output_of(call(**fields), PLAIN) == tokens

    @rows(
        ("number", "tokens"),
        [
            ("20.0", 20),
            ("2e1", 20),
            ("2E+1", 20),
            ("20.00", 20),
            ("200e-1", 20),
            ("19.2", 20),
            ('"20"', 20),
            ('"20.0"', 20),
            ("1e400", MOST_TOKENS),
            ("9" * 5000, MOST_TOKENS),
            ('"1e9"', MOST_TOKENS),
            ("1e-400", USUAL_OUTPUT),
            ('"inf"', USUAL_OUTPUT),
            ('"nan"', USUAL_OUTPUT),
            ('""', USUAL_OUTPUT),
        ],
    )
    def test_a_number_counts_in_every_form_of_json(self, number: str, tokens: int) -> None:
        start = '{"messages":[{"role":"user","content":"hi"}],'
        assert output_of(written("chat", f'{start}"max_tokens":{number}}}'), PLAIN) == tokens
        assert output_of(written("responses", f'{{"input":"hi","max_output_tokens": {number} }}'), PLAIN) == tokens
        if tokens == 20:
            assert output_of(written("chat", f'{start}"max_tokens":5,"n":{number}}}'), PLAIN) == 100

    @rows(
        ("prompt", "count"),
        [
            ('"one, [two]"', 1),
            ('["one, two"]', 1),
            ('["a", "b, \\"c\\", d", "e"]', 3),
            ("[1, 2, 3]", 1),
            ("[[1, 2], [3], [4, 5]]", 3),
            ("[ [1,2] , [3] ]", 2),
            ("[]", 1),
            ("[" + ",".join(['"x"'] * 20) + "]", 20),
            ("[" + ",".join(['"x"'] * 100_000) + "]", MOST_CHOICES),
            ("null", 1),
        ],
    )
    def test_each_prompt_has_its_completion(self, prompt: str, count: int) -> None:
        asked = written("completions", f'{{"prompt":{prompt},"max_tokens":16,"n":2}}')
        assert output_of(asked, PLAIN) == 32 * count

    def test_else_the_models_parameter_else_its_cap(self) -> None:
        model = Model("chat", PLACE, parameters={"max_tokens": 50}, caps={"max_completion_tokens": 400})
        assert output_of(call(), model) == 50
        assert output_of(call(max_tokens=300), model) == 300
        assert output_of(call(max_tokens=3000), model) == 400
        assert output_of(call(), Model("chat", PLACE, caps={"max_completion_tokens": 4096})) == 4096

    def test_choices_are_filled_in_and_capped_like_any_parameter(self) -> None:
        model = Model("chat", PLACE, parameters={"n": 3}, caps={"n": 4})
        assert output_of(call(max_tokens=10), model) == 30
        assert output_of(call(max_tokens=10, n=9), model) == 40

    def test_responses_have_a_name_of_their_own(self) -> None:
        assert output_of(call("responses", max_output_tokens=11), PLAIN) == 11

    def test_what_generates_nothing_has_no_output(self) -> None:
        assert output_of(call("embeddings"), PLAIN) == 0

    def test_images_are_output_each(self) -> None:
        assert output_of(written("image_generation", '{"prompt":"cat","n":3e0}'), PLAIN) == 3 * MADE_IMAGE_TOKENS
        assert output_of(form("image_edit", n="2"), PLAIN) == 2 * MADE_IMAGE_TOKENS


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}


class TestPrompt:
    def test_a_quarter_of_the_bytes_at_first(self) -> None:
        asked = call(user="x" * 4000)
        assert abs(Estimator().prompt(asked, PLAIN) - asked.size / 4) <= 1

    def test_the_systems_message_is_part_of_it(self) -> None:
        model = Model("chat", PLACE, system="\u3042" * 1000)
        assert Estimator().prompt(call(), model) == (call().size + 3000) // 4 + 1

    def test_the_ratio_follows_what_was_counted_for_a_caller(self) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        for _ in range(200):
            estimator.learn(asked, PLAIN, Usage(input=asked.size // 2), "eve")
        assert estimator.prompt(asked, PLAIN, "eve") == pytest.approx(asked.size / 2, rel=0.02)
        assert abs(estimator.prompt(asked, Model("other", PLACE), "eve") - asked.size / 4) <= 1

    def test_no_caller_moves_what_another_reserves(self) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        before = estimator.prompt(asked, PLAIN, "alice")
        for _ in range(1000):
            estimator.learn(asked, PLAIN, Usage(input=10**9), "eve")
        assert estimator.prompt(asked, PLAIN, "alice") == before

    @rows("usage", [Usage(input=10**9, estimated=True), Usage(input=0, output=5)])
    def test_estimates_and_absences_teach_nothing(self, usage: Usage) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        estimator.learn(asked, PLAIN, usage)
        assert abs(estimator.prompt(asked, PLAIN) - asked.size / 4) <= 1

    @rows(("counted", "ratio"), [(10**9, 1.0), (1, 1 / 8)])
    def test_absurd_counts_do_not_carry_it_away(self, counted: int, ratio: float) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        for _ in range(1000):
            estimator.learn(asked, PLAIN, Usage(input=counted))
        assert estimator.prompt(asked, PLAIN) == pytest.approx(ratio * asked.size, rel=0.01)

    def test_small_bodies_teach_nothing(self) -> None:
        estimator = Estimator()
        estimator.learn(call(), PLAIN, Usage(input=9))
        assert estimator.prompt(call(), PLAIN) == call().size // 4 + 1

    @rows(
        "fields",
        [
            {"messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "x" * 4000}]}]},
            {"data_sources": [{"type": "azure_search"}], "user": "x" * 4000},
        ],
    )
    def test_what_is_not_text_alone_teaches_nothing(self, fields: dict[str, object]) -> None:
        estimator, asked = Estimator(), call(**fields)
        before = estimator.prompt(asked, PLAIN)
        for _ in range(60):
            estimator.learn(asked, PLAIN, Usage(input=40_000))
            estimator.learn(call("responses", previous_response_id="r", user="x" * 4000), PLAIN, Usage(input=40_000))
        assert estimator.prompt(asked, PLAIN) == before
        assert estimator.prompt(call("responses", user="x" * 4000), PLAIN) < 1100

    @rows(
        ("text", "size"),  # and the bytes of a token of it, at most
        [
            ("the answer is about small people and water. " * 50, 4.2),
            ("def f(self):\n    return self.x[i]\n" * 50, 3.2),
            ("\u6771\u4eac\u306e\u6c34\u306f\u7f8e\u5473" * 50, 3.1),
            ("3f9a0c7e" * 100, 2.2),
        ],
    )
    @rows("escaped", [True, False])
    def test_a_prompt_that_was_not_counted_errs_upwards_within_a_bound(
        self, text: str, size: float, escaped: bool
    ) -> None:
        body = json.dumps({"messages": [{"role": "user", "content": text}]}, ensure_ascii=escaped)
        least = len(text.encode()) / size
        assert least < Estimator().uncounted(written("chat", body), PLAIN) < 1.6 * least

    def test_a_prompt_that_was_not_counted_is_never_less_than_what_was_reserved(self) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        for _ in range(200):
            estimator.learn(asked, PLAIN, Usage(input=asked.size))
        assert estimator.uncounted(asked, PLAIN) == estimator.prompt(asked, PLAIN) > 0.9 * asked.size

    def test_an_image_counts_as_an_image_and_not_by_its_bytes(self) -> None:
        one = call(messages=[{"role": "user", "content": [IMAGE]}])
        two = call(messages=[{"role": "user", "content": [IMAGE, IMAGE]}])
        assert IMAGE_TOKENS <= Estimator().prompt(one, PLAIN) < IMAGE_TOKENS + 100
        assert 2 * IMAGE_TOKENS <= Estimator().prompt(two, PLAIN) < 2 * IMAGE_TOKENS + 100
        part = {"type": "input_image", "image_url": IMAGE["image_url"]["url"]}  # type: ignore[index]
        asked = call("responses", input=[{"role": "user", "content": [part]}])
        assert IMAGE_TOKENS <= Estimator().prompt(asked, PLAIN) < IMAGE_TOKENS + 100

    def test_an_image_by_its_address_counts_the_same(self) -> None:
        part = {"type": "image_url", "image_url": {"url": "https://images.example/1.png"}}
        asked = call(messages=[{"role": "user", "content": [part]}])
        assert Estimator().prompt(asked, PLAIN) >= IMAGE_TOKENS

    def test_what_merely_speaks_of_images_is_text(self) -> None:
        text = json.dumps([IMAGE]) * 2
        asked = call(messages=[{"role": "user", "content": text}])
        assert Estimator().prompt(asked, PLAIN) == asked.size // 4 + 1

    def test_sound_and_files_count_by_fewer_of_their_bytes(self) -> None:
        sound = {"type": "input_audio", "input_audio": {"data": "A" * 640_000, "format": "wav"}}
        asked = call(messages=[{"role": "user", "content": [sound]}])
        assert 10_000 <= Estimator().prompt(asked, PLAIN) < 10_100
        data = "data:application/pdf;base64," + "A" * 64_000
        file = {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}
        assert 1000 <= Estimator().prompt(call(messages=[{"role": "user", "content": [file]}]), PLAIN) < 1100

    @rows(
        "fields",
        [
            {"previous_response_id": "resp_1"},
            {"conversation": "conv_1"},
            {"prompt": {"id": "pmpt_1"}},
            {"tools": [{"type": "web_search_preview"}]},
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        ],
    )
    def test_what_a_request_brings_along_unseen_is_reserved(self, fields: dict[str, object]) -> None:
        assert HIDDEN_TOKENS < Estimator().prompt(call("responses", **fields), PLAIN) < HIDDEN_TOKENS + 100

    @rows("picture", [{"image_url": "https://example.com/a.png"}, {"file_id": "file-1"}])
    def test_pictures_to_be_edited_are_reserved_however_they_are_named(self, picture: dict[str, str]) -> None:
        asked = call("image_edit", prompt="A hat.", images=[picture] * 3)
        assert Estimator().prompt(asked, PLAIN) > 3 * MADE_IMAGE_TOKENS

    def test_a_name_that_is_hidden_by_escapes_hides_no_tokens(self) -> None:
        part = '{"type":"image\\u005furl","image\\u005furl":{}}'
        asked = written("chat", f'{{"messages":[{{"role":"user","content":[{part}]}}]}}')
        assert Estimator().prompt(asked, PLAIN) > HIDDEN_TOKENS

    @rows(("operation", "field"), [("completions", "prompt"), ("embeddings", "input")])
    @rows("tokens", ["[1,2,3,4]", "[[1,2],[3,4]]", "[ [1,2],\n[3,4]]"])
    def test_tokens_by_their_numbers_are_counted(self, operation: str, field: str, tokens: str) -> None:
        asked = written(operation, f'{{"{field}":{tokens}}}')
        assert 4 <= Estimator().prompt(asked, PLAIN) <= 5

    def test_a_recording_counts_no_more_than_a_recording_can(self) -> None:
        assert Estimator().prompt(form("transcription", b"x" * 5_000_000), PLAIN) == SOUND_TOKENS + 1


class TestUnits:
    PRICED = Model("media", PLACE, prices=Prices(image=Fraction(1), minute=Fraction(1), characters=Fraction(1)))

    def test_images(self) -> None:
        asked = written("image_generation", '{"prompt":"cat","n":2.0,"size":"1024x1024"}')
        assert units_of(asked, self.PRICED) == Units(images=2, size="1024x1024")
        assert units_of(form("image_edit", n="3", quality="hd"), self.PRICED) == Units(images=3, quality="hd")

    def test_characters_to_be_spoken(self) -> None:
        assert units_of(call("speech", input="\u3042\u3044 \U0001f600"), self.PRICED) == Units(characters=4)
        assert units_of(call("speech", input=5), self.PRICED) == Units(characters=0)

    def test_sound_is_as_long_as_azure_says_else_as_it_can_be(self) -> None:
        asked = form("transcription", b"x" * 60_000)
        assert units_of(asked, self.PRICED, Usage(heard_ms=2000)) == Units(heard_ms=2000)
        assert 60_000 <= units_of(asked, self.PRICED).heard_ms < 61_000

    def test_a_price_of_a_model_that_may_answer_is_enough(self) -> None:
        cases: list[tuple[dict[str, Any], Call]] = [
            ({"minute": Fraction(1)}, form("transcription", b"x" * 60_000)),
            ({"characters": Fraction(1)}, call("speech", input="hello")),
            ({"images": {"hd": Fraction(1)}}, form("image_edit", n="3", quality="hd")),
        ]
        for unit, asked in cases:
            prices = Prices(by_model={"other": Prices(**unit)})
            units = units_of(asked, Model("media", PLACE, prices=prices))
            assert units == units_of(asked, self.PRICED)
            assert cost_of(Usage(), prices, units, served="other")
            assert cost_of(Usage(), prices, units) == 0

    def test_what_is_paid_for_by_tokens_has_no_units(self) -> None:
        assert units_of(call(), self.PRICED) is NO_UNITS
        assert units_of(call("speech"), PLAIN) is NO_UNITS


class TestAmounts:
    def test_prompt_and_output_with_their_price(self) -> None:
        model = Model("chat", PLACE, prices=Prices(input=per_million("1"), output=per_million("2")))
        asked = call(max_tokens=100)
        prompt = Estimator().prompt(asked, model)
        assert Estimator().amounts(asked, model) == Amounts(prompt + 100, prompt + 200)

    def test_the_dearest_model_that_may_answer_and_the_tier_that_is_asked_for(self) -> None:
        cheap, dear = Prices(per_million("1"), None, per_million("1")), Prices(per_million("9"), None, per_million("9"))
        prices = Prices(cheap.input, None, cheap.output, tiers={"priority": Fraction(2)}, by_model={"dear": dear})
        asked = call(max_tokens=100)
        amounts = Estimator().amounts(asked, Model("chat", PLACE, prices=prices))
        assert amounts.money == 9 * amounts.tokens
        asked = call(max_tokens=100, service_tier="priority")
        tiered = Prices(cheap.input, None, cheap.output, tiers=prices.tiers)
        amounts = Estimator().amounts(asked, Model("chat", PLACE, prices=tiered))
        assert amounts.money == 2 * amounts.tokens

    def test_long_input_has_its_price(self) -> None:
        prices = Prices(10**9, None, 10**9, long=Long(100, Prices(10**10, None, 10**10)))
        amounts = Estimator().amounts(call(user="x" * 4000, max_tokens=1), Model("chat", PLACE, prices=prices))
        assert amounts.money == 10 * amounts.tokens

    def test_what_is_paid_for_by_the_piece(self) -> None:
        asked = call("speech", input="x" * 4000)
        assert Estimator().amounts(asked, TestUnits.PRICED).money == 4000

    def test_the_least_is_without_what_was_learnt_or_may_come_along(self) -> None:
        estimator, asked = Estimator(), call("responses", previous_response_id="r", max_output_tokens=5)
        assert estimator.least(asked, PLAIN) == Amounts(asked.size // 4 + 6)


PLAIN_PRICES = Prices(input=per_million("1"), output=per_million("2"))


class TestExactly:
    """Values from which one step in the arithmetic cannot be left out."""

    def test_what_comes_along_adds_up(self, subtests: pytest.Subtests) -> None:
        search: dict[str, object] = {"tools": [{"type": "web_search"}]}
        earlier: dict[str, object] = {"previous_response_id": "r"}
        rows: list[tuple[dict[str, object], int]] = [
            (search, 1),
            (earlier, 1),
            (search | earlier, 2),
            ({"conversation": "c"} | search, 2),
        ]
        for fields, times in rows:
            with subtests.test(fields=fields):
                asked = call("responses", **fields)
                assert Estimator().prompt(asked, PLAIN) == asked.size // 4 + 1 + times * HIDDEN_TOKENS
                assert Estimator().least(asked, PLAIN) == Amounts(asked.size // 4 + 1 + USUAL_OUTPUT)
        asked = written("responses", '{"input":"\\u0061","conversation":"c","tools":[{"type":"web_search"}]}')
        assert Estimator().prompt(asked, PLAIN) == asked.size // 4 + 1 + 3 * HIDDEN_TOKENS

    def test_a_completion_is_its_text(self) -> None:
        asked = written("completions", '{"prompt":"hello","conversation":"c"}')
        assert Estimator().prompt(asked, PLAIN) == 37 // 4 + 1

    def test_what_was_not_counted_beside_media(self) -> None:
        data = "A" * 3001
        item = f'{{"type":"input_image","image_url":"data:image/png;base64,{data}"}}'
        asked = written("responses", f'{{"input":[{{"role": "user","content":[{item}]}}]}}')
        text = asked.size - len(data)
        assert text % 3
        assert Estimator().uncounted(asked, PLAIN) == text // 3 + 1 + IMAGE_TOKENS
        assert Estimator().prompt(asked, PLAIN) == text // 4 + 1 + IMAGE_TOKENS

    @pytest.mark.parametrize("before", [0, 70_000, 140_000])
    def test_pictures_of_a_large_body_count_once_wherever_they_stand(self, before: int) -> None:
        filler = '{"type":"text","text":""},'
        item = '{"type":"image_url","image_url":{"url":"https://a"}}'
        body = f"[{filler * (before // len(filler))}{item},{filler * (140_000 // len(filler))}{item}]"
        asked = written("chat", f'{{"messages":[{{"role":"user","content":{body}}}]}}')
        assert Estimator().prompt(asked, PLAIN) == asked.size // 4 + 1 + 2 * IMAGE_TOKENS

    def test_sound(self) -> None:
        for operation in ("transcription", "translation"):
            asked = form(operation, b"x" * 7001)
            tokens = asked.size // 64 + 1
            assert asked.size % 64
            assert (output_of(asked, PLAIN), Estimator().prompt(asked, PLAIN)) == (tokens, 1 + tokens)
        priced = Model("m", PLACE, prices=replace(PLAIN_PRICES, minute=Fraction(1)))
        assert units_of(asked, priced) == Units(heard_ms=asked.size)
        prices = replace(PLAIN_PRICES, audio_input=per_million("10"), audio_output=per_million("20"))
        asked = call(modalities=["audio"], max_tokens=7)
        given = asked.size // 4 + 1
        assert Estimator().amounts(asked, Model("m", PLACE, prices=prices)) == Amounts(given + 7, given * 10 + 7 * 20)
        asked = call(max_tokens=7)
        given = asked.size // 4 + 1
        assert Estimator().amounts(asked, Model("m", PLACE, prices=prices)) == Amounts(given + 7, given + 7 * 2)

    def test_pictures(self) -> None:
        assert output_of(call("image_generation"), PLAIN) == MADE_IMAGE_TOKENS
        assert output_of(call("image_generation", n=3), PLAIN) == 3 * MADE_IMAGE_TOKENS
        assert output_of(call("image_generation", n=1603), PLAIN) == MOST_TOKENS
        priced = Model("m", PLACE, prices=replace(PLAIN_PRICES, image=Fraction(1)))
        assert units_of(call("image_generation"), priced).images == 1
        assert units_of(call("image_generation", n=MOST_CHOICES + 1), priced).images == MOST_CHOICES
        edit = form("image_edit", b"x" * 9000)
        assert Estimator().prompt(edit, PLAIN) == 1 + MADE_IMAGE_TOKENS + 8000

    def test_load(self) -> None:
        asked = call(max_tokens=7)
        assert load_of(asked, PLAIN) == asked.size // 4 + 7

    @pytest.mark.parametrize(
        ("raw", "tokens"),
        [
            (None, 0),
            (b"0", 0),
            (b"9999999", 9_999_999),
            (b"999999999", MOST_TOKENS),
            (b"1.5", 2),
            (b"9999999.5", MOST_TOKENS),
            (b"+3", 3),
            (b".5", 1),
            (b"-1", 0),
            (b'" 3 "', 3),
            (b"1e", 0),
            (b"0" * 399 + b"7", 7),
            (b"0" * 400 + b"7", MOST_TOKENS),
        ],
    )
    def test_a_number(self, raw: bytes | None, tokens: int) -> None:
        assert at_most(raw) == tokens
