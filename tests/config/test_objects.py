"""``[objects]``: which stored objects are served."""

from pathlib import Path

import pytest
from tests.rows import rows

from chukei.config import ConfigError, ObjectSettings, Settings, load
from chukei.request.object_routes import FAMILIES, USUAL_FAMILIES

BASE = """
[deployments.east]
endpoint = "https://east.openai.azure.com"
deployment = "gpt-4o"
api_key = { env = "KEY" }

[models.chat]
deployments = ["east"]
"""


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "chukei.toml"
    path.write_text(BASE + text)
    return load(path, {"KEY": "upstream-secret"})


def test_nothing_is_served_unless_a_model_is_named(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").objects == ObjectSettings()


def test_the_usual_families_are_served_of_a_model(tmp_path: Path) -> None:
    objects = loaded(tmp_path, '[objects]\nmodel = "chat"\n').objects
    assert (objects.model, objects.serve, objects.unknown) == ("chat", USUAL_FAMILIES, "adopt")


def test_others_are_served_where_they_are_named(tmp_path: Path) -> None:
    text = '[objects]\nmodel = "chat"\nserve = ["evals"]\nunknown = "refuse"\nmax_upload_bytes = 2048\n'
    assert loaded(tmp_path, text).objects == ObjectSettings("chat", ("evals",), "refuse", 2048)


def test_on_the_simulator_everything_is_served() -> None:
    objects = load(None, {}).objects
    assert (objects.model, objects.serve) == ("chat", FAMILIES)


def test_a_list_without_a_model_is_noticed(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[objects]\nserve = ["files"]\n')
    assert any(notice.startswith("objects.model is not set") for notice in settings.notices)


@rows(
    ("text", "says"),
    [
        ('model = "other"', "'other' is not a model"),
        ('model = "chat"\nserve = ["photos"]', "'photos' is none of files"),
        ('model = "chat"\nunknown = "guess"', "unknown"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        loaded(tmp_path, f"[objects]\n{text}\n")
