"""The benchmark of the Responses API sends what the relay understands; what that costs is not judged here."""

import asyncio

from benchmarks.metering import measure
from benchmarks.process import new_loop
from benchmarks.responses import CHAT, EVENTS, OTHER, OURS, loads, response_events, results_table

from chukei.model import Dialect
from chukei.stream.stream import Stream


def test_a_stream_of_the_benchmark_is_a_whole_response() -> None:
    stream = Stream(Dialect.RESPONSES, strip_usage=False, cap=1 << 20)
    stream.feed(b"".join(response_events(1)))
    assert stream.complete
    assert stream.usage is not None
    assert (stream.passed, [item.id for item in stream.items]) == (EVENTS + 5, [f"msg_{1:050x}"])


def test_each_load_is_measured_beside_a_chat_and_another_checkout() -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        found = runner.run(measure({OURS: {}, OTHER: {}}, 1, 1, loads(2, 0.0)))
    head, _, *rows = results_table([OURS, OTHER], found).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")][-2:] == ["× a chat", "× the other"]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == list(loads())
    assert cells[0][0] == CHAT
    assert all(float(cell) > 0 for row in cells for cell in row[1:])
