"""``chukei import``: configurations of other gateways."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chukei.configuring.import_draft import Imported
    from chukei.configuring.import_source import Source

_file = click.argument("file", metavar="FILE")
_output = click.option(
    "--output", metavar="FILE", help="Write the configuration to a new file, not to standard output."
)
_report = click.option(
    "--report",
    metavar="FILE|json",
    help="Write the report to a file, as JSON if it ends in .json; json: to standard output. Default: standard error.",
)
_values = click.option(
    "--value",
    "values",
    metavar="NAME=VALUE",
    multiple=True,
    help="The value of a variable that the file names for an address, a deployment or a version; never for a secret.",
)


@click.group("import")
def imports() -> None:
    """Translate the configuration of another gateway.

    The report says what was mapped, approximated and dropped, and which variables to set. No variable that the
    configuration names is read, and no secret is copied.
    """


@imports.command()
@_file
@_output
@_report
@_values
def litellm(file: str, output: str | None, report: str | None, values: tuple[str, ...]) -> None:
    """Translate FILE, the config.yaml of a LiteLLM proxy; - is standard input.

    YAML needs the yaml extra; a file that ends in .json does not.
    """
    from chukei.configuring.litellm import import_litellm

    _check(output, report)
    stated = _stated(values)
    source = _read(file, lambda: _content(file))
    _write(import_litellm(source, Path(file).name, stated), output, report)


@imports.command()
@click.argument("file", metavar="[FILE]", required=False)
@_output
@_report
@click.option(
    "--deployment",
    "deployments",
    metavar="NAME",
    multiple=True,
    help="A deployment that clients name and that the file does not mention.",
)
def powerproxy(file: str | None, output: str | None, report: str | None, deployments: tuple[str, ...]) -> None:
    """Translate FILE, a configuration of PowerProxy for Azure OpenAI; - is standard input.

    Without FILE it is the text in the variable POWERPROXY_CONFIG_STRING, as JSON or YAML.
    """
    from chukei.configuring.powerproxy import import_powerproxy

    _check(output, report)
    if file is not None:
        source, name = _read(file, lambda: _content(file)), Path(file).name
    else:
        name = "POWERPROXY_CONFIG_STRING"
        text = os.environ.get(name)
        if not text:
            raise click.UsageError(f"give FILE, or set {name}")
        as_json = ".json" if text.lstrip().startswith("{") else ""
        source = _read(name + as_json, lambda: os.fsencode(text))
    _write(import_powerproxy(source, name, deployments), output, report)


def _check(output: str | None, report: str | None) -> None:
    if report == "json" and output is None:
        raise click.UsageError("--report json takes standard output, so --output must say where the configuration goes")
    for name in {output, report} - {None, "json"}:
        if name is not None and Path(name).exists():
            raise click.UsageError(f"{name} exists already; choose another file")


def _stated(values: tuple[str, ...]) -> dict[str, str]:
    stated = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not equals or not name or not value:
            raise click.BadParameter("write NAME=VALUE", param_hint="--value")
        stated[name] = value
    return stated


def _content(file: str) -> bytes:
    from chukei.configuring.import_source import MAX_BYTES

    if file == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with Path(file).open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


def _read(name: str, content: Callable[[], bytes]) -> "Source":
    from chukei.configuring.import_source import SourceError, read

    try:
        return read(content(), as_json=name.endswith(".json"))
    except SourceError as error:
        problem = str(error)
    except OSError as error:
        problem = f"cannot be read: {os.strerror(error.errno or 0)}"
    click.echo(f"chukei: {name}: {problem}", err=True)
    raise SystemExit(1)


def _write(imported: "Imported", output: str | None, report: str | None) -> None:
    _write_report(imported, report)
    if imported.toml is None:
        click.echo("chukei: there is no Azure OpenAI deployment to import, so no configuration was written", err=True)
        raise SystemExit(1)
    if output is None:
        click.echo(imported.toml, nl=False)
    else:
        _create(output, imported.toml)
        click.echo(f"wrote {output}; then: chukei check --config {output}", err=True)


def _write_report(imported: "Imported", report: str | None) -> None:
    if report is None:
        click.echo(imported.report.text() + "\n", err=True)
    elif report == "json":
        click.echo(imported.report.json())
    else:
        text = imported.report.json() if report.endswith(".json") else imported.report.text()
        _create(report, text + "\n")
        click.echo(f"{imported.report.summary}; the report is in {report}", err=True)


def _create(name: str, text: str) -> None:
    try:
        with Path(name).open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        click.echo(f"chukei: {name}: cannot be written: {os.strerror(error.errno or 0)}", err=True)
        raise SystemExit(1) from None
