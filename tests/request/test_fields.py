"""Splicing: what is changed reads as changed, and every other byte is the client's own."""

import json
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.errors import CallerError
from chukei.request.fields import EXACT, MAX_FIELDS, Fields

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAME = st.text(max_size=6).filter(lambda name: name == name.casefold() or name.casefold() not in EXACT)
SPACE = st.text(alphabet=" \t\n\r", max_size=3)


@st.composite
def spelt_object(draw: st.DrawFn) -> tuple[dict[str, object], dict[str, bytes], bytes]:
    """Draw an object, the bytes of each value, and the whole with any spaces and either spelling of its names."""
    fields: dict[str, object] = dict(draw(st.dictionaries(NAME, JSON, max_size=6)))
    spelt: dict[str, bytes] = {}
    parts = []
    for name, value in fields.items():
        indent = draw(st.sampled_from([None, 1]))
        spelt[name] = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=indent).encode()
        key = json.dumps(name, ensure_ascii=draw(st.booleans())).encode()
        before, behind, around, after = (draw(SPACE).encode() for _ in range(4))
        parts.append(before + key + behind + b":" + around + spelt[name] + after)
    outer, inner, end = (draw(SPACE).encode() for _ in range(3))
    return fields, spelt, outer + b"{" + inner + b",".join(parts) + b"}" + end


@given(
    drawn=spelt_object(), edits=st.dictionaries(NAME, JSON, max_size=4), again=st.lists(st.integers(0, 5), max_size=2)
)
def test_edits_read_as_edited_and_all_else_keeps_its_bytes(
    drawn: tuple[dict[str, object], dict[str, bytes], bytes], edits: dict[str, object], again: list[int]
) -> None:
    original, spelt, raw = drawn
    names = list(original)
    edits |= {names[index]: index for index in again if index < len(names)}
    fields = Fields(raw)
    for name, value in edits.items():
        fields.set(name, json.dumps(value).encode())
    edited = fields.bytes()
    assert json.loads(edited) == original | edits
    changed = Fields(edited)
    for name in original.keys() - edits.keys():
        assert changed._values[name] is not None
        assert bytes(changed._values[name]) == spelt[name]
    if not edits:
        assert edited == raw
    untouched = raw[raw.index(b"{") + 1 :] if not original.keys() & edits.keys() else b""
    assert edited.endswith(untouched)


@given(drawn=spelt_object(), value=JSON)
def test_a_second_field_of_one_name_is_always_refused(
    drawn: tuple[dict[str, object], dict[str, bytes], bytes], value: object
) -> None:
    original, _, raw = drawn
    assume(original)
    for name in original:
        again = json.dumps(name).encode() + b":" + json.dumps(value).encode()
        body = raw.rstrip()
        for twice in (body[:-1] + b"," + again + b"}", body.replace(b"{", b"{" + again + b",", 1)):
            with pytest.raises(CallerError) as caught:
                Fields(twice)
            assert (caught.value.status, caught.value.code, caught.value.param) == (400, "duplicate_field", name)


