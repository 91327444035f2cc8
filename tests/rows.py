"""Tables of data: one case of pytest walks all rows of a table, each as a subtest.

``@pytest.mark.parametrize`` is for environments (databases, event loops, processes) and for rows that need fresh
fixtures. ``@rows`` is for data: a row costs no case and no fixtures.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pytest

MAX_SHOWN = 200
"""How many characters of a row's values are shown where it fails."""


def rows(
    names: str | tuple[str, ...], table: Iterable[Any], ids: Iterable[str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Call the test once for each row, as ``parametrize`` would. Several tables make every combination.

    A failing row is named by its id, where it has one, and its values; the rows after it are run all the same.
    """
    columns = (names,) if isinstance(names, str) else names
    walked = [_read(row, columns) for row in table]
    if ids is not None:
        walked = [(f"{id}: {shown}", row) for id, (shown, row) in zip(ids, walked, strict=True)]
    assert walked, "a table without rows tests nothing"

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(test)
        taken = signature.parameters
        assert set(columns) <= taken.keys(), f"the test does not take all of {columns}"

        def passed(fixtures: dict[str, Any], subtests: "pytest.Subtests | _Within", shown: str) -> dict[str, Any]:
            return fixtures | {"subtests": _Within(subtests, shown)} if "subtests" in taken else fixtures

        def walk(*args: Any, subtests: "pytest.Subtests | _Within", **fixtures: Any) -> None:
            for shown, row in walked:
                with subtests.test(shown):
                    test(*args, **passed(fixtures, subtests, shown), **row)

        async def walk_async(*args: Any, subtests: "pytest.Subtests | _Within", **fixtures: Any) -> None:
            for shown, row in walked:
                with subtests.test(shown):
                    await test(*args, **passed(fixtures, subtests, shown), **row)

        walker = functools.wraps(test)(walk_async if inspect.iscoroutinefunction(test) else walk)
        kept = [parameter for name, parameter in taken.items() if name not in (*columns, "subtests")]
        added = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
        walker.__signature__ = signature.replace(parameters=[*kept, added])  # type: ignore[attr-defined]
        return walker

    return decorate


class _Within:
    """Subtests of one row, named by it too."""

    def __init__(self, subtests: "pytest.Subtests | _Within", shown: str) -> None:
        self._subtests, self._shown = subtests, shown

    def test(self, shown: str) -> AbstractContextManager[None]:
        """Begin a subtest."""
        return self._subtests.test(f"{self._shown}, {shown}")


def _read(row: Any, columns: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return the name of a row, and its values by the names of the columns."""
    id = ""
    if isinstance(row, type(pytest.param())):
        assert not row.marks, "a row is no case of pytest and cannot be marked"
        id = "" if row.id is None else f"{row.id}: "
        row = row.values
    elif len(columns) == 1:
        row = (row,)
    named = dict(zip(columns, row, strict=True))
    shown = ", ".join(f"{name}={value!r}" for name, value in named.items())
    return id + (shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "…"), named
