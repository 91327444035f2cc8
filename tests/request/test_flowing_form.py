"""A form that is read and written as it arrives."""

import pytest
from tests.rows import rows

from chukei.errors import CallerError
from chukei.request.flowing_form import Begin, Data, Event, FormReader, FormWriter
from chukei.request.form import Form

TYPE = b"multipart/form-data; boundary=b"
VALUE = "x\r\n--not\r\n-- 中\r\n--".encode()
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a \\"b.jsonl"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + VALUE + b"\r\n--b--\r\n"
)


def events_of(*parts: bytes, content_type: bytes = TYPE) -> list[Event]:
    reader = FormReader(content_type)
    found = [event for part in parts for event in reader.feed(part)]
    reader.end()
    return found


def values_of(events: list[Event]) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    name = ""
    for event in events:
        if isinstance(event, Begin):
            name = event.part.name
            values[name] = b""
        elif isinstance(event, Data):
            values[name] += event.data
    return values


def test_however_it_is_split_its_parts_are_the_same() -> None:
    for at in range(len(FORM)):
        assert values_of(events_of(FORM[:at], FORM[at:])) == {"purpose": b"batch", "file": VALUE}
    assert values_of(events_of(*(FORM[at : at + 1] for at in range(len(FORM))))) == {"purpose": b"batch", "file": VALUE}


def test_it_is_written_under_another_boundary_for_every_form() -> None:
    written = []
    for _ in range(2):
        writer = FormWriter()
        text = b"".join(writer.write(event) for event in events_of(FORM))
        form = Form(text, writer.content_type)
        assert (form.text("purpose"), form.files) == ("batch", 1)
        assert VALUE in text
        assert b'filename="a %22b.jsonl"' in text
        written.append(writer.content_type)
    assert written[0] != written[1]


@rows(
    "form",
    [
        b"",
        b"x",
        FORM[:-8],
        FORM.replace(b"form-data", b"attachment"),
        FORM.replace(b'name="file"', b'name="file"; name="other"'),
        FORM.replace(b"Content-Type", b"content-disposition"),
        FORM.replace(b"application/octet-stream", b"multipart/mixed"),
        b"--b\r\n" + b"x-y: z\r\n" * 20 + b"\r\n",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 300 + b"--b--\r\n",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(form: bytes) -> None:
    with pytest.raises(CallerError) as refused:
        events_of(form)
    assert refused.value.code == "invalid_form"


def test_bytes_behind_the_end_are_no_part() -> None:
    more = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n'
    assert "model" not in values_of(events_of(FORM + more))
    assert "model" not in values_of(events_of(FORM, more))


@rows("content_type", [b"multipart/form-data", b'multipart/form-data; boundary="\x00"', b"x; boundary=" + b"b" * 2000])
def test_a_form_needs_a_boundary(content_type: bytes) -> None:
    with pytest.raises(CallerError):
        FormReader(content_type)
