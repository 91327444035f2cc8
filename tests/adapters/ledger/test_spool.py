"""Entries on the disk: complete, bounded, private to their owner, and delivered by another process after a crash."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.adapters.ledger_entries import entries, entry

from chukei.accounts.ledger import Entry
from chukei.adapters.ledger.spool import Spool, SpoolFullError

PLENTY = 10_000_000


def drained(spool: Spool, most: int = 7) -> list[Entry]:
    found: list[Entry] = []
    while batch := spool.next(most):
        found += batch
        spool.delivered()
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def left_behind(folder: Path, content: bytes, name: str = "entries-1-dead.jsonl") -> None:
    """A file whose process is dead."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)


def lines(given: list[Entry], tmp_path: Path) -> bytes:
    spool = Spool(tmp_path / "lines", PLENTY)
    spool.append(given)
    content = files(tmp_path / "lines")[0].read_bytes()
    drained(spool)
    return content


def test_entries_come_back_in_order_and_leave_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", PLENTY)
    given = entries(20)
    spool.append(given[:5])
    spool.append(given[5:])
    assert spool.waiting == 20
    assert drained(spool) == given
    assert spool.waiting == 0
    assert files(tmp_path / "spool") == []


def test_what_is_not_delivered_comes_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, PLENTY)
    given = entries(4)
    spool.append(given[:2])
    assert spool.next(10) == spool.next(10) == given[:2]
    spool.append(given[2:])
    spool.delivered()
    assert spool.next(10) == given[2:]


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "spool"
    Spool(folder, PLENTY).append(entries(1))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in files(folder)] == [0o600]


def test_strange_entries_wait_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path, PLENTY)
    spool.append([entry(caller="\ud800\0", input=2**99, duration=float("nan")), entry(model="モデル")])
    one, other = drained(spool)
    assert (one.caller, one.input, one.duration) == ("?\ufffd", 10**12, 0.0)
    assert other.model == "モデル"


def test_it_is_bounded_over_all_files(tmp_path: Path) -> None:
    one, other = Spool(tmp_path, 20_000), Spool(tmp_path, 20_000)
    kept: list[Entry] = []
    for spool in (one, other) * 100:
        batch = entries(2)
        try:
            spool.append(batch)
        except SpoolFullError:
            break
        kept += batch
    assert 15_000 < sum(file.stat().st_size for file in files(tmp_path)) <= 20_000
    assert len(kept) > 20
    with pytest.raises(SpoolFullError):
        other.append(entries(10))
    assert {each.id for each in [*drained(one), *drained(other)]} == {each.id for each in kept}
    other.append(entries(10))


def test_a_batch_that_does_not_fit_on_the_disk_leaves_nothing_torn(tmp_path: Path) -> None:
    spool = Spool(tmp_path, PLENTY)
    given = entries(10)
    spool.append(given)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.append(entries(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = entries(3)
    spool.append(after)
    assert drained(spool) == given + after


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="directory"):
        Spool(tmp_path / "file" / "spool", PLENTY).append(entries(1))


# Files of other processes.


def test_what_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    given = entries(12)
    left_behind(tmp_path / "spool", lines(given, tmp_path))
    spool = Spool(tmp_path / "spool", PLENTY)
    spool.adopt()
    spool.adopt()
    assert spool.waiting == 12
    assert drained(spool) == given
    assert files(tmp_path / "spool") == []


def test_what_a_living_process_holds_is_left_alone(tmp_path: Path) -> None:
    alive, other = Spool(tmp_path, PLENTY), Spool(tmp_path, PLENTY)
    given = entries(3)
    alive.append(given)
    other.adopt()
    assert other.next(10) == []
    alive.close()
    other.adopt()
    assert drained(other) == given


def test_only_one_takes_it_over(tmp_path: Path) -> None:
    left_behind(tmp_path / "spool", lines(entries(3), tmp_path))
    spools = [Spool(tmp_path / "spool", PLENTY) for _ in range(4)]
    for spool in spools:
        spool.adopt()
    assert sorted(len(drained(spool)) for spool in spools) == [0, 0, 0, 3]


@pytest.mark.parametrize("cut", [2, 5, 50, 150])
def test_a_torn_last_line_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int) -> None:
    given = entries(3)
    left_behind(tmp_path / "spool", lines(given, tmp_path)[:-cut])
    spool = Spool(tmp_path / "spool", PLENTY)
    spool.adopt()
    assert drained(spool) == given[:2]
    assert files(tmp_path / "spool") == []
    assert "1 damaged lines are left out" in caplog.text


