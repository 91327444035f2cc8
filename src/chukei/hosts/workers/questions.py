"""How the parent of several workers collects their answers to a question of one of them.

A worker that does not answer in time is late. It is not asked again until it has answered, so that it delays one
question only. On some subjects the answer of a worker outlives it, because a sum over workers must not go down when one
ends. The parent keeps each worker's newest answer on them, and uses it for a worker that is late or has ended. When a
worker has ended, its answer is folded into those of others, so memory is bounded, however many workers come and go.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from chukei.hosts.workers.messages import Answer, Answers, Ask, Question

logger = logging.getLogger(__name__)

Fold = Callable[[list[bytes]], bytes]
"""Makes one answer out of several."""

ANSWER_SECONDS = 1.0
"""How long a question waits for a worker. Handlers are fast, so only a worker whose event loop is blocked is late."""


class Member:
    """A worker that can be asked; ``send`` must not wait."""

    def __init__(self, send: Callable[[object], None]) -> None:
        self.send = send
        self.newest: dict[str, bytes] = {}
        self.late = False
        self.last = False  # its last answers have arrived


@dataclass(slots=True)
class _Open:
    """A question without all of its answers."""

    asker: Member
    ask: Ask
    deadline: float
    members: tuple[Member, ...]
    waits: set[Member] = field(default_factory=set)
    data: dict[Member, bytes] = field(default_factory=dict)
    left: tuple[bytes, ...] = ()  # by ended workers

    def answers(self) -> list[bytes]:
        """Return what is known in the order of the workers, not of arrival, so that sums are made alike each time."""
        return [*self.left, *(self.data[member] for member in self.members if member in self.data)]


class Questions:
    """The questions of all workers. Nothing here waits; times are seconds of one monotonic clock.

    ``folds`` names the subjects on which answers of ended workers are kept. Only answers to an empty argument are kept.
    """

    def __init__(self, folds: Mapping[str, Fold], *, seconds: float = ANSWER_SECONDS) -> None:
        self._folds = folds
        self._seconds = seconds
        self._left: dict[str, bytes] = {}
        self._open: dict[int, _Open] = {}
        self._count = 0

    def ask(self, asker: Member, ask: Ask, members: Iterable[Member], now: float) -> None:
        """Ask all ``members`` for one of them."""
        self._count += 1
        question = _Open(asker, ask, now + self._seconds, tuple(members))
        if self._kept(ask) and ask.subject in self._left:
            question.left = (self._left[ask.subject],)
        for member in question.members:
            if member.late or member.last:
                self._stand_in(question, member)
            else:
                question.waits.add(member)
                member.send(Question(self._count, ask.subject, ask.argument))
        self._open[self._count] = question
        self._finish(self._count)

    def answer(self, member: Member, answer: Answer) -> None:
        """Take an answer, even a late one: that shows that the worker is alive."""
        member.late = False
        question = self._open.get(answer.number)
        if question is None or member not in question.waits:
            return
        question.waits.discard(member)
        if answer.data is not None:
            question.data[member] = answer.data
            if self._kept(question.ask):
                member.newest[question.ask.subject] = answer.data
        self._finish(answer.number)

    def last(self, member: Member, answers: Mapping[str, bytes]) -> None:
        """Take the last answers of a worker."""
        member.last = True
        member.newest.update({subject: data for subject, data in answers.items() if subject in self._folds})

    def gone(self, member: Member) -> None:
        """Answer for a worker that has ended, then fold what it leaves."""
        self._give_up(member, list(self._open))
        for number in [number for number, question in self._open.items() if question.asker is member]:
            del self._open[number]
        for subject, data in member.newest.items():
            before = self._left.get(subject)
            try:
                self._left[subject] = data if before is None else self._folds[subject]([before, data])
            except Exception:
                logger.exception("the answers of ended workers on %s cannot be folded", subject)

    def due(self) -> float | None:
        """Return when ``expire`` must be called next."""
        return min((question.deadline for question in self._open.values()), default=None)

    def expire(self, now: float) -> None:
        """Give up waiting for answers that are late."""
        overdue = [number for number, question in self._open.items() if question.deadline <= now]
        for number in overdue:
            for member in list(self._open[number].waits):
                member.late = True
        for member in {each for number in overdue for each in self._open[number].waits}:
            self._give_up(member, overdue)

    def _give_up(self, member: Member, numbers: list[int]) -> None:
        for number in numbers:
            question = self._open.get(number)
            if question is not None and member in question.waits:
                question.waits.discard(member)
                self._stand_in(question, member)
                self._finish(number)

    def _stand_in(self, question: _Open, member: Member) -> None:
        if self._kept(question.ask) and question.ask.subject in member.newest:
            question.data[member] = member.newest[question.ask.subject]

    def _kept(self, ask: Ask) -> bool:
        return ask.subject in self._folds and not ask.argument

    def _finish(self, number: int) -> None:
        question = self._open[number]
        if not question.waits:
            del self._open[number]
            question.asker.send(Answers(question.ask.number, question.answers()))
