"""A process that listens: a relay, or the upstream."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from benchmarks.process import free_port


class Server:
    """A process that listens on ``port``. ``ready`` is the time in seconds until it took its first connection.

    ``keys`` is a file of what callers show, one to a line; without it the clients show one that nobody checks.
    ``slow`` says that it cannot carry a whole workload.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        port: int,
        environment: Mapping[str, str],
        log: Path,
        *,
        keys: Path | None = None,
        slow: bool = False,
        patience: float = 30.0,
    ) -> None:
        self.name = name
        self.port = port
        self.keys = keys
        self.slow = slow
        self.ready = 0.0
        self._command = command
        self._environment = environment
        self._log = log
        self._patience = patience

    @property
    def pid(self) -> int:
        """The first process of its tree."""
        return self._process.pid

    def restart(self) -> None:
        """Stop and start again, with memory as it was at first."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start and wait until it accepts a connection.

        Raises:
            RuntimeError: it ended instead, or took longer than its patience.
        """
        began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() - began > self._patience:
                self._process.kill()
                raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()}")
            time.sleep(0.001)
        self.ready = time.monotonic() - began

    def stop(self) -> None:
        """Stop it as from the keyboard, which waits for no balancer, and by force after five seconds."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Upstream(Server):
    """Stands for Azure OpenAI: plain HTTP on ``port``, TLS on ``tls_port`` with a certificate that ``ca`` signed."""

    def __init__(self, folder: Path) -> None:
        self.tls_port = free_port()
        self.ca = folder / "ca.pem"
        certificate = folder / "upstream.pem"
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        issued = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
        authority.cert_pem.write_to_path(self.ca)
        issued.private_key_and_cert_chain_pem.write_to_path(certificate)
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.upstream", str(port), str(self.tls_port), str(certificate)]
        super().__init__("upstream", command, port, os.environ, folder / "upstream.log")

    def address(self, *, tls: bool) -> str:
        """Return the URL of the plain or of the TLS side."""
        return f"https://localhost:{self.tls_port}" if tls else f"http://127.0.0.1:{self.port}"


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
