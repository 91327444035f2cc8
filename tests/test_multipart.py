"""Forms: the fields that matter are found and replaced, the files stay as they are."""

import email.policy
from contextlib import suppress
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chukei.errors import CallerError
from chukei.multipart import Form

TYPE = b"multipart/form-data; boundary=cut"
FILE = bytes(range(256)) + b"\r\n--cu\r\n-cut\r\n"


def part(value: bytes, disposition: bytes, *more: bytes) -> bytes:
    lines = [b"--cut", b"Content-Disposition: form-data; " + disposition, *more]
    return b"\r\n".join([*lines, b"", value]) + b"\r\n"


AUDIO = part(FILE, b'name="file"; filename="a; name=model.wav"', b"Content-Type: audio/wav")
BODY = AUDIO + part(b"whisper", b'name="model"') + part(b"true", b'name="stream"') + b"--cut--\r\n"


def independently(raw: bytes) -> dict[str, bytes]:
    """Read a form with the standard library's e-mail parser, which shares no code with ours."""
    message = BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + TYPE + b"\r\n\r\n" + raw)
    found = {}
    for item in message.iter_parts():
        content = item.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = item.get_param("name", header="content-disposition")
        assert isinstance(name, str)
        found[name] = content
    return found


def test_fields_are_read() -> None:
    form = Form(BODY, TYPE)
    assert form.text("model") == "whisper"
    assert form.text("stream") == "true"
    assert form.text("other") is None
    assert form.raw is BODY


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data; boundary=cut",
        b'multipart/form-data; boundary="cut"',
        b"multipart/form-data;boundary=cut; charset=utf-8",
        b"Multipart/Form-Data; Boundary=cut",
    ],
)
def test_the_boundary_is_found(content_type: bytes) -> None:
    assert Form(BODY, content_type).text("model") == "whisper"


def test_a_replaced_field_leaves_the_rest_alone() -> None:
    changed = Form(BODY, TYPE).with_text("model", "深い")
    assert changed == BODY.replace(b"whisper", "深い".encode())
    assert independently(changed) == independently(BODY) | {"model": "深い".encode()}


def test_an_added_field_leaves_the_rest_alone() -> None:
    body = AUDIO + b"--cut--\r\n"
    changed = Form(body, TYPE).with_text("model", "w")
    assert changed.endswith(body)
    assert Form(changed, TYPE).text("model") == "w"
    assert independently(changed)["model"] == b"w"


@given(value=st.text(max_size=30), content=st.binary(max_size=60))
def test_any_value_beside_any_file(value: str, content: bytes) -> None:
    if b"--cut" in content:
        return
    body = part(content, b'name="file"') + part(b"x", b'name="model"') + b"--cut--"
    changed = Form(body, TYPE).with_text("model", value)
    if "--cut" not in value and "\r" not in value:
        assert Form(changed, TYPE).text("model") == value
        assert content in changed


@pytest.mark.parametrize(
    "content_type", [b"multipart/form-data", b"multipart/form-data; boundary=", b'multipart/form-data; boundary=""']
)
def test_a_type_without_a_boundary_is_refused(content_type: bytes) -> None:
    with pytest.raises(CallerError, match="boundary"):
        Form(BODY, content_type)


BROKEN = [
    pytest.param(b"", id="empty"),
    pytest.param(b"hello" + BODY, id="text before the first boundary"),
    pytest.param(BODY[:-10], id="no end"),
    pytest.param(b"--cut\r\nContent-Disposition: form-data; name=model\r\n", id="ends in a head"),
    pytest.param(b"--cut\r\n\r\nvalue", id="ends in a value"),
    pytest.param(b"--cut", id="boundary alone"),
    pytest.param(b"--cutter\r\n\r\nx\r\n--cut--", id="a longer boundary first"),
    pytest.param(part(b"v\r\n--cutter\r\n\r\n", b"name=a") + b"--cut--", id="a longer boundary inside"),
    pytest.param(part(b"x", b"name=a") * 300 + b"--cut--", id="too many parts"),
]


@pytest.mark.parametrize("body", BROKEN)
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(body, TYPE)
    assert (caught.value.status, caught.value.code) == (400, "invalid_form")


@pytest.mark.parametrize(
    "again", [b'name="model"', b"name=model", b'NAME="model"', b'filename="C:\\x y.wav"; name="model"']
)
def test_a_second_model_is_refused(again: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(part(b"a", b'name="model"') + part(b"b", again) + b"--cut--", TYPE)
    assert (caught.value.code, caught.value.param) == ("duplicate_field", "model")


def test_what_looks_like_a_name_inside_a_file_name_is_none() -> None:
    """Otherwise the relay would choose by one model's name and the upstream would read another."""
    body = part(b"x", b'filename="; name=model"; name="file"') + part(b"w", b'name="model"') + b"--cut--"
    assert Form(body, TYPE).text("model") == "w"
    assert Form(body, TYPE).text("file") == "x"
    assert independently(body) == {"file": b"x", "model": b"w"}


AMBIGUOUS = [
    pytest.param(b'name="file"; filename="a\\"; name=model; x=\\""', id="an escaped quotation mark"),
    pytest.param(b'name="a"; name="model"', id="two names"),
    pytest.param(b"name=a; name*=utf-8''model", id="an extended name"),
    pytest.param(b"name*=utf-8''model", id="only an extended name"),
    pytest.param(b"filename=x", id="no name"),
    pytest.param(b'name="model', id="no closing quotation mark"),
    pytest.param(b"name=a\r\n ; name=model", id="a folded line"),
    pytest.param(b"name=a\nContent-Disposition: form-data; name=model", id="a bare LF"),
    pytest.param(b"name=a\rContent-Disposition: form-data; name=model", id="a bare CR"),
    pytest.param(b"name=a\r\nContent-Disposition: form-data; name=model", id="two dispositions"),
    pytest.param(b"name=a\r\nContent-Disposition : form-data; name=model", id="two, one with a space"),
    pytest.param(b"name=a\r\nX: y\nContent-Disposition: form-data; name=model", id="a bare LF in another field"),
    pytest.param(b"name=a\r\nX: y\rContent-Disposition: form-data; name=model", id="a bare CR in another field"),
]


@pytest.mark.parametrize("disposition", AMBIGUOUS)
def test_a_name_that_readers_could_take_differently_is_refused(disposition: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(part(b"v", disposition) + b"--cut--", TYPE)
    assert (caught.value.status, caught.value.code) == (400, "invalid_form")


def test_a_name_in_another_header_is_none() -> None:
    body = part(b"x", b'name="file"', b"Content-Type: text/plain; name=model") + b"--cut--"
    assert Form(body, TYPE).text("model") is None
    first = b"--cut\r\nContent-Type: a/b; name=model\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n--cut--"
    assert Form(first, TYPE).text("model") is None
    assert Form(first, TYPE).text("file") == "x"


def test_a_value_that_is_too_long_or_no_text_is_refused() -> None:
    for value in (b"x" * 5000, b"\xff"):
        with pytest.raises(CallerError) as caught:
            Form(part(value, b'name="model"') + b"--cut--", TYPE).text("model")
        assert caught.value.param == "model"


@given(raw=st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for body in (raw, b"--cut\r\n" + raw, BODY[:40] + raw + BODY[40:]):
        with suppress(CallerError):
            Form(body, TYPE).text("model")
