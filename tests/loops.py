"""The event loops for tests of code that opens connections itself: asyncio's own and uvloop. Others run on asyncio."""

from typing import Any

import pytest

LOOPS: dict[str, Any] = {"asyncio": ("asyncio", {"use_uvloop": False}), "uvloop": ("asyncio", {"use_uvloop": True})}

on_both_loops = pytest.mark.parametrize("anyio_backend", LOOPS.values(), ids=list(LOOPS))
"""For one test. Where all of a module or folder need it, the fixture ``anyio_backend`` is overridden with ``LOOPS``."""
