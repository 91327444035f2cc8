"""What a parser's worst input costs, beside plain input of the same size in the same run."""

import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from statistics import median

import pytest

from chukei import routes
from chukei.errors import CallerError
from chukei.fields import Fields
from chukei.hosts.cycle import BodyParts
from chukei.multipart import Form

SIZE = 2 * 1024 * 1024
TYPE = b"multipart/form-data; boundary=cut"
HEAD = b"--cut\r\nContent-Disposition: form-data; name="


def form(value: bytes) -> bytes:
    return HEAD + b"file\r\n\r\n" + value + b"\r\n--cut--"


def filled(pattern: bytes, size: int = SIZE) -> bytes:
    return pattern * (size // len(pattern))


PLAIN_JSON = b'{"a":"' + filled("深い".encode()) + b'"}'
"""Text of which each character is looked at."""

JSON = {
    "a long name": b'{"' + filled(b"a") + b'":1}',
    "a long name of escapes": b'{"' + filled(b"\\u0061") + b'":1}',
    "many names": b"{" + b",".join(b'"%d":1' % number for number in range(SIZE // 10)) + b"}",
    "one name many times": b"{" + filled(b'"a":1,') + b'"b":1}',
    "a long number": b'{"a":' + filled(b"1") + b"}",
    "escapes": b'{"a":"' + filled(b"\\u0000") + b'"}',
    "surrogates": b'{"a":"' + filled(b"\\ud83d\\ude00") + b'"}',
    "deep": filled(b'{"a":'),
    "deep lists": b'{"a":' + filled(b"["),
    "white space": b'{"a":1' + filled(b" ") + b"}",
    "quotation marks": b'{"a":"' + filled(b'\\"') + b'"}',
    "one wide character": b'{"a":"\xf0\x9f\x98\x80' + filled(b"a") + b'"}',
}
FORMS = {
    "a long name": HEAD + b'"' + filled(b"a") + b'"\r\n\r\nx\r\n--cut--',
    "parameters": HEAD + b"a" + filled(b";a=b") + b"\r\n\r\nx\r\n--cut--",
    "line ends": form(filled(b"\r\n")),
    "beginnings of boundaries": form(filled(b"\r\n--cu")),
    "boundaries that go on": form(filled(b"\r\n--cutter")),
    "parts": filled(HEAD + b"a\r\n\r\n\r\n") + b"--cut--",
    "head fields": b"--cut\r\n" + filled(b"a: b\r\n"),
    "a preamble": filled(b"\r\n") + form(b""),
    "an epilogue": form(b"") + filled(b"\r\n"),
}


def cost(parse: Callable[[bytes], object], data: bytes) -> float:
    times = []
    for _ in range(5):
        begun = time.process_time()
        with suppress(CallerError):
            parse(data)
        times.append(time.process_time() - begun)
    return median(times) / len(data)


def memory(parse: Callable[[bytes], object], data: bytes) -> int:
    tracemalloc.start()
    try:
        with suppress(CallerError):
            parse(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_form(data: bytes) -> bytes:
    return Form(data, TYPE).write({"model": "m"})


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in JSON.items()])
def test_hostile_json_costs_about_what_plain_json_costs(data: bytes) -> None:
    assert cost(Fields, data) <= 4 * cost(Fields, PLAIN_JSON)
    assert memory(Fields, data) <= 3 * len(data)  # beside the input itself


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in FORMS.items()])
def test_a_hostile_form_costs_about_what_a_plain_one_costs(data: bytes) -> None:
    assert cost(read_form, data) <= 4 * cost(read_form, form(filled(b"a")))
    assert memory(read_form, data) <= 3 * len(data)


def test_a_query_of_many_parameters_is_refused_before_it_is_split() -> None:
    for query in (filled(b"a&", 65536).decode(), filled(b"%61=%62&", 65536).decode()):
        with pytest.raises(CallerError) as caught:
            routes.find("POST", "/openai/responses", query)
        assert caught.value.code == "invalid_query"


def test_a_body_in_small_pieces_takes_its_own_size() -> None:
    def collect(data: bytes) -> bytes:
        parts = BodyParts()
        for start in range(0, len(data), 2):
            parts.add(data[start : start + 2])
        return parts.take()

    data = filled(b"ab", 256 * 1024)
    assert collect(data) == data
    assert memory(collect, data) <= 3 * len(data)
