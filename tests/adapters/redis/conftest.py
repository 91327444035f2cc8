"""A real server for each module, emptied for each test, and the relay's whole log."""

import logging
from collections.abc import Iterator

import pytest
from tests.live.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """A server that is never stopped, emptied."""
    redis_server.command("FLUSHALL")
    return redis_server


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "chukei")
