"""Keys and messages that replicas write to Redis, and the queue of pending ones. Without I/O."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from chukei.adapters.redis.commands import Argument
from chukei.model import Change, Condition
from chukei.ports import Clock

KEPT = 1000
"""Most pending changes, and most pending ids. Beyond that the oldest are dropped."""

BATCH = 100
"""Most changes, and most ids, in one round trip."""

LONGEST = 86_400.0
"""Most seconds for which a change is valid."""

RECOVERY_SECONDS = 60.0
"""Seconds for which a recovery of a deployment is worth publishing."""

MADE_SECONDS = 30 * 86_400
"""Seconds for which Azure keeps a stored response
(https://learn.microsoft.com/azure/ai-services/openai/how-to/responses)."""

MAX_BYTES = 4096
"""Most bytes of a message or a value. A longer one is not from a relay."""

MAX_WHY = 100
"""Most characters of a reason that are passed on."""

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

    def key(self, condition: Condition, subject: str) -> str:
        """Return the key of a change."""
        return f"{self.channel}:{condition}:{_digest(subject)}"

    def made_key(self, made: str) -> str:
        """Return the key for the home of a stateful id. It contains only a digest of the id."""
        return f"{self._namespace}:made:{_digest(made)}"

    def commands(self, change: Change, left: float) -> tuple[Command, Command]:
        """Return the commands that store a change for ``left`` seconds and publish it."""
        closed = change.condition is Condition.CLOSED
        seconds, why = 0.0 if closed else left, _clean(change.why[:MAX_WHY])
        data = msgspec.json.encode(_Message(self._origin, change.condition, _clean(change.subject), seconds, why))
        publish = ("PUBLISH", self.channel, data)
        if closed:
            return ("DEL", self.key(Condition.OPEN, change.subject)), publish
        return ("SET", self.key(change.condition, change.subject), data, "PX", int(left * 1000)), publish

    def made_command(self, key: str, home: str) -> Command:
        """Return the command that stores the home of a stateful id."""
        return "SET", key, _clean(home), "EX", MADE_SECONDS

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

    def __init__(self) -> None:
        self._values: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: V) -> None:
        """Add a value as the newest."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > KEPT:
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
    """A board's pending publications: the last change of each subject until it expires, and homes of ids."""

    def __init__(self, keys: BoardKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._changes: Waiting[tuple[Change, float]] = Waiting()
        self._made: Waiting[str] = Waiting()

    def __len__(self) -> int:
        return len(self._changes) + len(self._made)

    def add(self, change: Change) -> None:
        """Add a change; it replaces the previous one of its subject."""
        seconds = RECOVERY_SECONDS if change.condition is Condition.CLOSED else min(change.seconds, LONGEST)
        if seconds > 0:  # false for "not a number"
            kind = "quota" if change.condition is Condition.COOLING else "breaker"
            self._changes.put(f"{kind} {change.subject}", (change, self._clock() + seconds))

    def add_made(self, made: str, home: str) -> None:
        """Add the home of a stateful id."""
        self._made.put(self._keys.made_key(made), home)

    def batch(self) -> tuple[list[Command], Callable[[], None]]:
        """Return the commands of the oldest publications, and a callback for when Redis has accepted them."""
        changes, made = self._changes.oldest(), self._made.oldest()
        commands: list[Command] = []
        for change, until in changes.values():
            left = until - self._clock()
            if left >= 0.001:  # the shortest expiry in Redis
                commands += self._keys.commands(change, left)
        commands += [self._keys.made_command(key, home) for key, home in made.items()]

        def taken() -> None:
            self._changes.remove(changes)
            self._made.remove(made)

        return commands, taken


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _clean(text: str) -> str:
    """Replace lone surrogates. JSON can express them, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
