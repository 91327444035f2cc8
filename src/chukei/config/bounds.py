"""What a number in the configuration may be: written beside a field, checked when the field is read."""

from typing import Annotated

import msgspec


class Whole(msgspec.Struct, frozen=True):
    """A whole number, from ``low`` to ``high``, both included."""

    low: int
    high: int


class Number(msgspec.Struct, frozen=True):
    """A number, from ``low`` to ``high``, both included."""

    low: float
    high: float


class Seconds(msgspec.Struct, frozen=True):
    """A duration in seconds, a hundredth to a day where nothing else is said."""

    low: float = 0.01
    high: float = 86_400.0


Bounds = Whole | Number | Seconds
Duration = Annotated[float, Seconds()]
DurationOrZero = Annotated[float, Seconds(0.0)]
