"""What each api-version knows, what a deployment's refusals teach, and that no lesson is learnt twice."""

import json

from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.azure import CHAT, OPERATIONS, RESPONSES, V1
from chukei.model import Deployment, Operation
from chukei.request.fields import Fields
from chukei.simulator.azure import unknown_parameter
from chukei.upstream.capabilities import MAX_LEARNT, Capabilities, LearntCapabilities, documented, fit, refused

COMPLETIONS = OPERATIONS["completions"]
EAST = Deployment("east", "https://east.openai.azure.com", "gpt-4o")
WEST = Deployment("west", "https://west.openai.azure.com", "gpt-4o")
OLD = "2024-06-01"


def error(message: object, param: object = None, code: object = None) -> bytes:
    return json.dumps(
        {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    ).encode()


# As they were reported: openai-python #1469 and #1724, agno #1066, litellm #8855, lobehub #5909, one-api #1423.
NO_STREAM_OPTIONS = error("Unknown parameter: 'stream_options'.", "stream_options", "unknown_parameter")
NO_STREAM_OPTIONS_TEXT = error("Unrecognized request argument supplied: stream_options")
NO_MAX_TOKENS = error(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "max_tokens",
    "unsupported_parameter",
)
NO_MAX_COMPLETION_TOKENS = error("Unrecognized request argument supplied: max_completion_tokens")


# The table.


@rows(
    ("version", "chat", "completions"),
    [
        (V1, Capabilities(), Capabilities()),
        ("2025-04-01-preview", Capabilities(), Capabilities()),
        ("2024-10-21", Capabilities(), Capabilities()),
        ("2024-09-01-preview", Capabilities(), Capabilities()),
        ("2024-08-01-preview", Capabilities(False, "max_tokens"), Capabilities(False)),
        ("2024-06-01", Capabilities(False, "max_tokens"), Capabilities(False)),
        ("2023-05-15", Capabilities(False, "max_tokens"), Capabilities(False)),
    ],
)
def test_the_table_by_version(version: str, chat: Capabilities, completions: Capabilities) -> None:
    assert documented(CHAT, version) == chat
    assert documented(COMPLETIONS, version) == completions
    assert LearntCapabilities().of(EAST, CHAT, version) == chat


def test_other_operations_have_nothing_in_it() -> None:
    others = [operation for operation in OPERATIONS.values() if operation.name not in {"chat", "completions"}]
    assert {documented(operation, OLD) for operation in others} == {Capabilities()}


# What a refusal names.


@rows(
    ("body", "names"),
    [
        (NO_STREAM_OPTIONS, ["stream_options"]),
        (NO_STREAM_OPTIONS_TEXT, ["stream_options"]),
        (NO_MAX_TOKENS, ["max_tokens"]),
        (unknown_parameter("stream_options").body, ["stream_options"]),
        (error("Unknown parameter: 'stream_options'.", None, "unknown_parameter"), ["stream_options"]),
        (error("Unsupported parameter: 'max_tokens' is not supported with this model."), ["max_tokens"]),
        (
            error(
                "Unrecognized request argument supplied: stream_options. Please contact us through an Azure support "
                "request at: https://go.microsoft.com/fwlink/?linkid=2213926 for further questions.",
                "",
            ),
            ["stream_options"],
        ),
        (
            error("Unrecognized request arguments supplied: max_completion_tokens, stream_options"),
            ["max_completion_tokens", "stream_options"],
        ),
        (
            error("Unknown parameter: 'stream_options.x'.", "stream_options.x", "unknown_parameter"),
            ["stream_options.x"],
        ),
    ],
)
def test_a_refusal_names_parameters(body: bytes, names: list[str]) -> None:
    assert refused(body) == names


@rows(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"error":"Unknown parameter: \'stream_options\'."}',
        b'{"error":null}',
        b'{"error":[' + b"[" * 100_000,
        error("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"),
        error("Invalid type for 'stream_options'.", "stream_options", "invalid_type"),
        error("max_tokens is too large: 20000.", "max_tokens", "invalid_value"),
        error("Say: Unknown parameter: 'stream_options'."),
        error(None),
        error(["Unknown parameter: 'stream_options'."]),
        error("?", ["stream_options"], "unknown_parameter"),
        error("?", "stream_options", ["unknown_parameter"]),
        error("?", "stream_options", {}),
        error("?", "stream_options", 400),
    ],
)
def test_any_other_error_names_none(body: bytes) -> None:
    assert refused(body) == []
    known = LearntCapabilities()
    assert not known.learn(EAST, CHAT, V1, body)
    assert known.of(EAST, CHAT, V1) == Capabilities()


