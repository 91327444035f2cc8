"""What is filled in where the client is silent, and what is held where it is not."""

import json
from collections.abc import Mapping

import pytest
from tests.rows import rows

from chukei.azure import CHAT, OPERATIONS, RESPONSES
from chukei.errors import CallerError
from chukei.model import Model, Operation
from chukei.request.call import check
from chukei.request.fields import Fields
from chukei.upstream.capabilities import documented
from chukei.upstream.writing import ask_for_usage, fill

COMPLETIONS = OPERATIONS["completions"]
EMBEDDINGS = OPERATIONS["embeddings"]
USER = {"role": "user", "content": "hi"}
Caps = Mapping[str, int | float]


def filled(
    body: Mapping[str, object],
    operation: Operation = CHAT,
    *,
    system: str | None = None,
    parameters: Mapping[str, object] | None = None,
    caps: Caps | None = None,
) -> object:
    fields = Fields(json.dumps(body).encode())
    fill(fields, operation, Model("m", (), system=system, parameters=parameters, caps=caps))
    return json.loads(fields.bytes())


def test_parameters_are_added_where_the_client_is_silent() -> None:
    parameters = {"temperature": 0.3, "stop": ["\n"]}
    assert filled({"messages": [USER]}, parameters=parameters) == {"messages": [USER], **parameters}
    assert filled({"temperature": 1}, parameters=parameters) == {"temperature": 1, "stop": ["\n"]}
    assert filled({"temperature": None}, parameters=parameters) == parameters


def test_a_client_that_says_nothing_wrong_keeps_its_bytes() -> None:
    raw = b'{ "messages" : [ {"role":"user","content":"hi"} ], "temperature":1.0 }'
    fields = Fields(raw)
    fill(fields, CHAT, Model("m", (), parameters={"temperature": 0}, caps={"n": 1}))
    assert fields.bytes().endswith(raw[1:])


@rows("operation", [EMBEDDINGS, OPERATIONS["images/generations"]])
def test_operations_that_do_not_generate_text_are_left_alone(operation: Operation) -> None:
    body = {"input": "x"}
    assert filled(body, operation, system="s", parameters={"temperature": 1}, caps={"max_tokens": 5}) == body


SENT_SYSTEM = [{"role": "system", "content": "mine"}, {"role": "developer", "content": "mine"}]


@rows("first", SENT_SYSTEM)
def test_the_clients_own_system_message_stays_alone(first: dict[str, str]) -> None:
    assert filled({"messages": [first, USER]}, system="ours") == {"messages": [first, USER]}
    assert filled({"messages": [USER, first]}, system="ours") == {"messages": [USER, first]}


def test_a_system_message_goes_in_front() -> None:
    expected = {"messages": [{"role": "system", "content": 'say "中"\n'}, USER]}
    assert filled({"messages": [USER]}, system='say "中"\n') == expected


def test_the_responses_api_gets_instructions() -> None:
    assert filled({"input": "x"}, RESPONSES, system="s") == {"input": "x", "instructions": "s"}
    assert filled({"instructions": "mine"}, RESPONSES, system="s") == {"instructions": "mine"}


def test_text_completions_have_no_system_message() -> None:
    assert filled({"prompt": "x"}, COMPLETIONS, system="s") == {"prompt": "x"}


@rows("messages", [[1], ["hi"], [None], [[]], [{"role": 5}]])
def test_messages_that_are_no_messages_are_refused_where_they_must_be_read(messages: list[object]) -> None:
    with pytest.raises(CallerError) as caught:
        filled({"messages": messages}, system="s")
    assert (caught.value.status, caught.value.param) == (400, "messages")


CAPS = [
    pytest.param({}, {"max_completion_tokens": 100}, id="silent: the cap itself"),
    pytest.param({"max_completion_tokens": 50}, {"max_completion_tokens": 50}, id="lower stays"),
    pytest.param({"max_completion_tokens": 100}, {"max_completion_tokens": 100}, id="equal stays"),
    pytest.param({"max_completion_tokens": 101}, {"max_completion_tokens": 100}, id="higher is lowered"),
    pytest.param({"max_completion_tokens": 1e9}, {"max_completion_tokens": 100}, id="a float too"),
    pytest.param({"max_tokens": 500}, {"max_tokens": 100}, id="under the older name"),
    pytest.param({"max_tokens": 5}, {"max_tokens": 5}, id="lower under the older name"),
    pytest.param({"max_completion_tokens": None}, {"max_completion_tokens": 100}, id="null is silence"),
    pytest.param(
        {"max_tokens": 500, "max_completion_tokens": 600},
        {"max_tokens": 100, "max_completion_tokens": 100},
        id="both",
    ),
]


@rows(("sent", "goes"), CAPS)
@rows("name", ["max_completion_tokens", "max_tokens", "max_output_tokens"])
def test_an_output_cap_holds_under_any_name(sent: dict[str, object], goes: dict[str, object], name: str) -> None:
    found = filled(sent, caps={name: 100})
    if sent == {} or sent == {"max_completion_tokens": None}:
        assert isinstance(found, dict)
        assert [value for value in found.values() if value is not None] == [100]
    else:
        assert found == goes


def test_a_cap_holds_on_each_api() -> None:
    assert filled({}, RESPONSES, caps={"max_completion_tokens": 9}) == {"max_output_tokens": 9}
    assert filled({"max_output_tokens": 10}, RESPONSES, caps={"max_tokens": 9}) == {"max_output_tokens": 9}
    assert filled({}, COMPLETIONS, caps={"max_output_tokens": 9}) == {"max_tokens": 9}


