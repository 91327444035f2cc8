"""Sections by the fields of their classes: each type of field, its bounds, and what the reader gives for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

import pytest

from chukei.config import (
    AuthSettings,
    LedgerSettings,
    LogSettings,
    PoolSettings,
    Secret,
    ServerSettings,
    SimulatorSection,
    StoreSettings,
    StreamSettings,
    UpstreamSettings,
)
from chukei.config.bounds import Bounds, Duration, DurationOrZero, Number, Seconds, Whole
from chukei.config.reader import Document, Reader
from chukei.config.sections import read_fields, read_section


@dataclass(frozen=True)
class Every:
    """A field of each type that is read without a function of its own."""

    text: str = "t"
    perhaps: str | None = None
    choice: Literal["first", "second"] = "first"
    flag: bool = True
    texts: tuple[str, ...] = ("a", "b")
    secret: Secret | None = None
    count: Annotated[int, Whole(1, 10)] = 2
    most: Annotated[int | None, Whole(1, 10)] = None
    share: Annotated[float, Number(0.0, 1.0)] = 0.5
    wait: Duration = 1.0
    pause: DurationOrZero = 2.0


def reader(table: dict[str, Any], environment: Mapping[str, str] = {}) -> Reader:
    return Document("file", {"section": table}, environment).root().table("section")


def test_what_is_not_set_has_its_default() -> None:
    table = reader({})
    assert read_section(table, Every) == Every()
    assert table.document.problems == []


def test_each_type_is_read() -> None:
    given = {
        "text": "x",
        "perhaps": "y",
        "choice": "second",
        "flag": False,
        "texts": [],
        "secret": {"env": "KEY"},
        "count": 10,
        "most": 1,
        "share": 1,
        "wait": 0.01,
        "pause": 0,
    }
    table = reader(given, {"KEY": "hidden"})
    read = read_section(table, Every)
    assert table.document.problems == []
    assert read.secret is not None
    assert read.secret.reveal() == "hidden"
    assert read == Every("x", "y", "second", False, (), read.secret, 10, 1, 1.0, 0.01, 0.0)
    assert [type(value) for value in (read.share, read.wait, read.pause)] == [float] * 3


def test_each_mistake_is_noted_in_the_order_of_the_fields() -> None:
    table = reader(dict.fromkeys([each.name for each in fields(Every)][::-1], -1) | {"choise": "first"})
    assert read_section(table, Every) == Every()
    assert [str(problem).removeprefix("file: section.") for problem in table.document.problems] == [
        "text: must be a string, not a number",
        "perhaps: must be a string, not a number",
        "choice: must be a string, not a number",
        "flag: must be true or false, not a number",
        "texts: must be a list of strings, not a number",
        'secret: a secret does not belong in a file: write { env = "NAME" } and set that variable',
        "count: must be between 1 and 10, not -1",
        "most: must be between 1 and 10, not -1",
        "share: must be between 0 and 1, not -1",
        "wait: must be between 0.01 and 86400 seconds, not -1",
        "pause: must be between 0 and 86400 seconds, not -1",
        "choise: is not a known key; did you mean choice?",
    ]


@dataclass(frozen=True)
class Other:
    """Fields whose class does not say how they are read."""

    number: int = 3
    table: Mapping[str, str] = field(default_factory=dict)
    known: int = 0


def test_what_a_class_does_not_say_is_given() -> None:
    table = reader({"number": 7, "table": {"a": "b"}, "unknown": 1})
    read = read_fields(table, Other, number=Whole(0, 7), table=lambda table: table.mapping("table"), known=5)
    assert read == Other(7, {"a": "b"}, 5)
    assert table.document.problems == []
    with pytest.raises(TypeError, match="number: "):
        read_fields(reader({}), Other, table={}, known=5)


def test_every_default_is_within_its_bounds(subtests: pytest.Subtests) -> None:
    for kind in [
        ServerSettings,
        StreamSettings,
        UpstreamSettings,
        PoolSettings,
        StoreSettings,
        AuthSettings,
        LedgerSettings,
        LogSettings,
        SimulatorSection,
    ]:
        with subtests.test(kind=kind):
            for each in fields(kind):
                for bounds in getattr(each.type, "__metadata__", ()):
                    assert isinstance(bounds, Bounds)
                    default: Any = each.default
                    assert default is None or bounds.low <= default <= bounds.high, each.name


def test_bounds_of_another_kind_are_others() -> None:
    # Annotated keeps types by the equality of what they hold.
    assert len({Number(0.0, 10.0), Seconds(0.0, 10.0), Whole(0, 10)}) == 3
