"""Decompression of request bodies (RFC 9110 §8.4.1), in slices, so that the caller can bound the result."""

import zlib
from collections.abc import Iterator

from chukei.errors import CallerError
from chukei.model import Headers, header

ACCEPTED = ("gzip", "deflate", "identity")
SLICE = 256 * 1024
"""Bytes that are decompressed at a time, in about a millisecond."""

_GZIP = 16 + zlib.MAX_WBITS


def coding_of(headers: Headers) -> str | None:
    """Return the content coding of a body, or None if it is not compressed.

    Raises:
        CallerError: 415 for an unsupported coding, or for more than one.
    """
    given = (header(headers, b"content-encoding") or b"").strip().lower().removeprefix(b"x-")
    if given in (b"", b"identity"):
        return None
    if given in (b"gzip", b"deflate"):
        return given.decode()
    message = "'Content-Encoding' may be gzip or deflate, once; or send the body as it is, without it."
    accept = (b"accept-encoding", ", ".join(ACCEPTED).encode())  # RFC 9110 §15.5.16
    raise CallerError(415, "unsupported_content_encoding", message, headers=[accept])


def plain(raw: bytes, coding: str) -> Iterator[bytes]:
    """Yield a decompressed body in slices; the caller stops when the total is too large.

    Raises:
        CallerError: 400 if the body is damaged, is truncated, or has trailing data.
    """
    # "deflate" means the zlib format, but some clients omit zlib's two-byte header (RFC 9110 §8.4.1.2).
    framed = len(raw) > 1 and raw[0] & 15 == 8 and (raw[0] << 8 | raw[1]) % 31 == 0
    bits = _GZIP if coding == "gzip" else zlib.MAX_WBITS if framed else -zlib.MAX_WBITS
    reader, view = zlib.decompressobj(bits), memoryview(raw)
    position, rest = 0, b""
    while not reader.eof:
        if not rest:
            rest = bytes(view[position : position + SLICE])
            position += len(rest)
        try:
            made = reader.decompress(rest, SLICE)
        except zlib.error:
            raise _damaged(coding, "it is damaged") from None
        exhausted = not rest and not made
        rest = reader.unconsumed_tail
        if made:
            yield made
        elif exhausted and not reader.eof:
            raise _damaged(coding, "it ends too early")
    if reader.unused_data or position < len(raw):
        raise _damaged(coding, "more follows its end")


def _damaged(coding: str, why: str) -> CallerError:
    message = f"The request's body cannot be read as its 'Content-Encoding: {coding}': {why}."
    return CallerError(400, "invalid_content_encoding", message)
