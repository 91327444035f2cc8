"""What an import writes: tables in order, references instead of secrets, names that nothing else has."""

import tomllib

from tests.rows import rows

from chukei.configuring.import_draft import Draft, Given, joined, own_variable, reference, target, variable
from chukei.configuring.import_source import Node
from chukei.configuring.report import Report


@rows(
    ("text", "name"),
    [
        ("os.environ/AZURE_KEY", "AZURE_KEY"),
        ("os.environ/my-vault-key", "MY_VAULT_KEY"),
        ("${AZURE_KEY}", "AZURE_KEY"),
        ("$AZURE_KEY", "AZURE_KEY"),
        ("$notaname", None),
        ("sk-1234", None),
        ("a${KEY}", None),
        ("os.environ/", None),
    ],
)
def test_a_reference_is_told_from_a_value(text: str, name: str | None) -> None:
    assert reference(text) == name


def test_a_literal_secret_becomes_a_variable_and_the_same_secret_the_same() -> None:
    draft = Draft(Report(), reserved={"CONTOSO_API_KEY"})
    keys = [draft.secret(Node(f"k[{i}]", i, text), "contoso-api key", "the key") for i, text in enumerate("aba")]

    assert keys == [{"env": "CONTOSO_API_KEY_2"}, {"env": "CONTOSO_API_KEY_3"}, {"env": "CONTOSO_API_KEY_2"}]
    assert draft.report.variables["CONTOSO_API_KEY_2"].meaning == "the key: the value at k[0]"
    assert "_literals" not in repr(draft)


def test_names_of_new_variables_are_none_of_the_relays() -> None:
    assert [variable(text) for text in ("chukei-server", "1st", "", "é")] == [
        "CHUKEI_SERVER".replace("CHUKEI", "UPSTREAM_CHUKEI"),
        "UPSTREAM_1ST",
        "SECRET",
        "SECRET",
    ]


def test_names_of_tables_can_be_part_of_a_variables_name() -> None:
    draft = Draft(Report())
    names = []
    for text in ("GPT-4.1 (East)", "gpt_4__1_east", "…", "x" * 100):
        names.append(draft.slug("deployments", text))
        draft.table("deployments", names[-1])

    assert names == ["gpt-4-1-east", "gpt-4-1-east-2", "deployment", "x" * 60]
    assert own_variable("deployments", names[0], "api_version") == "CHUKEI_DEPLOYMENTS__GPT_4_1_EAST__API_VERSION"


def test_known_values_of_variables_stand_in_the_file_and_others_in_variables() -> None:
    draft = Draft(Report(), known={"BASE": "https://a.example"})

    assert draft.given(Node("a", 1, "os.environ/BASE")) == Given(text="https://a.example")
    assert draft.given(Node("a", 1, "os.environ/OTHER")) == Given(variable="OTHER")
    assert draft.given(Node("a", 1, "")) == draft.given(None) == Given()


def test_the_file_has_its_sections_in_order_and_its_comments() -> None:
    draft = Draft(Report())
    draft.set(("pool",), "attempts", 3, "from here")
    draft.set(("models", "gpt 4.1"), "deployments", ["a"])
    draft.table("deployments", "a").comments.append("from\nthere")
    draft.from_variable(("deployments", "a"), "endpoint", "BASE", "the address")

    text = draft.render("config.yaml", "litellm")

    assert list(tomllib.loads(text)) == ["models", "deployments", "pool"]
    assert '[models."gpt 4.1"]\n' in text
    assert "attempts = 3  # from here\n" in text
    assert (
        '# from\\u000athere\n[deployments.a]\n# endpoint comes from CHUKEI_DEPLOYMENTS__A__ENDPOINT="$BASE"\n' in text
    )


def test_shell_words_keep_variables_and_quote_the_rest() -> None:
    assert joined(["redis://", Given(variable="HOST"), ":", Given(text="6379")]) == '"redis://${HOST}:6379"'
    assert joined(["a b", Given(text="'c'")]) == "'a b'\"'\"'c'\"'\"''"


def test_targets_are_named_as_toml_names_keys() -> None:
    assert target("models", "gpt-4.1", "*", "x") == 'models."gpt-4.1".*.x'
