"""What a parser's worst input costs, beside plain input of the same size in the same run."""

import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from statistics import median

import pytest
from tests.rows import rows

from chukei.accounts.estimate import Estimator
from chukei.azure import CHAT
from chukei.errors import CallerError
from chukei.hosts.body import BodyParts
from chukei.model import Model
from chukei.request import routes
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.request.form import Form
from chukei.stream import sse
from chukei.upstream.explanation import explanation
from chukei.upstream.writing import fill

SIZES = [size * 1024 for size in (256, 512, 1024)]
TYPE = b"multipart/form-data; boundary=cut"
HEAD = b"--cut\r\nContent-Disposition: form-data; name="
MODEL = Model("m", ())
Maker = Callable[[int], bytes]


def filled(pattern: bytes, size: int) -> bytes:
    return pattern * (size // len(pattern))


def form(value: bytes) -> bytes:
    return HEAD + b"file\r\n\r\n" + value + b"\r\n--cut--"


def repeated(before: bytes, pattern: bytes, behind: bytes = b"") -> Maker:
    return lambda size: before + filled(pattern, size) + behind


def chat(before: bytes, pattern: bytes, behind: bytes = b"") -> Maker:
    return repeated(b'{"messages":[' + before, pattern, behind + b"]}")


TURN = b'{"role":"user","content":"' + b"plain words, as they are " * 16 + b'"}'
PLAIN_JSON = chat(TURN, b"," + TURN)
"""A conversation in ASCII, with messages of 400 characters."""

JSON: dict[str, Maker] = {
    "a long name": repeated(b'{"', b"a", b'":1}'),
    "a long name of escapes": repeated(b'{"', b"\\u0061", b'":1}'),
    "many names": lambda size: b"{" + b",".join(b'"%d":1' % number for number in range(size // 10)) + b"}",
    "one name many times": repeated(b"{", b'"a":1,', b'"b":1}'),
    "a long number": repeated(b'{"a":', b"1", b"}"),
    "deep": repeated(b"", b'{"a":'),
    "deep lists": repeated(b'{"a":', b"["),
    "white space": repeated(b'{"messages":[{}]', b" ", b"}"),
    "white space inside": chat(b"{}", b" "),
    "numbers": chat(b"1", b",1"),
    "lists": chat(b"[]", b",[]"),
    "empty messages": chat(b"{}", b",{}"),
    "short texts": chat(b'""', b',""'),
    "escapes": chat(b'{"content":"', b"\\u0000", b'"}'),
    "letters as escapes": chat(b'{"content":"', b"\\u0020", b'"}'),
    "surrogates": chat(b'{"content":"', b"\\ud83d\\ude00", b'"}'),
    "quotation marks": chat(b'{"content":"', b'\\"', b'"}'),
    "one wide character": chat(b'{"content":"\xf0\x9f\x98\x80', b"a", b'"}'),
    "wide characters": chat(b'{"content":"', "深い".encode(), b'"}'),
    "images": chat(b"{}", b',{"image_url":1}'),
    "sounds": chat(b'{"type":"input_audio"}', b',{"data":""}'),
    "pictures without an end": chat(b'{"type":"input_image"}', b',{"url":"data:' + b"x" * 119 + b'"}'),
    "keys behind white space": chat(b'{"type":"input_image"}', b',{"data"' + b" " * 60 + b":1}"),
}
FORMS: dict[str, Maker] = {
    "a long name": lambda size: HEAD + b'"' + filled(b"a", size) + b'"\r\n\r\nx\r\n--cut--',
    "parameters": lambda size: HEAD + b"a" + filled(b";a=b", size) + b"\r\n\r\nx\r\n--cut--",
    "line ends": lambda size: form(filled(b"\r\n", size)),
    "beginnings of boundaries": lambda size: form(filled(b"\r\n--cu", size)),
    "letters of boundaries": lambda size: form(filled(b"c", size)),
    "boundaries that go on": lambda size: form(filled(b"\r\n--cutter", size)),
    "parts": lambda size: filled(HEAD + b"a\r\n\r\n\r\n", size) + b"--cut--",
    "head fields": lambda size: b"--cut\r\n" + filled(b"a: b\r\n", size),
    "a preamble": lambda size: filled(b"\r\n", size) + form(b""),
    "an epilogue": lambda size: form(b"") + filled(b"\r\n", size),
}
EVENTS: dict[str, Maker] = {
    "no line end": repeated(b"data: ", b"a"),
}
ERRORS: dict[str, Maker] = {
    "tags that do not end": repeated(b"wrong ", b"<a"),
    "a tag that does not end": repeated(b"wrong <a", b"a"),
    "brackets": repeated(b"wrong ", b"<"),
    "ends of tags": repeated(b"wrong ", b"</"),
    "deep": repeated(b"", b'{"a":'),
    "white space": repeated(b"a", b" ", b"b"),
    "control characters": repeated(b"a", b"\x01"),
}


def costs(parse: Callable[[bytes], object], inputs: list[bytes]) -> list[float]:
    """Return the least CPU time that each input took; they take turns, so that a busy machine hinders all alike."""
    least = [float("inf")] * len(inputs)
    for _ in range(5):
        for place, data in enumerate(inputs):
            begun = time.process_time()
            with suppress(CallerError):
                parse(data)
            least[place] = min(least[place], time.process_time() - begun)
    return least


def memory(parse: Callable[[bytes], object], data: bytes) -> int:
    tracemalloc.start()
    try:
        with suppress(CallerError):
            parse(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_json(data: bytes) -> bytes:
    """Do all that is done with a chat's body: read it, weigh it, write it anew."""
    fields = Fields(data)
    call = Call(CHAT, None, False, False, None, [], fields, len(data), data)
    Estimator().amounts(call, MODEL)
    fields.set("model", b'"m"')
    fill(fields, CHAT, MODEL)
    return fields.bytes()


def read_form(data: bytes) -> bytes:
    return Form(data, TYPE).write({"model": "m"})


def read_events(data: bytes) -> bytes:
    framer = sse.Framer(8 << 20)
    framed = b"".join([framer.feed(data[begin : begin + 64]) for begin in range(0, len(data), 64)])
    return framed + framer.finish()


def read_error(data: bytes) -> object:
    return explanation(data, b"text/plain")


READERS: dict[str, tuple[Callable[[bytes], object], Maker, dict[str, Maker]]] = {
    "json": (read_json, PLAIN_JSON, JSON),
    "form": (read_form, lambda size: form(filled(b"plain words ", size)), FORMS),
    "events": (read_events, repeated(b"", b'data: {"a":"b"}\n\n'), EVENTS),
    "errors": (read_error, repeated(b"", b"plain words "), ERRORS),
}


MOST = {"json": 6}
"""A conversation is long strings, which the compiled JSON parser passes over at 0.4 ms for a MiB; a list of empty lists
is a token every third byte, at 13 ns each. That alone is 3 to 5 times, by Python's version, and nothing of ours."""


@rows("name", READERS)
def test_the_worst_input_costs_about_what_plain_input_costs(name: str) -> None:
    parse, plain, worst = READERS[name]
    for tries_left in (2, 1, 0):  # processors share caches and heat, which CPU time does not leave out
        found = [costs(parse, [plain(size), *(make(size) for make in worst.values())]) for size in SIZES]
        ratios = {kind: median(each[place] / each[0] for each in found) for place, kind in enumerate(worst, start=1)}
        if max(ratios.values()) <= MOST.get(name, 4):
            return
        assert tries_left, f"times plain input: {ratios}"


@rows("name", READERS)
def test_no_input_takes_more_than_four_times_its_memory(name: str) -> None:
    parse, _, worst = READERS[name]
    for kind, make in worst.items():
        data = make(SIZES[1])
        assert memory(parse, data) <= 3 * len(data) + 64 * 1024, kind  # beside the input itself


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
