"""A file is written as a whole, and never over another one unasked."""

import os
import stat
from pathlib import Path

import pytest

from chukei.configuring import writing
from chukei.configuring.writing import CannotWrite, write


def test_it_writes_the_text_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.toml", "é\n# x\n", force=False)
    assert (tmp_path / "a.toml").read_bytes() == "é\n# x\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]


def test_others_may_read_it_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.toml", "x", force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.toml").stat().st_mode) == 0o640


def test_a_file_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("mine")
    with pytest.raises(CannotWrite, match=r"a\.toml exists, and stays as it is; --force replaces it"):
        write(tmp_path / "a.toml", "x", force=False)
    assert (tmp_path / "a.toml").read_text() == "mine"
    assert len([*tmp_path.iterdir()]) == 1


def test_a_link_to_nowhere_counts_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotWrite, match="exists"):
        write(tmp_path / "a.toml", "x", force=False)
    assert not (tmp_path / "elsewhere").exists()


def test_with_force_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("mine")
    (tmp_path / "a.toml").chmod(0o600)
    write(tmp_path / "a.toml", "x", force=True)
    assert (tmp_path / "a.toml").read_text() == "x"
    assert stat.S_IMODE((tmp_path / "a.toml").stat().st_mode) == 0o600


def test_with_force_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("mine")
    (tmp_path / "a.toml").symlink_to("real.toml")
    write(tmp_path / "a.toml", "x", force=True)
    assert (tmp_path / "a.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "x"


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="is a folder"):
        write(tmp_path, "x", force=True)


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotWrite, match="is no regular file"):
        write(tmp_path / "pipe", "x", force=True)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="there is no folder"):
        write(tmp_path / "none" / "a.toml", "x", force=False)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root can write to")
def test_a_folder_that_cannot_be_written_to_is_named() -> None:
    with pytest.raises(CannotWrite, match=r"cannot write /proc/chukei\.toml: .+; --output names another place"):
        write(Path("/proc/chukei.toml"), "x", force=False)


@pytest.mark.parametrize("force", [False, True])
def test_what_interrupts_it_leaves_nothing(force: bool, tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("mine")
    name = "b.toml" if force else "a.toml"
    # A lone surrogate cannot be encoded: the write fails after the file was made, as on a full disk.
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / name, "x" * 100_000 + "\ud800", force=force)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("b.toml", "mine")]


def test_a_file_that_another_makes_in_the_meantime_stays(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_text("ours")
    (tmp_path / "a.toml").write_text("theirs")
    with pytest.raises(FileExistsError):
        writing._place(made, tmp_path / "a.toml")
    assert (tmp_path / "a.toml").read_text() == "theirs"