@rows(
    "raw",
    [
        b'{"model":"a","model":"a"}',
        b'{"model":"a","mode\\u006c":"b"}',
        b'{"\\u006dodel":"a","model":"b"}',
        b'{"n":12,"n":1}',
        b'{"n":1,"n":12}',
        b'{"n":1,"x":2,"n":1}',
        b'{"n":[1],"n":[1,2]}',
        b'{"n":"a\\"","n":"a"}',
        b'{"n":-1,"n":-10}',
        b'{"n":1,"n":1.0}',
        b'{"":1,"":1}',
    ],
)
def test_names_that_two_readers_could_take_differently_are_refused(raw: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Fields(raw)
    assert caught.value.code == "duplicate_field"


def test_the_same_name_deeper_down_is_another_field() -> None:
    assert Fields(b'{"a":{"model":"x","b":{"model":"y"}},"model":"z"}').text("model") == "z"


@rows(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"[]",
        b"null",
        b'"x"',
        b"1",
        b'{"a":1',
        b'{"a":1,}',
        b'{"a" 1}',
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":1}{"b":2}',
        b'{"a":1} x',
        b'{"a":"\n"}',
        b'{"a":tru}',
        b"{a:1}",
        b'\xef\xbb\xbf{"a":1}',
        b'{"\xff":1}',
        b"\x00",
        b'{"a":"\\x"}',
        b'{"a":"\\ud83d"}' + b"," * 3,
        b'{"a":' + b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_object_is_refused_as_json(raw: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Fields(raw, param="stream_options")
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")
    assert caught.value.param == "stream_options"
    assert "'stream_options'" in caught.value.message


@given(raw=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0a1 \nmodel', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_and_never_crash(raw: bytes) -> None:
    with suppress(CallerError):
        assert Fields(raw).bytes() is raw
        assert isinstance(json.loads(raw), dict)


@rows("raw", [b"{}", b" { } ", b"{\n}\n"])
def test_an_empty_object_takes_fields(raw: bytes) -> None:
    fields = Fields(raw)
    fields.set("a", b"1")
    fields.set("b", b"2")
    assert json.loads(fields.bytes()) == {"a": 1, "b": 2}


def test_the_number_of_fields_is_bounded() -> None:
    def body(count: int) -> bytes:
        return json.dumps({f"f{index}": index for index in range(count)}).encode()

    assert "f0" in Fields(body(MAX_FIELDS))
    with pytest.raises(CallerError) as caught:
        Fields(body(MAX_FIELDS + 1))
    assert caught.value.code == "too_many_fields"


def test_values_are_read_by_type() -> None:
    fields = Fields(b'{"s":"\\u4e2d","t":true,"i":7,"f":1.5,"n":null,"l":[1],"e":1e3}')
    assert fields.text("s") == "中"
    assert fields.flag("t") is True
    assert fields.number("i") == 7
    assert fields.number("f") == 1.5
    assert fields.number("e") == 1000
    assert fields.raw("l") == b"[1]"
    for name in ("n", "missing"):
        assert [fields.raw(name), fields.text(name), fields.flag(name), fields.number(name)] == [None] * 4
    assert "n" in fields
    assert "missing" not in fields


@rows("raw", [b"1", b"true", b"[]", b"{}"])
def test_a_text_of_another_type_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError, match="'x' must be a string"):
        Fields(b'{"x":' + raw + b"}").text("x")


@rows("raw", [b"1", b'"true"', b"[]", b"{}", b"0"])
def test_a_flag_of_another_type_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError, match="'x' must be true or false"):
        Fields(b'{"x":' + raw + b"}").flag("x")


@rows("raw", [b'"1"', b"true", b"[]", b"{}", b"1e999"])
def test_a_number_of_another_type_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Fields(b'{"x":' + raw + b"}").number("x")
    assert (caught.value.code, caught.value.param) == ("invalid_type", "x")


def test_a_null_field_is_replaced_in_its_place() -> None:
    fields = Fields(b'{"a":1,"model" : null ,"b":2}')
    fields.set("model", b'"gpt-4o"')
    assert fields.bytes() == b'{"a":1,"model" : "gpt-4o" ,"b":2}'


# Renaming and removing.

EDIT = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 3), JSON),
    st.tuples(st.just("rename"), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.integers(0, 3), st.none()),
)


def apply(edit: tuple[str, int, object], names: list[str], fields: Fields, model: dict[str, object]) -> None:
    """Make one edit to the fields, and the same to a plain dictionary."""
    kind, index, other = edit
    name = names[index % len(names)]
    if kind == "set":
        fields.set(name, json.dumps(other).encode())
        model[name] = other
    elif kind == "remove":
        fields.remove(name)
        model.pop(name, None)
    else:
        assert isinstance(other, int)
        new = names[other % len(names)]
        fields.rename(name, new)
        if name in model and new != name:
            value = model.pop(name)
            if model.get(new) is None:
                model[new] = value


@given(drawn=spelt_object(), more=st.lists(NAME, min_size=1, max_size=3), edits=st.lists(EDIT, max_size=8))
def test_any_edits_read_as_the_same_edits_of_the_decoded_object(
    drawn: tuple[dict[str, object], dict[str, bytes], bytes],
    more: list[str],
    edits: list[tuple[str, int, object]],
) -> None:
    original, _, raw = drawn
    names = [*original, *more]
    fields, model = Fields(raw), dict(original)
    for edit in edits:
        apply(edit, names, fields, model)
    edited = fields.bytes()
    read = Fields(edited)  # refuses a field that is there twice
    assert json.loads(edited) == model
    assert set(read.names) == set(model)
    touched = {names[index % len(names)] for _, index, _ in edits}
    touched |= {names[other % len(names)] for kind, _, other in edits if kind == "rename" and isinstance(other, int)}
    for name in original.keys() - touched:
        key, _, end = Fields(raw)._places[name]
        key_now, _, end_now = read._places[name]
        assert edited[key_now:end_now] == raw[key:end]


@given(drawn=spelt_object(), data=st.data())
def test_what_is_cut_is_each_field_and_its_comma(
    drawn: tuple[dict[str, object], dict[str, bytes], bytes], data: st.DataObject
) -> None:
    original, _, raw = drawn
    gone = data.draw(st.sets(st.sampled_from(sorted(original)))) if original else set()
    fields = Fields(raw)
    for name in gone:
        fields.remove(name)
    edited = fields.bytes()
    commas = max(len(original) - 1, 0) - max(len(original) - len(gone) - 1, 0)
    cut = sum(end - key for key, _, end in (fields._places[name] for name in gone))
    assert len(edited) == len(raw) - cut - commas
    assert json.loads(edited) == {name: value for name, value in original.items() if name not in gone}


