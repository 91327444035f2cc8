"""Log lines: a single one is written at once, many in one write, and an orderly shutdown loses none."""

import asyncio
import io
import logging
import subprocess
import sys
import threading
from threading import Thread

import pytest
from tests.live.relays import eventually

from chukei.adapters.logs import line_writer
from chukei.adapters.logs.line_writer import LineWriter

pytestmark = pytest.mark.anyio


class Writes(io.StringIO):
    """A stream that remembers each write; its reader may stop, and its disk may be full."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.broken = False
        self.reading = threading.Event()
        self.reading.set()

    def write(self, text: str) -> int:
        self.reading.wait()
        if self.broken:
            raise OSError("the disk is full")
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stream() -> Writes:
    return Writes()


@pytest.fixture
def writer(stream: Writes) -> LineWriter:
    """Return a writer whose clock stands still."""
    return LineWriter(stream, lambda: 100.0)


def say(writer: LineWriter, text: str, level: int = logging.INFO) -> None:
    writer.handle(logging.makeLogRecord({"msg": text, "levelno": level}))


def written(writer: LineWriter, stream: Writes) -> list[str]:
    """Return what was written when all that was handed over is."""
    assert writer.drain(10)
    return stream.writes


async def test_a_line_that_comes_alone_is_written_at_once(writer: LineWriter, stream: Writes) -> None:
    say(writer, "a")
    assert written(writer, stream) == ["a\n"]


async def test_lines_that_come_soon_after_are_written_together(writer: LineWriter, stream: Writes) -> None:
    say(writer, "a")
    for text in "bcd":
        say(writer, text)
    assert written(writer, stream) == ["a\n"]
    await eventually(lambda: written(writer, stream) == ["a\n", "b\nc\nd\n"])


async def test_a_line_after_a_quiet_while_is_alone_again(stream: Writes) -> None:
    now = 0.0
    writer = LineWriter(stream, lambda: now)
    say(writer, "a")
    now += line_writer.WAIT_SECONDS
    say(writer, "b")
    assert written(writer, stream) == ["a\n", "b\n"]


async def test_lines_whose_loop_has_ended_are_written_with_the_next(stream: Writes) -> None:
    now = 0.0
    writer = LineWriter(stream, lambda: now)

    def other_loop() -> None:
        async def speak() -> None:
            say(writer, "a")
            say(writer, "b")

        asyncio.run(speak())

    thread = Thread(target=other_loop)
    thread.start()
    thread.join()
    assert written(writer, stream) == ["a\n"]
    now += line_writer.WAIT_SECONDS
    say(writer, "c")
    say(writer, "d")
    assert written(writer, stream) == ["a\n", "b\nc\n"]
    await eventually(lambda: written(writer, stream)[2:] == ["d\n"])


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR, logging.CRITICAL])
async def test_nothing_waits_behind_a_warning(writer: LineWriter, stream: Writes, level: int) -> None:
    say(writer, "a")
    say(writer, "b")
    say(writer, "c", level)
    assert written(writer, stream) == ["a\n", "b\nc\n"]


async def test_many_lines_do_not_wait(writer: LineWriter, stream: Writes) -> None:
    say(writer, "first")
    for number in range(line_writer.MOST_LINES):
        say(writer, str(number))
    assert [text.count("\n") for text in written(writer, stream)] == [1, line_writer.MOST_LINES]


async def test_before_the_loop_ends_all_is_written_and_nothing_waits_any_more(
    writer: LineWriter, stream: Writes
) -> None:
    for text in "abc":
        say(writer, text)
    writer.write_through()
    say(writer, "d")
    assert written(writer, stream) == ["a\n", "b\nc\n", "d\n"]


async def test_lines_of_other_threads_do_not_wait_for_a_loop(writer: LineWriter, stream: Writes) -> None:
    say(writer, "a")
    thread = Thread(target=say, args=(writer, "b"))
    thread.start()
    thread.join()
    assert written(writer, stream) == ["a\n", "b\n"]


async def test_a_disk_that_is_full_stops_nobody_and_is_told_of_later(writer: LineWriter, stream: Writes) -> None:
    stream.broken = True
    say(writer, "a", logging.ERROR)
    say(writer, "b", logging.ERROR)
    assert written(writer, stream) == []
    stream.broken = False
    say(writer, "c", logging.ERROR)
    assert written(writer, stream) == ["2 lines of the log were dropped here: the disk is full\nc\n"]


@pytest.mark.parametrize("more", [True, False])
async def test_a_reader_that_stops_stops_nobody_and_is_told_what_was_dropped(stream: Writes, more: bool) -> None:
    """In its place among the lines, or at their end where no more come."""
    writer = LineWriter(stream, most_characters=1000)
    stream.reading.clear()
    for number in range(500):
        say(writer, f"{number:099}", logging.ERROR)
    assert not writer.drain(0)
    stream.reading.set()
    lines = "".join(written(writer, stream)).splitlines()
    assert [int(line) for line in lines[:-1]] == list(range(10))
    assert lines[-1] == "490 lines of the log were dropped here: nobody reads the log"
    if more:
        say(writer, "more", logging.ERROR)
        assert "".join(written(writer, stream)).splitlines()[len(lines) :] == ["more"]


async def test_a_line_that_cannot_be_shown_is_named(writer: LineWriter, stream: Writes) -> None:
    writer.handle(logging.makeLogRecord({"name": "x", "msg": "%d", "args": ("a",), "levelno": logging.INFO}))
    [text] = written(writer, stream)
    assert text.startswith("a line of x cannot be shown: TypeError")


ENDS = """
import asyncio, logging
from chukei.adapters.logs.line_writer import LineWriter

logging.getLogger().addHandler(LineWriter())
logging.getLogger().setLevel("INFO")

async def main():
    for number in range(5):
        logging.info("%d", number)

asyncio.run(main())
"""


def test_what_waits_when_the_interpreter_ends_is_written() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], check=True, capture_output=True, text=True)
    assert done.stderr.split() == ["0", "1", "2", "3", "4"]


STUCK = """
import logging, sys
from chukei.adapters.logs.line_writer import LineWriter

logging.getLogger().addHandler(LineWriter())
for number in range(10_000):
    logging.error("%0200d", number)
print("all said", flush=True)
"""


def test_a_reader_that_never_reads_keeps_no_process_from_ending() -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"all said\n"
