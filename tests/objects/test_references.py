"""The ids that a body refers to, however it is written."""

import json
import random
import re
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.errors import CallerError
from chukei.objects.references import (
    LONGEST_ID,
    LONGEST_VALUE,
    MOST_ESCAPED,
    MOST_REFERENCES,
    Reference,
    encrypted_id,
    references_of,
    search_chat,
    search_response,
    whole,
)
from chukei.request.fields import Fields

HEX = "0123456789abcdef" * 3


def of(body: object) -> list[tuple[str, str, str]]:
    found = whole(search_response(Fields(json.dumps(body).encode())))
    return [(each.kind, each.id, each.param) for each in found]


@rows(
    ("fields", "found"),
    [
        ({}, []),
        ({"previous_response_id": "resp_1"}, [("response", "resp_1", "previous_response_id")]),
        ({"conversation": "conv_1"}, [("conversation", "conv_1", "conversation")]),
        ({"conversation": {"id": "conv_1"}}, [("conversation", "conv_1", "conversation")]),
        ({"conversation": {"ID": "conv_1", "metadata": {"id": "x"}}}, [("conversation", "conv_1", "conversation")]),
        (
            {"previous_response_id": "any text", "conversation": "conv_1"},
            [("response", "any text", "previous_response_id"), ("conversation", "conv_1", "conversation")],
        ),
        ({"previous_response_id": None, "conversation": {}}, []),
        ({"previous_response_id": "", "conversation": ""}, []),
        ({"previous_response_id": 7, "conversation": ["conv_1"]}, []),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, [("item", "msg_1", "input")]),
        ({"input": [{"id": f"new_{HEX}", "type": "item_reference"}]}, [("item", f"new_{HEX}", "input")]),
        ({"input": [{"type": "function_call", "call_id": "call_1", "id": "fc_1"}]}, [("item", "fc_1", "input")]),
        ({"input": [{"type": "input_file", "file_id": "file-1"}]}, [("file", "file-1", "file_id")]),
        (
            {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]},
            [("vector_store", "vs_1", "vector_store_ids"), ("vector_store", "vs_2", "vector_store_ids")],
        ),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, [("container", "cntr_1", "container")]),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]},
            [("file", "file-1", "file_ids")],
        ),
        (
            {"input": [{"type": "reasoning", "encrypted_content": "gAAA"}]},
            [("item", encrypted_id("gAAA"), "encrypted_content")],
        ),
        ({"metadata": {"id": f"tenant_{HEX}", "file_id": "file-1"}, "prompt": {"id": f"pmpt_{HEX}"}}, []),
        (
            {"tools": [{"file_id": "file-1"}], "metadata": {"file_id": "file-2"}, "input": [{"file_id": "file-3"}]},
            [("file", "file-3", "file_id"), ("file", "file-1", "file_id")],
        ),
        ({"tools": [{"parameters": {"examples": [{"id": f"tenant_{HEX}"}]}}], "text": {"id": f"msg_{HEX}"}}, []),
        ({"tools": [{"parameters": {"properties": {"file_id": {"type": "string"}, "id": {"type": "string"}}}}]}, []),
        ({"input": 'the text {"file_id": "file-1"}', "instructions": '"id":"msg_1"'}, []),
        ({"input": [{"content": 'a text: {"file_id": "file-1"}, "id": "msg_1", "encrypted_content":"x"'}]}, []),
    ],
)
def test_what_a_request_refers_to(fields: dict[str, object], found: list[tuple[str, str, str]]) -> None:
    assert of(fields) == found


@rows(
    ("input", "needed"),
    [
        ([{"type": "message", "role": "assistant", "id": "msg_1", "content": "one"}], False),
        ([{"type": "message", "id": "msg_1", "content": "one"}, {"type": "item_reference", "id": "msg_2"}], True),
        ([{"id": "msg_1"}], True),
        ([{"id": "msg_1", "type": None}], True),
        ([{"type": "reasoning", "id": "rs_1", "summary": []}], True),
        ([{"type": "image_generation_call", "id": "ig_1"}], True),
    ],
)
def test_an_id_beside_its_whole_item_needs_no_resource(input: object, needed: bool) -> None:
    found = whole(search_response(Fields(json.dumps({"input": input}).encode())))
    assert {each.needed for each in found} == {needed}


def test_what_is_needed_decides_first() -> None:
    items = [{"type": "message", "id": "msg_1", "content": ""}, {"type": "reasoning", "id": "rs_1"}]
    assert [id for _, id, _ in of({"input": items, "conversation": "conv_1"})] == ["conv_1", "rs_1", "msg_1"]


