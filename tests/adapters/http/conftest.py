"""What opens connections itself is tested on both event loops."""

from typing import Any

import pytest
from tests.loops import on_both_loops


@on_both_loops
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
