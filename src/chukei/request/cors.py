"""Which other sites' pages may call: the CORS protocol of WHATWG Fetch. Pure."""

from chukei.model import Headers, header

_EXPOSED = (
    b"x-request-id, retry-after, retry-after-ms, x-should-retry, location, apim-request-id, x-ms-region,"
    b" x-chukei-deployment, x-chukei-simulator"
)
_METHODS = b"GET, POST, DELETE, OPTIONS"
_MAX_AGE = b"600"


class Cors:
    """Answers for a list of allowed origins; ``*`` allows every one."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def _allowed(self, headers: Headers) -> bytes | None:
        origin = header(headers, b"origin")
        return origin if origin is not None and (self._any or origin in self._origins) else None

    def answer(self, headers: Headers) -> Headers:
        """Return the fields for an answer to this request."""
        if not self._origins:
            return []
        origin = self._allowed(headers)
        vary = (b"vary", b"origin")
        if origin is None:
            return [vary]
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED), vary]

    def preflight(self, headers: Headers) -> Headers | None:
        """Return the fields that allow what the browser asks, or None to refuse."""
        origin = self._allowed(headers)
        if origin is None:
            return None
        wanted = header(headers, b"access-control-request-headers") or b""
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", wanted),
            (b"access-control-max-age", _MAX_AGE),
            (b"vary", b"origin, access-control-request-headers"),
        ]
