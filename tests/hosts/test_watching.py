"""Watching files by looking at them."""

import asyncio
import os
from pathlib import Path

import pytest

from chukei.hosts.watching import stamps_of, watch

pytestmark = pytest.mark.anyio


def test_a_changed_link_is_a_change(tmp_path: Path) -> None:
    """Kubernetes mounts file -> ..data/file, and exchanges the link ..data."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "relay.toml").write_text("[server]\n", "utf-8")
        os.utime(tmp_path / version / "relay.toml", (1, 1))
    (tmp_path / "..data").symlink_to("one")
    file = tmp_path / "relay.toml"
    file.symlink_to("..data/relay.toml")
    before = stamps_of([str(file)])
    assert stamps_of([str(file)]) == before
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert stamps_of([str(file)]) != before


def test_a_missing_file_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    assert stamps_of([str(file), "\0"]) == {str(file): None, "\0": None}
    file.touch()
    assert stamps_of([str(file)])[str(file)] is not None


def test_a_copy_with_the_size_and_the_time_of_the_one_before_is_a_change(tmp_path: Path) -> None:
    """As ``cp -p`` and ``rsync --inplace`` write, and images whose files all have one time."""
    file = tmp_path / "relay.toml"
    for text in ("limit = 1", "limit = 2"):
        before = stamps_of([str(file)])
        file.write_text(text, "utf-8")
        os.utime(file, (1, 1))
        wait_for_the_clock_of_files(tmp_path)
    assert stamps_of([str(file)]) != before


def wait_for_the_clock_of_files(folder: Path) -> None:
    """Wait until a file that is made now has a later time; the kernel's clock for them ticks a hundred times a second
    or more."""
    probe = folder / "probe"
    probe.touch()
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        probe.touch()


async def test_a_file_is_read_when_it_rests_and_once_for_each_change(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("0", "utf-8")
    seen: list[str] = []
    changed = asyncio.Event()
    seconds = 0.005

    async def heard() -> None:
        seen.append(file.read_text("utf-8"))
        changed.set()

    watching = asyncio.create_task(watch(lambda: [str(file)], lambda: seconds, heard, settle_seconds=0.005))
    for text in ("0", "11", "222"):
        if text != "0":
            new = tmp_path / "new"
            new.write_text(text, "utf-8")
            new.replace(file)
        await changed.wait()
        changed.clear()
        assert seen[-1] == text
    assert seen == ["0", "11", "222"]
    seconds = 0
    await watching
