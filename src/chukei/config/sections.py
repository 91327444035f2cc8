"""Reads a section of the configuration by the fields of its class, which define types, bounds and defaults."""

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from chukei.config.bounds import Bounds, Number, Seconds, Whole
from chukei.config.reader import Reader
from chukei.config.settings import Secret

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Section = TypeVar("Section", bound="DataclassInstance")

_STRINGS = tuple[str, ...]


def read_section(table: Reader, kind: type[Section], /, **special: object) -> Section:
    """Read a table whose keys are the fields of ``kind``. Note every other key. For ``special`` see ``read_fields``."""
    section = read_fields(table, kind, **special)
    table.done()
    return section


def read_fields(table: Reader, kind: type[Section], /, **special: object) -> Section:
    """Read the keys of ``table`` that are fields of ``kind``, in their order.

    ``special`` overrides the class by name of a field. It has the bounds of the field, a function that reads it from
    the table, or its value.
    """
    return kind(**{field.name: _field(table, field, special) for field in fields(kind)})


def _field(table: Reader, field: Field[Any], special: Mapping[str, object]) -> object:
    given = special.get(field.name)
    if isinstance(given, Bounds):
        return _bounded(table, field, given)
    if field.name in special:
        return given(table) if callable(given) else given
    metadata = getattr(field.type, "__metadata__", ())
    return _bounded(table, field, metadata[0]) if metadata else _plain(table, field)


def _bounded(table: Reader, field: Field[Any], bounds: Bounds) -> float | None:
    default: Any = field.default
    match bounds:
        case Whole(low=low, high=high):
            return table.integer(field.name, default, low=low, high=high)
        case Number(low=low, high=high):
            return table.number(field.name, default, low=low, high=high)
        case Seconds(low=low, high=high):
            return table.seconds(field.name, default, low=low, high=high)


def _plain(table: Reader, field: Field[Any]) -> object:
    kind: object = field.type
    default: Any = field.default
    if kind is bool:
        return table.boolean(field.name, default)
    if kind in (str, str | None):
        return table.string(field.name, default)
    if get_origin(kind) is Literal:
        return table.string(field.name, default, choices=get_args(kind))
    if kind == _STRINGS:
        return table.strings(field.name, default)
    if kind == Secret | None:
        return table.secret(field.name)
    raise TypeError(f"{field.name}: say by bounds or a function how it is read")