# What is learnt.


@rows(
    ("body", "version", "learnt"),
    [
        (NO_STREAM_OPTIONS, V1, Capabilities(stream_options=False)),
        (NO_STREAM_OPTIONS_TEXT, "2024-10-21", Capabilities(stream_options=False)),
        (NO_MAX_TOKENS, V1, Capabilities(output_limit="max_completion_tokens")),
        (NO_MAX_TOKENS, OLD, Capabilities(False, "max_completion_tokens")),
        (NO_MAX_COMPLETION_TOKENS, V1, Capabilities(output_limit="max_tokens")),
        (
            error("Unrecognized request arguments supplied: stream_options, max_completion_tokens"),
            V1,
            Capabilities(False, "max_tokens"),
        ),
    ],
)
def test_a_refusal_is_learnt_once_and_for_this_deployment(body: bytes, version: str, learnt: Capabilities) -> None:
    known = LearntCapabilities()
    assert known.learn(EAST, CHAT, version, body)
    assert known.of(EAST, CHAT, version) == learnt
    assert not known.learn(EAST, CHAT, version, body)
    assert known.of(WEST, CHAT, version) == documented(CHAT, version)
    assert known.of(EAST, CHAT, "2025-01-01-preview") == Capabilities()
    assert known.of(EAST, RESPONSES, version) == Capabilities()


@rows("version", [V1, OLD])
@rows("bodies", [(NO_MAX_TOKENS, NO_MAX_COMPLETION_TOKENS), (NO_MAX_COMPLETION_TOKENS, NO_MAX_TOKENS)])
def test_a_deployment_that_refuses_both_names_does_not_flip_back(version: str, bodies: tuple[bytes, bytes]) -> None:
    known = LearntCapabilities()
    lessons = [known.learn(EAST, CHAT, version, bodies[turn % 2]) for turn in range(6)]
    assert sum(lessons) == 1


@given(st.lists(st.sampled_from([NO_STREAM_OPTIONS, NO_MAX_TOKENS, NO_MAX_COMPLETION_TOKENS]), max_size=12))
def test_any_history_of_refusals_teaches_twice_at_most(history: list[bytes]) -> None:
    known = LearntCapabilities()
    assert sum(known.learn(EAST, CHAT, V1, body) for body in history) <= 2
    written = 0
    used = known.of(EAST, CHAT, V1)
    for body in history:
        if not known.learn(EAST, CHAT, V1, body, used=used):
            break
        used, written = known.of(EAST, CHAT, V1), written + 1
    assert written <= 2


def test_a_request_that_was_under_way_meanwhile_is_worth_writing_anew_too() -> None:
    known = LearntCapabilities()
    used = known.of(EAST, CHAT, V1)
    assert known.learn(EAST, CHAT, V1, NO_MAX_TOKENS, used=used)
    assert known.learn(EAST, CHAT, V1, NO_MAX_TOKENS, used=used)
    assert not known.learn(EAST, CHAT, V1, NO_MAX_TOKENS, used=known.of(EAST, CHAT, V1))
    assert not known.learn(EAST, CHAT, V1, error("Too long.", "messages", "invalid_value"), used=used)


