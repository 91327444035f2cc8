"""The questions of ``chukei init``. An answer that cannot be used is explained, and asked for again."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import click

from chukei.accounts.limits import Limit
from chukei.configuring import answers as given
from chukei.configuring.address import Pasted
from chukei.configuring.answers import ACCESS, Answers, BadAnswer, Resource, Target

Answer = TypeVar("Answer")

_CREDENTIALS = ("key", "identity")
_SIMULATOR = "none: the simulator answers"
_LIMITS = (Limit.REQUESTS_PER_MINUTE, Limit.TOKENS_PER_MINUTE)


def ask() -> Answers:
    """Ask everything, on standard error.

    Raises:
        click.Abort: Ctrl-C, or the input has ended.
    """
    click.echo("Enter takes what stands in brackets. Nothing is written before the last question.", err=True)
    resources = _resources()
    found = Answers(resources=resources)
    access = _choose("Who calls: users of this machine, holders of one shared key, or callers with keys?", ACCESS)
    found = replace(found, access=access)  # type: ignore[arg-type]
    if access != "local":
        found = replace(found, host=_ask("Address to listen on", "0.0.0.0", given.host))  # noqa: S104 - others are to call
        limits = {kind: amount for kind in _LIMITS if (amount := _limit(kind)) is not None}
        found = replace(found, limits=limits)
        found = replace(found, redis=_ask("Redis, if several processes count limits together", "none", _redis))
    return replace(found, ledger=_ask("Ledger of usage", "default", _ledger))


def _resources() -> tuple[Resource, ...]:
    found: list[Resource] = []
    while True:
        first = not found
        question = "Address of the Azure OpenAI resource" if first else "Address of another resource"
        pasted = _ask(question, _SIMULATOR if first else "none", _address)
        if pasted is None:
            return tuple(found)
        if any(pasted.endpoint == each.endpoint for each in found):
            click.echo("That resource is there already.", err=True)
            continue
        found.append(_resource(pasted, len(found), found[-1] if found else None))


def _address(text: str) -> Pasted | None:
    return None if text in ("none", _SIMULATOR) else given.address(text)


def _resource(pasted: Pasted, number: int, before: Resource | None) -> Resource:
    if pasted.dropped:
        click.echo(f"The resource is {pasted.endpoint}; the rest of the address is the API's.", err=True)
    known = pasted.deployment or (",".join(_written(target) for target in before.targets) if before else None)
    targets = _ask("Its deployments, as in the portal, with commas between", known, _targets)
    way = _choose("Authenticate with the resource's key, or with an Entra ID identity?", _CREDENTIALS)
    if way == "identity":
        return Resource(pasted.endpoint, targets, None)
    key = _ask("Variable that has the key", given.key_variable(number), given.variable)
    return Resource(pasted.endpoint, targets, key)


def _written(target: Target) -> str:
    return target.deployment if target.model == target.deployment else f"{target.model}={target.deployment}"


def _targets(text: str) -> tuple[Target, ...]:
    found = given.targets(text)
    if not found:
        raise BadAnswer("name at least one")
    return found


def _limit(kind: Limit) -> int | float | None:
    words = kind.value.replace("_", " ")
    return _ask(f"Limit of each caller: {words}", "none", lambda text: _amount(kind, text))


def _amount(kind: Limit, text: str) -> int | float | None:
    return None if text == "none" else given.limit(kind.value, text)[1]


def _redis(text: str) -> given.Store | None:
    return None if text == "none" else given.redis(text)


def _ledger(text: str) -> given.Store | None:
    return None if text == "default" else given.ledger(text)


def _choose(question: str, choices: tuple[str, ...]) -> str:
    def one(text: str) -> str:
        fitting = [choice for choice in choices if choice.startswith(text.strip().lower())]
        if len(fitting) != 1:
            raise BadAnswer(f"answer one of {', '.join(choices)}")
        return fitting[0]

    click.echo(question, err=True)
    return _ask(f"  {' / '.join(choices)}", choices[0], one)


def _ask(question: str, default: str | None, read: Callable[[str], Answer]) -> Answer:
    """Ask until the answer can be read. click would repeat the answer in its own errors, and it may be a secret."""
    while True:
        text = click.prompt(question, default=default, err=True, type=str)
        try:
            return read(text)
        except BadAnswer as error:
            click.echo(f"  {error}", err=True)
