"""Advice that fits how this copy was installed."""

from pathlib import Path

import pytest
from tests.rows import rows

from chukei.installation import command_for, is_clone, spelled, tool_of

ROOT = Path(__file__).parents[1]


@rows("extra", ["identity", "entra", "redis", "postgres"])
def test_in_a_clone_advice_names_a_lock_that_is_there(extra: str) -> None:
    assert is_clone()
    command = command_for(extra)
    assert command.endswith(f" -r requirements/{extra}.txt")
    assert (ROOT / command.rpartition(" ")[2]).is_file()


@rows(
    ("environment", "file", "installer", "tool"),
    [
        ("pipx/venvs/chukei", "pipx_metadata.json", "pip\n", "pipx"),
        ("pipx/.cache/1e614c0e290f5eb", "pipx_metadata.json", "pip\n", "pipx run"),
        ("uv/tools/chukei", "uv-receipt.toml", "uv", "uv tool"),
        ("uv/archive-v0/0u5BwXg8", "CACHEDIR.TAG", "uv", "uvx"),
        ("project/.venv", "pyvenv.cfg", "uv", "uv"),
        ("project/.venv", "pyvenv.cfg", "pip\n", "pip"),
        ("project/.venv", "pyvenv.cfg", None, "pip"),
    ],
)
def test_the_tool_is_known_by_what_it_leaves(
    environment: str, file: str, installer: str | None, tool: str, tmp_path: Path
) -> None:
    prefix = tmp_path / str(installer).strip() / environment
    prefix.mkdir(parents=True)
    (prefix / file).touch()
    assert tool_of(prefix, installer) == tool


def test_commands_are_spelled_so_that_a_shell_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "a b" / "chukei"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", "")
    assert spelled("pip", str(program)) == f"'{program}'"
    assert spelled("clone", str(tmp_path / "pytest")) == "chukei"
    monkeypatch.setenv("PATH", str(program.parent))
    assert spelled("pip", str(program)) == "chukei"
    assert spelled("uvx", str(program)) == "uvx chukei"
    assert spelled("pipx run", str(program)) == "pipx run chukei"
