"""Keys and messages that replicas write to Redis, and the queue of pending ones. Without I/O."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from chukei.accounts.objects import OWNER_LETTERS, ObjectRecord
from chukei.adapters.redis.commands import Argument
from chukei.model import Change, Condition
from chukei.objects.kinds import kind_of, seconds_of
from chukei.ports import Clock
from chukei.request.object_routes import KINDS

KEPT = 1000
"""Most pending changes. Beyond that the oldest are dropped."""

IDS_KEPT = 20_000
"""Most pending ids of objects: one answer may have dozens. Beyond that the oldest are dropped."""

BATCH = 100
"""Most changes, and most ids, in one round trip."""

LONGEST = 86_400.0
"""Most seconds for which a change is valid."""

RECOVERY_SECONDS = 60.0
"""Seconds for which a recovery of a deployment is worth publishing."""

MAX_BYTES = 4096
"""Most bytes of a message, or of what is known about an object. A longer one is not from a relay."""

MAX_TEXT_BYTES = 64 * 1024
"""Most bytes of what is kept of a response in the making, an ephemeral key or a call: callers may be in many groups."""

MAX_WHY = 100
"""Most characters of a reason that are passed on."""

JOB_SECONDS = 2 * 86_400
"""Seconds for which Redis keeps a response in the making, or that it is settled: no relay waits for longer than a day.
"""

Command = tuple[Argument, ...]

V = TypeVar("V")


class _Message(msgspec.Struct, frozen=True):
    """A published change as JSON. By ``origin`` a board recognises its own."""

    origin: str
    condition: Condition
    subject: str
    seconds: float
    why: str


_decoder = msgspec.json.Decoder(_Message)


class BoardKeys:
    """Keys and messages of one board among those that share a ``namespace``; ``origin`` is its own name."""

    def __init__(self, namespace: str, origin: str) -> None:
        self._namespace = namespace
        self._origin = origin
        self.channel = f"{namespace}:pool"
        self.probe = f"{namespace}:probe"  # never exists

    def key(self, condition: Condition, subject: str) -> str:
        """Return the key of a change."""
        return f"{self.channel}:{condition}:{_digest(subject)}"

    def object_key(self, id: str) -> str:
        """Return the key for what is known about a stored object. It contains only a digest of the id."""
        return f"{self._namespace}:made:{_digest(id)}"

    def job_key(self, id: str) -> str:
        """Return the key for a response in the making. It contains only a digest of the id."""
        return f"{self._namespace}:job:{_digest(id)}"

    def hold_key(self, name: str) -> str:
        """Return the key for what belongs to an ephemeral key or a call. It contains only a digest of the name."""
        return f"{self._namespace}:held:{_digest(name)}"

    def commands(self, change: Change, left: float) -> tuple[Command, Command]:
        """Return the commands that store a change for ``left`` seconds and publish it."""
        closed = change.condition is Condition.CLOSED
        seconds, why = 0.0 if closed else left, _clean(change.why[:MAX_WHY])
        data = msgspec.json.encode(_Message(self._origin, change.condition, _clean(change.subject), seconds, why))
        publish = ("PUBLISH", self.channel, data)
        if closed:
            return ("DEL", self.key(Condition.OPEN, change.subject)), publish
        return ("SET", self.key(change.condition, change.subject), data, "PX", int(left * 1000)), publish

    def heard(self, data: object, left: float | None = None) -> Change | None:
        """Return another board's change; None for an invalid message and for this board's own.

        ``left`` are the seconds for which it is still valid, if Redis knows them better than the message.
        """
        if not isinstance(data, bytes) or len(data) > MAX_BYTES:
            return None
        try:
            message = _decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if message.origin == self._origin:
            return None
        seconds = min(max(message.seconds if left is None else left, 0.0), LONGEST)
        return Change(message.condition, message.subject, seconds, message.why[:MAX_WHY])


class Waiting(Generic[V]):
    """The last value for each key until it is sent. If there are too many, the oldest are dropped."""

    def __init__(self, most: int = KEPT) -> None:
        self._values: OrderedDict[str, V] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: V) -> None:
        """Add a value as the newest."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def oldest(self) -> dict[str, V]:
        """Return the oldest values, by key."""
        return dict(islice(self._values.items(), BATCH))

    def remove(self, values: dict[str, V]) -> None:
        """Remove values, except those that were replaced meanwhile."""
        for key, value in values.items():
            if self._values.get(key) is value:
                del self._values[key]


