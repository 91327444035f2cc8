"""A text's lines, split as its bytes arrive (JSON Lines). Pure."""

_BOM = b"\xef\xbb\xbf"


class TooLong(Exception):
    """A line is longer than it may be."""


class Lines:
    """Splits a text at each line feed. A line is at most ``longest`` bytes; a byte order mark in front is dropped."""

    __slots__ = ("_first", "_longest", "_parts", "held")

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._first = True
        self.held = 0
        """Bytes of the line that is not complete yet."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that these bytes complete, each with its line feed.

        Raises:
            TooLong: the line that has begun is too long already.
        """
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._hold(part)
            lines.append(self._line(b"\n"))
        self._hold(rest)
        return lines

    def end(self) -> bytes:
        """Return what follows the last line feed."""
        return self._line(b"")

    def _hold(self, part: bytes) -> None:
        self.held += len(part)
        if self.held > self._longest:
            raise TooLong
        if part:
            self._parts.append(part)

    def _line(self, feed: bytes) -> bytes:
        line = b"".join((*self._parts, feed))
        self._parts.clear()
        self.held = 0
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        return line
