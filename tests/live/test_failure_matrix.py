"""The failure matrix: each phase of a stream × each fault, on real sockets.

``matrix_cells`` holds the table; here each of its rows is played, and afterwards nothing may be left: no upstream
connection, no task, no descriptor, no secret in a log line or an error, and the next request succeeds.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.util import find_spec

import pytest
from tests.live import matrix_forms as matrix
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.matrix_bench import (
    ANSWER,
    GOOD,
    HEARTBEAT,
    MatrixBench,
    nothing_left,
    open_bench,
    quiet,
    without_heartbeats,
)
from tests.live.matrix_cells import (
    BEFORE_OUTPUT,
    Broken,
    Cell,
    Fault,
    Forwarded,
    Left,
    Phase,
    Refused,
    Tokens,
    Unmarked,
    Whole,
)
from tests.live.matrix_forms import CHAT, COMPLETION, PROMPT, SECURE, UPSTREAM_KEY, Form
from tests.live.raw_client import RawClient
from tests.live.relays import InProcessRelay, eventually

from chukei.accounts.estimate import USUAL_OUTPUT
from chukei.adapters.logs.requests import log_request
from chukei.model import End
from chukei.record import RequestRecord
from chukei.stream import sse
from chukei.stream.sse import DONE
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

LEAVES = (Fault.ABORT, Fault.HALF_CLOSE)


ASYNCIO = ("asyncio", {"use_uvloop": False})
"""The loop on Functions."""
UVLOOP = ("asyncio", {"use_uvloop": True})
"""The one that the server takes where it is installed."""
USUAL, OTHER = (UVLOOP, ASYNCIO) if find_spec("uvloop") else (ASYNCIO, None)


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return getattr(request, "param", USUAL)


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MatrixBench]:
    async with open_bench(tmp_path_factory.mktemp("matrix")) as bench:
        yield bench


# What is said and recorded does not depend on the loop: the other one is for what its sockets tell of each fault.
CASES = [(USUAL, form, cell) for form, cell in matrix.cases()]
CASES += [(OTHER, form, cell) for form, cell in matrix.sample() if OTHER]


@pytest.mark.parametrize(
    ("anyio_backend", "form", "cell"),
    CASES,
    ids=[f"{form.name}-{cell}{'' if loop is USUAL else '-asyncio'}" for loop, form, cell in CASES],
    indirect=["anyio_backend"],
    scope="module",
)
async def test_a_cell_of_the_matrix(form: Form, cell: Cell, bench: MatrixBench) -> None:
    relay = await bench.relay(cell)
    bench.log.lines.clear()
    async with nothing_left(relay, bench):
        record, body = await _play(form, cell, relay, bench)
    assert record.end is cell.end, record
    assert record.status == _status(cell), record
    assert record.code == (cell.sees.code if isinstance(cell.sees, Refused | Broken) else None)
    _check_tokens(form, cell, record)
    log_request(record)
    written = "\n".join(bench.log.lines)
    assert f'"end":"{cell.end}"' in written
    for secret in (UPSTREAM_KEY, PROMPT, COMPLETION):
        assert secret not in written + repr(record)
    assert UPSTREAM_KEY.encode() not in body
    assert PROMPT.encode() not in body


async def _play(form: Form, cell: Cell, relay: InProcessRelay, bench: MatrixBench) -> tuple[RequestRecord, bytes]:
    """Bring the request to the cell's phase, let the fault strike, and check what the client sees."""
    before = len(relay.records)
    upstream = bench.upstream(form, cell)
    upstream.script, upstream.at_connect = (), None
    if cell.phase is Phase.TLS:
        upstream.at_connect = matrix.script_of(form, cell)
    else:
        upstream.script = matrix.script_of(form, cell)
    async with RawClient(relay.url) as client:
        await client.post(form.path, _request(form, cell))
        visit = await _visit(cell, relay, upstream)
        if cell.committed:
            await client.until(HEARTBEAT + b"\n\n")
        shown = _shown(form, cell)
        if shown:
            await _until_seen(client, shown)
        await _strike(cell, client, relay, visit)
        if not isinstance(cell.sees, Left):
            await client.rest()
            _check_answer(form, cell, client, shown)
        elif cell.fault is Fault.HALF_CLOSE:
            assert await client.closed()
        record = await relay.record(before + 1)
        if visit is not None and cell.fault in LEAVES:
            await visit.peer_left()
    # The end of an answer is awaited for a second; a whole error of the Responses API leaves a good connection.
    whole = isinstance(cell.sees, Unmarked) or (isinstance(cell.sees, Forwarded) and not form.has_finish)
    pooled = 1 if whole else 0
    await eventually(lambda: relay.upstream.open_connections == pooled)
    return record, client.body


