"""Parameters and time limits of entries become those of models, and credentials among them stay out."""

import tomllib
from typing import Any

from tests.configuring.imported import entry, litellm, source
from tests.rows import rows

from chukei.configuring.import_draft import Imported
from chukei.configuring.import_source import read
from chukei.configuring.litellm import import_litellm
from chukei.configuring.litellm_parameters import value_of
from chukei.configuring.report import Outcome


def model(*params: str) -> tuple[dict[str, Any], Imported]:
    entries = "".join(
        f"- {{model_name: m, litellm_params: {{model: azure/d{i}, api_base: a.azure.com, api_key: os.environ/K, "
        f"{each}}}}}\n"
        for i, each in enumerate(params)
    )
    imported = litellm(f"model_list:\n{entries}")
    found: dict[str, Any] = tomllib.loads(imported.toml or "")["models"]["m"]
    return found, imported


@rows(
    ("params", "parameters"),
    [
        (("temperature: 0.2, max_tokens: 9, stop: [a]",), {"temperature": 0.2, "max_tokens": 9, "stop": ["a"]}),
        (("temperature: 0.2", "temperature: 0.2"), {"temperature": 0.2}),
        (("temperature: 0.2", "temperature: 0.3"), None),
        (("temperature: 0.2", "top_p: 1"), None),
        (("temperature: null",), None),
        (("temperature: .nan",), None),
        (("temperature: os.environ/T",), None),
        (("metadata: {tags: [a]}",), None),
        (("stream: true, messages: []",), None),
        (("extra_body: {chat_template: x, temperature: 1}, temperature: 0",), {"temperature": 0, "chat_template": "x"}),
        (("extra_body: {model: other}",), None),
        (("reasoning: {effort: high}",), {"reasoning": {"effort": "high"}}),
    ],
)
def test_parameters_are_those_that_all_entries_share(
    params: tuple[str, ...], parameters: dict[str, Any] | None
) -> None:
    assert model(*params)[0].get("parameters") == parameters


@rows(
    "params",
    [
        "data_sources: [{type: azure_search, parameters: {authentication: {type: api_key, key: hunter2}}}]",
        "tools: [{type: mcp, server_url: 'https://a.example/?code=hunter2'}]",
        "tools: [{type: mcp, server_url: 'https://user:hunter2@a.example/'}]",
        "tools: [{type: mcp, headers: {Authorization: hunter2}}]",
        "extra_body: {api_key: hunter2}",
        "extra_body: {access_token: [hunter2]}",
        "extra_headers: {x-key: hunter2}",
        "aws_secret_access_key: hunter2",
    ],
)
def test_what_may_be_a_credential_is_dropped_and_never_shown(params: str) -> None:
    found, imported = model(params)

    assert "parameters" not in found
    assert "hunter2" not in (imported.toml or "") + imported.report.text() + imported.report.json()


def test_numbers_with_names_like_credentials_are_none() -> None:
    assert model("max_tokens: 5, extra_body: {max_new_tokens: 7}")[0]["parameters"] == {
        "max_tokens": 5,
        "max_new_tokens": 7,
    }


def test_a_parameter_that_nobody_documents_is_approximated() -> None:
    _, imported = model("extra_body: {chat_template: x}")
    found = entry(imported, "model_list[0].litellm_params.extra_body.chat_template")
    assert (found.outcome, found.target) == (Outcome.APPROXIMATED, "models.m.parameters.chat_template")


@rows(
    ("params", "seconds"),
    [
        (("timeout: 30",), 30),
        (("timeout: 30, stream_timeout: 0.5",), 0.5),
        (("timeout: 30", "stream_timeout: 90"), 90),
        (("timeout: 30", "temperature: 0"), None),
        (("timeout: 0.001",), None),
        (("timeout: soon",), None),
    ],
)
def test_time_limits_of_streams_are_those_of_the_model(params: tuple[str, ...], seconds: float | None) -> None:
    assert model(*params)[0].get("first_token_seconds") == seconds


def test_a_time_limit_of_whole_answers_is_none_of_a_model() -> None:
    imported = import_litellm(source("responses"), "responses.yaml")
    assert entry(imported, "model_list[0].litellm_params.stream_timeout").outcome is Outcome.APPROXIMATED
    assert "upstream.answer_seconds" in entry(imported, "model_list[0].litellm_params.timeout").message


def test_values_for_toml_have_no_null() -> None:
    root = read(b"a: [1, {b: x}]\nc: [null]\nd: {e: null}\nf: .inf\n").root.table
    assert {key: value_of(node) for key, node in root.items()} == {
        "a": [1, {"b": "x"}],
        "c": None,
        "d": None,
        "f": None,
    }


def test_a_number_that_json_does_not_have_is_dropped_by_its_own_name() -> None:
    text = (
        "model_list: [{model_name: m, litellm_params: {model: azure/d, api_base: a.azure.com, "
        "api_key: os.environ/K, temperature: .inf, top_p: .nan, seed: 1}}]"
    )
    imported = litellm(text)

    for key in ("temperature", "top_p"):
        assert "nan and inf" in entry(imported, f"model_list[0].litellm_params.{key}").message
    assert "parameters = { seed = 1 }" in (imported.toml or "")
