"""What stands between clients and upstream: the relay itself in several forms, nginx, or nothing."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.load import KEY
from benchmarks.process import free_port

# Variables of the machine that would configure the relay.
_OURS = re.compile(r"(CHUKEI_|AZURE_|OPENAI_|IDENTITY_|MSI_|(HTTPS?|NO|ALL)_PROXY$)", re.IGNORECASE)
_WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from chukei.cli import main; main()"

_NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_buffer_size 2m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream azure {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://azure;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header api-key upstream-key;
      proxy_buffering off;
      proxy_read_timeout 120s;
    }}
  }}
}}
"""


class Server:
    """A process that listens on ``port``. ``ready`` is the time in seconds until it took its first connection."""

    def __init__(self, name: str, command: list[str], port: int, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.port = port
        self.ready = 0.0
        self._command = command
        self._environment = environment
        self._log = log

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
            RuntimeError: it ended instead, or took longer than 30 seconds.
        """
        began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() - began > 30:
                self._process.kill()
                raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()}")
            time.sleep(0.001)
        self.ready = time.monotonic() - began

    def stop(self) -> None:
        """Stop it, by force after five seconds."""
        self._process.send_signal(signal.SIGTERM)
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


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def upstream(folder: Path) -> Server:
    """Return the server that stands for Azure OpenAI."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    return Server("upstream", command, port, os.environ, folder / "upstream.log")


def chukei(name: str, upstream_port: int, folder: Path, *, uvloop: bool = True, tree: Path | None = None) -> Server:
    """Return the relay with everything on: key authentication, a log line and a ledger entry for each request.

    ``tree`` is another checkout of it to run instead of this one.
    """
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not _OURS.match(key)}
    environment |= {
        "XDG_STATE_HOME": str(folder / f"{name}-state"),  # where it keeps its ledger
        "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{upstream_port}",
        "AZURE_OPENAI_API_KEY": "upstream-key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_API_KEY": KEY,
        "CHUKEI_LOG__FORMAT": "json",
    }
    if tree is not None:
        environment["PYTHONPATH"] = str(tree.resolve() / "src")
    start = ["-m", "chukei"] if uvloop else ["-c", _WITHOUT_UVLOOP]
    command = [sys.executable, *start, "serve", "--port", str(port)]
    return Server(name, command, port, environment, folder / f"{name}.log")


def nginx(upstream_port: int, folder: Path) -> Server | None:
    """Return nginx with one worker, or None where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return None
    place = folder / "nginx"
    place.mkdir(exist_ok=True)
    port = free_port()
    configuration = place / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=place, upstream=upstream_port, port=port))
    return Server("nginx", [program, "-p", str(place), "-c", str(configuration)], port, os.environ, place / "out.log")


def nginx_version() -> str:
    """Return nginx's version, or that there is none."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        return "nginx: not here"
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().removeprefix("nginx version: ")
