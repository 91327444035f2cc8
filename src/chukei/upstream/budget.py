"""A budget for extra load: retries and hedged requests as a share of clients' requests. Pure.

Unlike a limit for each request, a budget keeps an outage from multiplying the load on the remaining deployments
(Google, "Site Reliability Engineering", chapter 21; Linkerd's retry budgets work alike).
"""


class Budget:
    """Each request adds ``share`` to the budget, and each second ``per_second``, up to ``reserve`` extra requests."""

    __slots__ = ("_left", "_per_second", "_reserve", "_share", "_then")

    def __init__(self, share: float, *, reserve: float, per_second: float = 0.0, saved: float = 0.0) -> None:
        self._share = share
        self._reserve = reserve
        self._per_second = per_second
        self._left = saved if share else 0.0
        self._then: float | None = None

    def adjust(self, share: float) -> None:
        """Change the share; without one nothing is left."""
        self._share = share
        self._left = self._left if share else 0.0

    def earn(self) -> None:
        """Count a client's request."""
        self._left = min(self._left + self._share, self._reserve)

    def spend(self, now: float) -> bool:
        """Spend one extra request; return False and spend nothing if the budget is exhausted."""
        if self._then is not None:
            earned = self._per_second * (now - self._then) if self._share else 0.0
            self._left = min(self._left + earned, self._reserve)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Refund an extra request that was not sent after all."""
        self._left += 1
