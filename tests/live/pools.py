"""Configurations of several deployments behind one name, for relays of either kind."""

import json
from collections.abc import Mapping
from pathlib import Path

from chukei.config import Settings, load

SECRETS = {"POOL_KEY": "upstream-secret-key"}

Table = Mapping[str, object]


def pool_file(
    path: Path, deployments: Mapping[str, Table], *, pool: Table | None = None, stream: Table | None = None
) -> Path:
    """Write a configuration in which the model ``chat`` is served by these deployments, and return its path.

    Each is given as what makes it differ: at least its ``endpoint``. On its resource it is called gpt-4o.
    """
    lines = ["[defaults]", 'model = "chat"', "[models.chat]", f"deployments = {json.dumps(list(deployments))}"]
    for section, table in (("pool", pool), ("stream", stream)):
        lines += [f"[{section}]", *_lines(table or {})]
    for name, table in deployments.items():
        lines += [f"[deployments.{name}]", 'api_key = { env = "POOL_KEY" }', *_lines({"deployment": "gpt-4o", **table})]
    path.write_text("\n".join(lines) + "\n")
    return path


def pool_settings(
    directory: Path, deployments: Mapping[str, Table], *, pool: Table | None = None, stream: Table | None = None
) -> Settings:
    """Return the same as settings."""
    return load(pool_file(directory / "pool.toml", deployments, pool=pool, stream=stream), SECRETS)


def _lines(table: Table) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]