@rows(
    "body",
    [
        rb'{"input":[{"file\u005fid":"file-1"}]}',
        rb'{"input":[{"\u0066ile_id":"file-1"}]}',
        rb'{"input":[{"\u0066\u0069\u006C\u0065\u005F\u0069\u0064":"file-1"}]}',
        rb'{"input":[{"file_id":"file\u002d1"}]}',
        rb'{"input":[{"file_id":"\u0066ile-1"}]}',
        b'{"input":[{"file_id" \n:\t"file-1"}]}',
        b'{"input":[{"file_id":"file-1","file_id":"mine"}]}',
        b'{"input":[{"file_id":"mine","file_id":"file-1"}]}',
        b'{"input":[' + b'{"a":[' * 200 + b'{"file_id":"file-1"}' + b"]}" * 200 + b"]}",
        b'{"tools":[{"file_ids":[null,"x]",7,"file-1"]}]}',
        rb'{"tools":[{"file_ids":["\"]","file-1"]}]}',
        rb'{"tools":[{"file\u005fids":["file-1"]}],"input":"\u005f"}',
        rb'{"tools":[{"\u0050":"\u005a","file_id":"file-1"}]}',
        rb'{"tools":[{"\u0050":"\u005a","file\u005Fid":"file-1"}]}',
    ],
)
def test_no_way_of_writing_hides_an_id(body: bytes) -> None:
    assert "file-1" in [each.id for each in whole(search_response(Fields(body)))]


@rows("body", [rb'{"messages":[{"file\u005fid":"file-1"}]}', b'{"messages":[{"file":{"file_id":"file-1"}}]}'])
def test_a_chat_refers_to_files(body: bytes) -> None:
    assert whole(search_chat(Fields(body))) == [Reference("file", "file-1", "file_id")]


def test_a_chat_refers_to_nothing_else() -> None:
    body = {"messages": [{"id": "msg_1", "encrypted_content": "x", "content": "file_id \\u005f"}], "user": "file-1"}
    assert whole(search_chat(Fields(json.dumps(body).encode()))) == []


@rows(
    ("body", "ids"),
    [
        ({"input_file_id": "file-1", "endpoint": "/v1/responses"}, ["file-1"]),
        ({"training_file": "file-1", "validation_file": "file-2"}, ["file-1", "file-2"]),
        ({"file_ids": ["file-1"], "name": "x"}, ["file-1"]),
        ({"files": [{"file_id": "file-1"}, {"file_id": "file-1"}]}, ["file-1"]),
        ({"data_source": {"source": {"type": "file_id", "id": "file-1"}}}, ["file-1"]),
        ({"items": [{"type": "item_reference", "id": "msg_1"}]}, ["msg_1"]),
        ({"Training_File": "file-1", "FILE_IDS": ["file-2"]}, ["file-1", "file-2"]),
        ({"data_source": {"Source": {"Type": "file_id", "Id": "file-1"}}}, ["file-1"]),
    ],
)
def test_what_objects_refer_to(body: object, ids: list[str]) -> None:
    raw = json.dumps(body).encode()
    assert [each.id for each in references_of(raw)] == ids == [each.id for each in references_of(Fields(raw))]


@rows(
    ("body", "ids"),
    [
        (rb'{"\u0046ile\u005FID":"file-1"}', ["file-1"]),
        (rb'{"metadata":{"file_id":"file-1"}}', []),
        (rb'{"met\u0061data":{"a":"\"file_id\":"},"file_id":"file-1"}', ["file-1"]),
        (rb'{"file_id":"file-1","metadata":{"container":"cntr_1"},"file_ids":["file-2"]}', ["file-1", "file-2"]),
    ],
)
def test_no_way_of_writing_hides_what_an_object_refers_to(body: bytes, ids: list[str]) -> None:
    assert [each.id for each in references_of(Fields(body))] == ids


def test_encrypted_content_is_the_same_however_it_is_spelt() -> None:
    plain, spelt = b'{"encrypted_content":"gAAA+b/="}', rb'{"encrypted_content":"gAAA\u002Bb\/="}'
    assert references_of(plain) == references_of(spelt)
    assert references_of(plain)[0].id == encrypted_id("gAAA+b/=")


def test_too_many_are_refused_and_as_many_as_may_be_are_not() -> None:
    items = [{"type": "message", "id": f"msg_{number}"} for number in range(MOST_REFERENCES)]
    assert len(of({"input": items})) == MOST_REFERENCES
    with pytest.raises(CallerError) as caught:
        of({"input": [*items, {"id": "msg_more"}]})
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "too_many_references", "input")


@rows("name", ["id", "file_id", "container", "encrypted_content"])
def test_what_is_too_long_for_a_reference_is_none_and_hides_nothing(name: str) -> None:
    longest = LONGEST_VALUE - 2 if name == "encrypted_content" else LONGEST_ID
    prefix = "msg_" if name == "id" else ""
    fits, over = (prefix + "x" * (size - len(prefix)) for size in (longest, longest + 1))
    assert len(of({"input": [{name: fits}, {"file_id": "file-1"}]})) == 2
    assert [id for _, id, _ in of({"input": [{name: over}, {"file_id": "file-1"}]})] == ["file-1"]


@rows("text", ['"' + "x" * LONGEST_VALUE + '"', " " * LONGEST_VALUE + '"x"'])
def test_a_list_is_refused_that_is_too_long_to_be_read(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        whole(search_response(Fields(input_of(f'{{"file_ids":["file-1",{text},"file-2"]}}'))))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "too_many_references", "file_ids")


