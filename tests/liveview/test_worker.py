"""One process's answer, and the measurement of its event loop."""

import asyncio

import pytest
from tests.fakes import FakeClock
from tests.liveview.records import record, running

from chukei.config import PoolSettings
from chukei.liveview import worker
from chukei.liveview.window import Window
from chukei.liveview.worker import LagProbe, LiveWorker
from chukei.model import Deployment, Model
from chukei.pool import Pool

pytestmark = pytest.mark.anyio

EAST = Deployment("east", "https://east.example", "gpt-4o")


async def test_a_process_answers_with_all_that_it_knows() -> None:
    clock = FakeClock()
    window = Window(clock)
    models = {"chat": Model("chat", (EAST,)), "other": Model("other", (EAST,))}
    pool = Pool(models, PoolSettings(), default="chat", open=None, draw=lambda: 0.5)
    window(record())
    one = LiveWorker(
        window, lambda: pool, clock, running=lambda: iter([running()]), connections=lambda: 4, draining=lambda: True
    )
    part = worker.decode(one.answer(b""))
    assert (part.seconds[-1].requests, part.running.requests, part.connections, part.draining) == (1, 1, 4, True)
    assert part.pool["east"].models == ["chat", "other"]


async def test_a_loop_is_measured_while_somebody_looks() -> None:
    loop = asyncio.get_running_loop()
    probe = LagProbe()
    probe.look()
    assert probe.lag == 0.0
    due = loop.time()
    for late in (0.2, 0.7, 0.3):
        probe._called(loop, due - late)
    assert probe.lag == pytest.approx(0.3, abs=0.15)
