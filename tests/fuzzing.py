"""What must hold of every parser for any bytes; and a long search, guided by coverage, for bytes that break it.

``python -m tests.fuzzing form 600`` searches for ten minutes; ``scripts/fuzz`` brings what it needs. The suite asks
Hypothesis for the same with little time (tests/test_fuzz.py).
"""

import contextlib
import email.policy
import json
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from email.parser import BytesParser
from functools import partial
from urllib.parse import parse_qsl

from chukei.errors import CallerError
from chukei.hosts.http import parsing
from chukei.hosts.http.parsing import Head, RequestParser
from chukei.request import fields, form, head, routes
from chukei.request.fields import Fields
from chukei.request.form import Form
from chukei.request.head import check_head
from chukei.stream import sse

Pairs = list[tuple[str, object]]

WORDS: dict[str, tuple[bytes, ...]] = {
    "head": (
        *(b"POST ", b"GET ", b"/v1/chat/completions", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n"),
        *(b"host: a\r\n", b"content-length: ", b"3", b"0", b"transfer-encoding: ", b"chunked", b"gzip", b", ", b":"),
        *(b"expect: 100-continue\r\n", b"connection: upgrade\r\n", b"upgrade: x\r\n", b" ", b"\t", b"\x00", b";a=b"),
        *(b"POST / HTTP/1.1\r\nhost: a\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"+", b"0x", b"trailer: x\r\n", b"\xff"),
    ),
    "json": (
        *(b"{", b"}", b"[", b"]", b":", b",", b'"', b'"model"', b'"Model"', b'"stream"', b'"a"', b'"\\u0061"', b"null"),
        *(b'"mode\\u006c"', b"true", b"false", b"1", b"-0", b"1e9", b'"x"', b" ", b"\t", b"\n", b"\\", b'\\"', b"\\u"),
        *(b"\\ud83d", b"\\ude00", b'"\\u0000"', b"\xc3\xa9", b"\xed\xa0\x80", b"\xff", b'{"a":1}', b'"messages":[]'),
    ),
    "form": (
        *(b"--cut", b"--cut--", b"\r\n", b"\n", b"\r", b"--", b"-", b"Content-Disposition: form-data", b"; "),
        *(b'name="model"', b'name="stream"', b"name=model", b'name="a"', b"filename*=utf-8''a%22"),
        b'filename="a\\"b"',
        *(b"Content-Type: text/plain", b"; charset=utf-16", b";", b"\r\n\r\n", b"value", b'"', b"\\", b" ", b":", b"="),
        b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n',
        b'--cut\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n',
        b"Content-Transfer-Encoding: base64\r\n",
    ),
    "sse": (
        *(b"data: ", b"data:", b"data", b"event: error", b"id: 1", b": c", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r"),
        *(b"[DONE]", b"{}", b'{"a":"b"}', b"\xef\xbb\xbf", b" ", b"\x00", b"\xff", b"data: [DONE]\n\n", b"x"),
    ),
    "query": (
        *(b"api-version", b"=", b"&", b"2024-10-21", b"%", b"%2d", b"+", b"api%2Dversion", b"v1", b"preview", b";"),
        *(b"%00", b"a", b"#", b"?", b"&&", b"=="),
    ),
}


def spelt(data: bytes, words: Sequence[bytes]) -> bytes:
    """Return what some bytes spell: a word each, or themselves behind the last word's number."""
    return b"".join(words[each] if each < len(words) else bytes([each]) for each in data)


class _Heard:
    """What a request parser tells, the parts of a body joined."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.held = b""

    def begin(self, head: Head) -> None:
        with contextlib.suppress(CallerError):
            check_head(head.version, head.headers, max_bytes=65536, allowed_hosts=())
            assert [name for name, _ in head.headers].count(b"content-length") < 2
        self.told += [head, b""]

    def take(self, data: bytes) -> None:
        body = self.told.pop()
        assert isinstance(body, bytes)
        self.told.append(body + data)

    def end(self) -> None:
        self.told.append("end")

    def hold(self, data: bytes) -> None:
        self.held += data

    def refuse(self, error: CallerError) -> None:
        assert error.status in (400, 431), error
        self.told.append(error.code)


def _requests(parts: Sequence[bytes]) -> list[object]:
    heard = _Heard()
    parser = RequestParser(heard, 65536)
    for part in parts:
        parser.feed(part)
        while heard.held:  # as if each handshake of a WebSocket was refused
            held, heard.held = heard.held, b""
            parser.feed(held)
    parser.close()
    return heard.told


def _every_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def check_requests(data: bytes) -> None:
    """A connection's bytes mean the same, however they are split."""
    assert _requests([data]) == _requests(_every_byte(data))


def check_json(data: bytes) -> None:
    """What is taken is one JSON object to another reader as well; a change changes what it says and no more."""
    try:
        read = Fields(data)
    except CallerError:
        return
    pairs: Pairs = json.loads(data, object_pairs_hook=lambda pairs: pairs)
    before = dict(pairs)
    assert len(before) == len(pairs)
    assert list(before) == list(read.names)
    for name, value in before.items():
        if isinstance(value, str):
            assert read.text(name) == value
    read.set("model", b'"m"')
    read.remove("a")
    read.rename("stream", "b")
    after = before | {"model": "m"}
    after.pop("a", None)
    if "stream" in after:
        value = after.pop("stream")
        if after.get("b") is None:
            after["b"] = value
    written: Pairs = json.loads(read.bytes(), object_pairs_hook=lambda pairs: pairs)
    assert len(written) == len(after)
    assert dict(written) == after


Parts = list[tuple[str, bytes]]


def _by_email(raw: bytes, content_type: bytes) -> Parts:
    message = BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + content_type + b"\r\n\r\n" + raw)
    found = []
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        assert isinstance(content, bytes)
        assert isinstance(name, str)
        found.append((name, content))
    return found


def _by_werkzeug(raw: bytes, content_type: bytes) -> Parts:
    from werkzeug.sansio import multipart as forms  # only the long search has it

    decoder = forms.MultipartDecoder(content_type.partition(b"boundary=")[2])
    decoder.receive_data(raw)
    decoder.receive_data(None)
    found: Parts = []
    while not isinstance(event := decoder.next_event(), forms.Epilogue):
        if isinstance(event, forms.Field | forms.File):
            found.append((event.name, b""))
        elif isinstance(event, forms.Data):
            found[-1] = (found[-1][0], found[-1][1] + event.data)
    return found


def _by_multipart(raw: bytes, content_type: bytes) -> Parts:
    import multipart as forms

    parser = forms.PushMultipartParser(content_type.partition(b"boundary=")[2].decode(), strict=True)
    found: Parts = []
    for event in parser.parse(raw):
        if isinstance(event, forms.MultipartSegment):
            found.append((event.name, b""))
        elif event:
            found[-1] = (found[-1][0], found[-1][1] + bytes(event))
    return found


OTHER_READERS: dict[str, Callable[[bytes, bytes], Parts]] = {
    "email": _by_email,
    "werkzeug": _by_werkzeug,
    "multipart": _by_multipart,
}


def check_form(data: bytes, readers: Sequence[str] = ("email",)) -> None:
    """What is written of a form means the same to us and to readers that share no code with ours."""
    try:
        form = Form(data, b"multipart/form-data; boundary=cut")
        asked = form.text("model")
    except CallerError:
        return
    written = form.write({})
    again = Form(written, form.content_type)
    assert again.text("model") == asked
    assert again.files == form.files
    first = OTHER_READERS[readers[0]](written, form.content_type)
    assert dict(first).get("model") == (asked.encode() if asked is not None else None)
    for reader in readers[1:]:
        assert OTHER_READERS[reader](written, form.content_type) == first, reader


def _framed(parts: Sequence[bytes]) -> bytes:
    framer = sse.Framer(1 << 20)
    return b"".join([*map(framer.feed, parts), framer.finish()])


def _said(framed: bytes) -> list[bytes]:
    return [sse.data_of(event) for event in sse.split(framed) if event.strip(b"\r\n")]


def check_events(data: bytes) -> None:
    """Events are the same however they are split, and none is made or lost by taking them apart."""
    framed = _framed([data])
    # A blank line between events may leave with the one before it or with the one behind it.
    assert _said(framed) == _said(_framed(_every_byte(data)))
    assert data.startswith(framed) or framed.rstrip(b"\n") == data.rstrip(b"\r\n")[: len(framed.rstrip(b"\n"))]
    events = list(sse.split(framed))
    assert b"".join(events) == framed
    for event in events:
        said = sse.data_of(event)
        assert b"\n" not in said or b"\n" in event or b"\r" in event
        again = sse.data_of(sse.write(said))
        assert again == said


def check_query(data: bytes) -> None:
    """The version in a query is the one that another reader finds, or the query is refused."""
    query = data.decode("latin-1")
    try:
        route = routes.find("POST", "/openai/responses", query)
    except CallerError:
        return
    found = {value for name, value in parse_qsl(query, keep_blank_values=True) if name == "api-version"}
    assert found == ({route.api_version} if route.api_version is not None else set())


CHECKS: dict[str, Callable[[bytes], None]] = {
    "head": check_requests,
    "json": check_json,
    "form": check_form,
    "sse": check_events,
    "query": check_query,
}


def _functions() -> Iterator[types.FunctionType]:
    """Yield the functions whose branches guide the search."""
    import python_multipart.multipart

    for module in (fields, form, parsing, routes, sse, head, python_multipart.multipart):
        for owner in (module, *(each for each in vars(module).values() if isinstance(each, type))):
            for each in vars(owner).values():
                if isinstance(each, types.FunctionType) and each.__module__ == module.__name__:
                    yield each


def search(target: str, seconds: int, folder: str) -> None:
    """Search with atheris, from what an earlier search has kept in ``folder``."""
    import atheris

    for function in _functions():
        atheris.instrument_func(function)
    check, words = CHECKS[target], WORDS[target]
    if target == "form":
        check = partial(check_form, readers=tuple(OTHER_READERS))
    options = [f"-max_total_time={seconds}", "-max_len=300", "-print_final_stats=1", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, folder], lambda data: check(spelt(data, words)))
    atheris.Fuzz()


if __name__ == "__main__":
    if not re.fullmatch(r"\d+", sys.argv[2]):
        sys.exit("python -m tests.fuzzing TARGET SECONDS FOLDER")
    search(sys.argv[1], int(sys.argv[2]), sys.argv[3])
