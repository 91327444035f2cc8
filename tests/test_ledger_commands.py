"""``chukei keys`` and ``chukei usage``: data on standard output alone, every exit status, and the whole way once."""

import asyncio
import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.adapters.ledger_entries import entry
from tests.live.relays import RelayProcess, clean_environment
from tests.rows import rows

from chukei.accounts.ledger import Entry, Key
from chukei.adapters.ledger.sqlite import SqliteDatabase
from chukei.cli import main

PASSWORD = "pw-very-secret-0123"


def ago(**span: float) -> datetime:
    """The moment that is so long before now."""
    return datetime.now(UTC) - timedelta(**span)


KEY = re.compile(r"chk_([0-9A-Za-z]{12})_[0-9A-Za-z]{49}\n")


class Commands:
    """Runs commands on one ledger in this process, without anything of the machine's environment."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.environment = {
            "CHUKEI_STORES__LEDGER": f"sqlite:///{self.path}",
            "CHUKEI_GROUPS__RESEARCH__SYSTEM": "x",
        }

    def __call__(self, *arguments: str, **environment: str) -> Result:
        machines = dict.fromkeys(os.environ.keys() - clean_environment().keys())
        variables: dict[str, str | None] = {**machines, **self.environment, **environment}
        return CliRunner().invoke(main, arguments, env=variables, catch_exceptions=False)

    def well(self, *arguments: str) -> str:
        """Return what a command that succeeds writes to standard output."""
        found = self(*arguments)
        assert found.exit_code == 0, found.stderr
        return found.stdout

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the answer in JSON."""
        found = json.loads(self.well(*arguments, "--format", "json"))
        rows = found["data"] if isinstance(found, dict) else found
        assert isinstance(rows, list)
        return rows

    def make(self, *arguments: str) -> str:
        """Make a key and return its id."""
        found = KEY.fullmatch(self.well("keys", "create", *arguments))
        assert found is not None
        return found[1]

    def write(self, entries: Sequence[Entry]) -> None:
        """Put entries into the ledger."""

        async def write() -> None:
            database = SqliteDatabase(self.path)
            await database.open()
            await database.add(entries)
            await database.close()

        asyncio.run(write())

    def kept(self) -> dict[str, Key]:
        """Return the keys as the database has them, by id."""

        async def keys() -> list[Key]:
            database = SqliteDatabase(self.path)
            await database.open()
            found = await database.keys()
            await database.close()
            return found

        return {key.id: key for key in asyncio.run(keys())}


