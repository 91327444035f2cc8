"""Forms: the fields that matter are found and replaced, the files stay as they are."""

import email.policy
from contextlib import suppress
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.errors import CallerError
from chukei.request.form import Form

TYPE = b"multipart/form-data; boundary=cut"
FILE = bytes(range(256)) + b"\r\n--cu\r\n-cut\r\n"


def part(value: bytes, disposition: bytes, *more: bytes) -> bytes:
    lines = [b"--cut", b"Content-Disposition: form-data; " + disposition, *more]
    return b"\r\n".join([*lines, b"", value]) + b"\r\n"


AUDIO = part(FILE, b'name="file"; filename="a; name=model.wav"', b"Content-Type: audio/wav")
BODY = AUDIO + part(b"whisper", b'name="model"') + part(b"true", b'name="stream"') + b"--cut--\r\n"


def independently(raw: bytes, content_type: bytes = TYPE) -> dict[str, bytes]:
    """Read a form with the standard library's e-mail parser, which shares no code with ours."""
    message = BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + content_type + b"\r\n\r\n" + raw)
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


@rows(
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
    form = Form(BODY, TYPE)
    changed = form.write({"model": "深い"})
    assert independently(changed, form.content_type) == independently(BODY) | {"model": "深い".encode()}
    assert FILE in changed


def test_an_added_field_leaves_the_rest_alone() -> None:
    body = AUDIO + b"--cut--\r\n"
    form = Form(body, TYPE)
    assert independently(form.write({"model": "w"}), form.content_type) == {"model": b"w", "file": FILE}


@given(value=st.text(max_size=30), content=st.binary(max_size=60))
def test_any_value_beside_any_file(value: str, content: bytes) -> None:
    if b"--cut" in content:
        return
    body = part(content, b'name="file"') + part(b"x", b'name="model"') + b"--cut--"
    form = Form(body, TYPE)
    again = Form(form.write({"model": value}), form.content_type)
    assert again.text("model") == value
    assert again.write({}).count(content) >= 1


@rows("content_type", [b"multipart/form-data", b"multipart/form-data; boundary=", b'multipart/form-data; boundary=""'])
def test_a_type_without_a_boundary_is_refused(content_type: bytes) -> None:
    with pytest.raises(CallerError, match="content type"):
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


@rows("body", BROKEN)
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(body, TYPE)
    assert (caught.value.status, caught.value.code) == (400, "invalid_form")


@rows("again", [b'name="model"', b"name=model", b'NAME="model"', b'filename="C:\\x y.wav"; name="model"'])
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
    pytest.param(b'name="MODEL"; x=', id="a parameter without a value"),
    pytest.param(b'name="a\\"b"', id="a quotation mark in a name"),
    pytest.param(b"name=a; filename*=latin1''x", id="a file name in another character set"),
    pytest.param(b"name=a; filename*0=x", id="a file name in parts"),
    pytest.param(b"name=_charset_", id="a character set for all"),
    pytest.param(b"name=a\r\nContent-Transfer-Encoding: base64", id="an encoded value"),
    pytest.param(b"name=a\r\nContent-Type: multipart/mixed; boundary=x", id="a form in a form"),
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


@rows("disposition", AMBIGUOUS)
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


LEGAL = [
    pytest.param(TYPE, b"\r\n" + BODY, id="a line end in front"),
    pytest.param(TYPE, b"a preamble\r\n" + BODY, id="a preamble"),
    pytest.param(TYPE, BODY.replace(b"--cut\r\n", b"--cut \t\r\n"), id="padding behind boundaries"),
    pytest.param(TYPE, BODY.removesuffix(b"\r\n"), id="no line end behind the last boundary"),
    pytest.param(TYPE, BODY + b"an epilogue", id="an epilogue"),
    pytest.param(TYPE, BODY.replace(b'wav"\r\n', b'wav";\r\n'), id="a semicolon at the end"),
    pytest.param(TYPE, BODY.replace(b'filename="a', b'filename="\\"b\\"'), id="quotation marks in a file name"),
    pytest.param(TYPE, BODY.replace(b'filename="a', b"filename*=UTF-8''a; x=\"a"), id="an extended file name"),
    pytest.param(b'multipart/form-data; x="; boundary=no"; boundary=cut', BODY, id="a boundary in another parameter"),
    pytest.param(TYPE, BODY.replace(b"whisper", b"whisper"), id="plain"),
]


@rows(("content_type", "body"), LEGAL)
def test_every_legal_spelling_becomes_one(content_type: bytes, body: bytes) -> None:
    form = Form(body, content_type)
    written = form.write({})
    assert independently(written, form.content_type) == {"file": FILE, "model": b"whisper", "stream": b"true"}
    assert b"\\" not in written.partition(b"\r\n\r\n")[0]


@rows("inside", [b"\n--cut\n", b"\n--cut--\n", b'\n--cut\nContent-Disposition: form-data; name="model"\n\nx'])
def test_what_another_reader_would_take_for_a_boundary_goes_up_as_a_value(inside: bytes) -> None:
    form = Form(part(inside, b"name=file") + part(b"w", b"name=model") + b"--cut--", TYPE)
    written = form.write({})
    assert inside in written
    assert Form(written, form.content_type).text("model") == "w"


@rows(
    "content_type",
    [
        b"multipart/form-data; boundary =no; boundary=cut",
        b"multipart/form-data; boundary=cut; boundary=no",
        b"multipart/form-data; boundary=cut; Boundary=cut",
        b"multipart/form-data; boundary*=utf-8''cut",
        b"multipart/form-data; boundary*0=c; boundary*1=ut",
        b'multipart/form-data; boundary="cut',
        b"multipart/form-data" + b";a=b" * 1000 + b"; boundary=cut",
    ],
)
def test_a_boundary_that_readers_could_take_differently_is_refused(content_type: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(BODY, content_type)
    assert (caught.value.status, caught.value.code) == (400, "invalid_form")


@rows(
    "body",
    [
        pytest.param(BODY.replace(b"--cut--", b"--cut--x"), id="a last boundary that goes on"),
        pytest.param(BODY + part(b"x", b"name=model") + b"--cut--\r\n", id="parts behind the end"),
        pytest.param(BODY + b"x" + part(b"x", b"name=model") + b"--cut--\r\n", id="parts in the epilogue"),
    ],
)
def test_a_form_with_two_ends_is_refused(body: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(body, TYPE)
    assert caught.value.code == "invalid_form"


@rows("name", [b"MODEL", b"Model", b"model[]", b"model[0]", b"STREAM", b"stream[]", b"_model"])
def test_a_name_that_some_readers_take_for_another_is_refused(name: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(part(b"w", b"name=" + name) + b"--cut--", TYPE)
    assert (caught.value.status, caught.value.code) == (400, "ambiguous_field")


@rows("disposition", [b"name=model; filename=x", b"name=model\r\nContent-Type: text/plain; charset=utf-16"])
def test_a_model_that_is_no_plain_text_is_refused(disposition: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        Form(part(b"w", disposition) + b"--cut--", TYPE)
    assert (caught.value.code, caught.value.param) == ("invalid_type", "model")


@rows("name", ["n", "size", "quality"])
@rows("other", ["{}", "{}[]", "{upper}"])
def test_what_decides_a_price_has_one_reading(name: str, other: str) -> None:
    again = name.upper() if other == "{upper}" else other.format(name)
    parts = [part(b"1", f'name="{name}"'.encode()), part(b"10", f'name="{again}"'.encode())]
    with pytest.raises(CallerError) as refused:
        Form(b"".join(parts) + b"--cut--\r\n", TYPE)
    assert refused.value.code == ("duplicate_field" if again == name else "ambiguous_field")
    assert Form(parts[0] + b"--cut--\r\n", TYPE).text(name) == "1"
