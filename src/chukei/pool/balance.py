"""Weighted choice among deployments of one priority. Pure, and as fast for a thousand deployments as for three.

Stride scheduling (Waldspurger and Weihl, 1995) makes the shares follow the weights. Deployments of equal weight form a
group. Each choice advances its group by one over the group's weight, and the group that has advanced least is next.
Within a group, the deployment with the fewest outstanding tokens is next, within bounds that keep the shares equal.
Both orders are heaps with lazy deletion: an outdated entry is skipped when it reaches the top. So a choice costs a few
heap operations.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from chukei.model import Deployment
from chukei.pool.ring import Ring

SPARE = 64
"""A heap is rebuilt when it has more than twice as many entries as items, plus this number."""

FLOOR = 4
"""Outstanding requests below which a deployment always has room for a request with affinity to it."""

MAX_STEPS = 8
"""Unsuitable deployments on the ring after which affinity is given up."""


LEAD = 16
"""Choices by which affinity may put a group ahead of its turn. Any excess is dropped, so that other requests do not
avoid the group for as long afterwards."""


FEWER = 16
"""Choices by which a deployment may fall behind its equals. Any excess is dropped: it is slow and gets less."""

MEMORY = 64
"""Choices over which the tokens of a usual request are averaged."""


class Weighed(Protocol):
    """An item to choose: a deployment, its outstanding requests and tokens, and its slots in tiers."""

    deployment: Deployment
    outstanding: int
    tokens: int
    slots: list[Slot[Any]]


M = TypeVar("M", bound=Weighed)


class Slot(Generic[M]):
    """A deployment in one tier of one model. ``turn`` is the number of its valid entry in its group's heap.

    ``tokens`` are its outstanding tokens. ``had`` are the tokens assigned to it since the start, with each request
    counted as a usual one.
    """

    __slots__ = ("available", "group", "had", "member", "tier", "tokens", "turn")

    def __init__(self, member: M, tier: Tier[M], group: Group[M]) -> None:
        self.member = member
        self.tier = tier
        self.group = group
        self.available = False
        self.tokens = 0
        self.had = 0.0
        self.turn = -1


class Group(Generic[M]):
    """The deployments of one weight in a tier. ``turn`` is the number of its valid entry in the tier's queue.

    The deployment with the fewest outstanding tokens is next. By itself that rule would let shares drift apart, because
    a deployment that happens to finish sooner would always get more. So each choice that a deployment has had more than
    another counts as a usual request. The difference is bounded, so that a deployment that is really slower gets less.
    """

    __slots__ = ("available", "heap", "most", "passed", "slots", "turn", "usual", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.slots: list[Slot[M]] = []
        self.heap: list[tuple[bool, float, int, Slot[M]]] = []  # whether at its limit, tokens, turn, slot
        self.usual = 0.0
        self.most = 0.0
        self.available = 0
        self.passed = 0.0
        self.turn = -1

    def least(self, tried: Container[M]) -> Slot[M] | None:
        """Return the available, untried deployment with the least load, or None."""
        if len(self.slots) == 1:
            alone = self.slots[0]
            return alone if alone.available and alone.member not in tried else None
        heap, aside, found = self.heap, [], None
        while heap:
            entry = heap[0]
            slot = entry[3]
            if slot.turn != entry[2]:
                heappop(heap)
            elif slot.member in tried:
                aside.append(heappop(heap))
            else:
                found = slot
                break
        for entry in aside:
            heappush(heap, entry)
        return found

    def push(self, slot: Slot[M], pressed: bool) -> None:
        """Insert a deployment by its current load; its previous entry becomes invalid."""
        if len(self.slots) == 1:
            return
        if len(self.heap) > 2 * len(self.slots) + SPARE:
            self.heap[:] = [entry for entry in self.heap if entry[3].turn == entry[2]]
            heapify(self.heap)
        slot.had = max(slot.had, self.most - FEWER * self.usual)
        heappush(self.heap, (pressed, slot.tokens + slot.had, slot.turn, slot))

    def count(self, slot: Slot[M], cost: int) -> None:
        """Count a choice."""
        self.usual = self.usual + (cost - self.usual) / MEMORY if self.usual else cost
        slot.had += self.usual
        self.most = max(self.most, slot.had)


class Tier(Generic[M]):
    """The deployments of one priority that serve one model."""

    def __init__(self, members: list[M], draw: Callable[[], float]) -> None:
        self.available = 0
        self._turns = count()
        self._tokens = 0  # outstanding tokens of the available deployments
        self._weight = 0  # total weight of the available deployments
        self._now = 0.0  # the position of the group that was chosen last
        groups: dict[int, Group[M]] = {}
        self._slots: list[Slot[M]] = []
        # The order is random, so that replicas do not all begin with the same deployment.
        for member in sorted(members, key=lambda _: draw()):
            weight = member.deployment.weight
            slot = Slot(member, self, groups.setdefault(weight, Group(weight)))
            slot.group.slots.append(slot)
            member.slots.append(slot)
            self._slots.append(slot)
        self._groups = list(groups.values())
        self._queue: list[tuple[float, int, Group[M]]] = []
        self._ring: Ring | None = None
        for slot in self._slots:
            self.place(slot, available=True, pressed=False)
        for group in self._groups:
            group.passed = draw() / (group.weight * group.available)
            self._enqueue(group)

    def place(self, slot: Slot[M], *, available: bool, pressed: bool) -> None:
        """Apply a change of a member: its availability, its outstanding tokens, and whether it is at its limit."""
        group = slot.group
        if slot.available:
            self._tokens -= slot.tokens
        slot.tokens = slot.member.tokens
        if available:
            self._tokens += slot.tokens
            slot.turn = next(self._turns)
            group.push(slot, pressed)
        else:
            slot.turn = -1
        if available is not slot.available:
            slot.available = available
            change = 1 if available else -1
            self.available += change
            self._weight += change * group.weight
            group.available += change
            if available and group.available == 1:
                # It does not catch up on the turns that it missed while unavailable.
                group.passed = max(group.passed, self._now)
                self._enqueue(group)

    def take(self, cost: int, tried: Container[M]) -> M | None:
        """Return the next deployment by weight and load, or None if all available ones were tried."""
        queue, aside, found = self._queue, [], None
        while queue:
            entry = queue[0]
            group = entry[2]
            if entry[1] != group.turn or not group.available:
                heappop(queue)
                continue
            found = group.least(tried)
            if found is not None:
                self._now = entry[0]
                self._charge(found, cost)
                break
            aside.append(heappop(queue))
        for entry in aside:
            heappush(queue, entry)
        return found.member if found is not None else None

    def prefer(self, key: int, cost: int, load: float, tried: Container[M]) -> M | None:
        """Return the deployment for an affinity key, or its neighbour on the ring if it is overloaded.

        A deployment is overloaded if it has more than ``load`` times its fair share of the tier's outstanding tokens:
        consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018).
        """
        if self._ring is None:
            self._ring = Ring([(slot.member.deployment.identity, slot.group.weight) for slot in self._slots])
        for step, index in enumerate(self._ring.walk(key)):
            slot = self._slots[index]
            if slot.available and slot.member not in tried and self._has_room(slot, cost, load):
                self._charge(slot, cost)
                return slot.member
            if step == MAX_STEPS:
                break
        return None

    def _has_room(self, slot: Slot[M], cost: int, load: float) -> bool:
        if slot.member.outstanding < FLOOR:
            return True
        share = slot.group.weight / self._weight
        return slot.tokens + cost <= load * share * (self._tokens + cost)

    def _charge(self, slot: Slot[M], cost: int) -> None:
        """Advance a deployment's group by one choice."""
        group = slot.group
        group.count(slot, cost)
        step = 1 / (group.weight * group.available)
        group.passed = min(group.passed + step, self._now + LEAD * step)
        self._enqueue(group)

    def _enqueue(self, group: Group[M]) -> None:
        if len(self._queue) > 2 * len(self._groups) + SPARE:
            self._queue[:] = [entry for entry in self._queue if entry[1] == entry[2].turn]
            heapify(self._queue)
        group.turn = next(self._turns)
        heappush(self._queue, (group.passed, group.turn, group))
