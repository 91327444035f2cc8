"""The files of the audit: who may read them, when they are rotated, and that other processes' files stay."""

import os
from pathlib import Path

import pytest
from tests.rows import rows

from chukei.adapters.audit.folder import AuditFolder, FolderFullError, problem_of
from chukei.adapters.file_lock import lock

pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions of files are others there")
LINE = b"x" * 99 + b"\n"


def files(path: Path) -> list[int]:
    """Return the sizes of the files, the oldest first."""
    return [each.stat().st_size for each in sorted(path.iterdir())]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit"


def test_only_the_owner_can_read_what_is_written(path: Path) -> None:
    folder = AuditFolder(path, max_file_bytes=1000, max_bytes=10_000)
    folder.append(LINE)
    folder.append(LINE)
    [file] = path.iterdir()
    assert file.read_bytes() == 2 * LINE
    assert (path.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    folder.close()


@rows("mode", [0o755, 0o750, 0o707, 0o701])
def test_a_folder_that_others_can_open_is_refused(path: Path, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    assert "chmod 700" in str(problem_of(path))
    with pytest.raises(OSError, match="open to other users"):
        AuditFolder(path, max_file_bytes=1000, max_bytes=10_000).append(LINE)
    path.chmod(0o700)
    assert problem_of(path) is None


def test_a_folder_is_not_made_before_it_is_needed(path: Path) -> None:
    assert problem_of(path) is None
    assert not path.parent.exists()
    path.parent.write_text("a file")
    assert "not a folder" in str(problem_of(path.parent))
    assert problem_of(path) is not None


def test_a_file_ends_before_it_is_too_large_and_the_oldest_is_deleted(path: Path) -> None:
    folder = AuditFolder(path, max_file_bytes=250, max_bytes=600)
    for _ in range(5):
        folder.append(LINE)
    assert files(path) == [200, 200, 100]
    first = min(path.iterdir())
    folder.append(LINE)
    assert files(path) == [200, 200, 200]
    folder.append(LINE)
    assert files(path) == [200, 200, 100]
    assert not first.exists()
    with pytest.raises(FolderFullError):
        folder.append(b"x" * 601)
    folder.close()


def test_the_file_of_another_process_is_not_deleted(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    theirs = path / "audit-0-1-1.jsonl"
    theirs.write_bytes(b"x" * 500)
    other = os.open(theirs, os.O_RDWR)
    assert lock(other)
    folder = AuditFolder(path, max_file_bytes=250, max_bytes=550)
    with pytest.raises(FolderFullError):
        folder.append(LINE)
    os.close(other)  # as by its end
    folder.append(LINE)
    assert files(path) == [100]
    folder.close()


def test_a_file_that_somebody_takes_away_is_replaced(path: Path) -> None:
    folder = AuditFolder(path, max_file_bytes=1000, max_bytes=10_000)
    folder.append(LINE)
    next(path.iterdir()).unlink()
    folder.append(LINE)
    assert files(path) == [100]
    folder.close()
