"""Containers run by crun, an OCI runtime that needs no daemon: as restricted as a cluster's strictest policy allows.

The network is the host's, because tests are the clients. Everything else is the container's own: its processes, of
which the image's is number 1, its mounts, and a root file system that is read-only unless a test says otherwise.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.image.images import Image

START_SECONDS = 60
STOP_SECONDS = 60

# A kernel with both versions of control groups confuses crun, which has none to manage here: show it the newer alone.
_CGROUPS = "if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi"


class Container:
    """Runs an image's own command, or another ``entry_point`` or ``arguments`` to it. ``log`` has what it wrote."""

    def __init__(
        self,
        image: Image,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        entry_point: Sequence[str] | None = None,
        arguments: Sequence[str] | None = None,
        volumes: Mapping[str, Path] | None = None,
        read_only: bool = True,
    ) -> None:
        self.image = image
        self._folder = folder
        self._name = folder.name
        self._environment = image.environment | dict(environment or {})
        self._volumes = dict(volumes or {})
        self._read_only = read_only
        first = image.config["Entrypoint"] if entry_point is None else entry_point
        self._command = [*first, *(image.config["Cmd"] if arguments is None else arguments)]
        self.log: list[str] = []
        self.url = ""

    def _crun(self, *arguments: str | Path) -> list[str]:
        crun = ["crun", "--root", str(self._folder / "state"), "--cgroup-manager=disabled", *map(str, arguments)]
        return ["unshare", "--mount", "sh", "-c", f'{_CGROUPS}; exec "$@"', "sh", *crun]

    def _specification(self) -> dict[str, Any]:
        user, group = map(int, self.image.config["User"].split(":"))
        own = ["nosuid", "noexec", "nodev"]
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.image.root), "readonly": self._read_only},
            "process": {
                "user": {"uid": user, "gid": group},
                "args": self._command,
                "env": [f"{name}={value}" for name, value in self._environment.items()],
                "cwd": self.image.config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}],
            },
            "hostname": "chukei",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": [*own[:2], "mode=755"]},
                {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro", *own]},
                *(
                    {"destination": inside, "type": "bind", "source": str(outside), "options": ["rbind", "rw", *own]}
                    for inside, outside in self._volumes.items()
                ),
            ],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
                "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
            },
        }

    def __enter__(self) -> Self:
        self._start()
        end = time.monotonic() + START_SECONDS
        while not self._listening.wait(0.1):
            if time.monotonic() > end or self.process.poll() is not None:
                break
        if not self.url:
            self.__exit__(None, None, None)
            raise RuntimeError("the container did not start to serve:\n" + "\n".join(self.log))
        return self

    def _start(self) -> None:
        (self._folder / "config.json").write_text(json.dumps(self._specification()), "utf-8")
        command = self._crun("run", "--bundle", self._folder, self._name)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line.rstrip("\n"))
            if found := re.search(r"listening on (http:[^\s\"]+)", line):
                self.url = found[1].replace("0.0.0.0", "127.0.0.1")
                self._listening.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            subprocess.run(self._crun("kill", self._name, "KILL"), capture_output=True)
            self.ended()

    def run(self) -> tuple[int, str]:
        """Run a command that ends by itself; return its exit status and what it wrote."""
        self._start()
        return self.ended(), "\n".join(self.log)

    def signal(self, name: str) -> None:
        """Send a signal to the first process, as an engine that stops the container does."""
        done = subprocess.run(self._crun("kill", self._name, name), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def ended(self) -> int:
        """Wait for the end and return the exit status."""
        status = self.process.wait(STOP_SECONDS)
        self._reader.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another command in the running container, with its environment and as its user."""
        inside = self._crun("exec", "--user", self.image.config["User"], "--no-new-privs", self._name, *command)
        return subprocess.run(inside, capture_output=True, text=True, timeout=START_SECONDS)

    @property
    def pid(self) -> int:
        """The first process, as this machine numbers it."""
        state = subprocess.run(self._crun("state", self._name), capture_output=True, text=True, check=True)
        return int(json.loads(state.stdout)["pid"])

    @property
    def children(self) -> list[int]:
        """The processes that the first one has started."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(each) for each in text.split()]


def why_not() -> str | None:
    """Return why this machine cannot build and run images, None if it can."""
    if os.name != "posix" or os.uname().sysname != "Linux":
        return "images are built on Linux"
    if os.geteuid() != 0:
        return "building an image without a daemon needs root"
    programs = ("buildah", "crun", "unshare", "apt-get", "dpkg-deb")
    missing = [name for name in programs if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return f"not installed: {', '.join(missing)}" if missing else None
