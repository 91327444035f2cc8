"""The nginx settings of docs/deploy-server.md, in a real nginx in front of a real relay: nothing buffers."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import markdown
from tests.live.relays import RelayProcess

from chukei.doctor import watch

KEY = "the-key-of-callers"
NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/opt/homebrew/bin")


def configuration(folder: Path, port: int, relays: Sequence[str], printed: str) -> str:
    """Return a whole configuration around what is printed, on plain HTTP and other ports, to one relay or several."""
    lines = [line for line in printed.split("\n") if "ssl_certificate" not in line]
    text = "\n".join(lines).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    servers = "; server ".join(relay.removeprefix("http://") for relay in relays)
    text = text.replace("127.0.0.1:7221", servers)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 4096; }}"
    return f"{head} http {{ access_log off; {temporary}\n{text}\n}}\n"


@contextmanager
def front(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a relay with nginx in front of it, and give nginx's address."""
    with RelayProcess(environment) as relay, nginx(folder, relay.url) as url:
        yield url


@contextmanager
def nginx(folder: Path, *relays: str) -> Iterator[str]:
    """Run nginx in front of relays, and give its address."""
    if NGINX is None:
        pytest.skip("there is no nginx on this machine")
    printed = [fence.text for fence in markdown.fences("nginx")]
    assert len(printed) == 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, relays, printed[0]), "utf-8")
    with subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    """Wait until something listens; nginx does not tell."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def test_the_settings_are_valid_and_every_character_comes_by_itself(tmp_path: Path) -> None:
    with front(tmp_path, {"CHUKEI_API_KEY": KEY}) as url:
        pace = watch(url, KEY)
    assert not pace.buffered, str(pace)


def test_nobody_is_taken_for_a_local_caller(tmp_path: Path) -> None:
    """Without a key the relay serves its own machine, and nginx is there; what it adds must give it away."""
    with front(tmp_path, {}) as url, pytest.raises(ValueError, match="401"):
        watch(url, None)