def _request(form: Form, cell: Cell) -> bytes:
    """Name the model whose deployment is at the upstream that fails in this way."""
    name = "scripted"
    if cell.phase is Phase.CONNECTING:
        name = "refusing" if cell.fault is Fault.RESET else "black-hole"
    elif cell.phase is Phase.TLS:
        name = "untrusted" if cell.fault is Fault.UNTRUSTED else "handshake"
    elif form is SECURE:
        name = "secure"
    return form.request[:-1] + f',"model":"{name}"}}'.encode()


async def _visit(cell: Cell, relay: InProcessRelay, upstream: FaultUpstream) -> Visit | None:
    """Wait until the upstream holds at the cell's phase."""
    if cell.fault is Fault.UNTRUSTED:
        return None
    if cell.phase is Phase.CONNECTING:
        if cell.fault is not Fault.RESET:
            await eventually(lambda: relay.relay.gateway.live == 1)
        return None
    visit = await upstream.visit()
    await visit.holding()
    return visit


async def _strike(cell: Cell, client: RawClient, relay: InProcessRelay, visit: Visit | None) -> None:
    match cell.fault:
        case Fault.ABORT:
            client.reset()
        case Fault.HALF_CLOSE:
            client.half_close()
        case Fault.SHUTDOWN:
            relay.relay.gateway.stop_all()
        case _ if visit is not None:
            visit.release()


async def _until_seen(client: RawClient, shown: bytes) -> None:
    while without_heartbeats(client.body) != shown:
        assert await client.part(), client.body


def _shown(form: Form, cell: Cell) -> bytes:
    """What the client has been shown before the fault strikes."""
    count = {Phase.INSIDE: 2, Phase.BETWEEN: 2, Phase.FINISHED: 3, Phase.COUNTED: 3, Phase.DONE: 3}.get(cell.phase, 0)
    shown = b"".join(form.shown[:count])
    if form not in (CHAT, SECURE):
        return shown + (form.shown_end if cell.phase is Phase.DONE else b"")
    if count == 3:
        shown += form.finish
    if cell.phase in (Phase.COUNTED, Phase.DONE):
        shown += form.usage
    return shown + (form.terminal if cell.phase is Phase.DONE else b"")


def _check_answer(form: Form, cell: Cell, client: RawClient, shown: bytes) -> None:
    assert client.headers["x-request-id"]
    if isinstance(cell.sees, Refused):
        assert client.status == cell.sees.status
        assert client.headers["content-type"] == "application/json"
        _check_error(json.loads(client.body), cell.sees.code)
        return
    assert client.status == 200
    assert client.headers["content-type"].startswith("text/event-stream")
    body = without_heartbeats(client.body)
    if isinstance(cell.sees, Whole):
        assert body == shown
    elif isinstance(cell.sees, Unmarked):
        ending = body.removeprefix(shown)
        assert ending == b"" if form is CHAT else ending.startswith(b"event: finish") and ending.endswith(DONE)
    elif isinstance(cell.sees, Forwarded):
        assert body == shown + form.shown_error
    else:
        assert isinstance(cell.sees, Broken)
        assert body.startswith(shown)
        event = body.removeprefix(shown)
        if form is matrix.RESPONSES:
            event = _check_failed_response(event, cell.sees.code)
        if form.named_errors:
            assert event.startswith(b"event: error\n")
            event = event.removeprefix(b"event: error\n")
        assert event.startswith(b"data: ")
        assert event.endswith(b"\n\n")
        assert event.count(b"\n") == 2
        _check_error(json.loads(event[6:]), cell.sees.code)


def _check_failed_response(events: bytes, code: str) -> bytes:
    """Check the API's two events of an error; return the first as that of other APIs."""
    event, failed = (sse.data_of(each) for each in sse.split(events))
    error, last = json.loads(event), json.loads(failed)
    assert (error.pop("type"), last["type"]) == ("error", "response.failed")
    assert last["sequence_number"] == error.pop("sequence_number") + 1
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": code, "message": error["error"]["message"]}
    return sse.write(json.dumps(error), "error")


def _check_error(body: dict[str, dict[str, object]], code: str) -> None:
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    assert COMPLETION not in str(body)


def _status(cell: Cell) -> int | None:
    if isinstance(cell.sees, Refused):
        return cell.sees.status
    if isinstance(cell.sees, Left) and cell.phase in BEFORE_OUTPUT and not cell.committed:
        return None
    return 200