@pytest.fixture
def chukei(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


# Keys.


def test_a_new_key_alone_goes_to_standard_output(chukei: Commands) -> None:
    found = chukei("keys", "create", "team-b")
    shown = KEY.fullmatch(found.stdout)
    assert shown is not None
    assert found.stderr == f"chukei: key {shown[1]} for team-b. It is shown this once:\n"
    key = chukei.kept()[shown[1]]
    assert (key.caller, key.group, key.expires, key.revoked, key.note) == ("team-b", None, None, None, None)
    text = found.stdout.strip()
    for file in chukei.path.parent.iterdir():
        assert text.rpartition("_")[2].encode() not in file.read_bytes(), "what opens is kept nowhere"


def test_a_group_where_the_configuration_has_none(chukei: Commands) -> None:
    del chukei.environment["CHUKEI_GROUPS__RESEARCH__SYSTEM"]
    unknown = chukei("keys", "create", "team-b", "--group", "research")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "There is no [groups.research] in the configuration; it has no groups." in unknown.stderr


def test_a_key_with_a_group_an_end_and_a_note(chukei: Commands) -> None:
    began = ago()
    found = chukei("keys", "create", "team-b", "--group", "research", "--expires", "90d", "--note", "for the batch")
    unknown = chukei("keys", "create", "team-b", "--group", "reserch")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "There is no [groups.reserch] in the configuration; those that there are: research." in unknown.stderr
    assert re.search(r", until \d{4}-\d\d-\d\d \d\d:\d\d UTC\. It is shown", found.stderr)
    [key] = chukei.kept().values()
    assert (key.group, key.note) == ("research", "for the batch")
    assert key.expires is not None
    assert timedelta(days=90) <= key.expires - began < timedelta(days=90, hours=1)
    known = chukei("keys", "create", "team-c", "--group", "research", CHUKEI_GROUPS__RESEARCH__SYSTEM="x")
    assert "note" not in known.stderr


@pytest.mark.parametrize("pepper", ["", "a pepper of thirty-two characters or more"])
def test_keys_are_made_with_the_configured_pepper(chukei: Commands, pepper: str) -> None:
    if pepper:
        chukei.environment["CHUKEI_AUTH__PEPPER"] = pepper
    id = chukei.make("team-b")
    assert chukei.kept()[id].pepper == (1 if pepper else 0)


@rows(
    ("arguments", "said"),
    [
        (["create", ""], "The caller's name must have 1 to 128 letters, digits"),
        (["create", "a\nb"], "The caller's name must have 1 to 128 letters, digits"),
        (["create", "x" * 129], "The caller's name must have"),
        (["create", "team-b", "--group", " g"], "The group's name must have"),
        (["create", "team-b", "--note", "\x1b[2Jgone\r\nteam-x"], "The note must be one line of printable characters"),
        (["create", "team-b", "--expires", "soon"], "'soon' is no span of time: write 24h, 90d or 12w"),
        (["create", "team-b", "--expires", "99999999d"], "'99999999d' is no span of time"),
        (["create", "team-\udcff"], "The caller's name must have"),
        (["rotate", "x", "--overlap", "99999999999w"], "is no span of time"),
        (["create", "team-b", "--expires", "-1d"], "'-1d' is no span of time"),
        (["create", "team-b", "--expires", ""], "'' is no span of time"),
        (["create", "team-b", "--expires", "0h"], "The key would expire before it is made."),
        (["create"], "Missing argument 'CALLER'"),
        (["create", "a", "b"], "unexpected extra argument"),
        (["rotate", "x", "--overlap", "1y"], "'1y' is no span of time"),
        (["list", "--format", "csv"], "'csv' is not one of 'table', 'json'"),
        (["erase"], "No such command 'erase'"),
    ],
)
def test_wrong_usage_of_keys_exits_with_2_and_makes_nothing(chukei: Commands, arguments: list[str], said: str) -> None:
    found = chukei("keys", *arguments)
    assert found.exit_code == 2
    assert found.stdout == ""
    assert said in found.stderr
    assert chukei.kept() == {}


def test_keys_are_listed_the_newest_first_without_what_opens(chukei: Commands) -> None:
    first = chukei.make("team-b", "--group", "research", "--note", "日本語")
    second = chukei.make("team-c", "--expires", "12w")
    chukei.well("keys", "revoke", first)
    listed = chukei.well("keys", "list")
    head, *lines = listed.splitlines()
    assert head.split() == ["id", "caller", "group", "state", "created", "expires", "note"]
    assert [line.split()[:4] for line in lines] == [
        [second, "team-c", "-", "active"],
        [first, "team-b", "research", "revoked"],
    ]
    assert lines[1].endswith("日本語")
    assert "chk_" not in listed
    rows = chukei.rows("keys", "list")
    assert [(row["id"], row["state"], row["note"]) for row in rows] == [
        (second, "active", None),
        (first, "revoked", "日本語"),
    ]
    assert rows[0].keys() == set(head.split())
    assert rows[0]["group"] is None
    assert datetime.fromisoformat(rows[0]["created"]).tzinfo is not None


def test_a_key_that_has_expired_says_so(chukei: Commands) -> None:
    id = chukei.make("team-b")

    async def end() -> None:
        database = SqliteDatabase(chukei.path)
        await database.open()
        assert await database.end_key(id, expires=ago(days=1), revoked=None)
        await database.close()

    asyncio.run(end())
    assert [row["state"] for row in chukei.rows("keys", "list")] == ["expired"]
    found = chukei("keys", "rotate", id)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "This key has ended" in found.stderr


def test_no_key_yet(chukei: Commands) -> None:
    assert len(chukei.well("keys", "list").splitlines()) == 1
    assert chukei.rows("keys", "list") == []


def test_a_key_is_replaced_and_works_on_for_a_while(chukei: Commands) -> None:
    old = chukei.make("team-b", "--group", "research", "--note", "n")
    began = ago()
    found = chukei("keys", "rotate", old, "--overlap", "2h")
    shown = KEY.fullmatch(found.stdout)
    assert shown is not None
    assert shown[1] != old
    assert f"key {shown[1]} for team-b" in found.stderr
    keys = chukei.kept()
    assert (keys[shown[1]].caller, keys[shown[1]].group, keys[shown[1]].note) == ("team-b", "research", "n")
    ends = keys[old].expires
    assert ends is not None
    assert timedelta(hours=2) <= ends - began < timedelta(hours=3)


def test_a_key_is_revoked_and_twice_is_no_failure(chukei: Commands) -> None:
    id = chukei.make("team-b")
    found = chukei("keys", "revoke", id)
    assert (found.exit_code, found.stdout, found.stderr) == (0, "", f"chukei: key {id} is revoked\n")
    at = chukei.kept()[id].revoked
    assert at is not None
    assert chukei("keys", "revoke", id).exit_code == 0
    assert chukei.kept()[id].revoked == at


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_an_unknown_key_exits_with_1(chukei: Commands, command: str) -> None:
    chukei.make("team-b")
    found = chukei("keys", command, "nonsense")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr == "chukei: there is no key with the id nonsense; chukei keys list shows them\n"


# Usage.


def recently(**fields: Any) -> Entry:
    return entry(**{"time": ago(hours=1), **fields})


@pytest.fixture
def used(chukei: Commands) -> Commands:
    chukei.write(
        [
            recently(caller="team-a", group="research", model="fast", input=100, output=30, cost=1_500_000),
            recently(caller="team-a", group="research", model="chat", input=10, output=3, cost=None),
            recently(caller="team-b", group=None, model="chat", input=1000, output=300, end="truncated"),
            recently(caller="=team-c", time=ago(days=40), input=7, output=0),
        ]
    )
    return chukei


def test_usage_by_caller_of_the_last_thirty_days(used: Commands) -> None:
    table = used.well("usage")
    head, *lines = table.splitlines()
    assert head.split()[:4] == ["caller", "requests", "refused", "failed"]
    assert [line.split()[:5] for line in lines] == [
        ["team-b", "1", "0", "1", "1,000"],
        ["team-a", "2", "0", "0", "110"],
        ["total", "3", "0", "1", "1,110"],
    ]
    rows = used.rows("usage")
    assert [(row["caller"], row["requests"], row["cost"], row["unpriced"]) for row in rows] == [
        ("team-b", 1, 0.00055, 0),
        ("team-a", 2, 1.5, 1),
    ]


def test_who_was_refused_and_why_by_hour(chukei: Commands) -> None:
    chukei.write(
        [
            recently(caller="team-a", end="refused", status=429, code="rate_limit_exceeded", requests=40),
            recently(caller="team-a", end="refused", status=503, code="quota_unavailable"),
            recently(caller="team-b", end="timeout", status=504, code="upstream_timeout"),
            recently(caller="team-b"),
        ]
    )
    [row] = chukei.rows("usage", "--by", "caller,code", "--outcome", "refused")
    assert (row["caller"], row["code"], row["requests"], row["refused"]) == ("team-a", "rate_limit_exceeded", 40, 40)
    assert sum(row["failed"] for row in chukei.rows("usage", "--by", "hour", "--since", "24h")) == 2
    assert [row["caller"] for row in chukei.rows("usage", "--end-reason", "timeout")] == ["team-b"]
    assert [row["caller"] for row in chukei.rows("usage", "--code", "quota_unavailable")] == ["team-a"]
    long = chukei("usage", "--by", "hour", "--since", "90d")
    assert (long.exit_code, "31 days at most" in long.output) == (2, True)


def test_usage_as_csv_that_a_spreadsheet_does_not_run(used: Commands) -> None:
    text = used("usage", "--format", "csv", "--since", "8w").stdout_bytes.decode()
    assert text.count("\r\n") == text.count("\n") == 4
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["caller"] for row in rows] == ["team-b", "team-a", "'=team-c"]
    assert rows[1]["input"] == "110"


