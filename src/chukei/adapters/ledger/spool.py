"""Spool files for ledger entries while the database is unavailable: one per process, one line of JSON per entry.

All functions wait for a disk, so call them in a thread. When ``append`` returns, the batch is on the disk (fsync). A
process locks its file as long as it runs; the system releases the lock when the process ends. So a file without a lock
is abandoned, and the process that finds it delivers its entries. Entries that were delivered but not yet deleted are
delivered again; the ledger recognises each entry by its id.
"""

import logging
import os
import secrets
import stat
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from chukei.accounts.ledger import Entry
from chukei.adapters.ledger.sql import row_of

logger = logging.getLogger(__name__)

READ_BYTES = 1_048_576
"""Most bytes that are read for one batch; a line is much shorter."""

_PATTERN = "entries-*.jsonl"
_NAMES = Entry.__struct_fields__
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)  # the first not on Windows, the second only there
_decode: Callable[[bytes], Entry] = msgspec.json.Decoder(Entry).decode


if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> bool:
        """Lock a file until it is closed. Return False if another process holds the lock."""
        os.lseek(descriptor, 2**40, os.SEEK_SET)  # beyond the data, so that others may read it
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock a file until it is closed. Return False if another process holds the lock."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class SpoolFullError(Exception):
    """The batch would exceed the size limit of the folder."""


class Spool:
    """The entries in one folder that belong to this process, or to none. ``max_bytes`` limits the whole folder."""

    def __init__(self, folder: Path, max_bytes: int, *, lock: Callable[[int], bool] = lock) -> None:
        self.folder = folder
        self.waiting = 0  # entries of this process and of the files that it has adopted
        self.max_bytes = max_bytes
        self._lock = lock
        self._own: _File | None = None
        self._adopted: list[_File] = []
        self._last: _File | None = None  # the file from which ``next`` has read
        self._foreign: set[Path] = set()  # files that cannot be adopted and for which a warning was logged

    @property
    def bytes(self) -> int:
        """The size of all files in the folder, also those of other processes."""
        sizes = []
        for path in self.folder.glob(_PATTERN):
            try:
                sizes.append(path.stat().st_size)
            except OSError:  # delivered meanwhile
                continue
        return sum(sizes)

    @property
    def pending_bytes(self) -> int:
        """The size of the entries that ``waiting`` counts. It reads no file."""
        return sum(file.pending_bytes for file in self._files())

    def append(self, entries: Sequence[Entry]) -> None:
        """Write a batch, either whole or not at all.

        Raises:
            SpoolFullError: the folder has no room for it.
            OSError: it cannot be written.
        """
        data = b"".join(map(_line, entries))
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.bytes + len(data) > self.max_bytes:
            raise SpoolFullError
        if self._own is None:
            self._own = _new_file(self.folder, self._lock)
        self._own.append(data)
        self.waiting += len(entries)

    def adopt(self) -> None:
        """Adopt the files of processes that have ended."""
        for path in sorted(self.folder.glob(_PATTERN)):
            if all(held is None or held.path != path for held in (self._own, *self._adopted)):
                try:
                    found = _open_file(path, self._lock)
                except OSError as error:
                    if path not in self._foreign:
                        self._foreign.add(path)
                        logger.warning("%s cannot be taken over: %s", path, error.strerror)
                    continue
                if found is not None:
                    self._adopted.append(found)
                    self.waiting += found.count()

    def next(self, most: int) -> list[Entry]:
        """Return the oldest entries, at most ``most``; ``[]`` if there are none. Repeat them until ``delivered``.

        Raises:
            OSError: a file cannot be read.
        """
        for file in self._files():
            entries = file.next(most)
            if entries:
                self._last = file
                return entries
            self._end(file)
        self.waiting = 0
        return []

    def delivered(self) -> None:
        """Remove the entries that ``next`` returned last."""
        file, self._last = self._last, None
        if file is not None:
            self.waiting -= file.delivered()
            if file.is_over:
                self._end(file)

    def close(self) -> None:
        """Close the files. A later process delivers their entries."""
        for file in self._files():
            file.close()
        self._own, self._adopted, self._last = None, [], None

    def _files(self) -> "list[_File]":
        return [*self._adopted, *([self._own] if self._own is not None else [])]

    def _end(self, file: "_File") -> None:
        file.remove()
        if file is self._own:
            self._own = None
        else:
            self._adopted.remove(file)


class _File:
    """One locked file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._start = 0  # offset of the first undelivered entry
        self._stop = 0  # offset after the entries that were read last
        self._read = 0  # number of lines that were read last

    @property
    def is_over(self) -> bool:
        return self._start >= self._size

    @property
    def pending_bytes(self) -> int:
        return self._size - self._start

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def count(self) -> int:
        place, lines = 0, 0
        while part := self._part(place):
            place += len(part)
            lines += part.count(b"\n")
        return lines

    def next(self, most: int) -> list[Entry]:
        while not self.is_over:
            data = self._part(self._start)
            lines = data.splitlines(keepends=True)[:most]
            if lines and not lines[-1].endswith(b"\n"):
                lines = lines[:-1] or lines  # read a partial line with the next batch, unless it is the only one
            self._stop, self._read = self._start + sum(map(len, lines)), len(lines)
            entries = [entry for entry in map(_entry, lines) if entry is not None]
            if len(entries) < len(lines):
                logger.warning("%s: %d damaged lines are left out", self.path, len(lines) - len(entries))
            if entries:
                return entries
            self._start = self._stop if lines else self._size
        return []

    def delivered(self) -> int:
        self._start = self._stop
        return self._read

    def _part(self, place: int) -> bytes:
        os.lseek(self._descriptor, place, os.SEEK_SET)  # Windows has no pread
        return os.read(self._descriptor, READ_BYTES)

    def close(self) -> None:
        if self.is_over:
            self.remove()
        else:
            os.close(self._descriptor)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)  # before the lock is released
        os.close(self._descriptor)


def _new_file(folder: Path, lock: Callable[[int], bool]) -> _File:
    """Create a file. Another process may adopt it before it is locked; then create another one."""
    while True:
        path = folder / f"entries-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            made = _locked(path, descriptor, lock)
        except OSError:  # a file system without locks, such as some NFS servers
            path.unlink(missing_ok=True)
            raise
        if made is not None:
            return made


def _open_file(path: Path, lock: Callable[[int], bool]) -> _File | None:
    """Adopt a file. Return None if its process runs, another user owns it, or another process was faster."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | _FLAGS)
    except FileNotFoundError:
        return None
    return _locked(path, descriptor, lock)


def _locked(path: Path, descriptor: int, lock: Callable[[int], bool]) -> _File | None:
    """Lock an open file and return it. If that is not allowed, close it and return None.

    Raises:
        OSError: this file system has no locks.
    """
    file = None
    try:
        found = os.fstat(descriptor)
        mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
        if mine and stat.S_ISREG(found.st_mode) and lock(descriptor) and os.fstat(descriptor).st_nlink:
            file = _File(path, descriptor)
    finally:
        if file is None:
            os.close(descriptor)
    return file


def _line(entry: Entry) -> bytes:
    return msgspec.json.encode(dict(zip(_NAMES, row_of(entry, _unchanged), strict=True))) + b"\n"


def _unchanged(moment: datetime) -> datetime:
    return moment


def _entry(line: bytes) -> Entry | None:
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
