"""What operators see of the settings in force, and what of them they never see."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from time import process_time
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from tests.rows import rows

from chukei.config import Secret, Settings, load
from chukei.config.in_force import MASK, in_force, masked

FILE = """
[models."gpt-4.1"]
deployments = ["east"]
prices = { input = 2.5, output = 10 }
[deployments.east]
endpoint = "https://east.openai.azure.com"
api_key = { env = "KEY" }
[callers.team]
key_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
[callers.team.limits]
tokens_per_minute = 5
money_per_month = 12.5
[auth.entra]
tenant = "00000000-0000-0000-0000-000000000001"
audience = "api://chukei"
"""


def loaded(folder: Path, text: str = FILE, **variables: str) -> Settings:
    path = folder / "relay.toml"
    path.write_text(text)
    return load(path, {"KEY": "upstream-secret-key", **variables})


def test_it_has_the_names_of_the_configuration(tmp_path: Path) -> None:
    shown: Any = in_force(loaded(tmp_path, CHUKEI_SERVER__PORT="7000")).tables
    assert shown["server"]["port"] == 7000
    assert shown["pool"]["attempts"] == 3
    assert shown["auth"]["entra"]["tenant"] == ["00000000-0000-0000-0000-000000000001"]
    assert shown["defaults"] == {"model": "gpt-4.1"}
    assert shown["models"] == {"gpt-4.1": {"deployments": ["east"], "prices": {"input": 2.5, "output": 10.0}}}
    assert shown["deployments"]["east"] == {
        "endpoint": "https://east.openai.azure.com",
        "deployment": "east",
        "api_key": MASK,
    }
    assert shown["callers"] == {
        "team": {"key_sha256": MASK, "limits": {"tokens_per_minute": 5, "money_per_month": 12.5}}
    }


def test_it_has_nothing_that_is_no_key_of_the_configuration(tmp_path: Path) -> None:
    found = in_force(loaded(tmp_path, FILE + '[stores]\nledger = "none"\n'))
    shown: Any = found.tables
    assert "ledger" in shown["stores"]
    assert "ledger_by_default" not in shown["stores"]
    assert ("stores", "ledger_by_default") not in [each.path for each in found.places]


def test_it_says_where_a_value_comes_from(tmp_path: Path) -> None:
    settings = loaded(tmp_path, CHUKEI_SERVER__PORT="7000", HTTPS_PROXY="http://proxy.example:8080")
    places = {each.path: each.place for each in in_force(settings).places}
    assert places["server", "port"] == "CHUKEI_SERVER__PORT"
    assert places["upstream", "proxies"] == "HTTPS_PROXY, HTTP_PROXY, NO_PROXY"
    assert places["callers", "team", "limits", "tokens_per_minute"] == str(tmp_path / "relay.toml")
    assert places["models", "gpt-4.1", "deployments"] == str(tmp_path / "relay.toml")
    assert ("server", "host") not in places
    assert in_force(load(None, {})).places == []


MASKED = {
    "an address with a password": ("https://user:p4ss@host/path", "https://…@host/path"),
    "one whose password has slashes": ("https://user:p/4/ss@host", "https://…@host"),
    "one without a scheme": ("user:p4ss@host:8080", "…@host:8080"),
    "a query": ("https://host/path?sig=p4ss&x=1#p4ss", "https://host/path?…"),
    "a connection string": (
        "InstrumentationKey=p4ss;Endpoint=https://host/",
        "InstrumentationKey=…;Endpoint=https://host/",
    ),
    "a password": ("host=db password=p4ss user=me", "host=db password=… user=me"),
    "a header": ("Authorization: Bearer p4ss", "Authorization: Bearer …"),
    "nothing": ("gpt-4o of team@contoso.com, at https://host/path", "gpt-4o of team@contoso.com, at https://host/path"),
}


@rows("what", MASKED)
def test_texts_are_masked(what: str) -> None:
    text, wanted = MASKED[what]
    assert masked(text) == wanted


class Planter:
    """Makes values of any type of a setting, each with a secret of its own wherever there may be one."""

    def __init__(self) -> None:
        self.planted: list[str] = []
        self._numbers = count()

    def secret(self) -> str:
        text = f"pl4nted{next(self._numbers)}x"
        self.planted.append(text)
        return text

    def make(self, kind: Any) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self.make(arguments[0])
        if origin in (Union, UnionType):
            return self.make(next(each for each in arguments if each is not type(None)))
        if origin is Literal:
            return arguments[0]
        if origin is tuple:
            return (self.make(arguments[0]),)
        if origin is not None and issubclass(origin, Mapping):
            return {self._name(arguments[0]): self.make(arguments[1]), **self._credentials(arguments)}
        if is_dataclass(kind) and isinstance(kind, type):
            hints = get_type_hints(kind, include_extras=True)
            wanted = {each.name: hints[each.name] for each in fields(kind) if each.name not in SKIPPED}
            return kind(
                **{name: self._name(str) if name == "name" else self.make(hint) for name, hint in wanted.items()}
            )
        if kind is Secret:
            return Secret(self.secret())
        if kind is str:
            return f"https://me:{self.secret()}@host.example/path?sig={self.secret()} password={self.secret()}"
        if kind is object:
            tool = {"headers": {"Authorization": self.secret()}, "server_url": self.make(str), "api-key": self.secret()}
            return {"tools": [tool]}
        return {bool: True, int: 7, float: 7.0, Fraction: Fraction(1, 2)}[kind]

    def _name(self, kind: Any) -> Any:
        return next(self._numbers) if kind is int else f"name-{next(self._numbers)}"

    def _credentials(self, kinds: tuple[Any, ...]) -> dict[str, str]:
        """Entries of tables whose names are free."""
        if kinds != (str, object):
            return {}
        return {name: self.secret() for name in ("authorization", "x-api-key", "client_secret", "connection_string")}


SKIPPED = {"long", "tiers", "by_model", "variables"}
"""Prices have prices in them; the names of variables are no secrets."""


def secret_fields(kind: type, path: str = "") -> Iterator[str]:
    """Name every field of the settings that is a secret by its type."""
    for name, hint in get_type_hints(kind).items():
        for each in (hint, *get_args(hint)):
            if each is Secret:
                yield f"{path}{name}"
            elif is_dataclass(each) and isinstance(each, type) and name not in SKIPPED:
                yield from secret_fields(each, f"{path}{name}.")


def test_no_secret_of_any_setting_is_shown() -> None:
    planter = Planter()
    made: Settings = planter.make(Settings)
    deployments = [each for model in made.models.values() for each in model.deployments]
    assert made.open is not None
    credential = next(iter(made.credentials.values()))
    settings = replace(made, credentials={each.name: credential for each in [made.open, *deployments]})
    assert {"admin.api_key", "stores.ledger", "telemetry.connection_string", "credentials.api_key"} <= {
        *secret_fields(Settings)
    }
    text = json.dumps(in_force(settings).tables, ensure_ascii=False)
    assert len(planter.planted) > 60
    assert [secret for secret in planter.planted if secret in text] == []
    assert text.count(f'"{MASK}"') > 20


@pytest.mark.parametrize("text", ["a" * 200_000, "key" * 70_000, "a:" * 100_000, "://" * 70_000, "@" * 200_000])
def test_long_texts_do_not_take_long(text: str) -> None:
    began = process_time()
    masked(text)
    whole = process_time() - began
    began = process_time()
    masked(text[: len(text) // 8])
    part = process_time() - began
    assert whole < 60 * max(part, 0.001)
