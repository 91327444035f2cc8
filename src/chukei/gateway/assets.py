"""The files of the pages as answers: compressed if that helps, and not sent again to a browser that has them."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from chukei.model import Headers, header

_WORTH_COMPRESSING = 256
"""Bytes; what is shorter fits into the same packet either way."""


_LASTING = b"public, max-age=31536000, immutable"
"""A year, the longest time that RFC 2616 §14.21 allowed, and RFC 8246: not to be asked for again at a reload either."""


@dataclass(frozen=True)
class Asset:
    """A file of the pages. ``lasting`` says whether its address always names this content."""

    content_type: str
    content: bytes
    lasting: bool = False

    @cached_property
    def tag(self) -> bytes:
        """The entity tag. It is weak, since it is the same for the compressed and the plain form."""
        return b'W/"%b"' % sha256(self.content).hexdigest()[:20].encode()

    @cached_property
    def zipped(self) -> bytes:
        """The content, compressed with gzip."""
        from zlib import compressobj  # imported for the first page that is served

        gzip = compressobj(wbits=31)
        return gzip.compress(self.content) + gzip.flush()

    def answer_to(self, request: Headers) -> tuple[int, Headers, bytes]:
        """Return the status, the header fields and the body for a request with these header fields.

        The status is 304, without a body, if the client named the tag of what it has in ``if-none-match``.
        """
        caching = _LASTING if self.lasting else b"no-cache"
        fields = [(b"etag", self.tag), (b"vary", b"accept-encoding"), (b"cache-control", caching)]
        if self.tag.removeprefix(b"W/") in (header(request, b"if-none-match") or b""):
            return 304, fields, b""
        fields.append((b"content-type", self.content_type.encode()))
        body = self.content
        if len(body) >= _WORTH_COMPRESSING and _accepts_gzip(header(request, b"accept-encoding") or b""):
            fields.append((b"content-encoding", b"gzip"))
            body = self.zipped
        return 200, [*fields, (b"content-length", str(len(body)).encode())], body


def _accepts_gzip(accepted: bytes) -> bool:
    """Whether ``accept-encoding`` names gzip without forbidding it by a weight of zero."""
    for part in accepted.lower().split(b","):
        name, _, weight = part.replace(b" ", b"").partition(b";q=")
        if name == b"gzip":
            return weight.strip(b"0.") != b"" or not weight
    return False
