"""The questions of `chukei init`: Enter is enough, a bad answer is explained and asked for again."""

import click
import pytest
from click.testing import CliRunner
from tests.rows import rows

from chukei.accounts.limits import Limit
from chukei.configuring.answers import Answers, Resource, Store, Target
from chukei.configuring.questions import ask

CONTOSO, SWEDEN = "https://contoso.openai.azure.com", "https://sweden.openai.azure.com"
KEY = "0123456789abcdef0123456789abcdef"


def answered(*lines: str) -> tuple[Answers, str]:
    """Return what is understood when these lines are typed, and what is on the screen."""
    found: list[Answers] = []
    command = click.Command("ask", callback=lambda: found.append(ask()))
    result = CliRunner().invoke(command, input="".join(f"{line}\n" for line in lines))
    assert result.exception is None, result.output
    assert result.stdout == ""
    return found[0], result.output


def test_enter_to_everything_is_the_simulator_on_this_machine() -> None:
    assert answered("", "", "")[0] == Answers()


def test_an_address_with_a_deployment_in_it_answers_two_questions() -> None:
    pasted = f"{CONTOSO}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    found, shown = answered(pasted, "", "", "", "", "", "")
    assert found == Answers((Resource(CONTOSO, (Target("gpt-4o", "gpt-4o"),), "AZURE_OPENAI_API_KEY"),))
    assert f"The resource is {CONTOSO}" in shown


def test_a_second_resource_has_the_deployments_of_the_first_unless_others_are_named() -> None:
    found, _ = answered(CONTOSO, "chat=gpt-4o", "key", "", SWEDEN, "", "k", "SWEDEN_KEY", "", "local", "")
    chat = (Target("chat", "gpt-4o"),)
    assert found.resources == (
        Resource(CONTOSO, chat, "AZURE_OPENAI_API_KEY"),
        Resource(SWEDEN, chat, "SWEDEN_KEY"),
    )


def test_an_identity_needs_no_variable() -> None:
    found, _ = answered(CONTOSO, "o3", "identity", "", "", "")
    assert found.resources == (Resource(CONTOSO, (Target("o3", "o3"),), None),)


def test_where_others_call_limits_and_redis_are_asked_for() -> None:
    found, _ = answered("", "keys", "", "60", "", "redis://h:6379/0", "none")
    assert (found.access, found.host) == ("keys", "0.0.0.0")
    assert found.limits == {Limit.REQUESTS_PER_MINUTE: 60}
    assert (found.redis, found.ledger) == (Store("redis://h:6379/0"), Store("none"))


@rows(
    ("lines", "advice"),
    [
        (["contoso", "", "", ""], "is not an address"),
        ([KEY, "", "", ""], "looks like a key"),
        ([CONTOSO, "a b", "o3", "", "", "", "", ""], "is not the name of a deployment"),
        ([CONTOSO, ",", "o3", "", "", "", "", ""], "name at least one"),
        ([CONTOSO, "o3", "password", "key", "", "", "", ""], "answer one of key, identity"),
        ([CONTOSO, "o3", "key", KEY, "", "", "", ""], "looks like a key"),
        ([CONTOSO, "o3", "key", "", CONTOSO, "", "", ""], "is there already"),
        (["", "everybody", "", ""], "answer one of local, shared, keys"),
        (["", "shared", "a b", "", "many", "", "", "", ""], "must be a number"),
        (["", "shared", "", "", "", "host:6379", "", ""], "not an address of that kind"),
        (["", "", "file.db", ""], "not an address of that kind"),
    ],
)
def test_a_bad_answer_is_explained_and_asked_for_again(lines: list[str], advice: str) -> None:
    _, shown = answered(*lines)
    assert advice in shown
    assert shown.count(KEY) == lines.count(KEY), "the terminal shows what is typed; nothing else repeats it"


def test_the_end_of_the_input_is_no_answer() -> None:
    command = click.Command("ask", callback=ask)
    result = CliRunner().invoke(command, input=f"{CONTOSO}\n", standalone_mode=False)
    with pytest.raises(click.Abort):
        raise result.exception or AssertionError(result.output)
