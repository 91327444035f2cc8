"""Runs the tests of sockets on both event loops."""

from typing import Any

import pytest
from tests.loops import LOOPS


@pytest.fixture(params=LOOPS.values(), ids=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
