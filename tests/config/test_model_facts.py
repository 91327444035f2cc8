"""What the configuration tells clients about a model."""

from pathlib import Path

import pytest
from tests.rows import rows

from chukei.config import ConfigError, load
from chukei.model import Model

MODEL = """
[deployments.east]
endpoint = "https://east.openai.azure.com"
api_key = { env = "KEY" }

[models.chat]
deployments = ["east"]
"""


def read(tmp_path: Path, text: str, **variables: str) -> Model:
    path = tmp_path / "relay.toml"
    path.write_text(MODEL + text, "utf-8")
    return load(path, {"KEY": "k", **variables}).models["chat"]


def test_nothing_is_told_that_is_not_set(tmp_path: Path) -> None:
    model = read(tmp_path, "")
    assert (model.description, model.descriptions, model.apis, model.input) == (None, {}, (), ())
    assert (model.context_tokens, model.output_tokens, model.max_images, model.failure) == (None, None, None, False)


def test_everything_that_can_be_told(tmp_path: Path) -> None:
    model = read(
        tmp_path,
        """
        description = "Quick."
        descriptions = { ja = "速い。" }
        apis = ["chat", "responses"]
        input = ["text"]
        context_tokens = 400000
        output_tokens = 128000
        max_images = 0
        """,
    )
    assert (model.description, model.descriptions) == ("Quick.", {"ja": "速い。"})
    assert (model.apis, model.input) == (("chat", "responses"), ("text",))
    assert (model.context_tokens, model.output_tokens, model.max_images) == (400_000, 128_000, 0)


def test_variables_can_say_it(tmp_path: Path) -> None:
    model = read(tmp_path, "", CHUKEI_MODELS__CHAT__INPUT="text,image", CHUKEI_MODELS__CHAT__DESCRIPTION="Quick.")
    assert (model.input, model.description) == (("text", "image"), "Quick.")


@rows(
    ("text", "said"),
    [
        ('apis = ["chats"]', "'chats' is none of chat, responses"),
        ('input = ["sound"]', "'sound' is none of text, image"),
        ("context_tokens = 0", "context_tokens"),
        ("max_images = -1", "max_images"),
        ('description = " "', "must not be empty"),
        ('descriptions = { "" = "x" }', "must hold texts by their languages"),
        ('descriptions = { "ja-JP" = "x" }', "must hold texts by their languages"),
        ("descriptions = { ja = 1 }", "must hold texts by their languages"),
        ('descriptions = { ja = "" }', "must hold texts by their languages"),
        ("failure = true", "failure"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, text)