@rows(
    ("arguments", "names"),
    [
        (["--by", "model"], [{"model": "chat"}, {"model": "fast"}]),
        (["--by", "end-reason"], [{"end-reason": "truncated"}, {"end-reason": "completed"}]),
        (["--by", "group"], [{"group": ""}, {"group": "research"}]),
        (
            ["--by", "caller, model", "--caller", "team-a"],
            [{"caller": "team-a", "model": "fast"}, {"caller": "team-a", "model": "chat"}],
        ),
        (["--group", "research"], [{"caller": "team-a"}]),
        (["--model", "chat"], [{"caller": "team-b"}, {"caller": "team-a"}]),
        (["--caller", "nobody"], []),
        (["--since", "40m"], []),
        (["--since", "90m"], [{"caller": "team-b"}, {"caller": "team-a"}]),
        (["--since", "2000-01-01", "--until", "2d"], [{"caller": "=team-c"}]),
        (["--since", "2000-01-01T12:00", "--until", "2000-01-02T00:00:00+02:00"], []),
    ],
)
def test_what_is_asked_is_what_is_summed(used: Commands, arguments: list[str], names: list[dict[str, str]]) -> None:
    rows = used.rows("usage", *arguments)
    assert [{key: row[key] for key in expected} for row, expected in zip(rows, names, strict=True)] == names


