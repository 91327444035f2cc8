"""Splicing: what is changed reads as changed, and every other byte is the client's own."""

import json
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chukei.errors import CallerError
from chukei.fields import MAX_FIELDS, Fields

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAME = st.text(max_size=6)
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("raw", [b"{}", b" { } ", b"{\n}\n"])
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


@pytest.mark.parametrize("raw", [b"1", b"true", b"[]", b"{}"])
def test_a_text_of_another_type_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError, match="'x' must be a string"):
        Fields(b'{"x":' + raw + b"}").text("x")


@pytest.mark.parametrize("raw", [b"1", b'"true"', b"[]", b"{}", b"0"])
def test_a_flag_of_another_type_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError, match="'x' must be true or false"):
        Fields(b'{"x":' + raw + b"}").flag("x")


@pytest.mark.parametrize("raw", [b'"1"', b"true", b"[]", b"{}", b"1e999"])
def test_a_number_of_another_type_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Fields(b'{"x":' + raw + b"}").number("x")
    assert (caught.value.code, caught.value.param) == ("invalid_type", "x")


def test_a_null_field_is_replaced_in_its_place() -> None:
    fields = Fields(b'{"a":1,"model" : null ,"b":2}')
    fields.set("model", b'"gpt-4o"')
    assert fields.bytes() == b'{"a":1,"model" : "gpt-4o" ,"b":2}'
