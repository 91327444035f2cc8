"""The messages between workers and their parent."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Serves:
    """A worker accepts connections."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A worker asks all workers on a subject. ``number`` is the worker's own, for ``Answers``."""

    number: int
    subject: str
    argument: bytes


@dataclass(frozen=True, slots=True)
class Answers:
    """What the parent has collected for a worker's ``Ask``."""

    number: int
    data: list[bytes]


@dataclass(frozen=True, slots=True)
class Question:
    """The parent asks a worker. ``number`` is the parent's own, for ``Answer``."""

    number: int
    subject: str
    argument: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker answers a ``Question``; None if it cannot."""

    number: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Last:
    """The last answers of a worker that ends, by subject. They replace the answers that it still owes."""

    answers: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Reload:
    """A worker reads its configuration again."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings of a worker, pickled: a later worker starts with them if the configuration on disk has mistakes."""

    settings: bytes


@dataclass(frozen=True, slots=True)
class Now:
    """A worker ends what still runs."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many requests of a worker that stops are running, and how many it has ended early."""

    running: int
    stopped: int


@dataclass(frozen=True, slots=True)
class Ping:
    """The parent asks whether a worker's event loop turns."""


@dataclass(frozen=True, slots=True)
class Pong:
    """It does."""