def test_usage_by_day(used: Commands) -> None:
    rows = used.rows("usage", "--by", "day,caller", "--since", "8w")
    days = [row["day"] for row in rows]
    assert days == sorted(days)
    assert days[0] == f"{ago(days=40):%Y-%m-%d}"


def test_nothing_used_is_said_aside(chukei: Commands) -> None:
    found = chukei("usage")
    assert (found.exit_code, found.stdout) == (0, "")
    assert found.stderr == "chukei: nothing was used in that time\n"
    assert chukei.rows("usage") == []
    assert chukei.well("usage", "--format", "csv").startswith("caller,requests,")


@rows(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "'yesterday' is no time: write 24h, 7d, 2026-11-01 or 2026-11-01T12:00"),
        (["--since", ""], "'' is no time"),
        (["--until", ""], "'' is no time"),
        (["--since", "2026-13-01"], "'2026-13-01' is no time"),
        (["--since", "999999w"], "'999999w' is no time"),
        (["--by", "prompt"], "'prompt' is nothing to sum by: write caller, group, model, deployment, served-model, "),
        (["--by", ""], "'' is nothing to sum by"),
        (["--by", "caller,"], "'' is nothing to sum by"),
        (["--format", "xml"], "'xml' is not one of"),
        (["team-b"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_of_usage_exits_with_2(used: Commands, arguments: list[str], said: str) -> None:
    found = used("usage", *arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert said in found.stderr


# What keeps the commands from working.

EVERY = [["keys", "create", "team-b"], ["keys", "list"], ["keys", "rotate", "x"], ["keys", "revoke", "x"], ["usage"]]
every_command = rows("arguments", EVERY)


@every_command
def test_a_wrong_configuration_exits_with_3(chukei: Commands, arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "chukei.toml"
    path.write_text("[ledger]\nspoon = 1\n[server]\nport = 0.5\n")
    found = chukei(*arguments, "--config", str(path))
    assert (found.exit_code, found.stdout) == (3, "")
    assert "2 problems" in found.stderr
    assert not chukei.path.exists()


@every_command
def test_without_a_database_they_exit_with_3(chukei: Commands, arguments: list[str]) -> None:
    found = chukei(*arguments, CHUKEI_STORES__LEDGER="none")
    assert (found.exit_code, found.stdout) == (3, "")
    assert found.stderr.startswith("chukei: there is no database: set stores.ledger")


@every_command
@rows(
    "address",
    [f"sqlite:///x.db?key={PASSWORD}", f"postgresql://u:{PASSWORD}@/d", f"mysql://u:{PASSWORD}@db/d"],
)
def test_an_unusable_address_exits_with_3_and_is_not_repeated(
    chukei: Commands, arguments: list[str], address: str
) -> None:
    found = chukei(*arguments, CHUKEI_STORES__LEDGER=address)
    assert (found.exit_code, found.stdout) == (3, "")
    assert "LEDGER: must be" in found.stderr or "stores.ledger: " in found.stderr
    assert PASSWORD not in found.stderr


@pytest.mark.parametrize("arguments", EVERY, ids=" ".join)
def test_a_database_of_a_newer_relay_exits_with_4_and_is_left_alone(chukei: Commands, arguments: list[str]) -> None:
    chukei.make("team-a")
    connection = sqlite3.connect(chukei.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    found = chukei(*arguments)
    assert (found.exit_code, found.stdout) == (4, "")
    assert "schema has number 99, made by a newer relay" in found.stderr
    connection = sqlite3.connect(chukei.path)
    assert connection.execute("SELECT count(*) FROM chukei_keys").fetchone() == (1,)
    connection.close()


@every_command
def test_a_file_of_another_program_exits_with_4(chukei: Commands, arguments: list[str]) -> None:
    chukei.path.write_text("this is no database " * 100)
    found = chukei(*arguments)
    assert (found.exit_code, found.stdout) == (4, "")
    assert found.stderr == f"chukei: {chukei.path}: it is no SQLite database: choose another path for the ledger\n"


@every_command
def test_a_folder_that_is_not_there_exits_with_4(chukei: Commands, arguments: list[str], tmp_path: Path) -> None:
    found = chukei(*arguments, CHUKEI_STORES__LEDGER=f"sqlite:///{tmp_path}/none/ledger.db")
    assert (found.exit_code, found.stdout) == (4, "")
    assert "see that the folder exists" in found.stderr


def test_a_database_that_cannot_be_reached_exits_with_4_and_shows_no_password(chukei: Commands) -> None:
    found = chukei("usage", CHUKEI_STORES__LEDGER=f"postgresql://chukei:{PASSWORD}@127.0.0.1:1/ledger")
    assert (found.exit_code, found.stdout) == (4, "")
    assert found.stderr.startswith("chukei: PostgreSQL at 127.0.0.1:1/ledger: ")
    assert PASSWORD not in found.stderr


# The whole way, as users go it.


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chukei", *arguments]
    return subprocess.run(command, env=clean_environment(environment), capture_output=True, text=True, timeout=120)


def ask(url: str, key: str) -> int:
    """Ask a relay with a key and return the status."""
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            error.read()
        return error.code


def until(status: int, url: str, key: str, seconds: float = 60.0) -> None:
    """Ask until the answer has that status: a relay reads keys every two seconds."""
    end = time.monotonic() + seconds
    while (found := ask(url, key)) != status:
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.1)


def test_the_whole_way(tmp_path: Path) -> None:
    ledger = {
        "CHUKEI_STORES__LEDGER": f"sqlite:///{tmp_path}/ledger.db",
        "CHUKEI_SIMULATOR__FIRST_TOKEN_SECONDS": "0",
        "CHUKEI_SIMULATOR__INTER_TOKEN_SECONDS": "0",
        "CHUKEI_GROUPS__RESEARCH__LIMITS__CONCURRENT": "5",
    }
    made = run("keys", "create", "team-b", "--group", "research", **ledger)
    assert made.returncode == 0, made.stderr
    old = made.stdout.strip()
    with RelayProcess(ledger) as relay:
        assert ask(relay.url, old) == 200
        rotated = run("keys", "rotate", old.split("_")[1], "--overlap", "1h", **ledger)
        new = rotated.stdout.strip()
        until(200, relay.url, new)
        assert ask(relay.url, old) == 200
        assert run("keys", "revoke", old.split("_")[1], **ledger).returncode == 0
        until(401, relay.url, old)
        assert ask(relay.url, new) == 200
        assert relay.stop() == 0
        assert old.split("_")[2] not in "\n".join(relay.log)
    used = run("usage", "--by", "caller,group,end-reason", "--format", "json", **ledger)
    assert (used.returncode, used.stderr) == (0, "")
    [row] = json.loads(used.stdout)["data"]
    assert (row["caller"], row["group"], row["end-reason"]) == ("team-b", "research", "completed")
    assert row["requests"] >= 4
    assert row["failed"] == 0
    assert row["input"] > 0
    missing = run("keys", "revoke", "nonsense", **ledger)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert run("keys", "list", CHUKEI_STORES__LEDGER="none").returncode == 3
    assert run("usage", "--since", "x", **ledger).returncode == 2
