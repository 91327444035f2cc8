"""The files of the audit: lines of JSON in a folder that only its owner can open.

Each process writes a file of its own, so no process can cut another's line, and rotation needs no agreement. A process
locks its file. So the oldest file without a lock may be deleted to keep the folder within its bound.

All functions wait for a disk, so call them in a thread.
"""

import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from chukei.adapters.file_lock import lock

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


class FolderFullError(OSError):
    """The entries do not fit into the bound of the folder."""


def problem_of(folder: Path) -> str | None:
    """Return why a folder cannot be used for the audit, and what helps; None if it can. Nothing is created."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        parent = next((each for each in folder.absolute().parents if each.exists()), folder)
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return None
        return f"{folder} cannot be made, because {parent} is not a folder that can be written to"
    except OSError as error:
        return f"{folder} cannot be used: {error.strerror}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is not a folder"
    if os.name != "nt" and found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        return (
            f"{folder} is open to other users (mode {mode:04o}): run chmod 700 on it, or give a folder below it that "
            "does not exist yet, which the relay makes"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"{folder} cannot be written to"
    return None


class AuditFolder:
    """The folder, and this process's file in it.

    A file is closed before it exceeds ``max_file_bytes``. ``max_bytes`` bounds all files, those of other processes
    included; each of these may exceed it by what it is just writing.
    """

    def __init__(self, path: Path, *, max_file_bytes: int, max_bytes: int) -> None:
        self.path = path
        self._max_file_bytes = max_file_bytes
        self._max_bytes = max_bytes
        self._numbers = count()
        self._own: Path | None = None
        self._descriptor = -1

    def append(self, lines: bytes) -> None:
        """Write whole lines, either all or none.

        Raises:
            FolderFullError: they do not fit, even if all old files are deleted.
            OSError: they cannot be written.
        """
        sizes = self._sizes()
        size = sizes.get(self._own, -1) if self._own is not None else -1
        if size < 0 or (size > 0 and size + len(lines) > self._max_file_bytes):
            self.close()  # also where somebody has removed or renamed the file
            size = 0
        self._make_room(sizes, len(lines))
        if self._own is None:
            self._open()
        self._write(lines, size)

    def _sizes(self) -> dict[Path, int]:
        """Return the size of each file, the oldest first."""
        sizes = {}
        with suppress(FileNotFoundError), os.scandir(self.path) as found:
            for each in found:
                if each.name.startswith("audit-") and each.name.endswith(".jsonl"):
                    with suppress(FileNotFoundError):
                        sizes[self.path / each.name] = each.stat().st_size
        return dict(sorted(sizes.items()))

    def _make_room(self, sizes: dict[Path, int], wanted: int) -> None:
        total = sum(sizes.values())
        for path, size in sizes.items():
            if total + wanted <= self._max_bytes:
                return
            if path != self._own and _delete(path):
                total -= size
        if total + wanted > self._max_bytes:
            raise FolderFullError(f"{wanted} bytes do not fit into audit.max_bytes")

    def _open(self) -> None:
        """Create a file. Another process may delete it before it is locked; then create another one."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = problem_of(self.path)
        if problem is not None:
            raise OSError(problem)
        while True:
            moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            path = self.path / f"audit-{moment}-{os.getpid()}-{next(self._numbers)}.jsonl"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _FLAGS, 0o600)
            if lock(descriptor) and path.exists():
                self._own, self._descriptor = path, descriptor
                return
            os.close(descriptor)

    def _write(self, lines: bytes, size: int) -> None:
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:
                self.close()  # what follows half a line must not be part of it
            raise

    def close(self) -> None:
        """Close this process's file."""
        descriptor, self._descriptor, self._own = self._descriptor, -1, None
        if descriptor >= 0:
            os.close(descriptor)


def _delete(path: Path) -> bool:
    """Delete a file unless a process writes to it; return whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | _FLAGS)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not lock(descriptor):
            return False
        if os.name != "nt":
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    if os.name == "nt":  # an open file cannot be deleted there
        path.unlink(missing_ok=True)
    return True
