"""Who is next among deployments of one priority. Pure, and as quick for a thousand as for three.

Shares follow the weights by stride scheduling (Waldspurger and Weihl, 1995): each choice moves its group on by one over
the group's weight, and the group that is furthest behind is next. Deployments of equal weight are one group; inside it
the one with the fewest outstanding tokens is next, within bounds that keep their shares equal. Both orders are heaps in
which an entry that has been overtaken by a newer one for the same thing is skipped when it comes up, so that a choice
costs a few steps of a heap.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from chukei.model import Deployment
from chukei.pool.ring import Ring

SPARE = 64
"""A heap may hold so many overtaken entries more than it has things to order, before it is made anew."""

FLOOR = 4
"""With fewer requests than this a deployment is never too busy for one more that would rather go there."""

MAX_STEPS = 8
"""After so many deployments on the ring that will not do, the choice is made without it."""


LEAD = 16
"""So many choices ahead of its turn a group may get by requests that belong together. What goes beyond is forgotten,
lest all others go elsewhere for as long afterwards."""


FEWER = 16
"""So many choices fewer than an equal a deployment may have had before that is forgotten, and its slowness accepted."""

MEMORY = 64
"""Over about so many choices it is measured how many tokens a usual request may cost."""


class Weighed(Protocol):
    """What is chosen among: a deployment, the requests and tokens that it works on, its places in tiers."""

    deployment: Deployment
    outstanding: int
    tokens: int
    slots: list[Slot[Any]]


M = TypeVar("M", bound=Weighed)


class Slot(Generic[M]):
    """A deployment's place in one tier of one model. ``turn`` is the one entry of its group's heap that counts.

    ``tokens`` is what it works on, ``had`` what it has been given since the start, were all requests usual ones.
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

    def place(self, *, available: bool, pressed: bool) -> None:
        """Take up a change of the member: may it be chosen, how much it works on, is it at its limit?"""
        self.tier.place(self, available, pressed)


class Group(Generic[M]):
    """The deployments of one weight in a tier. ``turn`` is the one entry of the tier's queue that counts.

    The one with the fewest outstanding tokens is next, but that alone would let chance carry their shares apart: who
    happens to finish sooner gets more, for ever. So each choice that one has had more than another counts as a usual
    request; up to a bound, so that one which is slow by itself does get less.
    """

    __slots__ = ("available", "heap", "most", "passed", "slots", "turn", "usual", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.slots: list[Slot[M]] = []
        self.heap: list[tuple[bool, float, int, Slot[M]]] = []  # at its limit?, how much, turn, slot
        self.usual = 0.0
        self.most = 0.0
        self.available = 0
        self.passed = 0.0
        self.turn = -1

    def least(self, tried: Container[M]) -> Slot[M] | None:
        """Return the available deployment with the least to do that was not tried, or None."""
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
        """Put a deployment where its work says, in place of where it stood."""
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
        self._tokens = 0  # that the available ones work on
        self._weight = 0  # of the available ones
        self._now = 0.0  # how far the group that was chosen last had been moved on
        groups: dict[int, Group[M]] = {}
        self._slots: list[Slot[M]] = []
        # Begin anywhere, lest every replica begins with the same deployment.
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
            slot.place(available=True, pressed=False)
        for group in self._groups:
            group.passed = draw() / (group.weight * group.available)
            self._enqueue(group)

    def place(self, slot: Slot[M], available: bool, pressed: bool) -> None:
        """See Slot.place."""
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
                # It has missed its turns; it does not get them back all at once.
                group.passed = max(group.passed, self._now)
                self._enqueue(group)

    def take(self, cost: int, tried: Container[M]) -> M | None:
        """Return the next deployment by weight and work, or None if all that are available have been tried."""
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
        """Return the deployment to which requests with this key go, or its neighbour on the ring if it has too much.

        Too much is more than ``load`` times its fair share of the tier's outstanding tokens: consistent hashing with
        bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018).
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
        """Move a deployment's group on by one choice."""
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
