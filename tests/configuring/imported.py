"""What every test of an import needs: the sources, and an environment in which the result is a valid configuration."""

import tomllib
from pathlib import Path

from chukei.config import Settings, load
from chukei.configuring.import_draft import Imported
from chukei.configuring.import_source import Source, read
from chukei.configuring.litellm import import_litellm
from chukei.configuring.report import Entry, Report

IMPORTS = Path(__file__).parent / "imports"

STAND_INS = {
    "ENDPOINT": "https://stand-in.openai.azure.com",
    "API_VERSION": "2024-10-21",
    "LEDGER_URL": "postgresql://stand:in@database/relay",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
}
"""Values of variables by the end of their names; others are any text."""


def source(name: str) -> Source:
    """Read one of the sources."""
    return read((IMPORTS / f"{name}.yaml").read_bytes())


def litellm(text: str) -> Imported:
    """Import a text."""
    return import_litellm(read(text.encode()), "config.yaml")


def environment(report: Report) -> dict[str, str]:
    """Set every variable for which a report asks."""
    found = {}
    for name in report.variables:
        ends = [value for end, value in STAND_INS.items() if name.rstrip("_0123456789").endswith(end)]
        found[name] = ends[0] if ends else "stand-in"
    return found


def settings(imported: Imported, folder: Path) -> Settings:
    """Load the result as the relay does, with its variables set; a mistake in it is an error."""
    assert imported.toml is not None
    file = folder / "imported.toml"
    file.write_text(imported.toml, "utf-8")
    variables = environment(imported.report)
    quota = tomllib.loads(imported.toml).get("stores", {}).get("quota")
    if isinstance(quota, dict):
        variables[quota["env"]] = "rediss://stand-in:6380/0"
    return load(file, variables)


def entry(imported: Imported, path: str) -> Entry:
    """Return what became of one value."""
    return imported.report.entries[path]
