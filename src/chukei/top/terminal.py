"""The terminal: its alternate screen, its size, its keys; by ANSI sequences, which Windows' terminal knows as well."""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from chukei.top.screen import Line

STYLES = {
    "bold": "1",
    "dim": "2",
    "reverse": "7",
    "good": "32",
    "warn": "33",
    "bad": "31",
    "accent": "36",
}
_PLAIN = frozenset({"bold", "dim", "reverse"})
"""Styles that are no colours."""

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # alternate screen, no cursor, no wrapping
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"


def wants_colour(environment: Mapping[str, str]) -> bool:
    """Whether colours may be used (https://no-color.org)."""
    return not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def ansi(line: Line, *, colour: bool) -> str:
    """Return a line with its styles as ANSI sequences."""
    pieces = []
    for style, text in line:
        codes = [STYLES[name] for name in style.split() if colour or name in _PLAIN]
        pieces.append(f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes else text)
    return "".join(pieces)


def plain(line: Line) -> str:
    """Return a line without styles."""
    return "".join(text for _, text in line).rstrip()


class Terminal:
    """The alternate screen of the terminal, while its block runs. Whatever ends the block, the screen is restored."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._out = out
        self._colour = colour
        self._keys = _Keys()

    def __enter__(self) -> Self:
        self._keys.open()
        self._out.write(_ENTER)
        self._out.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keys.close()
        self._out.write(_LEAVE)
        self._out.flush()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, now."""
        found = shutil.get_terminal_size((80, 24))
        return found.columns, found.lines

    def draw(self, lines: Iterable[Line]) -> None:
        """Draw a whole screen in one write, line over line, so that nothing flickers."""
        drawn = "\r\n".join(f"{ansi(line, colour=self._colour)}\x1b[K" for line in lines)
        self._out.write(f"\x1b[H{drawn}\x1b[J")
        self._out.flush()

    def key(self, seconds: float) -> str:
        """Return the key that was pressed within some seconds, or an empty text."""
        return self._keys.wait(seconds)


class _Keys:
    """Single keys from the keyboard, without a line's end and without an echo."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def open(self) -> None:
        if os.name == "nt":
            os.system("")  # noqa: S605, S607 - the known way to have Windows' older console read ANSI sequences
            return
        if sys.stdin.isatty():
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)

    def close(self) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str:
        if sys.platform == "win32":
            import msvcrt

            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if msvcrt.kbhit():
                    return msvcrt.getwch()
                time.sleep(0.05)
            return ""
        if self._before is None:
            time.sleep(seconds)
            return ""
        import select

        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return os.read(sys.stdin.fileno(), 64).decode("latin-1")[:1] if ready else ""
