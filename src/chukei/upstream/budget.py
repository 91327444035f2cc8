"""How much extra load the relay may cause: retries and hedged requests as a share of what clients ask for. Pure.

A budget instead of a number for each request keeps a bad hour from multiplying the load on what is left (Google, "Site
Reliability Engineering", chapter 21; Linkerd's retry budgets work alike).
"""


class Budget:
    """Each request earns ``share`` of an extra one, and each second ``per_second``, up to ``reserve`` saved ones."""

    __slots__ = ("_left", "_per_second", "_reserve", "_share", "_then")

    def __init__(self, share: float, *, reserve: float, per_second: float = 0.0, saved: float = 0.0) -> None:
        self._share = share
        self._reserve = reserve
        self._per_second = per_second if share else 0.0
        self._left = saved if share else 0.0
        self._then: float | None = None

    def earn(self) -> None:
        """Take note of a client's request."""
        self._left = min(self._left + self._share, self._reserve)

    def spend(self, now: float) -> bool:
        """Take one extra request; False, with nothing taken, where there is none."""
        if self._then is not None:
            self._left = min(self._left + self._per_second * (now - self._then), self._reserve)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Take back what was taken for a request that was not sent after all."""
        self._left += 1
