"""Log lines: alone at once, many with one write, and none lost at an orderly end."""

import asyncio
import io
import logging
import subprocess
import sys
from threading import Thread

import pytest

from chukei.adapters import line_writer
from chukei.adapters.line_writer import LineWriter

pytestmark = pytest.mark.anyio


class Writes(io.StringIO):
    """A stream that remembers each write, and can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.written = asyncio.Event()
        self.broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise OSError("the disk is full")
        self.writes.append(text)
        self.written.set()
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


async def test_a_line_that_comes_alone_is_written_at_once(writer: LineWriter, stream: Writes) -> None:
    say(writer, "a")
    assert stream.writes == ["a\n"]


async def test_lines_that_come_soon_after_are_written_together(writer: LineWriter, stream: Writes) -> None:
    say(writer, "a")
    stream.written.clear()
    for text in "bcd":
        say(writer, text)
    assert stream.writes == ["a\n"]
    await stream.written.wait()
    assert stream.writes == ["a\n", "b\nc\nd\n"]


async def test_a_line_after_a_quiet_while_is_alone_again(stream: Writes) -> None:
    now = 0.0
    writer = LineWriter(stream, lambda: now)
    say(writer, "a")
    now += line_writer.WAIT_SECONDS
    say(writer, "b")
    assert stream.writes == ["a\n", "b\n"]


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
    assert stream.writes == ["a\n"]
    now += line_writer.WAIT_SECONDS
    say(writer, "c")
    stream.written.clear()
    say(writer, "d")
    assert stream.writes == ["a\n", "b\nc\n"]
    await stream.written.wait()
    assert stream.writes[2:] == ["d\n"]


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR, logging.CRITICAL])
async def test_nothing_waits_behind_a_warning(writer: LineWriter, stream: Writes, level: int) -> None:
    say(writer, "a")
    say(writer, "b")
    say(writer, "c", level)
    assert stream.writes == ["a\n", "b\nc\n"]


async def test_many_lines_do_not_wait(writer: LineWriter, stream: Writes) -> None:
    say(writer, "first")
    for number in range(line_writer.MOST_LINES):
        say(writer, str(number))
    assert len(stream.writes) == 2
    assert stream.writes[1].count("\n") == line_writer.MOST_LINES


async def test_before_the_loop_ends_all_is_written_and_nothing_waits_any_more(
    writer: LineWriter, stream: Writes
) -> None:
    for text in "abc":
        say(writer, text)
    writer.write_through()
    say(writer, "d")
    assert stream.writes == ["a\n", "b\nc\n", "d\n"]


async def test_lines_of_other_threads_do_not_wait_for_a_loop(writer: LineWriter, stream: Writes) -> None:
    say(writer, "a")
    thread = Thread(target=say, args=(writer, "b"))
    thread.start()
    thread.join()
    assert stream.writes == ["a\n", "b\n"]


async def test_a_disk_that_is_full_stops_nobody(
    writer: LineWriter, stream: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.broken = True
    say(writer, "a")
    assert "the disk is full" in capsys.readouterr().err
    stream.broken = False
    say(writer, "b", logging.ERROR)
    assert stream.writes == ["b\n"]


ENDS = """
import asyncio, logging
from chukei.adapters.line_writer import LineWriter

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
