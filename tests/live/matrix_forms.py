"""The streams of the failure matrix: three ways to ask for one, and the scripts that break them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tests.live.fault_scripts import LAST_CHUNK, Close, Hold, Receive, Reset, Script, Send, Stall, Step, chunk, head
from tests.live.matrix_cells import CELLS, Cell, F, P, Phase, Unmarked, after_heartbeat

PROMPT = "planted-prompt-secret"
COMPLETION = "planted-completion-secret"
UPSTREAM_KEY = "planted-upstream-key"
MAX_EVENT = 8192


@dataclass(frozen=True, slots=True)
class Form:
    """One way to ask for a stream, and the events of the answer."""

    name: str
    path: str
    request: bytes
    preamble: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    finish: bytes
    usage: bytes
    terminal: bytes
    error: bytes
    shown: tuple[bytes, ...]
    """What the client gets for ``outputs``."""
    shown_end: bytes
    """What it gets for ``terminal``, where that is not what it is."""
    shown_error: bytes
    named_errors: bool
    has_finish: bool = True


def _data(payload: str) -> bytes:
    return f"data: {payload}\n\n".encode()


def _delta(text: str) -> bytes:
    return _data(
        '{"id":"c1","object":"chat.completion.chunk","choices":'
        f'[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}'
    )


_TEXTS = (f"{COMPLETION} one", " two", " 三")
_ERROR = '{"message":"The server had an error.","type":"server_error","param":null,"code":"server_error"}'
_FILTER = _data('{"id":"","choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}')
_ROLE = _data('{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}')
_STOP = _data('{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
_USAGE = _data('{"id":"c1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}')
_DONE = b"data: [DONE]\n\n"
_MESSAGES = f'"messages":[{{"role":"user","content":"{PROMPT}"}}]'

CHAT = Form(
    name="chat",
    path="/v1/chat/completions",
    request=f'{{{_MESSAGES},"stream":true,"stream_options":{{"include_usage":true}}}}'.encode(),
    preamble=(_FILTER, _ROLE),
    outputs=tuple(map(_delta, _TEXTS)),
    finish=_STOP,
    usage=_USAGE,
    terminal=_DONE,
    error=_data(f'{{"error":{_ERROR}}}'),
    shown=(_FILTER + _ROLE + _delta(_TEXTS[0]), _delta(_TEXTS[1]), _delta(_TEXTS[2])),
    shown_end=_DONE,
    shown_error=_data(f'{{"error":{_ERROR}}}'),
    named_errors=False,
)
SECURE = replace(CHAT, name="tls")
"""The same over TLS."""
SIMPLE = Form(
    name="simple",
    path="/api/chat-stream",
    request=f"{{{_MESSAGES}}}".encode(),
    preamble=CHAT.preamble,
    outputs=CHAT.outputs,
    finish=_STOP,
    usage=_USAGE,
    terminal=_DONE,
    error=CHAT.error,
    shown=tuple(map(_data, _TEXTS)),
    shown_end=b"event: finish\n"
    + _data('{"finish_reason":"stop","usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}')
    + _DONE,
    shown_error=b"event: error\n" + _data(f'{{"error":{_ERROR}}}'),
    named_errors=True,
)


def _typed(kind: str, more: str) -> bytes:
    return f"event: {kind}\n".encode() + _data(f'{{"type":"{kind}",{more}}}')


_CREATED = _typed("response.created", '"response":{"id":"r1","status":"in_progress","error":null}')
_PARTS = tuple(_typed("response.output_text.delta", f'"delta":"{text}"') for text in _TEXTS)
_COMPLETED = _typed(
    "response.completed",
    '"response":{"id":"r1","status":"completed","usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10}}',
)
_FAILED = _typed("error", f'"error":{_ERROR}') + _typed("response.failed", '"response":{"id":"r1","status":"failed"}')
RESPONSES = Form(
    name="responses",
    path="/v1/responses",
    request=f'{{"input":"{PROMPT}","stream":true}}'.encode(),
    preamble=(_CREATED,),
    outputs=_PARTS,
    finish=b"",
    usage=b"",
    terminal=_COMPLETED,
    error=_FAILED,
    shown=(_CREATED + _PARTS[0], _PARTS[1], _PARTS[2]),
    shown_end=_COMPLETED,
    shown_error=_FAILED,
    named_errors=True,
    has_finish=False,
)


# TLS has its own way to lose, to end and to close a connection, and its own bytes between those of HTTP.
_TLS_FAULTS = (F.RESET, F.CLOSE, F.ABORT, F.SHUTDOWN, F.COMPRESSED, F.EXTRA)
_FORMS_FAULTS = (F.RESET, F.CLEAN_END, F.STALL, F.ERROR_EVENT, F.GIANT, F.EXTRA, F.ABORT, F.SHUTDOWN)
"""A form writes its own output and end; by which fault a connection is lost it does not see, so one stands for all."""


def cases() -> Iterator[tuple[Form, Cell]]:
    """Every cell for chat; over TLS what TLS could change; those of a running stream for the other forms too."""
    for cell in CELLS:
        yield CHAT, cell
    for cell in _distinct(after_heartbeat()):
        yield CHAT, cell
    for cell in CELLS:
        if cell.phase in (P.SENT, P.HEADERS, P.PREAMBLE, P.INSIDE, P.DONE) and cell.fault in _TLS_FAULTS:
            yield SECURE, cell
    for form in (SIMPLE, RESPONSES):
        for cell in CELLS:
            running = cell.phase in (P.PREAMBLE, P.INSIDE, P.BETWEEN, P.FINISHED, P.COUNTED, P.DONE)
            knows_phase = form.has_finish or cell.phase not in (P.FINISHED, P.COUNTED)
            # The Responses API has room for images in an event.
            roomy = not form.has_finish and cell.fault is F.GIANT
            told = cell.fault is F.STALL and cell.phase not in (P.INSIDE, P.DONE)  # as it tells of a reset there
            if running and knows_phase and not (roomy or told) and cell.fault in _FORMS_FAULTS:
                yield form, cell


def _distinct(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Leave out what a client sees just so already, in the same phase, by another fault."""
    seen = set()
    for cell in cells:
        key = (cell.phase, cell.sees, cell.end)
        if key not in seen:
            seen.add(key)
            yield cell


