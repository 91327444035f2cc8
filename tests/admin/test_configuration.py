"""The configuration in force, as administrators see it."""

from pathlib import Path

import pytest

from chukei.admin.configuration import ConfigurationDesk
from chukei.admin.schemas import SettingPlace
from chukei.config import load, version_of

pytestmark = pytest.mark.anyio


async def test_it_says_what_is_in_force_and_which_files_set_it(tmp_path: Path) -> None:
    path, key = tmp_path / "relay.toml", tmp_path / "key"
    key.write_text("an-administrators-key")
    path.write_text(f'[admin]\napi_key = {{ file = "{key}" }}\n[pool]\nattempts = 5\n')
    settings = load(path, {})
    found = await ConfigurationDesk(settings).shown()
    assert (found.version, found.path) == (version_of(settings), str(path))
    assert found.files == sorted([str(path), str(key)])
    assert found.simulated
    assert found.settings["admin"] == {"api_key": "set", "currency": None, "entra": None}
    assert SettingPlace(["pool", "attempts"], str(path)) in found.places
    assert {"server.port", "stores.ledger"} <= set(found.restart)
    assert "an-administrators-key" not in str(found)


async def test_without_a_file() -> None:
    found = await ConfigurationDesk(load(None, {})).shown()
    assert (found.path, found.files, found.places) == (None, [], [])
