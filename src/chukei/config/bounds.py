"""Bounds of numbers in the configuration. They are annotations of fields and are checked when a field is read."""

from typing import Annotated

import msgspec


class Whole(msgspec.Struct, frozen=True):
    """An integer from ``low`` to ``high``, both included."""

    low: int
    high: int


class Number(msgspec.Struct, frozen=True):
    """A number from ``low`` to ``high``, both included."""

    low: float
    high: float


class Seconds(msgspec.Struct, frozen=True):
    """A duration in seconds; by default from a hundredth of a second to a day."""

    low: float = 0.01
    high: float = 86_400.0


Bounds = Whole | Number | Seconds
Duration = Annotated[float, Seconds()]
DurationOrZero = Annotated[float, Seconds(0.0)]
