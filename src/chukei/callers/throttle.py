"""A rate limit of failed authentications by source. Pure: time is passed in, memory is bounded.

Each source has a token bucket that holds a minute's allowance and refills evenly. It is consulted only after a failure,
so a valid credential from the same source, such as a colleague behind the same router, always passes.
"""

import ipaddress
from functools import lru_cache

from chukei.ports import Clock

MAX_SOURCES = 10_000
"""Sources remembered at most; beyond that the source that failed longest ago is dropped."""

_IPV6_SITE = 64
"""Prefix length of the smallest IPv6 network that a subscriber is assigned (RFC 6177)."""


_ROUNDING = 1e-9


class Throttle:
    """Counts failures. With ``per_minute`` 0 it is disabled."""

    def __init__(self, per_minute: int, clock: Clock, *, max_sources: int = MAX_SOURCES) -> None:
        self.allow(per_minute)
        self._clock = clock
        self._max_sources = max_sources
        self._left: dict[str, tuple[float, float]] = {}  # by source: allowance left, and when; in order of failures

    def allow(self, per_minute: int) -> None:
        """Change the limit; the failures so far still count."""
        self._allowance = float(per_minute)
        self._rate = per_minute / 60.0

    def failed(self, address: str) -> float | None:
        """Count a failure. Return the seconds to wait if it exceeds the limit, else None."""
        if not self._rate:
            return None
        source, now = source_of(address), self._clock()
        left, since = self._left.pop(source, (self._allowance, now))
        left = min(self._allowance, left + (now - since) * self._rate)
        exceeded = left < 1.0 - _ROUNDING
        if not exceeded:
            left -= 1.0
        self._left[source] = (left, now)
        if len(self._left) > self._max_sources:
            del self._left[next(iter(self._left))]
        return (1.0 - left) / self._rate if exceeded else None

    @property
    def sources(self) -> int:
        """The number of sources remembered."""
        return len(self._left)


@lru_cache(1024)
def source_of(address: str) -> str:
    """Return the source of an address: an IPv4 address itself, the /64 of an IPv6 address, or any other text."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_SITE), strict=False))
