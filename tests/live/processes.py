"""Programs that tests run, none of which outlives its test."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENDING_SECONDS = 60
"""How long a program may take to end on a busy machine."""


def end(process: "subprocess.Popen[Any]", how: signal.Signals = signal.SIGTERM) -> int:
    """End a process by a signal, if it runs, and return its exit status; kill one that does not end, and fail."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"not ended {ENDING_SECONDS} s after {how.name}: {process.args!r}") from None


@contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Run a program until the block ends, and then end it. ``Popen``'s own block would wait for its end for ever."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        try:
            end(process)
        finally:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