def sample() -> Iterator[tuple[Form, Cell]]:
    """Each phase and each fault at least once: for the loop that does not play the whole table."""
    phases, faults = set(), set()
    for form, cell in cases():
        if cell.fault not in faults or cell.phase not in phases:
            phases.add(cell.phase)
            faults.add(cell.fault)
            yield form, cell
    for cell in CELLS:
        if cell.phase is P.INSIDE and cell.fault in (F.RESET, F.ABORT, F.HALF_CLOSE):
            yield SECURE, cell


_HEAD = head("text/event-stream; charset=utf-8", "apim-request-id: upstream-1", "x-ms-region: Japan East")
_PAGE = b"<html><body>Please sign in</body></html>"


def script_of(form: Form, cell: Cell) -> Script:
    """Write the upstream's script: come so far, hold, then break."""
    if cell.phase is P.TLS:
        garbage = Send(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
        return [Receive(), Hold(), garbage if cell.fault is F.BAD_CHUNK else _fault(form, cell), Stall()]
    script = [*_so_far(form, cell.phase), Hold(), *_strike(form, cell)]
    ends = cell.fault is F.ERROR_EVENT or isinstance(cell.sees, Unmarked)
    return script if ends else [*script, Stall()]


def _so_far(form: Form, phase: Phase) -> Iterator[Step]:
    first, second, third = form.outputs
    if phase is P.SENT:
        return
    if phase is P.IN_HEAD:
        yield Send(_HEAD[:60])
        return
    if phase is P.HEADERS:
        return  # the fault brings the headers along
    yield Send(_HEAD)
    for event in form.preamble:
        yield Send(chunk(event))
    if phase is P.PREAMBLE:
        return
    yield Send(chunk(first))
    yield Send(chunk(second))
    if phase is P.INSIDE and third:
        yield Send(chunk(third[: len(third) // 2]))
    if phase in (P.FINISHED, P.COUNTED, P.DONE):
        yield Send(chunk(third + form.finish))
    if phase in (P.COUNTED, P.DONE) and form.usage:
        yield Send(chunk(form.usage))
    if phase is P.DONE:
        yield Send(chunk(form.terminal))


def _strike(form: Form, cell: Cell) -> Iterator[Step]:
    if cell.phase is P.HEADERS:
        match cell.fault:
            case F.WRONG_TYPE:
                yield Send(head("text/html", length=len(_PAGE)) + _PAGE)
                return
            case F.JSON:
                yield Send(head("application/json", length=2) + b"{}")
                return
            case F.COMPRESSED:
                yield Send(head("text/event-stream", "content-encoding: gzip") + chunk(b"\x1f\x8b\x08"))
                return
            case F.REDIRECT:
                yield Send(head("text/html", "location: http://127.0.0.1:9/", status="307 Moved", length=0))
                return
            case _:
                yield Send(_HEAD)
    yield _fault(form, cell)


def _fault(form: Form, cell: Cell) -> Step:
    match cell.fault:
        case F.RESET:
            return Reset()
        case F.CLOSE:
            return Close()
        case F.CLEAN_END:
            return Send(LAST_CHUNK)
        case F.BAD_CHUNK:
            return Send(b"SSH-2.0\r\n" if cell.phase is P.SENT else b"no size\r\n")
        case F.ERROR_EVENT:
            return Send(chunk(form.error) + LAST_CHUNK)
        case F.GIANT if cell.phase is P.IN_HEAD:
            return Send(b"x-giant: " + b"x" * 80_000)
        case F.GIANT:
            return Send(chunk(b"data: " + b"x" * (2 * MAX_EVENT)), each=1000)
        case F.EXTRA:
            return Send(LAST_CHUNK + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")
        case _:
            return Stall()  # also where the test acts itself: a client that leaves, a shutdown
