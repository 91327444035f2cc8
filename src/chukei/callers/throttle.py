"""How often one source may fail to say who it is. Pure: time is passed in, memory is bounded.

A bucket for each source holds a minute's allowance and refills evenly. It is looked at only when a credential has
failed, so a valid one from the same source, such as a colleague behind the same router, always passes.
"""

import ipaddress
from functools import lru_cache

from chukei.ports import Clock

MAX_SOURCES = 10_000
"""How many sources are remembered; beyond that the one that failed longest ago is forgotten."""

_IPV6_SITE = 64
"""Bits of an IPv6 address that are given out together, so what one subscriber has at least (RFC 6177)."""


_ROUNDING = 1e-9


class Throttle:
    """Counts failures. ``per_minute`` of 0 counts none."""

    def __init__(self, per_minute: int, clock: Clock, *, max_sources: int = MAX_SOURCES) -> None:
        self._allowance = float(per_minute)
        self._rate = per_minute / 60.0
        self._clock = clock
        self._max_sources = max_sources
        self._left: dict[str, tuple[float, float]] = {}  # allowance left, and when; the latest to fail last

    def failed(self, address: str) -> float | None:
        """Take note of a failure. Return the seconds until the next one is due if this was one too many, else None."""
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
        """How many sources are remembered."""
        return len(self._left)


@lru_cache(1024)
def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 address; else the text itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_SITE), strict=False))
