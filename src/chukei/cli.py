"""The command line. Data goes to standard output, everything else to standard error.

Exit codes: 0 well, 1 failure, 2 wrong usage, 3 wrong configuration, 4 an upstream or relay that
cannot be reached or refuses, 130 interrupted, 143 ended at once by a second SIGTERM.
"""

import errno
import logging
import os
import signal
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import click

from chukei import __version__
from chukei.ledger_commands import keys, usage

if TYPE_CHECKING:
    from chukei.config import Settings

EXIT_CONFIGURATION = 3
EXIT_UPSTREAM = 4
EXIT_INTERRUPTED = 130

_config_option = click.option(
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(readable=False),  # which checks nothing: the loader's messages say more
    help="The TOML file; default: CHUKEI_CONFIG, or none.",
)

_LATER = {
    "completion": "chukei.configuring.commands:completion",
    "config": "chukei.configuring.commands:config",
    "import": "chukei.configuring.import_commands:imports",
    "init": "chukei.configuring.commands:init",
}
"""Commands that are imported when they are named, so that `serve` does not pay for them."""


class _Commands(click.Group):
    """The commands, those of ``_LATER`` among them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_LATER})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _LATER:
            module, _, name = _LATER[cmd_name].partition(":")
            found = getattr(import_module(module), name)
            assert isinstance(found, click.Command)
            return found
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            click.echo(f"chukei: cannot write: {os.strerror(error.errno or 0)}", err=True)
            raise SystemExit(1) from None


_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
"""What a disk says that can take no more: the user has to make room, and a traceback does not tell how."""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chukei")
def main() -> None:
    """A streaming relay between clients and Azure OpenAI."""


main.add_command(keys)
main.add_command(usage)


@main.command()
@_config_option
@click.option("--host", help="The address to listen on; default: server.host.")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port to listen on, 0 for any; default: server.port.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many processes.")
def serve(path: str | None, host: str | None, port: int | None, workers: int) -> None:
    """Serve the relay; with nothing configured, on the built-in simulator."""
    # The first process of a container has no default action for a signal, so one that comes before the server is lost.
    # It needs no exception, which Python drops in some places, such as where the compiler folds constants of an import.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    overrides = {}
    if host is not None:
        overrides["CHUKEI_SERVER__HOST"] = host
    if port is not None:
        overrides["CHUKEI_SERVER__PORT"] = str(port)
    if path is not None:
        overrides["CHUKEI_CONFIG"] = path
    os.environ.update(overrides)  # the workers read their configuration from the environment
    settings = _settings_of_server()
    from chukei.adapters.logs.formats import is_text
    from chukei.adapters.logs.process_log import is_terminal, say
    from chukei.hosts.server import listen
    from chukei.hosts.server import serve as run

    for level, text in _announcements(settings, workers):
        say(settings.log, level, text)
    host, port = settings.server.host, settings.server.port
    try:
        listener = listen(host, port)
    except OSError as error:
        say(settings.log, logging.CRITICAL, _cannot_listen(host, port, error))
        raise SystemExit(1) from None

    def ready(url: str) -> None:
        shown = url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104 - for showing only
        what = "chat page (simulator)" if settings.simulated else "chat page"
        say(settings.log, logging.INFO, f"listening on {url}", url=url)
        say(settings.log, logging.INFO, f"{what} {shown}/ · OpenAI base URL {shown}/v1", base_url=f"{shown}/v1")
        if settings.simulated and is_text(settings.log.format, terminal=is_terminal()):
            for text in _first_steps(shown, open_=not settings.closed):
                say(settings.log, logging.INFO, text)

    raise SystemExit(run(settings, listener, workers=workers, ready=ready))


def _settings_of_server() -> "Settings":
    """Load the settings of a process that serves, and start its log: as JSON before anything can go wrong."""
    from chukei.adapters.logs.process_log import say, start_log
    from chukei.config import ConfigError, LogSettings, log_format

    early = LogSettings(format=log_format(os.environ))
    start_log(early)
    from chukei.hosts.asgi import checked_settings

    try:
        settings = checked_settings(None)
    except ConfigError as error:
        say(early, logging.CRITICAL, str(error))
        raise SystemExit(EXIT_CONFIGURATION) from None
    start_log(settings.log)
    return settings


@main.command()
@_config_option
def check(path: str | None) -> None:
    """Check a configuration and name every problem in it."""
    settings = _load(path)
    for notice in settings.notices:
        click.echo(f"note: {notice}", err=True)
    if settings.audit.folder is not None:
        click.echo(f"warning: prompts and answers are written to {settings.audit.folder}", err=True)
    if settings.counts_alone:
        click.echo(
            "note: each process counts limits in its own memory, so N workers or replicas grant N times as much; "
            f"{_SHARE_LIMITS}",
            err=True,
        )
    if settings.simulated:
        click.echo("The configuration is valid; it names no deployment, so the simulator would answer.")
        return
    for model in settings.models.values():
        mark = " (default)" if model.name == settings.default_model else ""
        click.echo(f"{model.name}{mark} -> {', '.join(f'{item.name} ({item.endpoint})' for item in model.deployments)}")
    if settings.open is not None:
        click.echo(f"any other name -> that deployment on {settings.open.endpoint}")
    click.echo("The configuration is valid.")


@main.command()
@_config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=7222, show_default=True, help="The port, 0 for any.")
@click.option("--replay", metavar="FILE.sse", help="Play a recorded stream instead of made-up answers.")
def simulate(path: str | None, host: str, port: int, replay: str | None) -> None:
    """Serve the Azure OpenAI simulator alone, for clients and relays to be tested against."""
    if replay is not None:
        os.environ["CHUKEI_SIMULATOR__REPLAY"] = replay
    if path is not None:
        os.environ["CHUKEI_CONFIG"] = path
    settings = _settings_of_server()
    from chukei.adapters.logs.process_log import say
    from chukei.hosts.simulated import run

    try:
        run(settings.simulator, host, port, partial(say, settings.log, logging.INFO))
    except OSError as error:
        say(settings.log, logging.CRITICAL, _cannot_listen(host, port, error))
        raise SystemExit(1) from None


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    code = error.errno or 0  # asyncio rewrites the text; a failed DNS look-up has a negative code and its own text
    reason = os.strerror(code) if code > 0 else error.strerror
    return f"cannot listen on {host}:{port}: {reason}"


@main.command()
@click.argument("url", required=False)
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.option(
    "--idle", type=click.FloatRange(0, 300), default=0.0, metavar="SECONDS", help="With URL: also test such a silence."
)
def doctor(url: str | None, path: str | None, *, as_json: bool, idle: float) -> None:
    """Examine the configuration and everything that it names; or, given a relay's URL, the way there.

    Each deployment is asked for a few tokens. The access key for URL is taken from CHUKEI_API_KEY.
    """
    import asyncio

    from chukei.doctor.examination import examine_configuration
    from chukei.doctor.inspection import address, inspect

    logging.basicConfig(handlers=[logging.NullHandler()])  # each failure is a finding
    if url is None:
        if idle:
            raise click.UsageError("--idle needs the URL of a relay.")
        report = asyncio.run(examine_configuration(path, os.environ))
    else:
        try:
            address(url)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="URL") from None
        if sys.stderr.isatty():
            click.echo(f"reading the test stream of {url}, which takes {5 + idle:.0f} seconds or more", err=True)
        report = asyncio.run(inspect(url, os.environ.get("CHUKEI_API_KEY"), idle=idle))
    click.echo(report.json() if as_json else report.text(), color=False if os.environ.get("NO_COLOR") else None)
    raise SystemExit(report.exit_code)


@main.command()
@click.argument("url", default="http://127.0.0.1:7221")
@click.option("--once", is_flag=True, help="Print what is now, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON every second.")
def top(url: str, once: bool, as_json: bool) -> None:
    """Watch a relay live: where it is slow, what fails, and who asks.

    URL is the relay's; by default one on this machine. The administrators' key is taken from CHUKEI_ADMIN__API_KEY.
    """
    import sys

    from chukei.top import run
    from chukei.top.source import Away, Refused, Source

    key = os.environ.get("CHUKEI_ADMIN__API_KEY")
    if not key:
        raise click.UsageError("set CHUKEI_ADMIN__API_KEY to the relay's administrators' key")
    try:
        source = Source(url, key)
        if once or as_json or not sys.stdout.isatty():
            run.print_events(
                source,
                click.echo,
                once=once,
                as_json=as_json,
                warn=lambda text: click.echo(f"chukei: {text}", err=True),
            )
        else:
            run.watch(source, os.environ)
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
    except (Away, Refused) as error:
        click.echo(f"chukei: {error}", err=True)
        raise SystemExit(EXIT_UPSTREAM) from None


def _load(path: str | None) -> "Settings":
    from chukei.config import ConfigError
    from chukei.hosts.asgi import checked_settings

    try:
        return checked_settings(path)
    except ConfigError as error:
        click.echo(f"chukei: {error}", err=True)
        raise SystemExit(EXIT_CONFIGURATION) from None


def _first_steps(url: str, *, open_: bool) -> list[str]:
    """Return what a newcomer may do next. A relay that is not ``open_`` needs a key, which its operator knows."""
    from chukei.installation import called

    body = '{"messages":[{"role":"user","content":"Hello"}]}'
    example = f"try: curl -N {url}/api/chat-stream -H 'content-type: application/json' -d '{body}'"
    names = "AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_API_KEY and AZURE_OPENAI_DEPLOYMENT"
    return [*([example] if open_ else []), f"for a real model: set {names}, or run {called()} init"]


_SHARE_LIMITS = 'stores.quota = "redis://…" has them counted together'


def _announcements(settings: "Settings", workers: int) -> list[tuple[int, str]]:
    """Return the messages for the operator at the start, with their log levels."""
    lines = [(logging.INFO, f"note: {notice}") for notice in settings.notices]
    loopback = settings.server.host in {"127.0.0.1", "localhost", "::1"}
    if settings.auth.anonymous:
        lines.append((logging.WARNING, "auth.anonymous is true: everybody who reaches this address is served"))
    elif not settings.closed and not loopback:
        text = "no access key is set, so without one of `chukei keys` only this machine is served"
        lines.append((logging.WARNING, text))
    if workers > 1 and settings.counts_alone:
        text = f"each of the {workers} workers counts limits on its own, so callers get up to {workers} times as much; "
        lines.append((logging.WARNING, text + _SHARE_LIMITS))
    if settings.simulated:
        lines.append((logging.INFO, "no Azure OpenAI resource is configured: the built-in simulator answers"))
    return lines
