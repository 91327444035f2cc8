"""The event loops for tests of what opens connections itself: asyncio's own and uvloop."""

import pytest

on_both_loops = pytest.fixture(
    params=[("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)
"""Makes a function that returns ``request.param`` the fixture ``anyio_backend``. All other tests run on asyncio."""