def _check_tokens(form: Form, cell: Cell, record: RequestRecord) -> None:
    if cell.tokens is Tokens.NONE:
        assert record.usage is None
    elif cell.tokens is Tokens.EXACT:
        assert record.usage == Usage(input=7, output=3)
    else:
        # The model has no name that tells whether it reasons; once it was counted without, it is known not to.
        size = len(_request(form, cell))
        usage = record.usage
        assert usage is not None
        assert usage.estimated
        assert size // 4 <= usage.input <= size  # what may have been counted, and no more than a token a byte
        # Before its output a try is charged by the time that it ran, if the relay ended it.
        assert 8 <= usage.output <= USUAL_OUTPUT


async def test_a_request_that_left_whole_is_not_sent_again(bench: MatrixBench) -> None:
    """A kept connection breaks after the request left: the upstream may have seen it, so one send is all."""
    relay = await bench.relay(CASES[0][2])
    await quiet(relay, bench)
    accepted = bench.scripted.accepted
    bench.scripted.script = lambda visit: [Hold()] if kept else GOOD
    kept: list[bool] = []
    async with RawClient(relay.url) as client:
        await client.post(CHAT.path, CHAT.request)
        assert await client.rest() == ANSWER
    kept.append(True)
    async with RawClient(relay.url) as client:
        await client.post(CHAT.path, CHAT.request)
        visit = await bench.scripted.visit(2)
        await visit.holding()
        for connection in tuple(bench.scripted.connections):
            connection.cut()
        assert b"upstream_lost" in await client.rest()
    assert client.status == 502
    assert bench.scripted.accepted == accepted + 1


@pytest.mark.parametrize("form", [CHAT, SECURE, matrix.SIMPLE, matrix.RESPONSES], ids=lambda form: str(form.name))
async def test_heartbeats_bridge_every_silence(form: Form, bench: MatrixBench) -> None:
    """Before the headers, before the first output, between two events and inside one; the answer stays whole."""
    cell = Cell(Phase.SENT, Fault.CLEAN_END, Whole(), End.COMPLETED, Tokens.EXACT, committed=True)
    relay = await bench.relay(cell)
    await quiet(relay, bench)
    first, second, third = form.outputs
    rest = third + form.finish + form.usage + form.terminal
    whole = b"".join((*form.preamble, first, second, rest))
    silences = [head(), chunk(whole[:-1][: len(form.preamble[0])]), b"".join(map(chunk, form.preamble[1:]))]
    silences += [chunk(first), chunk(second + rest[:40]), chunk(rest[40:]) + LAST_CHUNK]
    upstream = bench.upstream(form, cell)
    upstream.script = [step for part in silences for step in (Hold(), Send(part))]
    async with RawClient(relay.url) as client:
        await client.post(form.path, _request(form, cell))
        visit = await upstream.visit()
        for _ in silences:
            await visit.holding()
            beats = client.body.count(HEARTBEAT)
            while client.body.count(HEARTBEAT) < beats + 2:
                assert await client.part()
            visit.release()
        body = without_heartbeats(await client.rest())
    shown = b"".join(form.shown)
    if form in (CHAT, SECURE):
        shown += form.finish + form.usage
    assert body == shown + form.shown_end


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.CLOSE, Fault.STALL, Fault.BAD_CHUNK, Fault.CLEAN_END])
async def test_a_stream_that_only_its_body_ends(fault: Fault, bench: MatrixBench) -> None:
    """Images and speech have no [DONE]: there a clean end of the body is the end, and nothing else is."""
    sees: Broken | Whole = Broken("upstream_timeout" if fault is Fault.STALL else "stream_incomplete")
    cell = Cell(Phase.INSIDE, fault, Whole() if fault is Fault.CLEAN_END else sees, End.TRUNCATED, Tokens.ESTIMATED)
    relay = await bench.relay(cell)
    await quiet(relay, bench)
    part = b'event: image_generation.partial_image\ndata: {"b64_json":"aGk="}\n\n'
    whole = replace(matrix.RESPONSES, preamble=(), outputs=(part, part, b"" if fault is Fault.CLEAN_END else part))
    bench.scripted.script = matrix.script_of(whole, cell)
    async with RawClient(relay.url) as client:
        await client.post("/v1/images/generations", b'{"prompt":"a river","stream":true}')
        visit = await bench.scripted.visit()
        await visit.holding()
        await _until_seen(client, part * 2)
        visit.release()
        await client.rest()
    _check_answer(whole, cell, client, part * 2)
