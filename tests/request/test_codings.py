"""Compressed request bodies."""

import gzip
import zlib
from itertools import islice

import pytest
from tests.rows import rows

from chukei.errors import CallerError
from chukei.request.codings import SLICE, coding_of, plain

BODY = b'{"model":"m","input":"' + bytes(range(32, 34)) * 400_000 + b'"}'


def raw_deflate(data: bytes) -> bytes:
    writer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return writer.compress(data) + writer.flush()


SENT = [("gzip", gzip.compress(BODY)), ("deflate", zlib.compress(BODY)), ("deflate", raw_deflate(BODY))]


@rows(("coding", "sent"), SENT)
def test_what_was_compressed_comes_back_in_slices(coding: str, sent: bytes) -> None:
    parts = list(plain(sent, coding))
    assert b"".join(parts) == BODY
    assert max(map(len, parts)) <= SLICE


@rows(("coding", "sent"), SENT)
@rows("change", [lambda sent: sent[:-9], lambda sent: sent + b"x", lambda sent: b"", lambda sent: b"{}"])
def test_what_is_damaged_is_refused(coding: str, sent: bytes, change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CallerError) as caught:
        list(plain(change(sent), coding))
    assert (caught.value.status, caught.value.code) == (400, "invalid_content_encoding")


def test_no_more_is_made_than_is_asked_for() -> None:
    bomb = gzip.compress(bytes(64 * SLICE))
    assert sum(map(len, islice(plain(bomb, "gzip"), 3))) == 3 * SLICE


@rows("coding", [b"br", b"zstd", b"gzip, gzip", b"gzip,identity", b"compress"])
def test_other_codings_are_refused_and_those_that_are_read_are_named(coding: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        coding_of([(b"content-encoding", coding)])
    assert (caught.value.status, dict(caught.value.headers)[b"accept-encoding"]) == (415, b"gzip, deflate, identity")


def test_no_coding() -> None:
    assert [coding_of([]), coding_of([(b"content-encoding", b"Identity")])] == [None, None]
    assert coding_of([(b"content-encoding", b"X-GZip")]) == "gzip"
