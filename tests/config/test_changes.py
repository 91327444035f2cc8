"""What a reload changes, by names of keys and without any value."""

import hashlib
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from tests.rows import rows

from chukei.config import NEEDS_RESTART, Changes, Secret, Settings, changes, load, without_restart
from chukei.config.changes import tables, version_of

ENVIRONMENT = {"ONE": "first-secret", "TWO": "second-secret"}
PLAIN = """
[server]
port = 7001
[deployments.east]
endpoint = "https://east.example"
api_key = { env = "ONE" }
[deployments.west]
endpoint = "https://west.example"
api_key = { env = "ONE" }
[models.chat]
deployments = ["east", "west"]
[models.chat.prices]
input = 2.5
output = 10
[groups.research]
[callers.team]
groups = ["research"]
[callers.team.limits]
tokens_per_minute = 100
[auth]
local = false
"""

ENTRA = """
[auth.entra]
tenant = "0f8fad5b-d9cb-469f-a165-70867728950e"
audience = "relay"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


def settings(file: Path, text: str) -> Settings:
    file.write_text(text, "utf-8")
    return load(file, ENVIRONMENT)


@rows(
    ("old", "new", "expected"),
    [
        ("", "", Changes()),
        ("tokens_per_minute = 100", "tokens_per_minute = 90", Changes(("callers.team.limits.tokens_per_minute",))),
        ('groups = ["research"]', "groups = []", Changes(("callers.team.groups",))),
        ("input = 2.5", "input = 2", Changes(("models.chat.prices.input",))),
        ('["east", "west"]', '["east"]', Changes(("models.chat.deployments",), removed=("deployments.west",))),
        ("local = false", "local = true", Changes(("auth.local",))),
        ('{ env = "ONE" }\n[deployments', '{ env = "TWO" }\n[deployments', Changes(("deployments.east.api_key",))),
        ("endpoint = \"https://east", "weight = 3\nendpoint = \"https://east", Changes(("deployments.east.weight",))),
        (
            "[models.chat",
            "[models.new",
            Changes(("defaults.model",), ("models.new",), ("models.chat",)),
        ),
        ("[auth]", "[callers.other]\nsystem = 'x'\n[auth]", Changes(added=("callers.other",))),
        ("port = 7001", "port = 7002\nbody_seconds = 9", Changes(("server.body_seconds",), restart=("server.port",))),
        ("[auth]", ENTRA + "[auth]", Changes(("auth.entra",))),
    ],
)  # fmt: skip
def test_what_differs_is_named(file: Path, old: str, new: str, expected: Changes) -> None:
    before = settings(file, PLAIN)
    found = changes(before, settings(file, PLAIN.replace(old, new) if old else PLAIN))
    assert found == expected
    assert bool(found) == (expected != Changes())


def test_what_needs_a_restart_stays(file: Path) -> None:
    before = settings(file, PLAIN)
    after = settings(file, PLAIN.replace("7001", "7002").replace("[auth]", "[ledger]\nretention_days = 7\n[auth]"))
    made = without_restart(before, after)
    assert (made.server.port, made.ledger.retention_days) == (7001, 400.0)
    assert changes(before, after).restart == ("ledger.retention_days", "server.port")
    assert changes(made, after) == Changes(restart=("ledger.retention_days", "server.port"))


def test_every_key_that_needs_a_restart_exists() -> None:
    found = load(None, {})
    for section, names in NEEDS_RESTART.items():
        assert names <= set(getattr(found, section).__dataclass_fields__)


def test_every_section_is_compared() -> None:
    """A change of a section that is forgotten there would not be noticed by a reload."""
    found = load(None, {})
    values = {each.name: getattr(found, each.name) for each in fields(found)}
    sections = {name for name, value in values.items() if is_dataclass(value)}
    assert sections - {"policies"} <= {path[0] for path in tables(found)}
    assert changes(found, load(None, {"CHUKEI_SOCKETS__MOST": "7"})).changed == ("sockets.most",)


def test_another_content_of_a_named_file_is_a_change(file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    text = PLAIN.replace('{ env = "ONE" }', f'{{ file = "{key}" }}', 1)
    key.write_text("one\n", "utf-8")
    before = settings(file, text)
    key.write_text("two\n", "utf-8")
    after = settings(file, text)
    assert [each.credentials["east"].api_key for each in (before, after)] == [Secret("one"), Secret("two")]
    assert changes(before, after) == Changes(("deployments.east.api_key",), files=(str(key),))
    assert after.files[str(key)] == hashlib.sha256(b"two\n").hexdigest()
    assert version_of(before) != version_of(after) == version_of(settings(file, text))
