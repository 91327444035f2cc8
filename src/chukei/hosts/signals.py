"""The signals that a server handles."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def _known(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


ENDING = _known("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""The signals for an orderly shutdown. SIGHUP is one of them if the terminal is gone, see ``hangup``."""

RESTARTING = _known("SIGUSR2")
"""The signal for new workers. nginx and gunicorn start a new program on it, which is what new workers amount to."""


Handler = Callable[[int, object], None]


def handle(handler: Handler, numbers: Iterable[int] = ENDING) -> dict[int, Any]:
    """Handle signals, except a SIGHUP that ``nohup`` ignores; return what handled them before."""
    return {number: signal.signal(number, handler) for number in numbers if not is_ignored(number)}


def ignore() -> None:
    """Ignore the signals for the end in the last moments of a process, when Python no longer calls handlers."""
    for number in (*ENDING, *RESTARTING):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Handle the signals for the end for a while."""
    before = handle(handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def is_ignored(number: int) -> bool:
    """Whether a signal is one that ``nohup`` ignores for this process."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def held_back() -> Iterator[None]:
    """Block signals, also in processes and threads that are started meanwhile: they inherit the mask."""
    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        yield
        return
    before = mask(signal.SIG_BLOCK, (*ENDING, *RESTARTING))
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Unblock what ``held_back`` has blocked for this process."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*ENDING, *RESTARTING))