def test_a_large_body_may_not_spell_letters_as_escapes() -> None:
    escaped = rb'{"input":[{"file\u005fid":"file-1"},"' + b"x" * MOST_ESCAPED + b'"]}'
    with pytest.raises(CallerError) as caught:
        whole(search_response(Fields(escaped)))
    assert caught.value.status == 400
    text = json.dumps({"input": [{"content": "the code \\u005f and é " + "x" * MOST_ESCAPED}]}).encode()
    assert whole(search_response(Fields(text))) == []


_NAMES = st.sampled_from(["file_id", "id", "type", "a", "content"])
_TREES = st.recursive(
    st.none() | st.text(max_size=8) | st.just('{"file_id":"file-text"}'),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_NAMES, below, max_size=3),
    max_leaves=12,
)


def files_in(value: Any) -> set[str]:
    """Return the values of all fields ``file_id``, by walking the tree."""
    if isinstance(value, list):
        return {found for each in value for found in files_in(each)}
    if not isinstance(value, dict):
        return set()
    own = {value["file_id"]} if isinstance(value.get("file_id"), str) and value["file_id"] else set()
    return own | {found for each in value.values() for found in files_in(each)}


def spelt(body: object, seed: int) -> bytes:
    """Return JSON with letters of texts and names spelt as escapes at random."""
    draw = random.Random(seed)

    def letter(found: re.Match[str]) -> str:
        return f"\\u{ord(found[0]):04x}" if len(found[0]) == 1 and draw.random() < 0.3 else found[0]

    def text(found: re.Match[str]) -> str:
        return re.sub(r"\\u.{4}|\\.|[A-Za-z_]", letter, found[0])

    return re.sub(r'"(?:[^"\\]|\\.)*"', text, json.dumps(body)).encode()


@given(tree=_TREES, seed=st.integers(0, 1000))
def test_every_id_is_found_at_any_depth_and_in_any_spelling(tree: object, seed: int) -> None:
    wanted, body = files_in(tree), {"input": [tree]}
    plain, escaped = json.dumps(body).encode(), spelt(body, seed)
    assert json.loads(escaped) == body
    assert found_in(plain) == wanted
    assert found_in(escaped) >= wanted


def found_in(body: bytes) -> set[str]:
    return {each.id for each in whole(search_response(Fields(body))) if each.param == "file_id"}


SLICE = 64 * 1024


def input_of(*items: str) -> bytes:
    return ('{"model":"m","input":[' + ",".join(items) + "]}").encode()


@rows(
    "item",
    [
        f'{{"type":"item_reference","id":"msg_{HEX}"}}',
        f'{{"type" :{" " * 70} null,"id"{" " * 70}:{" " * 70}"msg_{HEX}"}}',
        f'{{"id":\n"msg_{HEX}"}}',
    ],
)
def test_a_place_on_the_border_of_two_slices_is_found(item: str) -> None:
    for before in range(SLICE - len(item) - 40, SLICE + 10):
        filler = json.dumps("x" * before)
        body = Fields(input_of(filler, item, json.dumps("y" * SLICE)))
        assert whole(search_response(body)) == [Reference("item", f"msg_{HEX}", "input")], before


@rows("space", [" " * (3 * SLICE), ""])
def test_white_space_and_texts_longer_than_a_slice_hide_nothing(space: str) -> None:
    text = json.dumps("z" * (3 * SLICE))
    body = Fields(input_of(text, f'{{"file_id"{space}:{space}"file-1"}}', text))
    assert [each.id for each in whole(search_response(body))] == ["file-1"]


@rows(
    "body",
    [
        input_of(*[f'{{"type":"item_reference","id":"msg_{number:048x}"}}' for number in range(MOST_REFERENCES)]),
        input_of(*["[" + ",".join(['"a"'] * 200) + "]"] * 2000),
        input_of(*[json.dumps(" " + "\\u0061" * 500).replace("\\\\", "\\")] * 500),
        json.dumps({f"field{number}": ["a" * (SLICE - 500)] for number in range(200)}).encode(),
    ],
)
def test_a_search_of_a_large_body_pauses(body: bytes) -> None:
    pauses = sum(1 for _ in search_response(Fields(body)))
    assert pauses >= len(body) // SLICE


@rows("body", [input_of(json.dumps(" " * 64 * SLICE)), input_of('{"id"' + " " * 64 * SLICE + ':"msg_1"}')])
def test_megabytes_of_white_space_are_not_searched_once_for_each_slice(body: bytes) -> None:
    assert sum(1 for _ in search_response(Fields(body))) < 10


@rows(
    "body",
    [
        input_of(*[f'{{"id":"msg_{number}"}}' for number in range(20 * MOST_REFERENCES)]),
        input_of(json.dumps({"file_ids": ["file-1"] * 20 * MOST_REFERENCES})),
    ],
)
def test_a_search_ends_at_the_first_reference_too_many(body: bytes) -> None:
    pauses = islice(search_response(Fields(body)), 5)
    with pytest.raises(CallerError, match="refers to more than"):
        all(True for _ in pauses)


@given(body=st.binary(max_size=200))
def test_any_bytes_can_be_searched(body: bytes) -> None:
    assert isinstance(references_of(b'{"id":' + body), list)
