"""How a parent collects its workers' answers, in virtual time."""

import pytest

from chukei.hosts.workers.messages import Answer, Answers, Ask, Question
from chukei.hosts.workers.questions import ANSWER_SECONDS, Member, Questions


class Worker(Member):
    """A worker that keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        super().__init__(self.sent.append)

    def asked(self) -> Question:
        """Return the question that came last."""
        return [each for each in self.sent if isinstance(each, Question)][-1]

    def got(self) -> list[list[bytes]]:
        """Return the collected answers to what this worker asked."""
        return [sorted(each.data) for each in self.sent if isinstance(each, Answers)]


def total(answers: list[bytes]) -> bytes:
    return b"%d" % sum(map(int, answers))


class Parent:
    """Two workers and their parent, at time 0."""

    def __init__(self) -> None:
        self.first, self.second = Worker(), Worker()
        self.members = [self.first, self.second]
        self.questions = Questions({"sum": total})
        self.numbers = 0

    def ask(self, subject: str = "sum", argument: bytes = b"", now: float = 0.0) -> None:
        """The first worker asks."""
        self.numbers += 1
        self.questions.ask(self.first, Ask(self.numbers, subject, argument), self.members, now)

    def answer(self, worker: Worker, data: bytes | None) -> None:
        """Answer the worker's last question."""
        self.questions.answer(worker, Answer(worker.asked().number, data))

    def end(self, worker: Worker) -> None:
        """A worker's process ends."""
        self.members.remove(worker)
        self.questions.gone(worker)


def test_all_are_asked_and_the_asker_gets_all_answers_at_once() -> None:
    parent = Parent()
    parent.ask(argument=b"all")
    assert parent.second.asked() == Question(1, "sum", b"all") == parent.first.asked()
    parent.answer(parent.second, b"2")
    assert parent.first.got() == []
    parent.answer(parent.first, b"1")
    assert parent.first.got() == [[b"1", b"2"]]
    assert parent.questions.due() is None


def test_a_worker_without_an_answer_is_left_out() -> None:
    parent = Parent()
    parent.ask("other")
    parent.answer(parent.first, b"1")
    parent.answer(parent.second, None)
    assert parent.first.got() == [[b"1"]]


def test_a_late_worker_delays_one_question_only() -> None:
    parent = Parent()
    parent.ask("other")
    parent.answer(parent.first, b"1")
    assert parent.questions.due() == ANSWER_SECONDS
    parent.questions.expire(ANSWER_SECONDS - 0.01)
    assert parent.first.got() == []
    parent.questions.expire(ANSWER_SECONDS)
    assert parent.first.got() == [[b"1"]]

    parent.ask("other")
    parent.answer(parent.first, b"1")
    assert parent.first.got() == [[b"1"], [b"1"]]
    assert parent.second.asked().number == 1

    parent.answer(parent.second, b"2")  # to the first question: it is back
    parent.ask("other")
    parent.answer(parent.first, b"1")
    parent.answer(parent.second, b"2")
    assert parent.first.got()[2:] == [[b"1", b"2"]]


def test_a_sum_does_not_go_down_when_a_worker_is_late_or_ends() -> None:
    parent = Parent()
    parent.ask()
    parent.answer(parent.first, b"1")
    parent.answer(parent.second, b"20")
    for now in (10.0, 20.0):  # at 10 it becomes late, at 20 it is
        parent.ask(now=now)
        parent.answer(parent.first, b"1")
        parent.questions.expire(now + ANSWER_SECONDS)
    parent.ask(now=30.0)
    parent.answer(parent.first, b"1")
    parent.end(parent.second)
    parent.ask(now=40.0)
    parent.answer(parent.first, b"1")
    assert parent.first.got() == [[b"1", b"20"]] * 5


def test_last_answers_count_once_whenever_they_come() -> None:
    """A question before them waits for the worker; one after them does not; both have its contribution once."""
    parent = Parent()
    parent.ask()
    parent.answer(parent.first, b"1")
    parent.questions.last(parent.second, {"sum": b"30", "other": b"x"})
    parent.ask()
    parent.answer(parent.first, b"1")
    assert parent.first.got() == [[b"1", b"30"]]
    parent.end(parent.second)
    assert parent.first.got() == [[b"1", b"30"]] * 2
    parent.ask("other")
    parent.answer(parent.first, b"1")
    assert parent.first.got()[2:] == [[b"1"]]


def test_what_many_ended_workers_left_is_one_answer() -> None:
    parent = Parent()
    for _ in range(3):
        parent.questions.last(parent.second, {"sum": b"5"})
        parent.end(parent.second)
        parent.second = Worker()
        parent.members.append(parent.second)
    parent.ask()
    parent.answer(parent.first, b"1")
    parent.answer(parent.second, b"2")
    assert parent.first.got() == [[b"1", b"15", b"2"]]


def test_an_answer_to_an_argument_is_not_kept() -> None:
    parent = Parent()
    parent.ask(argument=b"some")
    parent.answer(parent.first, b"1")
    parent.answer(parent.second, b"2")
    parent.end(parent.second)
    parent.ask()
    parent.answer(parent.first, b"1")
    assert parent.first.got() == [[b"1", b"2"], [b"1"]]


def test_an_asker_that_ends_leaves_nothing_open() -> None:
    parent = Parent()
    parent.ask()
    parent.end(parent.first)
    parent.answer(parent.second, b"2")
    assert parent.questions.due() is None
    assert parent.first.got() == []


def test_a_fold_that_fails_loses_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    parent = Parent()
    parent.questions.last(parent.second, {"sum": b"5"})
    parent.end(parent.second)
    broken = Worker()
    parent.questions.last(broken, {"sum": b"no number"})
    parent.questions.gone(broken)
    parent.ask()
    parent.answer(parent.first, b"1")
    assert parent.first.got() == [[b"1", b"5"]]
    assert "sum cannot be folded" in caplog.text


def test_answers_come_in_the_order_of_the_workers() -> None:
    """A sum of bounded counts depends on it: what has a row of its own must not change from one time to the next."""
    parent = Parent()
    for order in ([parent.first, parent.second], [parent.second, parent.first]):
        parent.ask()
        for worker in order:
            parent.answer(worker, b"1" if worker is parent.first else b"2")
    parent.ask(now=10.0)
    parent.answer(parent.second, b"2")
    parent.questions.expire(10.0 + ANSWER_SECONDS)
    collected = [each.data for each in parent.first.sent if isinstance(each, Answers)]
    assert collected == [[b"1", b"2"]] * 3
