"""What every test shares."""

import os

import pytest
from hypothesis import HealthCheck, settings

# HYPOTHESIS_PROFILE=deep looks longer for a counterexample. A shared machine makes single examples slow, so neither
# profile holds one to a time.
settings.register_profile("fast", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio, the loop of both hosts."""
    return "asyncio"
