"""Whether a SIGHUP means the end."""

import os
import subprocess
import sys

import pytest

from chukei.hosts.hangup import Hangup

ASK = (
    "import sys; from chukei.hosts.hangup import Hangup; h = Hangup(); print('ready', flush=True); "
    "sys.stdin.readline(); print(h.ends)"
)


def test_without_a_terminal_it_is_a_reload() -> None:
    command = [sys.executable, "-c", ASK]
    found = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60)
    assert found.stdout == "ready\nFalse\n"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals")
@pytest.mark.parametrize("gone", [False, True])
def test_with_a_terminal_it_is_the_end_once_that_is_gone(gone: bool) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if gone:
            os.close(ours)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.read() == f"{gone}\n"
    if not gone:
        os.close(ours)
    assert Hangup().ends is False
