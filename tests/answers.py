"""Whole answers of errors, for the tables of what each package raises."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from chukei.errors import RelayError
from chukei.model import End, Headers

Answer = tuple[int, str, str, str | None, str, Headers, End]
INVALID, REFUSED = "invalid_request_error", End.REFUSED


def answer_of(error: RelayError) -> Answer:
    """Return the whole of what a client hears, and how the record names it."""
    return error.status, error.type, error.code, error.param, error.message, error.headers, error.end


def refusal(
    status: int,
    code: str,
    message: str,
    *,
    type: str = INVALID,
    param: str | None = None,
    headers: Headers | None = None,
    end: End = REFUSED,
) -> Answer:
    """Return what an error is expected to answer."""
    return status, type, code, param, message, headers or [], end


def later(seconds: int) -> Headers:
    """Return the fields that ask a client to wait for whole seconds."""
    return [(b"retry-after", b"%d" % seconds), (b"retry-after-ms", b"%d" % (seconds * 1000))]


Row = tuple[Callable[[], object], Answer]


def check(subtests: pytest.Subtests, rows: Sequence[Row]) -> None:
    """Provoke each error, and compare its whole answer. A coroutine that is returned is run."""
    for number, (provoke, expected) in enumerate(rows):
        with subtests.test(row=number, code=expected[2], message=expected[4]):
            with pytest.raises(RelayError) as caught:
                _run(provoke())
            assert answer_of(caught.value) == expected


def _run(made: object) -> None:
    if isinstance(made, Coroutine):
        running: Coroutine[Any, Any, object] = made
        asyncio.run(running)