@rows("operation", [operation for operation in OPERATIONS.values() if operation is not CHAT])
def test_only_a_chat_has_two_names_for_its_limit(operation: Operation) -> None:
    known = LearntCapabilities()
    assert not known.learn(EAST, operation, V1, NO_MAX_TOKENS)
    assert known.learn(EAST, operation, V1, NO_STREAM_OPTIONS) is (operation is COMPLETIONS)


@rows("name", ["temperature", "stream_options.include_obfuscation", "user", "max_output_tokens"])
def test_what_the_relay_cannot_do_without_is_the_clients_affair(name: str) -> None:
    assert not LearntCapabilities().learn(
        EAST, CHAT, V1, error(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    )


def test_a_client_cannot_teach_the_relay_with_a_field_of_its_own() -> None:
    """A field named "stream_options. Please …" is refused in words that begin like the refusal of stream_options."""
    name = "stream_options. Please contact us"
    body = error(f"Unrecognized request argument supplied: {name}")
    assert refused(body) == ["stream_options"]
    known = LearntCapabilities()
    assert not known.learn(EAST, CHAT, V1, body, names=["messages", name, "stream_options"])
    assert known.of(EAST, CHAT, V1) == Capabilities()
    assert known.learn(EAST, CHAT, V1, body, names=["messages", "stream_options"])


def test_the_memory_is_bounded_and_the_oldest_lesson_goes_first() -> None:
    known = LearntCapabilities()
    places = [Deployment("any", "https://east.openai.azure.com", f"d{number}") for number in range(MAX_LEARNT + 1)]
    for place in places:
        assert known.learn(place, CHAT, V1, NO_STREAM_OPTIONS)
    assert len(known._learnt) == MAX_LEARNT
    assert known.of(places[0], CHAT, V1).stream_options
    assert not known.of(places[1], CHAT, V1).stream_options
    assert not known.of(places[-1], CHAT, V1).stream_options
    assert known.learn(places[1], CHAT, V1, NO_MAX_TOKENS)  # another fact of a known place pushes nobody out
    assert not known.of(places[2], CHAT, V1).stream_options


# What is done about it.


def fitted(raw: bytes, capabilities: Capabilities, operation: Operation = CHAT) -> bytes:
    fields = Fields(raw)
    fit(fields, operation, capabilities)
    return fields.bytes()


@rows(
    ("raw", "fits"),
    [
        (b'{ "messages" : [] ,"stream_options":{"include_usage":true}, "n":1 }', b'{ "messages" : [] , "n":1 }'),
        (b'{"n":1,"stream_options":null}', b'{"n":1}'),
        (b'{"stream_options":{}}', b"{}"),
    ],
)
def test_unknown_stream_options_are_taken_away(raw: bytes, fits: bytes) -> None:
    assert fitted(raw, Capabilities(stream_options=False)) == fits


@rows(
    ("limit", "raw", "fits"),
    [
        ("max_tokens", b'{ "max_completion_tokens" : 1e2 ,"n":1}', b'{ "max_tokens" : 1e2 ,"n":1}'),
        ("max_completion_tokens", b'{"max_tokens":5}', b'{"max_completion_tokens":5}'),
        ("max_completion_tokens", b'{"max_tokens":5,"max_completion_tokens":6}', b'{"max_completion_tokens":6}'),
        ("max_completion_tokens", b'{"max_tokens":5,"max_completion_tokens":null}', b'{"max_completion_tokens":5}'),
    ],
)
def test_an_output_limit_gets_the_name_that_is_known(limit: str, raw: bytes, fits: bytes) -> None:
    assert fitted(raw, Capabilities(output_limit=limit)) == fits


@rows("capabilities", [Capabilities(), Capabilities(False, "max_tokens")])
def test_nothing_else_is_touched(capabilities: Capabilities) -> None:
    raw = b'{ "messages" : [ ] , "max_tokens":7, "max_output_tokens":1 }'
    assert fitted(raw, capabilities) is raw


def test_where_all_is_known_both_names_stay() -> None:
    raw = b'{"max_tokens":5,"max_completion_tokens":6,"stream_options":{}}'
    assert fitted(raw, Capabilities()) is raw
