"""The meaning of SIGHUP: the terminal is gone, or the configuration shall be read again."""

import os
import signal

HANGUP = getattr(signal, "SIGHUP", None)


class Hangup:
    """Tells the two apart by the terminals on the standard streams, which it must see while they are open.

    The kernel sends SIGHUP when a terminal closes; then the process ends, as every program in that terminal does. An
    operator sends it too, as for most servers, for the configuration to be read again. Without a terminal, or while it
    is still there, only the latter can be meant. A SIGHUP that the parent process ignores (nohup) stays ignored.
    """

    def __init__(self) -> None:
        self._terminals = [stream for stream in range(3) if _is_terminal(stream)]

    @property
    def ends(self) -> bool:
        """Whether the process has lost its terminal."""
        return bool(self._terminals) and not any(_is_terminal(stream) for stream in self._terminals)


def _is_terminal(stream: int) -> bool:
    try:
        return os.isatty(stream)
    except OSError:
        return False
