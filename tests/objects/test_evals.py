"""What the body of a request for an eval may name."""

import json

import pytest
from tests.rows import rows

from chukei.errors import CallerError
from chukei.objects import evals


def name_of(model: str) -> str:
    if model != "chat":
        raise CallerError(404, "model_not_found", "No.", param="model")
    return "gpt-4o"


def test_models_have_the_names_of_the_resource_but_for_those_in_data() -> None:
    source = {"type": "file_content", "content": [{"item": {"model": "T"}, "sample": {"model": "gpt"}}]}
    run = {"data_source": {"type": "responses", "model": "chat", "source": source}, "metadata": {"model": "x"}}
    expected = {**run, "data_source": {"type": "responses", "model": "gpt-4o", "source": source}}
    assert json.loads(evals.written(json.dumps(run).encode(), name_of)) == expected


@rows(
    "body",
    [
        b'{"data_source":{"model":"gpt-secret"}}',
        b'{"data_source":{"mod\\u0065l":"gpt-secret"}}',
        b'{"testing_criteria":[{"type":"multi","graders":{"a":{"model":"gpt-secret"}}}]}',
    ],
)
def test_a_name_that_is_no_model_is_not_sent(body: bytes) -> None:
    with pytest.raises(CallerError, match="No"):
        evals.written(body, name_of)


def test_of_two_models_the_one_that_was_checked_is_sent() -> None:
    body = evals.written(b'{"data_source":{"model":"gpt-secret","model":"chat"}}', name_of)
    assert body == b'{"data_source":{"model":"gpt-4o"}}'


@rows(
    "body",
    [
        {"data_source_config": {"type": "logs", "metadata": {}}},
        {"data_source_config": {"type": "stored_completions"}},
        {"data_source": {"type": "completions", "model": "chat", "source": {"type": "stored_completions"}}},
        {"data_source": {"type": "responses", "model": "chat", "source": {"type": "responses"}}},
    ],
)
def test_what_all_callers_have_stored_is_no_source(body: object) -> None:
    with pytest.raises(CallerError) as refused:
        evals.written(json.dumps(body).encode(), name_of)
    assert (refused.value.status, refused.value.code) == (403, "not_allowed")
