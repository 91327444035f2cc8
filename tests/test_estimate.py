"""What a request may take, and what it cost."""

import json

import pytest

from chukei import call as calls
from chukei.call import Call
from chukei.estimate import MOST_TOKENS, USUAL_OUTPUT, Estimator, cost_of, output_of
from chukei.limits import Amounts, Prices
from chukei.model import Deployment, Model
from chukei.routes import Route
from chukei.usage import Usage
from chukei.wire import CHAT, OPERATIONS, RESPONSES

PLACE = (Deployment("a", "https://a.example", "gpt"),)
PLAIN = Model("chat", PLACE)
JSON = [(b"content-type", b"application/json")]


def call(operation: str = "chat", /, **fields: object) -> Call:
    found = {"chat": CHAT, "responses": RESPONSES}.get(operation) or OPERATIONS[operation]
    body = {"messages": [{"role": "user", "content": "hi"}]} if found is CHAT else {"input": "hi"}
    raw = json.dumps(body | fields).encode()
    return calls.read(Route(found), found, JSON, raw)


class TestOutput:
    @pytest.mark.parametrize(
        ("fields", "tokens"),
        [
            ({}, USUAL_OUTPUT),
            ({"max_tokens": 7}, 7),
            ({"max_completion_tokens": 9}, 9),
            ({"max_completion_tokens": 9, "n": 3}, 27),
            ({"max_completion_tokens": 0}, 0),
            ({"max_completion_tokens": None}, USUAL_OUTPUT),
            ({"max_completion_tokens": -5}, USUAL_OUTPUT),  # Azure's to refuse
            ({"max_completion_tokens": 1.5}, USUAL_OUTPUT),
            ({"max_completion_tokens": "many"}, USUAL_OUTPUT),
            ({"max_completion_tokens": 10**30}, USUAL_OUTPUT),
            ({"max_completion_tokens": 999_999_999, "n": 999}, MOST_TOKENS),
            ({"n": 0}, USUAL_OUTPUT),
        ],
    )
    def test_the_clients_own_limit_counts_for_each_choice(self, fields: dict[str, object], tokens: int) -> None:
        assert output_of(call(**fields), PLAIN) == tokens

    def test_else_the_models_parameter_else_its_cap(self) -> None:
        model = Model("chat", PLACE, parameters={"max_tokens": 50}, caps={"max_completion_tokens": 400})
        assert output_of(call(), model) == 50
        assert output_of(call(max_tokens=300), model) == 300
        assert output_of(call(max_tokens=3000), model) == 400
        assert output_of(call(), Model("chat", PLACE, caps={"max_completion_tokens": 4096})) == 4096

    def test_responses_have_a_name_of_their_own(self) -> None:
        assert output_of(call("responses", max_output_tokens=11), PLAIN) == 11

    def test_what_generates_nothing_has_no_output(self) -> None:
        assert output_of(call("embeddings"), PLAIN) == 0


class TestPrompt:
    def test_a_quarter_of_the_bytes_at_first(self) -> None:
        asked = call(user="x" * 4000)
        assert abs(Estimator().prompt(asked, PLAIN) - asked.size / 4) <= 1

    def test_the_ratio_follows_what_was_counted(self) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        for _ in range(200):
            estimator.learn(asked, PLAIN, Usage(input=asked.size // 2))
        assert estimator.prompt(asked, PLAIN) == pytest.approx(asked.size / 2, rel=0.02)
        assert abs(estimator.prompt(asked, Model("other", PLACE)) - asked.size / 4) <= 1

    @pytest.mark.parametrize("usage", [Usage(input=10**9, estimated=True), Usage(input=0, output=5)])
    def test_estimates_and_absences_teach_nothing(self, usage: Usage) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        estimator.learn(asked, PLAIN, usage)
        assert abs(estimator.prompt(asked, PLAIN) - asked.size / 4) <= 1

    def test_absurd_counts_do_not_carry_it_away(self) -> None:
        estimator, asked = Estimator(), call(user="x" * 4000)
        for _ in range(1000):
            estimator.learn(asked, PLAIN, Usage(input=10**12))
        assert estimator.prompt(asked, PLAIN) <= 2 * asked.size + 1

    def test_small_bodies_teach_nothing(self) -> None:
        estimator = Estimator()
        estimator.learn(call(), PLAIN, Usage(input=9))
        assert estimator.prompt(call(), PLAIN) == call().size // 4 + 1


class TestCost:
    def test_each_kind_of_token_has_its_price(self) -> None:
        prices = Prices(input=2.5, cached=1.25, output=10)
        assert cost_of(Usage(input=1000, cached=400, output=100), prices) == 600 * 2.5 + 400 * 1.25 + 1000

    def test_cached_input_costs_what_input_costs_unless_said_otherwise(self) -> None:
        assert cost_of(Usage(input=1000, cached=400), Prices(input=2)) == 2000
        assert cost_of(Usage(input=1000, cached=400), Prices(input=2, cached=0.0)) == 1200

    def test_part_of_a_micro_unit_counts_whole(self) -> None:
        assert cost_of(Usage(input=1), Prices(input=0.15)) == 1
        assert cost_of(Usage(), Prices(input=0.15)) == 0

    def test_more_cached_than_input_costs_no_less_than_nothing(self) -> None:
        assert cost_of(Usage(input=10, cached=50), Prices(input=1, cached=0.5)) == 5

    def test_without_a_price_the_cost_is_unknown(self) -> None:
        assert cost_of(Usage(input=10), None) is None


def test_amounts_are_prompt_and_output_with_their_price() -> None:
    model = Model("chat", PLACE, prices=Prices(input=1, output=2))
    asked = call(max_tokens=100)
    prompt = Estimator().prompt(asked, model)
    assert Estimator().amounts(asked, model) == Amounts(prompt + 100, prompt + 200)
