"""The pages' files as answers."""

import gzip

import pytest

from chukei.gateway.assets import Asset

LONG = b"export const WORD = 1;\n" * 100
FILE = Asset("text/javascript; charset=utf-8", LONG)


def test_a_file_comes_with_its_type_its_length_and_its_tag() -> None:
    status, fields, body = FILE.answer_to([])
    assert (status, body) == (200, LONG)
    assert dict(fields) == {
        b"etag": FILE.tag,
        b"vary": b"accept-encoding",
        b"cache-control": b"no-cache",
        b"content-type": b"text/javascript; charset=utf-8",
        b"content-length": str(len(LONG)).encode(),
    }


@pytest.mark.parametrize("accepted", [b"gzip", b"br, GZIP", b"gzip;q=0.5", b"deflate, gzip; q=1.0, *;q=0"])
def test_it_is_compressed_for_whom_can_read_that(accepted: bytes) -> None:
    _, fields, body = FILE.answer_to([(b"accept-encoding", accepted)])
    assert gzip.decompress(body) == LONG
    assert len(body) < len(LONG) / 10
    assert dict(fields)[b"content-encoding"] == b"gzip"
    assert dict(fields)[b"content-length"] == str(len(body)).encode()


@pytest.mark.parametrize("accepted", [b"", b"identity", b"br", b"gzip;q=0", b"gzip; q=0.000", b"x-gzipped"])
def test_it_is_plain_for_others(accepted: bytes) -> None:
    _, fields, body = FILE.answer_to([(b"accept-encoding", accepted)])
    assert body == LONG
    assert b"content-encoding" not in dict(fields)


def test_a_short_file_is_plain() -> None:
    assert Asset("image/svg+xml", b"<svg/>").answer_to([(b"accept-encoding", b"gzip")])[2] == b"<svg/>"


@pytest.mark.parametrize("seen", [FILE.tag, FILE.tag.removeprefix(b"W/"), b'"other", ' + FILE.tag])
def test_what_the_browser_has_is_not_sent_again(seen: bytes) -> None:
    status, fields, body = FILE.answer_to([(b"if-none-match", seen), (b"accept-encoding", b"gzip")])
    assert (status, body) == (304, b"")
    assert dict(fields) == {b"etag": FILE.tag, b"vary": b"accept-encoding", b"cache-control": b"no-cache"}


@pytest.mark.parametrize("seen", [b"", FILE.tag])
def test_what_lasts_is_kept_without_asking(seen: bytes) -> None:
    lasting = Asset(FILE.content_type, LONG, lasting=True)
    status, fields, _ = lasting.answer_to([(b"if-none-match", seen)])
    assert status == (304 if seen else 200)
    assert dict(fields)[b"cache-control"] == b"public, max-age=31536000, immutable"


def test_another_content_has_another_tag() -> None:
    other = Asset(FILE.content_type, LONG + b"\n")
    assert other.answer_to([(b"if-none-match", FILE.tag)])[0] == 200
