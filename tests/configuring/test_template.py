"""The file that `chukei init` writes says what was answered, and teaches only what the relay knows."""

import re
import tomllib
from typing import Any

from tests.rows import rows

from chukei.accounts.limits import Limit
from chukei.config.load import read
from chukei.config.reader import Document
from chukei.config.settings import Settings
from chukei.configuring.answers import Answers, Resource, Store, Target
from chukei.configuring.template import text_of

CONTOSO = "https://contoso.openai.azure.com"
ONE = Resource(CONTOSO, (Target("chat", "gpt-4o"),), "AZURE_OPENAI_API_KEY")
OTHER = Resource("https://sweden.openai.azure.com", (Target("chat", "gpt-4o"), Target("o3", "o3")), "OTHER_KEY")
# The same first label, which makes names collide.
TWIN = Resource("https://contoso.cognitiveservices.azure.com", (Target("chat", "gpt-4o"),), None)
ALL = [
    Answers(),
    Answers((ONE,)),
    Answers((ONE, OTHER), access="shared", host="0.0.0.0", port=0),
    Answers((ONE, TWIN), client_id="0f8fad5b-d9cb-469f-a165-70867728950e", access="keys"),
    Answers((TWIN,), redis=Store("redis://h:6379/0"), ledger=Store({"env": "LEDGER_URL"})),
    Answers((OTHER,), limits={Limit.REQUESTS_PER_MINUTE: 60, Limit.MONEY_PER_MONTH: 12.5, Limit.TOKENS_PER_DAY: 1}),
]
VALUES = dict.fromkeys(["AZURE_OPENAI_API_KEY", "OTHER_KEY", "CHUKEI_API_KEY"], "secret")
VALUES["LEDGER_URL"] = "postgresql://u:p@h/d"


def load(text: str) -> Settings:
    # A key without a resource would be a mistake.
    variables = {name: value for name, value in VALUES.items() if f'"{name}"' in text}
    document = Document("", tomllib.loads(text), variables)
    settings = read(document, [])
    document.raise_problems()
    return settings


@rows("answers", ALL)
def test_the_relay_accepts_it(answers: Answers) -> None:
    settings = load(re.sub(r"^#.*", "", text_of(answers), flags=re.MULTILINE))
    assert settings.simulated == (not answers.resources)
    assert (settings.server.host, settings.server.port) == (answers.host, answers.port)


@rows("answers", ALL)
def test_every_setting_in_a_comment_can_be_set(answers: Answers) -> None:
    """A line with # and no space is a setting; with all of them set the relay still accepts the file."""
    text = text_of(answers)
    assert len(re.findall(r"^#\S", text, re.MULTILINE)) > 8
    everything = re.sub(r"^#(?=[^\s#])", "", text, flags=re.MULTILINE)
    # A shared key beside callers' keys is allowed; what follows a table's head stays in that table.
    settings = load(everything)
    assert settings.models
    assert settings.server.cors_origins == ("https://app.example.com",)
    assert settings.stores.quota is not None


def test_every_setting_in_a_comment_has_the_default_or_is_an_example() -> None:
    text = text_of(Answers((ONE,)))
    plain, everything = load(text), load(re.sub(r"^#(?=[^\s#])", "", text, flags=re.MULTILINE))
    assert everything.stream == plain.stream
    assert everything.log == plain.log


@rows("answers", ALL)
def test_no_line_is_too_long_to_read(answers: Answers) -> None:
    assert [line for line in text_of(answers).splitlines() if len(line) > 102] == []


def tables(answers: Answers) -> dict[str, Any]:
    return tomllib.loads(text_of(answers))


def test_one_resource_gives_deployments_their_own_names() -> None:
    assert tables(Answers((OTHER,)))["models"] == {"chat": {"deployments": ["gpt-4o"]}, "o3": {"deployments": ["o3"]}}


def test_several_resources_serve_a_model_together() -> None:
    found = tables(Answers((ONE, OTHER)))
    assert found["models"]["chat"] == {"deployments": ["contoso-gpt-4o", "sweden-gpt-4o"]}
    assert found["deployments"]["sweden-o3"] == {
        "endpoint": "https://sweden.openai.azure.com",
        "deployment": "o3",
        "api_key": {"env": "OTHER_KEY"},
    }
    assert found["defaults"] == {"model": "chat"}


def test_names_that_collide_are_numbered() -> None:
    found = tables(Answers((ONE, TWIN)))
    assert found["models"]["chat"]["deployments"] == ["contoso-gpt-4o", "contoso-gpt-4o-2"]
    assert found["deployments"]["contoso-gpt-4o-2"]["identity"] is True


def test_a_deployment_that_serves_two_models_stands_there_once() -> None:
    both = Resource(CONTOSO, (Target("a", "gpt-4o"), Target("b", "gpt-4o")), "K")
    found = tables(Answers((both,)))
    assert [*found["deployments"]] == ["gpt-4o"]
    assert found["models"] == {"a": {"deployments": ["gpt-4o"]}, "b": {"deployments": ["gpt-4o"]}}


@rows(
    ("access", "auth"), [("local", {}), ("shared", {"api_key": {"env": "CHUKEI_API_KEY"}}), ("keys", {"local": False})]
)  # fmt: skip
def test_who_may_call_is_as_was_answered(access: Any, auth: dict[str, Any]) -> None:
    assert tables(Answers((ONE,), access=access))["auth"] == auth


def test_limits_are_those_of_each_caller() -> None:
    settings = load(text_of(ALL[5]))
    limits = settings.policies.groups["everybody"].limits
    assert (limits.requests_per_minute, limits.tokens_per_day, limits.money_per_month) == (60, 1, 12_500_000)
