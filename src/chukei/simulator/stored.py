"""What a resource keeps: its objects by kind and id, in memory and within a budget of bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.jobs import Log, Progress

KEPT = 4096  # objects of one kind; the oldest are forgotten
KEPT_BYTES = 256 * 1024 * 1024  # of a resource in all
SEALED = "gAAAAA"  # how encrypted contents begin at the service


class Budget:
    """The bytes that a resource may keep; beyond them the oldest objects of all kinds are forgotten."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most = most
        self._sizes: OrderedDict[tuple[Shelf, str], int] = OrderedDict()
        self.bytes = 0

    def add(self, shelf: Shelf, id_: str, size: int) -> None:
        """Count an object."""
        self._sizes[shelf, id_] = size
        self.bytes += size
        while self.bytes > self._most and len(self._sizes) > 1:
            oldest, id_ = next(iter(self._sizes))
            oldest.pop(id_)

    def remove(self, shelf: Shelf, id_: str) -> None:
        """Count an object no longer."""
        self.bytes -= self._sizes.pop((shelf, id_), 0)


@dataclass(slots=True, eq=False)
class Kept:
    """An object as the API shows it, and what belongs to it.

    ``refresh`` updates what is shown of the objects inside. ``items`` are a response's whole input and ``said`` its
    output, which the next turn continues; ``size`` is that of all of them in bytes.
    """

    shown: dict[str, Any]
    data: bytes = b""
    progress: Progress | None = None
    deployment: str = ""
    items: tuple[dict[str, Any], ...] = ()
    said: tuple[dict[str, Any], ...] = ()
    size: int = 0
    log: Log | None = None
    refresh: Callable[[], None] = lambda: None
    budget: Budget = field(default_factory=Budget)
    _parts: dict[str, Shelf] = field(default_factory=dict)

    def look(self) -> dict[str, Any]:
        """Return the object as it is now."""
        if self.progress is not None:
            self.progress.look()
        self.refresh()
        return self.shown

    def parts(self, kind: str) -> Shelf:
        """Return the objects of a kind inside it: files of a vector store, items of a conversation."""
        if kind not in self._parts:
            self._parts[kind] = Shelf(self.budget)
        return self._parts[kind]

    def empty(self) -> None:
        """Forget the objects inside it."""
        for shelf in self._parts.values():
            for part in shelf:
                shelf.pop(part.shown["id"])


class Shelf:
    """Objects of one kind by id, in the order in which they were made. Beyond a number the oldest are forgotten."""

    def __init__(self, budget: Budget, most: int = KEPT) -> None:
        self._budget = budget
        self._most = most
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def put(self, kept: Kept) -> Kept:
        """Keep an object under its ``id``."""
        id_ = str(kept.shown["id"])
        self.pop(id_)
        kept.budget = self._budget
        self._kept[id_] = kept
        self._budget.add(self, id_, kept.size + len(kept.data) + len(msgspec.json.encode(kept.shown)))
        if len(self._kept) > self._most:
            self.pop(next(iter(self._kept)))
        return kept

    def get(self, id_: str) -> Kept | None:
        """Return the object with this id; None if there is none."""
        return self._kept.get(id_)

    def pop(self, id_: str) -> Kept | None:
        """Forget the object with this id, and those inside it, and return it; None if there is none."""
        kept = self._kept.pop(id_, None)
        if kept is not None:
            self._budget.remove(self, id_)
            kept.empty()
        return kept

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        return iter(tuple(self._kept.values()))


class Stored:
    """The state of a resource: its objects by kind, and the key of what it encrypts, which no other resource has."""

    def __init__(self, conversations: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._budget = Budget()
        self._shelves = defaultdict[str, Shelf](lambda: Shelf(self._budget))
        self._key = secrets.token_bytes(32)
        for name in conversations:
            self["conversation"].put(Kept(azure.shape("conversation", id=name)))

    def __getitem__(self, kind: str) -> Shelf:
        return self._shelves[kind]

    def now(self) -> float:
        """Return the seconds of the clock that jobs go by."""
        return self.clock()

    def keep_items(self, items: Iterable[dict[str, Any]]) -> None:
        """Remember items, so that later requests can refer to them."""
        for item in items:
            self["item"].put(Kept(item))

    def forget_items(self, items: Iterable[dict[str, Any]]) -> None:
        """Forget items."""
        for item in items:
            self["item"].pop(item["id"])

    def seal(self, text: str) -> str:
        """Return text in a form that only this resource accepts. It is signed, not encrypted."""
        return SEALED + base64.urlsafe_b64encode(self._mark(text.encode()) + text.encode()).decode()

    def unseal(self, sealed: str) -> str | None:
        """Return the text that this resource has sealed; None if it has not."""
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(SEALED))
            if sealed.startswith(SEALED) and hmac.compare_digest(raw[:32], self._mark(raw[32:])):
                return raw[32:].decode()
        except ValueError:
            pass
        return None

    def _mark(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, hashlib.sha256)