def test_a_last_line_that_lacks_only_its_end_is_whole(tmp_path: Path) -> None:
    given = entries(3)
    left_behind(tmp_path / "spool", lines(given, tmp_path)[:-1])
    spool = Spool(tmp_path / "spool", PLENTY)
    spool.adopt()
    assert drained(spool) == given


def test_damaged_lines_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = entries(2)
    one, other = lines(given, tmp_path).splitlines(keepends=True)
    junk = b'\n{"id": 1}\n\xff\xfe\n' + b"\0" * 3_000_000 + b"\n[]\n"
    left_behind(tmp_path / "spool", one + junk + other)
    left_behind(tmp_path / "spool", b"", "entries-2-empty.jsonl")
    left_behind(tmp_path / "spool", junk, "entries-3-junk.jsonl")
    spool = Spool(tmp_path / "spool", PLENTY)
    spool.adopt()
    assert drained(spool) == given
    assert files(tmp_path / "spool") == []
    assert "damaged" in caplog.text


def test_an_older_relays_lines_have_fields_that_are_unknown(tmp_path: Path) -> None:
    given = entries(1)
    left_behind(tmp_path / "spool", lines(given, tmp_path).replace(b"{", b'{"purpose":"x",', 1))
    spool = Spool(tmp_path / "spool", PLENTY)
    spool.adopt()
    assert drained(spool) == given


def test_other_files_and_links_are_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(lines(entries(1), tmp_path))
    spool = Spool(tmp_path / "spool", PLENTY)
    left_behind(tmp_path / "spool", b"mine", "notes.txt")
    (tmp_path / "spool" / "entries-1-link.jsonl").symlink_to(target)
    spool.adopt()
    assert drained(spool) == []
    assert len(files(tmp_path / "spool")) == 2
    assert target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_not_believed(tmp_path: Path) -> None:
    left_behind(tmp_path / "spool", lines(entries(1), tmp_path))
    os.chown(tmp_path / "spool" / "entries-1-dead.jsonl", 65534, 65534)
    spool = Spool(tmp_path / "spool", PLENTY)
    spool.adopt()
    assert drained(spool) == []


DIE = """
import os, sys
from pathlib import Path
from chukei.adapters.ledger.spool import Spool
from tests.adapters.ledger_entries import entry
spool = Spool(Path(sys.argv[1]), 10_000_000)
number = 0
while True:
    spool.append([entry(id=f"{number + at}") for at in range(50)])
    number += 50
    print(number, flush=True)
"""


def test_a_killed_process_leaves_whole_batches(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DIE, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.kill()
        said = [int(line) for line in process.stdout]
    spool = Spool(tmp_path, PLENTY)
    spool.adopt()
    found = [int(each.id) for each in drained(spool, 500)]
    assert found == list(range(len(found)))
    assert len(found) >= max(said, default=250)


def test_where_files_cannot_be_locked_nothing_is_left_open_or_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on NFS without its lock daemon: the system says ENOLCK, which no file system here does."""
    left_behind(tmp_path, b"{}\n")

    def no_locks(descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    spool = Spool(tmp_path, PLENTY, lock=no_locks)
    before = open_files()
    for _ in range(50):
        with pytest.raises(OSError, match="No locks available"):
            spool.append(entries(1))
        spool.adopt()
    assert open_files() == before
    assert [path.name for path in files(tmp_path)] == ["entries-1-dead.jsonl"]
    assert caplog.text.count("cannot be taken over: No locks available") == 1


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
