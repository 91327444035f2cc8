"""The queue: what it sends, drops and counts, and that nothing of it waits for the receiver."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from chukei.adapters.telemetry.batches import Batches

HOUR = 3600.0
PATIENCE = 60.0


class Receiver:
    """Takes batches, one for each permit, and answers what ``answer`` returns."""

    def __init__(self, answer: Callable[[], str | None] = lambda: None, *, permits: int = 1000) -> None:
        self._answer = answer
        self._permits = threading.Semaphore(permits)
        self._news = threading.Condition()
        self.asked = 0
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> str | None:
        with self._news:
            self.asked += 1
            self._news.notify_all()
        self._permits.acquire()
        with self._news:
            self.batches.append(items)
            self._news.notify_all()
        return self._answer()

    def permit(self) -> None:
        self._permits.release()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(condition, PATIENCE)


@contextmanager
def running(receiver: Receiver, *, seconds: float = HOUR, batch: int = 4, most: int = 8) -> Iterator[Batches[int]]:
    batches: Batches[int] = Batches("items", receiver, seconds=seconds, batch=batch, most=most)
    batches.start()
    try:
        yield batches
    finally:
        for _ in range(100):
            receiver.permit()
        batches.end(PATIENCE)


def test_a_full_batch_is_sent_at_once() -> None:
    receiver = Receiver()
    with running(receiver) as batches:
        for number in range(4):
            batches.add(number)
        receiver.wait(lambda: receiver.batches == [[0, 1, 2, 3]])


def test_less_is_sent_after_a_while() -> None:
    receiver = Receiver()
    with running(receiver, seconds=0.01) as batches:
        batches.add(1)
        receiver.wait(lambda: receiver.batches == [[1]])


def test_the_end_sends_what_waits() -> None:
    receiver = Receiver()
    with running(receiver, batch=100, most=100) as batches:
        for number in range(10):
            batches.add(number)
    assert receiver.batches == [list(range(10))]


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    receiver = Receiver(permits=0)
    with running(receiver) as batches:
        for number in range(4):
            batches.add(number)
        receiver.wait(lambda: receiver.asked == 1)
        for number in range(4, 20):
            batches.add(number)  # would never return if it waited for the receiver
        assert batches.dropped == 8
    assert receiver.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_the_end_does_not_wait_for_a_silent_receiver(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver(permits=0)
    with running(receiver) as batches:
        for number in range(6):
            batches.add(number)
        receiver.wait(lambda: receiver.asked == 1)
        batches.end(0.01)  # would never return if it waited for the receiver
        assert "2 were not sent before the end" in caplog.text


def test_failures_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter(["503", "503", None, None])
    receiver = Receiver(lambda: next(answers))
    with running(receiver, batch=1) as batches:
        for number in range(4):
            batches.add(number)
            receiver.wait(lambda: receiver.batches[-1:] == [[number]])  # noqa: B023 - it is called here
    assert batches.dropped == 2
    assert [record.message for record in caplog.records] == [
        "items: the receiver fails (503); they are dropped until it answers again",
        "items: the receiver answers again; 2 were dropped so far",
    ]


def test_an_exporter_that_raises_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def answer() -> str | None:
        if len(receiver.batches) == 1:
            raise RuntimeError("with a secret in it")
        return None

    receiver = Receiver(answer)
    with running(receiver, batch=1) as batches:
        batches.add(1)
        receiver.wait(lambda: len(receiver.batches) == 1)
        batches.add(2)
        receiver.wait(lambda: len(receiver.batches) == 2)
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text
