"""Tables of data: one case of pytest walks all rows of a table and names every row that failed.

``@pytest.mark.parametrize`` is for environments that a test runs in: databases, event loops, processes. Data goes into
``@rows``, where a row costs no case and no fixtures. A test whose rows need fresh fixtures stays with ``parametrize``.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

MAX_SHOWN = 200
"""How many characters of a row are shown where it failed."""


class RowsFailed(ExceptionGroup[Exception]):
    """The failure of each row, with a note that names the row."""


def rows(
    names: str | tuple[str, ...], table: Iterable[Any], ids: Iterable[str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Call the test once for each row, as ``parametrize`` would; several tables make every combination.

    Raises: ``RowsFailed``, in which a row is named by its id, where it has one, and its values.
    """
    columns = (names,) if isinstance(names, str) else names
    walked = [_read(row, columns) for row in table]
    if ids is not None:
        walked = [(f"{id}: {said}", row) for id, (said, row) in zip(ids, walked, strict=True)]
    assert walked, "a table without rows tests nothing"

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        def walk(*args: Any, **fixtures: Any) -> None:
            with _failures() as failed:
                for said, row in walked:
                    with _noting(said, failed):
                        test(*args, **fixtures, **row)

        async def walk_async(*args: Any, **fixtures: Any) -> None:
            with _failures() as failed:
                for said, row in walked:
                    with _noting(said, failed):
                        await test(*args, **fixtures, **row)

        walker = functools.wraps(test)(walk_async if inspect.iscoroutinefunction(test) else walk)
        signature = inspect.signature(test)
        assert set(columns) <= signature.parameters.keys(), f"the test does not take all of {columns}"
        kept = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        walker.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return walker

    return decorate


def _read(row: Any, columns: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """What to call a row, and its values by the names of the columns."""
    id = ""
    if isinstance(row, type(pytest.param())):
        assert not row.marks, "a row is no case of pytest and cannot be marked"
        id = "" if row.id is None else f"{row.id}: "
        row = row.values
    elif len(columns) == 1:
        row = (row,)
    named = dict(zip(columns, row, strict=True))
    said = ", ".join(f"{name}={value!r}" for name, value in named.items())
    return id + (said if len(said) <= MAX_SHOWN else said[:MAX_SHOWN] + "…"), named


@contextmanager
def _failures() -> Iterator[list[Exception]]:
    """Collect what the rows raise, and raise it all together after the last one."""
    failed: list[Exception] = []
    yield failed
    if failed:
        said = "; ".join(failure.__notes__[0] for failure in failed)
        raise RowsFailed(f"{len(failed)} rows failed: {said}", failed)


@contextmanager
def _noting(said: str, failed: list[Exception]) -> Iterator[None]:
    """Let the next row run after this one has failed. The rows of a further table are told one by one."""
    try:
        yield
    except RowsFailed as inner:
        for failure in inner.exceptions:
            failure.__notes__[0] = f"{said}, {failure.__notes__[0]}"
            failed.append(failure)
    except pytest.fail.Exception as failure:  # which is no Exception and so in no ordinary group
        failed.append(AssertionError(str(failure)).with_traceback(failure.__traceback__))
        failed[-1].add_note(said)
    except Exception as failure:
        failure.__notes__ = [said, *getattr(failure, "__notes__", [])]
        failed.append(failure)
