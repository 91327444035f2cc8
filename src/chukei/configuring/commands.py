"""The commands ``init``, ``config`` and ``completion``. What they need is imported when they run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from chukei.config import Settings
    from chukei.configuring.answers import Answers

EXIT_INTERRUPTED = 130

DEFAULT_FILE = "chukei.toml"
_SHELLS = ("bash", "zsh", "fish")
ACCESS = ("local", "shared", "keys")


def _complete_limit(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from chukei.accounts.limits import Limit

    return [f"{limit.value}=" for limit in Limit if limit.startswith(incomplete)]


@click.command()
@click.option(
    "--output", default=DEFAULT_FILE, show_default=True, type=click.Path(), help="The file, - for the screen."
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.option("--endpoint", multiple=True, metavar="ADDRESS", help="The address of a resource, also with a path.")
@click.option("--deployment", multiple=True, metavar="[MODEL=]NAME", help="A deployment that each resource has.")
@click.option("--key-env", multiple=True, metavar="VARIABLE", help="The variable that has the resource's key.")
@click.option("--identity", is_flag=True, help="Use an Entra ID identity, not a key.")
@click.option("--client-id", metavar="GUID", help="A user-assigned identity.")
@click.option("--access", type=click.Choice(ACCESS), default="local", show_default=True,
              help="Who may call: this machine, a shared key, keys of callers.")  # fmt: skip
@click.option(
    "--limit", multiple=True, shell_complete=_complete_limit, metavar="NAME=NUMBER", help="A limit of each caller."
)
@click.option("--redis", metavar="ADDRESS", help="A Redis, where several processes count limits together.")
@click.option("--ledger", metavar="ADDRESS", help="The database of the ledger, or none.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=7221, show_default=True, help="The port.")
@click.pass_context
def init(context: click.Context, /, output: str, *, force: bool, **flags: Any) -> None:
    """Write a commented configuration.

    On a terminal and without flags it asks. Secrets are not written: the file names variables that hold them.
    """
    from pathlib import Path  # which takes 10 ms, also of --help

    from chukei.configuring.answers import BadAnswer
    from chukei.configuring.writing import CannotWrite, refuse_existing, write

    asked = sys.stdin.isatty() and not any(_was_given(context, name) for name in flags)
    path = None if output == "-" else Path(output)
    try:
        if path is not None:
            refuse_existing(path, force=force)  # before anybody has answered anything
        answers = _ask() if asked else _answers(**flags)
        text, settings = _checked(answers)
        if path is None:
            click.echo(text, nl=False)
        else:
            write(path, text, force=force)
    except BadAnswer as error:
        raise click.UsageError(str(error)) from None
    except CannotWrite as error:
        _fail(str(error))
    for line in _next_steps(answers, settings, output):
        click.echo(line, err=True)


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _ask() -> Answers:
    from chukei.configuring.questions import ask

    try:
        return ask()
    except click.Abort:
        click.echo("\nchukei: stopped; nothing is written", err=True)
        raise SystemExit(EXIT_INTERRUPTED) from None


def _answers(**flags: Any) -> Answers:
    from chukei.configuring import answers as given

    if flags["client_id"] is not None and not flags["identity"]:
        raise given.BadAnswer("--client-id means something only with --identity")
    if flags["identity"] and not flags["endpoint"]:
        raise given.BadAnswer("--identity needs the --endpoint of a resource")
    return given.Answers(
        resources=given.resources(flags["endpoint"], flags["deployment"], flags["key_env"], identity=flags["identity"]),
        client_id=None if flags["client_id"] is None else given.client_id(flags["client_id"]),
        access=flags["access"],
        limits=given.limits(flags["limit"]),
        redis=given.redis(flags["redis"] or ""),
        ledger=given.ledger(flags["ledger"] or ""),
        host=given.host(flags["host"]),
        port=flags["port"],
    )


def _checked(answers: Answers) -> tuple[str, Settings]:
    """Return the file's text, and its settings, as the relay's own loader has read them."""
    import tomllib

    from chukei.config.load import read
    from chukei.config.reader import Document
    from chukei.configuring.answers import BadAnswer
    from chukei.configuring.template import text_of

    text = text_of(answers)
    # Whether the variables are set on this machine is what `chukei check` says later.
    stores = {"REDIS_URL": "redis://user:password@host", "LEDGER_URL": "postgresql://user:password@host/database"}
    document = Document("", tomllib.loads(text), dict.fromkeys(answers.variables, "set-later") | stores)
    settings = read(document, [])
    if document.problems:
        first = document.problems[0]
        raise BadAnswer(f"the relay would not accept this: {first.key}: {first.message}")
    return text, settings


def _next_steps(answers: Answers, settings: Settings, output: str) -> list[str]:
    """Return what to do now: what must be set or installed, and the next three commands."""
    import shlex

    from chukei.installation import called
    from chukei.wiring.verification import verify

    lines = [] if output == "-" else [f"{output} is written."]
    unset = [name for name in answers.variables if name not in os.environ]
    if unset:
        lines.append(f"Set {', '.join(unset)} first; the file names {'it' if len(unset) == 1 else 'them'}.")
    lines += list(dict.fromkeys(problem.message for problem in verify(settings)))
    shown = "FILE" if output == "-" else shlex.quote(output)
    comments = {"check": "finds mistakes", "doctor": "asks each deployment for a few tokens", "serve": "serves"}
    if not answers.resources:
        comments["serve"] = "serves, and the simulator answers"
    program = called()
    width = max(len(f"{program} {command} --config {shown}") for command in comments)
    lines.append("Next:")
    lines += [f"  {f'{program} {name} --config {shown}':{width}}  # {does}" for name, does in comments.items()]
    if answers.access == "keys":
        lines.append(f"A key for a caller: {program} keys create NAME --config {shown}")
    elif answers.access == "local" and answers.host not in {"127.0.0.1", "localhost", "::1"}:
        lines.append("Without a key only this machine is served: --access shared or --access keys lets others call.")
    return lines


def _fail(message: str) -> NoReturn:
    click.echo(f"chukei: {message}", err=True)
    raise SystemExit(1)


@click.group()
def config() -> None:
    """What tools need to know of the configuration."""


@config.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors that check TOML."""
    from chukei.configuring.schema import FILE

    click.echo(FILE.read_bytes(), nl=False)


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what has a shell complete commands and options.

    \b
    bash  eval "$(chukei completion bash)"        in ~/.bashrc
    zsh   eval "$(chukei completion zsh)"         in ~/.zshrc, after compinit
    fish  chukei completion fish > ~/.config/fish/completions/chukei.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(context.find_root().command, {}, "chukei", "_CHUKEI_COMPLETE")
    click.echo(kind.source_template % made.source_vars())
