"""A rate limit of log lines by their place in the code.

Lines about requests have their own limit (``tally``). All other lines that a caller can provoke come from some place in
the code: a refused credential, a failing deployment, a traceback. Each place may write ``MOST`` lines in a minute; the
next line that passes says how many were left out.
"""

import logging
from collections import Counter

MOST = 100
"""Lines of one place in the code in a minute."""

_Place = tuple[str, int]


class LineLimit(logging.Filter):
    """A filter for a handler. Lines of the logger ``apart`` are not limited."""

    def __init__(self, apart: str = "", most: int = MOST) -> None:
        super().__init__()
        self._apart = apart
        self._most = most
        self._minute = -1
        self._passed: Counter[_Place] = Counter()
        self._left_out: Counter[_Place] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line passes."""
        if record.name == self._apart:
            return True
        minute = int(record.created) // 60
        if minute != self._minute:
            self._minute = minute
            self._passed.clear()
        place = (record.pathname, record.lineno)
        self._passed[place] += 1
        if self._passed[place] > self._most:
            self._left_out[place] += 1
            return False
        if count := self._left_out.pop(place, 0):
            record.msg, record.args = f"{record.getMessage()} (and {count} lines like this were left out)", ()
        return True