class Outbox:
    """A board's pending publications: the last change of each subject and texts, until they expire; and objects."""

    def __init__(self, keys: BoardKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._changes: Waiting[tuple[Change, float]] = Waiting()
        self._objects: Waiting[Command] = Waiting(IDS_KEPT)
        self._holds: Waiting[tuple[str, float]] = Waiting(IDS_KEPT)

    def __len__(self) -> int:
        return len(self._changes) + len(self._objects) + len(self._holds)

    def add(self, change: Change) -> None:
        """Add a change; it replaces the previous one of its subject."""
        seconds = RECOVERY_SECONDS if change.condition is Condition.CLOSED else min(change.seconds, LONGEST)
        if seconds > 0:  # false for "not a number"
            kind = "quota" if change.condition is Condition.COOLING else "breaker"
            self._changes.put(f"{kind} {change.subject}", (change, self._clock() + seconds))

    def keep(self, id: str, record: ObjectRecord) -> None:
        """Add what is known about an object. Redis keeps it for as long as its kind lasts after its last use."""
        key = self._keys.object_key(id)
        self._objects.put(key, ("SET", key, _clean(text_of(record)), "EX", seconds_of(record.kind)))

    def drop(self, id: str) -> None:
        """Add that an object is gone."""
        key = self._keys.object_key(id)
        self._objects.put(key, ("DEL", key))

    def keep_job(self, id: str, text: str) -> None:
        """Add a response in the making, or what has become of it."""
        key = self._keys.job_key(id)
        self._objects.put(key, ("SET", key, _clean(text), "EX", JOB_SECONDS))

    def hold(self, name: str, text: str, seconds: float) -> None:
        """Add a text, or with no seconds that it is gone."""
        self._holds.put(self._keys.hold_key(name), (_clean(text), self._clock() + seconds))

    def batch(self) -> tuple[list[Command], Callable[[], None]]:
        """Return the commands of the oldest publications, and a callback for when Redis has accepted them."""
        changes, objects, holds = self._changes.oldest(), self._objects.oldest(), self._holds.oldest()
        commands: list[Command] = []
        for change, until in changes.values():
            left = until - self._clock()
            if left >= 0.001:  # the shortest expiry in Redis
                commands += self._keys.commands(change, left)
        commands += objects.values()
        for key, (text, until) in holds.items():
            left = int((until - self._clock()) * 1000)
            commands.append(("SET", key, text, "PX", left) if left > 0 else ("DEL", key))

        def taken() -> None:
            self._changes.remove(changes)
            self._objects.remove(objects)
            self._holds.remove(holds)

        return commands, taken


def text_of(record: ObjectRecord) -> str:
    """Return a record as Redis stores it: owner, identity, kind and model.

    Earlier versions wrote only owner and identity, and take all behind the owner for the identity. They do not know
    such a deployment, so they look for the object as for an unknown one, but only for its owner.
    """
    known = [record.owner, record.identity.replace(" ", "%20"), record.kind]
    return " ".join(known if record.model is None else [*known, record.model])


def record_of(id: str, text: str) -> ObjectRecord | None:
    """Return the record of a text from Redis, also if an earlier version wrote it; None if it says nothing."""
    owner, _, rest = text.partition(" ")
    if len(owner) != OWNER_LETTERS or not rest:
        return ObjectRecord(kind_of(id), text, "") if text else None
    identity, _, more = rest.partition(" ")
    kind, _, model = more.partition(" ")
    if kind not in KINDS:
        return ObjectRecord(kind_of(id), rest, owner)
    return ObjectRecord(kind, identity.replace("%20", " "), owner, model or None)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _clean(text: str) -> str:
    """Replace lone surrogates. JSON can express them, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
