"""What systemd is told."""

import socket
from pathlib import Path

from chukei.hosts.systemd import notify


def test_states_are_sent_to_the_socket_that_the_environment_names(tmp_path: Path) -> None:
    for bound, named in ((str(tmp_path / "notify"), str(tmp_path / "notify")), (f"\0{tmp_path}", f"@{tmp_path}")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(bound)
            notify("READY=1", {"NOTIFY_SOCKET": named})
            assert receiver.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
