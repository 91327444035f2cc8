"""The commands that use the database: callers' keys and usage."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from chukei.accounts.changes import Actor
    from chukei.accounts.ledger import By, Key
    from chukei.accounts.stores import Database
    from chukei.callers.registry import KeyRegistry
    from chukei.config import Settings

EXIT_CONFIGURATION = 3
EXIT_STORE = 4

Result = TypeVar("Result")

config_option = click.option("--config", "path", type=click.Path(dir_okay=False), help="A TOML file.")


@click.group()
def keys() -> None:
    """Make, list, replace and end callers' keys."""


@keys.command()
@click.argument("caller")
@click.option("--group", help="The group in the configuration to which the caller belongs.")
@click.option("--expires", metavar="SPAN", help="How long the key lives: 90d, 12w, 24h. Without it, until revoked.")
@click.option("--note", help="A word to remember what it is for.")
@config_option
def create(caller: str, group: str | None, expires: str | None, note: str | None, path: str | None) -> None:
    """Make a key for CALLER and show it, once.

    The key alone goes to standard output.
    """
    ends = datetime.now(UTC) + _span(expires) if expires is not None else None
    settings = _load(path)
    made = _with(
        settings, lambda registry: registry.create(caller, actor=_actor(), group=group, expires=ends, note=note)
    )
    _show_new(made.new.text.reveal(), made.key)


@keys.command("list")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@config_option
def list_(form: str, path: str | None) -> None:
    """Show all keys, but never what opens: that is kept nowhere."""
    found = _with(_load(path), lambda registry: registry.all())
    now = datetime.now(UTC)
    if form == "json":
        import msgspec

        rows = [
            {
                "id": key.id,
                "caller": key.caller,
                "group": key.group,
                "state": key.state(now),
                "created": key.created,
                "expires": key.expires,
                "note": key.note,
            }
            for key in found
        ]
        click.echo(msgspec.json.encode(rows).decode())
        return
    lines = [_HEAD, *(_row(key, now) for key in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    for line in lines:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


@keys.command()
@click.argument("id")
@click.option("--overlap", default="24h", show_default=True, metavar="SPAN", help="How long the old key still works.")
@config_option
def rotate(id: str, overlap: str, path: str | None) -> None:
    """Make a key that replaces the one with ID, and show it, once."""
    span = _span(overlap)
    made = _with(_load(path), lambda registry: registry.rotate(id, actor=_actor(), overlap=span))
    _show_new(made.new.text.reveal(), made.key)


@keys.command()
@click.argument("id")
@config_option
def revoke(id: str, path: str | None) -> None:
    """End the key with ID now. Relays that are running refuse it within seconds."""
    _with(_load(path), lambda registry: registry.revoke(id, actor=_actor()))
    click.echo(f"chukei: key {id} is revoked", err=True)


@click.command()
@click.option(
    "--by",
    default="caller",
    show_default=True,
    help="caller, group, model, deployment, served-model, service-tier, day, hour, end-reason, code; "
    "several with commas.",
)
@click.option("--since", default="30d", show_default=True, help="24h, 7d, 2026-11-01, 2026-11-01T12:00.")
@click.option("--until", help="As --since.")
@click.option("--caller", help="Only this caller's.")
@click.option("--group", help="Only this group's.")
@click.option("--model", help="Only of this model.")
@click.option("--end-reason", help="Only those that ended so: refused, timeout.")
@click.option("--code", help="Only those with this error code.")
@click.option("--outcome", type=click.Choice(["answered", "refused", "failed", "left"]), help="Only these.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@config_option
def usage(
    by: str,
    since: str,
    until: str | None,
    caller: str | None,
    group: str | None,
    model: str | None,
    end_reason: str | None,
    code: str | None,
    outcome: str | None,
    form: str,
    path: str | None,
) -> None:
    """Show who used what: requests, tokens, cost.

    Cost is in the currency of the prices in the configuration.
    """
    from chukei.accounts import reports
    from chukei.accounts.ledger import By, Question
    from chukei.accounts.outcomes import Outcome

    now = datetime.now(UTC)
    try:
        question = Question(
            by=tuple(_columns(by, By)),
            since=reports.moment(since, now),
            until=reports.moment(until, now) if until is not None else None,
            caller=caller,
            group=group,
            model=model,
            end_reason=end_reason,
            code=code,
            outcome=Outcome(outcome) if outcome is not None else None,
        )
        reports.check_hours(question, now)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    settings = _load(path)
    rows = _ask(settings, lambda database: database.sum(question))
    if form == "json":
        click.echo(reports.as_json(rows, question, currency=settings.admin.currency).decode())
    elif form == "csv":
        click.echo(reports.as_csv(rows, question.by), nl=False)
    elif rows:
        click.echo(reports.as_table(rows, question.by))
    else:
        click.echo("chukei: nothing was used in that time", err=True)


def _columns(text: str, known: type[By]) -> Iterator[By]:
    for part in map(str.strip, text.split(",")):
        if part not in set(known):
            raise ValueError(f"{part[:40]!r} is nothing to sum by: write {', '.join(known)}, or several with commas")
        yield known(part)


_HEAD = ("id", "caller", "group", "state", "created", "expires", "note")


def _row(key: Key, now: datetime) -> tuple[str, ...]:
    ends = key.expires.strftime("%Y-%m-%d %H:%M") if key.expires is not None else "-"
    made = key.created.strftime("%Y-%m-%d %H:%M")
    return (key.id, key.caller, key.group or "-", key.state(now), made, ends, key.note or "-")


def _show_new(text: str, key: Key) -> None:
    until = f", until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires is not None else ""
    click.echo(f"chukei: key {key.id} for {key.caller}{until}. It is shown this once:", err=True)
    click.echo(text)


_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([hdw])", text.strip())
    if found is None:
        raise click.UsageError(f"{text!r} is no span of time: write 24h, 90d or 12w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _with(settings: Settings, work: Callable[[KeyRegistry], Awaitable[Result]]) -> Result:
    from chukei.adapters.identity.access import peppers
    from chukei.callers.registry import KeyRegistry, NoSuchKey
    from chukei.errors import CallerError

    def prepared(database: Database) -> Awaitable[Result]:
        registry = KeyRegistry(database, peppers(settings), lambda: datetime.now(UTC), groups=settings.policies.groups)
        return work(registry)

    try:
        return _ask(settings, prepared)
    except NoSuchKey as error:
        _fail(f"there is no key with the id {error}; chukei keys list shows them", 1)
    except CallerError as error:
        _fail(error.message, 2)


def _actor() -> Actor:
    """Return who changes something here, for the record."""
    from chukei.accounts.changes import Actor

    return Actor("command line")


def _ask(settings: Settings, work: Callable[[Database], Awaitable[Result]]) -> Result:
    """Open the database, run ``work`` and close it."""
    import asyncio

    from chukei.accounts.stores import StoreAway
    from chukei.adapters.ledger.accounting import ledger_address
    from chukei.adapters.ledger.databases import database_for

    address = ledger_address(settings, os.environ)
    if address is None:
        _fail("there is no database: set stores.ledger, for instance to sqlite:///chukei.db", EXIT_CONFIGURATION)
    database = database_for(address)

    async def run() -> Result:
        await database.open()
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except StoreAway as error:
        _fail(str(error), EXIT_STORE)


def _load(path: str | None) -> Settings:
    from chukei.config import ConfigError
    from chukei.hosts.asgi import checked_settings

    try:
        return checked_settings(path)
    except ConfigError as error:
        _fail(str(error), EXIT_CONFIGURATION)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"chukei: {message}", err=True)
    sys.exit(status)