def test_any_number_can_be_capped() -> None:
    assert filled({"n": 8, "temperature": 2}, caps={"n": 2, "temperature": 1}) == {"n": 2, "temperature": 1}


def test_a_cap_on_what_has_a_limit_by_itself_is_not_added() -> None:
    """n is 1 when nobody sets it: adding the cap would make four answers of one."""
    assert filled({}, caps={"n": 4, "temperature": 1}) == {}


@rows("value", ["500", True, [500], {"x": 1}])
def test_a_capped_field_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(CallerError) as caught:
        filled({"max_tokens": value}, caps={"max_tokens": 100})
    assert caught.value.param == "max_tokens"


NAMES = ["max_completion_tokens", "max_tokens", "max_output_tokens"]


@rows("cap_name", NAMES)
@rows("parameter_name", NAMES)
@rows(("parameter", "goes"), [(50, 50), (500, 100)])
def test_a_parameter_and_a_cap_give_one_limit_however_they_are_named(
    cap_name: str, parameter_name: str, parameter: int, goes: int
) -> None:
    """Azure refuses max_tokens beside max_completion_tokens."""
    for operation in (CHAT, COMPLETIONS, RESPONSES):
        found = filled({}, operation, parameters={parameter_name: parameter}, caps={cap_name: 100})
        assert isinstance(found, dict)
        assert list(found.values()) == [goes]


def test_a_parameter_does_not_stand_beside_the_clients_other_name_for_it() -> None:
    assert filled({"max_tokens": 7}, parameters={"max_completion_tokens": 50}) == {"max_tokens": 7}


# Usage.


def asked(body: Mapping[str, object], operation: Operation = CHAT, version: str = "v1") -> tuple[bool, object]:
    fields = Fields(json.dumps(body).encode())
    hide = ask_for_usage(fields, operation, documented(operation, version))
    return hide, json.loads(fields.bytes())


WISHES = [
    pytest.param({}, True, {"stream_options": {"include_usage": True}}, id="silent"),
    pytest.param({"stream_options": None}, True, {"stream_options": {"include_usage": True}}, id="null"),
    pytest.param(
        {"stream_options": {"include_usage": False}}, True, {"stream_options": {"include_usage": True}}, id="not wanted"
    ),
    pytest.param(
        {"stream_options": {"include_usage": True}}, False, {"stream_options": {"include_usage": True}}, id="wanted"
    ),
    pytest.param(
        {"stream_options": {"include_obfuscation": False}},
        True,
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        id="other options stay",
    ),
    pytest.param({"data_sources": [{}]}, False, {"data_sources": [{}]}, id="on your data refuses it"),
]


@rows(("body", "hide", "goes"), WISHES)
def test_usage_is_asked_for_and_hidden_from_a_client_that_did_not(
    body: Mapping[str, object], hide: bool, goes: object
) -> None:
    assert asked(body) == (hide, goes)


@rows(
    ("version", "known"),
    [
        ("v1", True),
        ("2024-10-21", True),
        ("2024-09-01-preview", True),
        ("2024-08-01-preview", False),
        ("2024-06-01", False),
    ],
)
def test_usage_is_asked_for_only_where_the_version_knows_it(version: str, known: bool) -> None:
    hide, body = asked({}, COMPLETIONS, version)
    assert hide is known
    assert bool(body) is known


def test_the_responses_api_reports_usage_unasked() -> None:
    assert asked({}, RESPONSES) == (False, {})


@rows("options", ["x", 1, True, [1], {"include_usage": "yes"}])
def test_stream_options_of_another_type_are_refused(options: object) -> None:
    with pytest.raises(CallerError) as caught:
        asked({"stream_options": options})
    assert caught.value.status == 400


# What nobody could answer.


@rows(
    ("body", "code"),
    [
        ({}, "missing_messages"),
        ({"messages": None}, "missing_messages"),
        ({"messages": []}, "missing_messages"),
        ({"messages": "hi"}, "invalid_type"),
        ({"messages": {}}, "invalid_type"),
        ({"messages": 1}, "invalid_type"),
    ],
)
def test_a_chat_without_messages_is_refused(body: object, code: str) -> None:
    with pytest.raises(CallerError) as caught:
        check(Fields(json.dumps(body).encode()), CHAT)
    assert (caught.value.code, caught.value.param) == (code, "messages")


def test_an_empty_list_with_spaces_is_empty() -> None:
    with pytest.raises(CallerError, match="empty"):
        check(Fields(b'{"messages": [ \n ]}'), CHAT)


def test_other_operations_need_no_messages() -> None:
    check(Fields(b"{}"), RESPONSES)
    check(Fields(b"{}"), EMBEDDINGS)


ALIASES = [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]


@rows(("first", "second"), ALIASES)
def test_a_limit_by_two_names_is_added_once(first: str, second: str) -> None:
    """Azure refuses a chat with both."""
    both = {"messages": [USER]}
    assert filled(both, parameters={first: 50, second: 200}) == both | {first: 50}
    assert filled(both, caps={first: 50, second: 200}) == both | {first: 50}
    assert filled(both, caps={first: 200, second: 50}) == both | {first: 50}
    assert filled(both, parameters={first: 100}, caps={first: 90, second: 80}) == both | {first: 80}
    assert filled(both | {second: 1000}, caps={first: 200, second: 300}) == both | {second: 200}


def test_millions_of_messages_are_refused_before_each_becomes_an_object() -> None:
    fields = Fields(b'{"messages":[{}' + b",{}" * 100_000 + b"]}")
    with pytest.raises(CallerError) as caught:
        fill(fields, CHAT, Model("m", (), system="Be brief."))
    assert caught.value.code == "invalid_value"
    assert caught.value.param == "messages"
