"""Judgements about this machine."""

import os
from pathlib import Path

import pytest
from tests.rows import rows

from chukei.doctor import machine
from chukei.doctor.finding import Status


@rows(
    ("soft", "status"),
    [(64, Status.FAILED), (255, Status.FAILED), (1024, Status.WARNING), (4096, Status.OK), (1 << 30, Status.OK)],
)
def test_the_limit_of_open_files(soft: int, status: Status) -> None:
    found = machine.judged_files(soft, soft)
    assert found.status is status
    assert bool(found.remedy) == (status is not Status.OK)


def test_this_machine_has_versions_and_a_limit() -> None:
    assert {"chukei", "Python", "OpenSSL", "httptools"} <= set(machine.versions().measured)
    assert machine.files().check == "files"


def test_a_folder(tmp_path: Path) -> None:
    """It need not exist yet; a file in its place, missing rights and a full disk are named."""
    assert machine.folder("spool", tmp_path / "a" / "b", 1).status is Status.OK
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    assert machine.folder("spool", tmp_path / "file" / "spool").status is Status.FAILED
    full = machine.folder("spool", tmp_path, 1 << 62)
    assert (full.status, "make room" in full.remedy) == (Status.WARNING, True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert machine.folder("spool", tmp_path / "spool").status is Status.FAILED
    finally:
        tmp_path.chmod(0o700)


@rows(
    ("differences", "statuses", "advice"),
    [
        ({"a": 0.4, "b": -0.9}, [Status.OK, Status.OK], ""),
        ({"a": 20.0}, [Status.WARNING], "set this machine's clock"),
        ({"a": 300.0, "b": 301.0}, [Status.FAILED, Status.FAILED], "set this machine's clock"),
        ({"a": 0.1, "b": 0.2, "c": -90.0}, [Status.OK, Status.OK, Status.FAILED], "set the clock of c"),
        ({}, [Status.SKIPPED], ""),
    ],
)
def test_whose_clock_is_wrong(differences: dict[str, float], statuses: list[Status], advice: str) -> None:
    found = machine.clock(differences)
    assert [each.status for each in found] == statuses
    assert found[-1].remedy.startswith(advice)


@rows(
    ("field", "time"),
    [
        (b"Thu, 01 Jan 1970 00:01:40 GMT", 100.0),
        (b"yesterday", None),
        (b"", None),
        (None, None),
    ],
)
def test_dates(field: bytes | None, time: float | None) -> None:
    assert machine.date_of(field) == time


def test_a_mistake_is_split_into_what_and_remedy() -> None:
    found = machine.problem("chukei.toml", "deployments.a.api_key", 'is missing; write api_key = { env = "NAME" }')
    assert found.seen == "chukei.toml: deployments.a.api_key: is missing"
    assert found.remedy == 'write api_key = { env = "NAME" }'
    assert machine.problem("VARIABLE", "", "is wrong").remedy
