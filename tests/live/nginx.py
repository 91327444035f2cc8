"""A real nginx in front of a relay."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.live.processes import running

NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/opt/homebrew/bin")


@contextmanager
def nginx(folder: Path, http: str, port: int) -> Iterator[None]:
    """Run nginx with the contents of its ``http`` block, until something listens on ``port``."""
    if NGINX is None:
        pytest.skip("there is no nginx on this machine")
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 4096; }}"
    file = folder / "nginx.conf"
    file.write_text(f"{head} http {{ access_log off; {temporary}\n{http}\n}}\n", "utf-8")
    with running([NGINX, "-p", folder, "-c", file], stderr=subprocess.DEVNULL):
        _wait_for(port)
        yield


def _wait_for(port: int) -> None:
    """Wait until something listens; nginx does not tell."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
