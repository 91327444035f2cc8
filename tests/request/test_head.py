"""A request's head: what two parsers could read differently goes no further."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.errors import CallerError
from chukei.model import Headers
from chukei.request import head

HOST = (b"host", b"localhost:7221")


def check(headers: Headers, version: str = "1.1", *, max_bytes: int = 65536, hosts: tuple[str, ...] = ()) -> None:
    head.check_head(version, headers, max_bytes=max_bytes, allowed_hosts=hosts)


GOOD: list[Headers] = [
    [HOST],
    [HOST, (b"content-length", b"0")],
    [HOST, (b"content-length", b"16777216")],
    [HOST, (b"transfer-encoding", b"chunked")],
    [HOST, (b"transfer-encoding", b"Chunked")],
    [HOST, (b"cookie", b"a=1"), (b"cookie", b"b=2")],
    [HOST, (b"x-text", "中\tb".encode())],
    [HOST, (b"x-empty", b"")],
    [(b"host", b"[::1]:7221")],
    [(b"host", b"example.com")],
]


@rows("headers", GOOD)
def test_ordinary_heads_pass(headers: Headers) -> None:
    check(headers)


BAD: list[tuple[Headers, str]] = [
    ([], "1.1"),
    ([HOST, HOST], "1.1"),
    ([HOST, (b"host", b"other")], "1.1"),
    ([(b"host", b"")], "1.1"),
    ([(b"host", b"a b")], "1.1"),
    ([(b"host", b"a/b")], "1.1"),
    ([(b"host", b"user@a")], "1.1"),
    ([(b"host", b"a:port")], "1.1"),
    ([(b"host", b"a:1:2")], "1.1"),
    ([(b"host", b"a,b")], "1.1"),
    ([(b"host", b"a\x00")], "1.1"),
    ([HOST, (b"content-length", b"1"), (b"content-length", b"1")], "1.1"),
    ([HOST, (b"content-length", b"1, 1")], "1.1"),
    ([HOST, (b"content-length", b"+1")], "1.1"),
    ([HOST, (b"content-length", b"-1")], "1.1"),
    ([HOST, (b"content-length", b"0x1")], "1.1"),
    ([HOST, (b"content-length", b"1_0")], "1.1"),
    ([HOST, (b"content-length", b"")], "1.1"),
    ([HOST, (b"content-length", "\u0661".encode())], "1.1"),
    ([HOST, (b"content-length", b"9" * 16)], "1.1"),
    ([HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")], "1.1"),
    ([HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1"),
    ([HOST, (b"transfer-encoding", b"chunked, chunked")], "1.1"),
    ([HOST, (b"transfer-encoding", b"identity")], "1.1"),
    ([HOST, (b"transfer-encoding", b"xchunked")], "1.1"),
    ([HOST, (b"transfer-encoding", b"chunked")], "1.0"),
    ([HOST, (b"x", b"a\nb")], "1.1"),
    ([HOST, (b"x", b"a\rb")], "1.1"),
    ([HOST, (b"x", b"\x00")], "1.1"),
    ([HOST, (b"x\x00", b"")], "1.1"),
    ([HOST, (b"x y", b"")], "1.1"),
    ([HOST, (b"", b"")], "1.1"),
    ([HOST, (b"x:", b"")], "1.1"),
    ([HOST, (b"transfer-encoding ", b"chunked")], "1.1"),
    ([HOST, (b"content-type", b"a"), (b"content-type", b"b")], "1.1"),
    ([HOST, (b"authorization", b"a"), (b"authorization", b"a")], "1.1"),
    ([HOST, (b"api-key", b"a"), (b"api-key", b"b")], "1.1"),
    ([HOST, (b"x-api-key", b"a"), (b"x-api-key", b"b")], "1.1"),
    ([HOST, (b"origin", b"a"), (b"origin", b"b")], "1.1"),
    ([HOST, (b"x-request-id", b"a"), (b"x-request-id", b"b")], "1.1"),
]


@rows(("headers", "version"), BAD)
def test_ambiguous_heads_are_refused(headers: Headers, version: str) -> None:
    with pytest.raises(CallerError) as caught:
        check(headers, version)
    assert (caught.value.status, caught.value.code) == (400, "ambiguous_request")


def test_two_transfer_codings_are_refused_whatever_their_order() -> None:
    codings = [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity")]
    for order in (codings, codings[::-1], [codings[0]] * 2):
        with pytest.raises(CallerError):
            check([HOST, *order])


def test_http_1_0_needs_no_host() -> None:
    check([], "1.0")


def test_the_size_and_number_of_fields_are_bounded() -> None:
    check([HOST] + [(b"x", b"")] * (head.MAX_FIELDS - 1))
    for headers in ([HOST] + [(b"x", b"")] * head.MAX_FIELDS, [HOST, (b"x", b"y" * 65536)]):
        with pytest.raises(CallerError) as caught:
            check(headers)
        assert (caught.value.status, caught.value.code) == (431, "headers_too_large")
    size = len(b"".join(HOST))
    check([HOST], max_bytes=size)
    with pytest.raises(CallerError):
        check([HOST], max_bytes=size - 1)


@rows("host", [b"relay.example", b"Relay.Example", b"relay.example:8443", b"[::1]", b"[::1]:80"])
def test_allowed_hosts_are_served_with_any_port(host: bytes) -> None:
    check([(b"host", host)], hosts=("relay.example", "[::1]"))


@rows("host", [b"evil.example", b"xrelay.example", b"relay.example.evil", b"127.0.0.1"])
def test_other_hosts_are_not(host: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        check([(b"host", host)], hosts=("relay.example",))
    assert (caught.value.status, caught.value.code) == (421, "unknown_host")


@rows("given_id", [b"abc", b"a1b2-c3.d4:e5/f6+g7=h_8", b"x" * 128])
def test_a_sane_request_id_is_kept(given_id: bytes) -> None:
    assert head.request_id([(b"x-request-id", given_id)]) == given_id.decode()


@rows("given_id", [b"", b" ", b"x" * 129, b"a b", b"a\nb", b"<script>", b'"', "中".encode(), b"\x00"])
def test_another_one_is_replaced(given_id: bytes) -> None:
    made = head.request_id([(b"x-request-id", given_id)])
    assert made.startswith("req_")
    assert len(made) == 36


def test_made_ids_differ() -> None:
    assert len({head.request_id([]) for _ in range(100)}) == 100


@given(headers=st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=5))
def test_any_head_passes_or_is_refused(headers: Headers) -> None:
    with suppress(CallerError):
        check([HOST, *headers])
        assert not re.search(rb"[\r\n\x00]", b"".join(name + value for name, value in headers))
    assert head.request_id(headers).isprintable()