@given(drawn=spelt_object(), new=NAME)
def test_a_renamed_field_differs_in_its_name_alone(
    drawn: tuple[dict[str, object], dict[str, bytes], bytes], new: str
) -> None:
    original, _, raw = drawn
    assume(new not in original)
    for old in original:
        fields = Fields(raw)
        fields.rename(old, new)
        edited = fields.bytes()
        key, value, _ = fields._places[old]
        colon = key + len(raw[key:value].rstrip()) - 1
        space = raw[key:colon][len(raw[key:colon].rstrip()) :]
        assert edited == raw[:key] + json.dumps(new, ensure_ascii=False).encode() + space + raw[colon:]
        fields.rename(new, old)
        assert fields.bytes() == raw


SPACED = b' { "a" : 1 , "mo\\u0064el" : "x" ,"z":{"a":2} } \n'


@rows(
    ("name", "left"),
    [
        ("a", b' {   "mo\\u0064el" : "x" ,"z":{"a":2} } \n'),
        ("model", b' { "a" : 1 ,  "z":{"a":2} } \n'),
        ("z", b' { "a" : 1 , "mo\\u0064el" : "x"  } \n'),
        ("missing", SPACED),
    ],
)
def test_a_field_is_cut_with_one_comma(name: str, left: bytes) -> None:
    fields = Fields(SPACED)
    fields.remove(name)
    assert fields.bytes() == left


def test_the_only_field_can_be_cut_and_another_added() -> None:
    fields = Fields(b'{ "a" : 1 }')
    fields.remove("a")
    assert fields.bytes() == b"{  }"
    fields.set("a", b"2")
    assert fields.bytes() == b'{"a":2  }'


def test_a_name_with_escapes_is_renamed_and_the_value_keeps_its_bytes() -> None:
    fields = Fields(SPACED)
    fields.rename("model", 'a "name"')
    assert fields.bytes() == SPACED.replace(b'"mo\\u0064el"', b'"a \\"name\\""')


def test_a_name_that_was_given_up_is_free() -> None:
    fields = Fields(b'{"a":1,"b":2}')
    fields.rename("a", "c")
    fields.rename("c", "d")
    fields.remove("c")
    fields.set("c", b"3")
    fields.set("a", b"4")
    assert fields.bytes() == b'{"c":3,"a":4,"d":1,"b":2}'


def test_a_changed_and_an_added_field_can_be_renamed() -> None:
    fields = Fields(b'{"a":1, "b":2}')
    fields.set("a", b"10")
    fields.set("c", b"30")
    fields.set("d", b"40")
    fields.rename("a", "e")
    fields.rename("c", "f")
    assert fields.bytes() == b'{"f":30,"d":40,"e":10, "b":2}'
    fields.set("e", b"11")
    assert fields.bytes() == b'{"f":30,"d":40,"e":11, "b":2}'


@rows(
    ("raw", "left"),
    [
        (b'{"old":1,"new":2}', b'{"new":2}'),
        (b'{"new":2,"old":1}', b'{"new":2}'),
        (b'{"new":null,"old":1}', b'{"new":1}'),
        (b'{"old":null,"new":2}', b'{"new":2}'),
        (b'{"old":null}', b'{"new":null}'),
        (b'{"new":null}', b'{"new":null}'),
    ],
)
def test_a_name_that_is_taken_stays_unless_it_is_null(raw: bytes, left: bytes) -> None:
    fields = Fields(raw)
    fields.rename("old", "new")
    assert fields.bytes() == left


def test_what_is_read_is_what_was_sent() -> None:
    fields = Fields(b'{"a":1,"b":2}')
    fields.rename("a", "c")
    fields.remove("b")
    assert [fields.number("a"), fields.number("b"), fields.number("c")] == [1, 2, None]
    assert "b" in fields
    assert list(fields.names) == ["a", "b"]


def test_a_copy_and_its_original_change_apart() -> None:
    raw = b'{"a":1,"b":2,"c":3}'
    fields = Fields(raw)
    fields.set("a", b"10")
    copy = fields.copy()
    copy.rename("a", "d")
    copy.remove("b")
    copy.set("e", b"5")
    fields.remove("c")
    assert fields.bytes() == b'{"a":10,"b":2}'
    assert copy.bytes() == b'{"e":5,"d":10,"c":3}'
    assert Fields(raw).copy().bytes() is raw
