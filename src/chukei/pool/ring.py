"""Consistent hashing (Karger et al., 1997): a key maps to the same deployment on every replica, even if other
deployments are added or removed. Pure."""

import hashlib
from bisect import bisect
from collections.abc import Iterator, Sequence

POINTS = 1024
"""Points on the ring for a deployment of average weight. The share of n points deviates by about 1/√n, here 3 %."""

MOST_POINTS = 16_384
"""Points on the ring in all. With many deployments each has fewer, so that building the ring takes milliseconds."""


def digest(text: bytes) -> int:
    """Return the position of a text on the ring. Unlike ``hash``, it is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class Ring:
    """Deployments by name and weight. ``walk`` yields their indices."""

    def __init__(self, owners: Sequence[tuple[str, int]]) -> None:
        each = max(min(POINTS, MOST_POINTS // len(owners)), 1)
        average = sum(weight for _, weight in owners) / len(owners)
        points = sorted(
            (digest(b"%d %s" % (number, name.encode())), index)
            for index, (name, weight) in enumerate(owners)
            for number in range(max(round(each * weight / average), 1))
        )
        self._places = [place for place, _ in points]
        self._owners = [owner for _, owner in points]
        self._count = len(owners)

    def walk(self, key: int) -> Iterator[int]:
        """Yield the index of each deployment once, beginning with the one to which the key maps."""
        seen: set[int] = set()
        start = bisect(self._places, key)
        for step in range(len(self._owners)):
            owner = self._owners[(start + step) % len(self._owners)]
            if owner not in seen:
                seen.add(owner)
                yield owner
                if len(seen) == self._count:
                    return
