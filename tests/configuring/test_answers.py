"""What flags and questions are answered with is read, or refused without repeating a secret."""

import pytest
from tests.rows import rows

from chukei.accounts.limits import Limit
from chukei.configuring import answers
from chukei.configuring.answers import Answers, BadAnswer, Resource, Store, Target

CONTOSO, SWEDEN = "https://contoso.openai.azure.com", "https://sweden.openai.azure.com"
KEY = "0123456789abcdef0123456789abcdef"


@rows(
    ("text", "expected"),
    [
        ("gpt-4o", [("gpt-4o", "gpt-4o")]),
        ("gpt-4o, o3 ,,", [("gpt-4o", "gpt-4o"), ("o3", "o3")]),
        ("chat=gpt-4o", [("chat", "gpt-4o")]),
        (" chat = gpt-4o ", [("chat", "gpt-4o")]),
        ("a/b:c d=gpt-4o", [("a/b:c d", "gpt-4o")]),
        ("o3,o3", [("o3", "o3")]),
        ("", []),
    ],
)
def test_deployments_are_read_with_their_models(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(target.model, target.deployment) for target in answers.targets(text)] == expected


@rows("text", ["gpt 4o", "=gpt-4o", "chat=", "chat=a/b", "é", "a\nb", "x" * 129, '"]', KEY, f"chat={KEY}"])
def test_what_is_no_deployment_is_refused(text: str) -> None:
    with pytest.raises(BadAnswer) as raised:
        answers.targets(text)
    assert KEY not in str(raised.value)


@rows(
    ("text", "name"), [("KEY_1", "KEY_1"), (" $KEY ", "KEY"), ("${KEY}", "KEY"), ("A" * 30 + "_1", "A" * 30 + "_1")]
)  # fmt: skip
def test_a_variable_is_read_as_shells_write_it(text: str, name: str) -> None:
    assert answers.variable(text) == name


@rows(("text", "advice"), [(KEY, "looks like a key"), ("a-b", "letters, digits"), ("", "letters"), ("1A", "letters")])
def test_what_is_no_variable_is_refused(text: str, advice: str) -> None:
    with pytest.raises(BadAnswer, match=advice) as raised:
        answers.variable(text)
    assert KEY not in str(raised.value)


def test_limits_are_read_by_their_names() -> None:
    found = answers.limits(["requests_per_minute=60", "tokens-per-day=1_000_000", "money_per_month=12.5"])
    assert found == {Limit.REQUESTS_PER_MINUTE: 60, Limit.TOKENS_PER_DAY: 1_000_000, Limit.MONEY_PER_MONTH: 12.5}


@rows(
    ("text", "advice"),
    [
        ("requests=60", "there are requests_per_minute"),
        ("requests_per_minute", "must be a number"),
        ("requests_per_minute=many", "must be a number"),
        ("requests_per_minute=0", "from 1"),
        ("requests_per_minute=1.5", "whole number"),
        ("requests_per_minute=inf", "whole number"),
        ("requests_per_minute=nan", "whole number"),
        ("requests_per_minute=1e30", "whole number"),
        ("requests_per_minute=1e999999999", "whole number"),
        ("money_per_month=-1", "more than 0"),
        ("money_per_month=inf", "more than 0"),
        ("money_per_month=nan", "more than 0"),
    ],
)
def test_what_is_no_limit_is_refused(text: str, advice: str) -> None:
    with pytest.raises(BadAnswer, match=advice):
        answers.limits([text])


def test_an_address_without_a_password_may_stand_in_the_file_and_one_with_a_password_may_not() -> None:
    assert answers.redis("redis://h:6379/0") == Store("redis://h:6379/0")
    assert answers.redis("rediss://:secret@h") == Store({"env": "REDIS_URL"})
    assert answers.ledger("postgresql://h/d?PASSWORD=x") == Store({"env": "LEDGER_URL"})
    assert answers.ledger("sqlite:///a.db") == Store("sqlite:///a.db")
    assert answers.ledger("none") == Store("none")


def test_the_defaults_of_stores_are_none_of_them() -> None:
    assert [answers.redis(""), answers.redis("memory"), answers.ledger("")] == [None, None, None]


@rows("text", ["h:6379", "http://h", "redis://", "redis://h\u00e9", "redis://h\x07"])
def test_what_is_no_redis_is_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        answers.redis(text)


@rows("text", ["file.db", "mysql://h/d", "sqlite:///", "postgresql://"])
def test_what_is_no_ledger_is_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        answers.ledger(text)


def test_each_deployment_is_on_each_resource_besides_the_one_that_its_address_names() -> None:
    found = answers.resources([f"{CONTOSO}/openai/deployments/o3", SWEDEN, SWEDEN], ["chat=gpt-4o"], [], identity=False)
    chat = Target("chat", "gpt-4o")
    assert found == (
        Resource(CONTOSO, (Target("o3", "o3"), chat), "AZURE_OPENAI_API_KEY"),
        Resource(SWEDEN, (chat,), "AZURE_OPENAI_API_KEY_2"),
    )


def test_keys_are_given_once_for_all_or_once_for_each() -> None:
    def keys(*given: str) -> list[str | None]:
        return [each.key for each in answers.resources([CONTOSO, SWEDEN], ["o3"], given, identity=False)]

    assert keys("A") == ["A", "A"]
    assert keys("A", "B") == ["A", "B"]
    with pytest.raises(BadAnswer, match="3 times for 2 resources"):
        keys("A", "B", "C")


def test_an_identity_has_no_key() -> None:
    [found] = answers.resources([CONTOSO], ["o3"], [], identity=True)
    assert found.key is None
    with pytest.raises(BadAnswer, match="leave out --key-env"):
        answers.resources([CONTOSO], ["o3"], ["A"], identity=True)


def test_a_resource_without_deployments_and_deployments_without_a_resource_are_refused() -> None:
    with pytest.raises(BadAnswer, match="which deployments"):
        answers.resources([CONTOSO], [], [], identity=False)
    with pytest.raises(BadAnswer, match="--deployment needs the --endpoint"):
        answers.resources([], ["o3"], [], identity=False)
    with pytest.raises(BadAnswer, match="--key-env needs the --endpoint"):
        answers.resources([], [], ["A", "B"], identity=False)


def test_the_variables_are_those_that_the_file_names() -> None:
    found = answers.resources([CONTOSO, SWEDEN], ["o3"], ["A"], identity=False)
    named = Answers(found, access="shared", redis=Store({"env": "REDIS_URL"}), ledger=Store("none")).variables
    assert named == ("A", "CHUKEI_API_KEY", "REDIS_URL")


@rows(("text", "host"), [("0.0.0.0", "0.0.0.0"), ("::1", "::1"), (" localhost ", "localhost"), ("fe80::1%eth0",) * 2])
def test_an_address_to_listen_on_is_read(text: str, host: str) -> None:
    assert answers.host(text) == host


@rows("text", ["", "a b", "http://x/", '"'])
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        answers.host(text)


def test_the_client_id_of_an_identity_is_a_guid() -> None:
    guid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert answers.client_id(f" {guid} ") == guid
    with pytest.raises(BadAnswer):
        answers.client_id("my-identity")
