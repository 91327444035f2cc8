"""A command in a terminal of its own: what it draws, the keys that it gets, and how it ends."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class TerminalProcess:
    """``python -m chukei`` with a terminal of so many columns and rows. ``drawn`` is all that it has written."""

    def __init__(self, environment: Mapping[str, str], *arguments: str, columns: int = 80, rows: int = 24) -> None:
        self._environment = {**environment, "TERM": "xterm-256color"}
        self._arguments = arguments
        self._size = (columns, rows)
        self.drawn = b""

    async def __aenter__(self) -> Self:
        self._here, there = pty.openpty()
        self.resize(*self._size)
        command = [sys.executable, "-m", "chukei", *self._arguments]
        self.process = subprocess.Popen(
            command, env=self._environment, stdin=there, stdout=there, stderr=there, start_new_session=True
        )
        os.close(there)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._here, self._read)
        return self

    def _read(self) -> None:
        try:
            data = os.read(self._here, 65536)
        except OSError:  # the other side is closed
            data = b""
        self.drawn += data
        if not data:
            self._loop.remove_reader(self._here)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._here)
        self.process.kill()
        self.process.wait()
        os.close(self._here)

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size."""
        fcntl.ioctl(self._here, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._here, keys)

    @property
    def screen(self) -> list[str]:
        """The lines of the last screen that was drawn as a whole."""
        screens = self.drawn.split(b"\x1b[H")
        whole = next((each for each in reversed(screens) if b"\x1b[J" in each), b"")
        text = _SEQUENCE.sub("", whole.partition(b"\x1b[J")[0].decode())
        return [line.rstrip("\r") for line in text.split("\n")]

    async def shows(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the screen fulfils a condition, and return it."""
        async with asyncio.timeout(60):
            while not condition(self.screen):
                await asyncio.sleep(0.05)
        return self.screen

    async def interrupted(self) -> int:
        """Send SIGINT until the command ends; return its exit status.

        CPython may begin to wait for input without a look at a signal that came just before. A person presses Ctrl-C
        again.
        """
        for _ in range(12):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                return await self.ends(5)
        raise AssertionError("not ended by a minute of SIGINT")

    async def ends(self, within: float = 60) -> int:
        """Wait so many seconds for the end of the command and of its output; return its exit status."""
        async with asyncio.timeout(within):
            while self.process.poll() is None:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0)
        self._read()
        return self.process.returncode
