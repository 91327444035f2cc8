"""The memory budget for request bodies: bytes and requests in memory, for each caller and for all."""

import math

from chukei.errors import CallerError, RelayError, Unavailable, come_back
from chukei.model import End

SHARE = 2
"""Divisor of the budget for one caller: one caller may hold one half of it."""

RETRY_SECONDS = 1.0
"""Seconds until a retry is worthwhile; most bodies are released by then."""


class Bodies:
    """A budget of ``most`` bytes for all callers together. A body is always admitted when it is the only one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held = 0
        self._callers: dict[str, list[int]] = {}  # by caller: requests, bytes

    @property
    def held(self) -> int:
        """Bytes in memory or announced."""
        return self._held

    def enter(self, caller: str, announced: int, concurrent: int | None, rule: str | None = None) -> "Hold":
        """Reserve memory for a body of ``announced`` bytes before it is read; 0 means that its length is unknown.

        ``concurrent`` is how many requests the caller may have at once, by ``rule``. One more is admitted here, so that
        the limit itself refuses it with its full error message.

        Raises:
            CallerError: 429, the caller has too many requests or too many bytes.
            Unavailable: 503, all callers together hold too many bytes.
        """
        mine = self._callers.setdefault(caller, [0, 0])
        hold = Hold(self, caller, mine)
        mine[0] += 1
        try:
            if concurrent is not None and mine[0] > concurrent + 1:
                raise _too_many(f"You have {concurrent} requests being served already, which is your limit", rule)
            hold.reach(announced)
        except RelayError:
            hold.leave()
            raise
        return hold

    def _add(self, mine: list[int], size: int, whole: int) -> None:
        if whole < mine[1] + size > self.most // SHARE:
            raise _too_many(
                "Your other requests' bodies take all the room that you may have", "server.max_bodies_bytes"
            )
        if whole < self._held + size > self.most:
            message = "Bodies of other requests take all the room that there is. Try again shortly."
            raise Unavailable("relay_busy", message, end=End.REFUSED, headers=come_back(RETRY_SECONDS))
        mine[1] += size
        self._held += size

    def _leave(self, caller: str, mine: list[int], size: int) -> None:
        mine[0] -= 1
        mine[1] -= size
        self._held -= size
        if not mine[0]:
            del self._callers[caller]


class Hold:
    """The reservation of one body."""

    __slots__ = ("_bodies", "_caller", "_left", "_mine", "_size")

    def __init__(self, bodies: Bodies, caller: str, mine: list[int]) -> None:
        self._bodies, self._caller, self._mine = bodies, caller, mine
        self._size = 0
        self._left = False

    def reach(self, size: int) -> None:
        """Grow the reservation to ``size`` bytes; a smaller size changes nothing.

        Raises:
            CallerError: 429, as for ``enter``.
            Unavailable: 503, as for ``enter``.
        """
        if size > self._size:
            self._bodies._add(self._mine, size - self._size, size)
            self._size = size

    def leave(self) -> None:
        """Release the reservation. Idempotent."""
        if not self._left:
            self._left = True
            self._bodies._leave(self._caller, self._mine, self._size)


def _too_many(why: str, rule: str | None) -> CallerError:
    message = f"{why}. Try again in {math.ceil(RETRY_SECONDS)} s."
    headers = come_back(RETRY_SECONDS)
    return CallerError(429, "rate_limit_exceeded", message, type="rate_limit_error", headers=headers, rule=rule)
