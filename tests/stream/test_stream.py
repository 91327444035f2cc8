"""One stream on its way through: what leaves, when, and what is known of it at the end."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import bytewise, every_split
from tests.rows import rows

from chukei.model import Dialect, End
from chukei.stream import sse
from chukei.stream.events import Item
from chukei.stream.stream import State, Stream
from chukei.usage import Usage

CAP = 1 << 16


def chunk(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def content(text: str, index: int = 0) -> bytes:
    return chunk(choices=[{"delta": {"content": text}, "finish_reason": None, "index": index}], usage=None)


def finish(reason: str, index: int = 0) -> bytes:
    return chunk(choices=[{"delta": {}, "finish_reason": reason, "index": index}], usage=None)


FILTER = chunk(choices=[], created=0, id="", prompt_filter_results=[{"prompt_index": 0}])
ROLE = chunk(
    choices=[{"delta": {"content": "", "refusal": None, "role": "assistant"}, "finish_reason": None, "index": 0}],
    obfuscation="8A9QeP6E",
    usage=None,
)
USAGE = chunk(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "latency": {"x": 1}})
ERROR = chunk(error={"message": "Sorry", "type": "server_error", "param": None, "code": None})
PLAIN = [FILTER, ROLE, content("Hel"), content("lo 🌊"), finish("stop"), USAGE, sse.DONE]


def stream(dialect: Dialect = Dialect.CHAT, *, strip_usage: bool = False, cap: int = CAP) -> Stream:
    return Stream(dialect, strip_usage=strip_usage, cap=cap)


def through(
    reads: list[bytes], dialect: Dialect = Dialect.CHAT, *, strip_usage: bool = False, proper: bool = True
) -> tuple[bytes, Stream]:
    passing = stream(dialect, strip_usage=strip_usage)
    out = [passing.feed(read) for read in reads]
    return b"".join([*out, passing.finish(proper=proper)]), passing


def test_a_chat_stream_is_unchanged_at_every_split() -> None:
    whole = b"".join(PLAIN)
    for reads in ([whole], PLAIN, bytewise(whole), *every_split(whole)):
        out, done = through(reads)
        assert out == whole
        assert done.complete
        assert done.usage == Usage(input=9, output=3)
        assert done.finish_reasons == {0: "stop"}
        assert done.end() is End.COMPLETED
        assert done.events == 4  # two of content, finish, usage; neither the preamble nor [DONE]


def test_states_follow_the_events() -> None:
    passing = stream()
    seen = []
    for event in PLAIN:
        passing.feed(event)
        seen.append(passing.state)
    output, finished = State.OUTPUT, State.FINISHED
    assert seen == [State.PREAMBLE, State.PREAMBLE, output, output, finished, finished, State.DONE]
    assert repr(passing) == "<Stream chat DONE, 4 events>"


def test_the_preamble_is_held_until_output_and_then_leaves_whole() -> None:
    passing = stream()
    assert passing.feed(FILTER) == b""
    assert passing.feed(b": azure says hello\n\n") == b""
    assert passing.feed(ROLE) == b""
    assert passing.feed(content("x")) == FILTER + b": azure says hello\n\n" + ROLE + content("x")


OUTPUT = [
    pytest.param({"delta": {"content": "x"}}, id="content"),
    pytest.param({"delta": {"refusal": "no"}}, id="refusal"),
    pytest.param({"delta": {"role": None, "reasoning_content": "hm"}}, id="DeepSeek's reasoning"),
    pytest.param({"delta": {"tool_calls": [{"index": 0}]}}, id="tool call in the role chunk"),
    pytest.param({"delta": {"role": "assistant", "context": {"citations": []}}}, id="on your data"),
    pytest.param({"delta": {}, "finish_reason": "content_filter"}, id="blocked at once"),
    pytest.param({"text": "x"}, id="text completion"),
]


@rows("choice", OUTPUT)
def test_every_kind_of_output_ends_the_preamble(choice: dict[str, object]) -> None:
    passing = stream()
    event = chunk(choices=[{"index": 0, **choice}])
    assert passing.feed(FILTER + ROLE + event) == FILTER + ROLE + event
    assert passing.state is not State.PREAMBLE


@rows(
    "event",
    [
        pytest.param(b"data: not JSON\n\n", id="no JSON"),
        pytest.param(b"data: [1,2]\n\n", id="a list"),
        pytest.param(b'data: {"choices":"?"}\n\n', id="other types"),
        pytest.param(b'data: {"other":1}\n\n', id="no choices"),
        pytest.param(b"data: " + b"[" * 5000 + b"]" * 5000 + b"\n\n", id="deep"),
    ],
)
def test_what_is_not_understood_passes_as_output(event: bytes) -> None:
    passing = stream()
    assert passing.feed(FILTER + event) == FILTER + event
    assert not passing.failure


HOSTILE = [
    '"finish_reason":"stop"',
    '{"error":{"message":"x"}}',
    "data: [DONE]\n\n",
    "[DONE]",
    'event: error\ndata: {"error":1}',
    "response.completed",
    '"usage":{"prompt_tokens":1}',
    '\\"finish_reason\\":\\"stop\\"',
]


@rows("text", HOSTILE)
def test_markers_inside_a_text_mean_nothing(text: str) -> None:
    event = content(text)
    passing = stream(strip_usage=True)
    assert passing.feed(event) == event
    assert passing.state is State.OUTPUT
    assert passing.finish_reasons == {}
    assert passing.usage is None
    assert passing.failure is None


@given(texts=st.lists(st.one_of(st.text(), st.sampled_from(HOSTILE)), min_size=1, max_size=5))
def test_no_text_at_all_changes_what_passes(texts: list[str]) -> None:
    events = [content(text) for text in texts]
    whole = b"".join([FILTER, ROLE, *events, finish("stop"), sse.DONE])
    out, done = through([whole], strip_usage=True)
    assert out == whole
    assert done.finish_reasons == {0: "stop"}
    assert done.complete


def test_usage_that_only_the_relay_wanted_is_removed_and_nothing_else() -> None:
    whole = b"".join(PLAIN)
    for reads in ([whole], PLAIN, bytewise(whole)):
        out, done = through(reads, strip_usage=True)
        assert out == whole.replace(USAGE, b"")
        assert done.usage == Usage(input=9, output=3)


def test_usage_beside_choices_stays() -> None:
    """Some models report usage in the chunk that finishes: it cannot be removed without losing the reason."""
    both = chunk(
        choices=[{"delta": {"content": "", "role": None}, "finish_reason": "stop", "index": 0, "matched_stop": 1}],
        usage={"prompt_tokens": 4, "completion_tokens": 5, "reasoning_tokens": 2},
    )
    out, done = through([content("x"), both, sse.DONE], strip_usage=True)
    assert out == content("x") + both + sse.DONE
    assert done.usage == Usage(input=4, output=5, reasoning=2)


@rows("strip_usage", [True, False])
def test_usage_in_a_chunk_of_its_own_that_has_a_choice_is_read_and_stays(strip_usage: bool) -> None:
    """It comes behind the finish with an empty delta (https://github.com/agentjido/req_llm/issues/781)."""
    late = chunk(choices=[{"index": 0, "delta": {}}], usage={"prompt_tokens": 12, "completion_tokens": 7})
    out, done = through([content("x"), finish("stop"), late], strip_usage=strip_usage)
    assert out == content("x") + finish("stop") + late
    assert done.usage == Usage(12, 7)


@rows("odd", [[], [1], "none", 7, True, {}])
@rows("name", ["usage", "model", "service_tier"])
def test_a_member_of_an_odd_type_hides_no_finish_reason(name: str, odd: object) -> None:
    last = chunk(choices=[{"delta": {}, "finish_reason": "length", "index": 0}], **{name: odd})
    out, done = through([content("x"), last, sse.DONE])
    assert out == content("x") + last + sse.DONE
    assert (done.finish_reasons, done.usage) == ({0: "length"}, None)


def test_usage_in_every_chunk_counts_only_once_it_is_final() -> None:
    """Some count so far (see https://github.com/alfredapp/openai-workflow/pull/52): too little for one cut short."""

    def so_far(number: int, reason: str | None = None) -> bytes:
        delta = {"content": "x" * 400}
        usage = {"prompt_tokens": 9, "completion_tokens": number}
        return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": reason}], usage=usage)

    _, cut = through([so_far(0), so_far(2)], proper=False)
    assert (cut.usage, cut.generated_bytes) == (None, 800)
    for ending in ([so_far(5, "stop")], [so_far(3), so_far(5), sse.DONE]):
        assert through([so_far(0), so_far(2), *ending], proper=False)[1].usage == Usage(9, 5)


def test_a_finish_reason_that_is_empty_is_none() -> None:
    """Some write it so in every chunk but the last (https://github.com/ollama/ollama/issues/4357)."""
    events = [content("a").replace(b'"finish_reason":null', b'"finish_reason":""')] * 3
    _, done = through(events)
    assert (done.finish_reasons, done.complete, done.finished) == ({}, False, False)
    assert through([*events, finish("stop")])[1].complete


def test_null_usage_is_no_usage() -> None:
    out, done = through([content("x"), finish("stop"), sse.DONE], strip_usage=True)
    assert out == content("x") + finish("stop") + sse.DONE
    assert done.usage is None


def test_a_usage_event_with_spaces_after_colons_is_removed_too() -> None:
    spaced = b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\n\n'
    out, done = through([content("x"), spaced, sse.DONE], strip_usage=True)
    assert out == content("x") + sse.DONE
    assert done.usage == Usage(input=1, output=2)


def test_each_choice_has_its_reason() -> None:
    events = [content("a"), content("b", 1), finish("length", 1), content("c"), finish("stop"), sse.DONE]
    out, done = through(events)
    assert out == b"".join(events)
    assert done.finish_reasons == {0: "stop", 1: "length"}
    assert done.end() is End.LENGTH


def test_a_filtered_completion_ends_as_filtered() -> None:
    _, done = through([content("a"), finish("content_filter"), sse.DONE])
    assert done.end() is End.CONTENT_FILTER


def test_an_event_with_a_marker_that_is_not_understood_passes() -> None:
    odd = b'data: {"choices":5,"finish_reason":"stop"}\n\n'
    out, done = through([content("x"), odd, sse.DONE])
    assert out == content("x") + odd + sse.DONE
    assert done.finish_reasons == {}


def test_annotations_after_the_finish_pass_and_leave_it_finished() -> None:
    """The asynchronous content filter reports late, with blank ids and no delta."""
    late = chunk(
        choices=[{"content_filter_offsets": {"check_offset": 4}, "finish_reason": None, "index": 0}], id="", model=""
    )
    out, done = through([content("x"), finish("stop"), late, sse.DONE])
    assert out == content("x") + finish("stop") + late + sse.DONE
    assert done.finish_reasons == {0: "stop"}


def test_an_error_event_ends_the_stream_and_is_the_last_thing_that_leaves() -> None:
    passing = stream()
    assert passing.feed(content("x")) == content("x")
    assert passing.feed(content("y") + ERROR + content("z") + sse.DONE) == content("y") + ERROR
    assert passing.failure is not None
    assert json.loads(passing.failure)["message"] == "Sorry"
    assert passing.ended
    assert not passing.complete
    assert passing.end() is End.UPSTREAM_ERROR


def test_an_error_that_is_null_is_none() -> None:
    event = b'data: {"choices":[{"delta":{"content":"x"},"index":0}],"error":null}\n\n'
    passing = stream()
    assert passing.feed(event) == event
    assert passing.failure is None
    assert not passing.ended


@rows("tail", [content("z"), b"data: more\n\n", sse.DONE, b": comment\n\n"])
def test_nothing_leaves_after_done(tail: bytes) -> None:
    passing = stream()
    passing.feed(content("x"))
    assert passing.feed(finish("stop") + sse.DONE + tail) == finish("stop") + sse.DONE
    assert passing.feed(tail) == b""
    assert passing.finish() == b""


@rows("proper", [True, False])
@rows("seen", range(3, 7))
def test_without_done_a_chat_is_complete_if_it_is_finished_and_its_body_ends_properly(seen: int, proper: bool) -> None:
    for reads in (PLAIN[:seen], bytewise(b"".join(PLAIN[:seen]))):
        out, done = through(reads, proper=proper)
        assert out == b"".join(PLAIN[:seen]), "nothing is made up"
        assert done.complete is (proper and seen >= 5)
        assert done.ended is done.complete
        assert done.finished is (seen >= 5 and not done.complete)


TOOL = chunk(choices=[{"delta": {"tool_calls": [{"index": 3, "function": {"arguments": "{}"}}]}, "index": 0}])


@rows(
    ("events", "complete"),
    [
        pytest.param([content("a"), content("b", 1), finish("stop")], False, id="one of two"),
        pytest.param([content("a"), content("b", 1), finish("stop", 1)], False, id="the other of two"),
        pytest.param([content("a"), content("b", 1), finish("stop", 1), finish("length")], True, id="both"),
        pytest.param([content("a"), finish("stop"), content("b", 1)], False, id="one that began late"),
        pytest.param([content("x", index % 2) for index in range(40)] + [finish("stop")], False, id="many turns"),
        pytest.param([ROLE, ROLE.replace(b'"index":0', b'"index":7'), finish("stop")], False, id="a role alone"),
        pytest.param([TOOL, finish("tool_calls")], True, id="a tool call has an index of its own"),
        pytest.param([TOOL] * 9 + [TOOL, content("x", 3), finish("stop")], False, id="which a choice may have, too"),
        pytest.param([chunk(choices=[{"text": "x", "index": 2}]), finish("stop", 2)], True, id="text completion"),
        pytest.param([chunk(choices=[{"text": "x"}]), finish("stop")], True, id="without an index"),
    ],
)
def test_every_choice_that_began_must_finish(events: list[bytes], complete: bool) -> None:
    for reads in (events, [b"".join(events)], bytewise(b"".join(events))):
        assert through(reads)[1].complete is complete


def test_a_response_is_not_complete_without_its_terminal_event() -> None:
    item = event("response.output_item.done", item={"type": "message"})
    _, done = through([CREATED, DELTA, item], Dialect.RESPONSES)
    assert not done.complete
    assert done.finished, "so that its usage is worth waiting for"
    _, more = through([DELTA, item, event("response.output_item.added", item={}), DELTA], Dialect.RESPONSES)
    assert not more.finished


def test_the_items_of_a_response_are_known_when_they_are_done() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"}
    events = [
        CREATED,
        event("response.output_item.added", item={"type": "reasoning", "id": "rs_1"}),
        event("response.output_item.done", item=reasoning),
        DELTA,
        event("response.output_item.done", item={"id": 7}),
        event("response.output_item.done", item={"type": "message", "id": "msg_1"}),
    ]
    _, stream = through(events, Dialect.RESPONSES)
    assert [each for each in stream.items if each.id] == [Item("rs_1", "gAAA"), Item("msg_1")]


@rows(
    "done",
    [
        b"data:[DONE]",
        b"data: [DONE]\n",
        b"data: [DONE]\r\n",
        b"data:[DONE]\r\n\r\n",
        b"data: [DONE] \n\n",
        b"data:  [DONE]\n\n",
        b"event: done\ndata: [DONE]",
        b"id: 7\ndata:[DONE]\r\r",
    ],
)
@rows("dialect", [Dialect.CHAT, Dialect.OPEN])
def test_every_spelling_of_done_ends_a_stream_even_where_the_body_does_not(done: bytes, dialect: Dialect) -> None:
    for reads in ([content("x"), done], bytewise(content("x") + done)):
        out, passing = through(reads, dialect, proper=False)
        assert passing.complete
        ending = b"" if done.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) else b"\n\n"
        assert out == content("x") + (done.rstrip(b"\r\n") + ending if ending else done)


@rows("text", [b"data: [DONE", b"[DONE]", b"event: [DONE]", b": [DONE]", b'data: "[DONE]"'])
def test_what_merely_resembles_done_does_not(text: bytes) -> None:
    assert not through([content("x"), text], proper=False)[1].complete
    assert not through([content("x"), text + b"\n\n"], proper=False)[1].complete


INVALID = b"\xff\xc3("


@rows("dialect", list(Dialect))
@rows(
    "event",
    [
        content("y").replace(b"y", INVALID),
        finish("stop").replace(b"stop", INVALID),
        b'data: {"error":{"message":"' + INVALID + b'"}}\n\n',
        b'data: {"' + INVALID + b'":1,"usage":{"prompt_tokens":"' + INVALID + b'"}}\n\n',
        b'data: {"type":"response.completed' + INVALID + b'","delta":"' + INVALID + b'"}\n\n',
        b"data: " + INVALID + b" [DONE]\n\n",
    ],
)
def test_invalid_utf_8_passes_as_it_is(event: bytes, dialect: Dialect) -> None:
    for before in (b"", content("x"), content("x") * 2):
        out, _ = through([before, event], dialect)
        assert out == before + event


# What is generated, for an estimate where no usage is reported.

WEIGHED = [
    pytest.param(content("ほし"), 6, id="content"),
    pytest.param(chunk(choices=[{"delta": {"refusal": "no"}, "index": 0}]), 2, id="refusal"),
    pytest.param(chunk(choices=[{"delta": {"reasoning_content": "hmm"}, "index": 0}]), 3, id="reasoning"),
    pytest.param(TOOL, 2, id="arguments"),
    pytest.param(chunk(choices=[{"text": "abc", "index": 0}]), 3, id="text completion"),
    pytest.param(chunk(choices=[{"delta": {"content": "ab"}, "index": 0}], obfuscation="x" * 30), 2, id="obfuscated"),
    pytest.param(finish("stop"), 0, id="finish"),
    pytest.param(FILTER, 0, id="filter"),
]


@rows(("one", "size"), WEIGHED)
@rows("lessons", [0, 8])
def test_what_was_generated_is_weighed_without_what_surrounds_it(one: bytes, size: int, lessons: int) -> None:
    for reads in ([content("x")] + [one] * 9, [content("x") + one * 9], bytewise(content("x") + one * 9)):
        passing = Stream(Dialect.CHAT, strip_usage=False, cap=CAP, lessons=lessons)
        for read in reads:
            passing.feed(read)
        assert passing.generated_bytes == 1 + 9 * size


def test_deltas_of_a_response_are_weighed_and_what_repeats_them_is_not() -> None:
    pieces = [
        event("response.reasoning_summary_text.delta", delta="hmm", sequence_number=3),
        event("response.function_call_arguments.delta", delta="{}", obfuscation="z" * 20),
        event("response.output_text.delta", delta="ab", sequence_number=12),
        event("response.output_text.done", text="ab" * 100),
        event("response.output_item.done", item={"content": [{"text": "ab" * 100}]}),
    ]
    for reads in (pieces, [b"".join(pieces)], bytewise(b"".join(pieces))):
        assert through(reads, Dialect.RESPONSES)[1].generated_bytes == 7


# Chunks without choices.


@rows("strip_usage", [True, False])
def test_chunks_without_choices_can_be_dropped_and_nothing_else_is(strip_usage: bool) -> None:
    spaced = b'data: {"choices": [], "prompt_filter_results": []}\n\n'
    mention = content('"choices":[]')
    preamble = [FILTER, b": hello\n\n", ROLE]
    events = [*preamble, content("Hel"), spaced, content("lo"), mention, finish("stop"), FILTER, USAGE]
    kept = [each for each in events if each not in (FILTER, spaced) and not (strip_usage and each == USAGE)]
    for reads in ([*events, sse.DONE], [b"".join(events) + sse.DONE], bytewise(b"".join(events) + sse.DONE)):
        passing = Stream(Dialect.CHAT, strip_usage=strip_usage, skip_empty=True, cap=CAP)
        out = b"".join(passing.feed(read) for read in reads)
        assert out == b"".join(kept) + sse.DONE
        assert passing.usage == Usage(input=9, output=3)
        assert passing.complete


@rows(
    ("dialect", "one"),
    [
        pytest.param(Dialect.CHAT, ERROR.replace(b'{"error"', b'{"choices":[],"error"'), id="error"),
        pytest.param(Dialect.CHAT, chunk(choices=None, x={"choices": []}), id="nested"),
        pytest.param(Dialect.RESPONSES, FILTER, id="responses"),
        pytest.param(Dialect.OPEN, FILTER, id="open"),
    ],
)
def test_what_is_no_chunk_without_choices_stays(dialect: Dialect, one: bytes) -> None:
    passing = Stream(dialect, strip_usage=False, skip_empty=True, cap=CAP)
    assert passing.feed(content("x") + one) == content("x") + one


def test_a_stream_of_preamble_alone_gives_nothing() -> None:
    out, done = through([FILTER, ROLE])
    assert out == b""
    assert not done.complete


def test_a_partial_event_at_a_break_is_dropped() -> None:
    out, done = through([content("x"), content("y")[:-1]])
    assert out == content("x")
    assert not done.complete


def test_a_preamble_beyond_the_cap_overflows() -> None:
    passing = stream(cap=500)
    while not passing.overflowed:
        assert passing.feed(ROLE) == b""
        assert len(passing._held) < 1500


def test_an_event_beyond_the_cap_overflows_after_whole_events_left() -> None:
    passing = stream(cap=500)
    assert passing.feed(content("x") + b"data: " + b"y" * 600) == content("x")
    assert passing.overflowed


# The Responses API.


def event(kind: str, **fields: object) -> bytes:
    data = {"type": kind, **fields}
    return b"event: " + kind.encode() + b"\ndata: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


CREATED = event("response.created", response={"id": "r", "error": None, "usage": None})
DELTA = event("response.output_text.delta", delta="response.completed [DONE]", sequence_number=4)
TOKENS = {"input_tokens": 7, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}
COMPLETED = event("response.completed", response={"usage": TOKENS, "incomplete_details": None})


def test_a_responses_stream_is_unchanged_and_ends_with_its_terminal_event() -> None:
    whole = CREATED + event("response.in_progress", response={}) + DELTA + COMPLETED
    for reads in ([whole], bytewise(whole), *every_split(whole)):
        out, done = through(reads, Dialect.RESPONSES)
        assert out == whole
        assert done.complete
        assert done.usage == Usage(input=7, output=5, reasoning=2)
        assert done.finish_reasons == {0: "completed"}
        assert done.end() is End.COMPLETED


def test_the_responses_preamble_is_held() -> None:
    passing = stream(Dialect.RESPONSES)
    assert passing.feed(CREATED) == b""
    assert passing.feed(event("response.queued")) == b""
    assert passing.feed(DELTA) == CREATED + event("response.queued") + DELTA
    assert passing.state is State.OUTPUT


def test_a_sign_of_life_is_no_output() -> None:
    """openai/openai-node#1964, openai/openai-java#767, BerriAI/litellm#39617: it comes also before ``created``."""
    alive = event("keepalive", sequence_number=0)
    passing = stream(Dialect.RESPONSES)
    made = event("response.created", response={"id": "resp_1"})
    assert passing.feed(alive + made + alive) == b""
    assert (passing.state, passing.response_id) == (State.PREAMBLE, "resp_1")
    assert passing.feed(event("response.failed", response={"error": {"code": "server_error"}})) != b""
    assert passing.failed_first


@rows(("reason", "end"), [("max_output_tokens", End.LENGTH), ("content_filter", End.CONTENT_FILTER)])
def test_an_incomplete_response_says_why(reason: str, end: End) -> None:
    last = event("response.incomplete", response={"incomplete_details": {"reason": reason}, "usage": TOKENS})
    out, done = through([DELTA, last], Dialect.RESPONSES)
    assert out == DELTA + last
    assert done.complete
    assert done.finish_reasons == {0: reason}
    assert done.end() is end
    assert done.usage == Usage(7, 5, 0, 2), "it was billed all the same"


def test_a_cancelled_response_is_at_its_end() -> None:
    last = event("response.cancelled", response={"status": "cancelled", "usage": TOKENS})
    passing = stream(Dialect.RESPONSES)
    assert passing.feed(CREATED + last) == CREATED + last
    assert passing.complete
    assert passing.usage is not None
    assert passing.finish_reasons == {0: "cancelled"}


def test_an_error_in_a_responses_stream_waits_for_its_terminal_event() -> None:
    error = event("error", sequence_number=2, error={"code": "server_error", "message": "x"})
    failed = event("response.failed", response={"error": {"code": "server_error"}, "usage": None})
    passing = stream(Dialect.RESPONSES)
    assert passing.feed(CREATED + DELTA + error) == CREATED + DELTA + error
    assert passing.failure is not None
    before = passing.ended
    assert passing.feed(failed) == failed
    assert (before, passing.ended) == (False, True)
    assert passing.end() is End.UPSTREAM_ERROR


def test_a_response_says_what_it_is_called() -> None:
    passing = stream(Dialect.RESPONSES)
    passing.feed(CREATED)
    assert passing.response_id == "r", "a later request may continue it, even if this one breaks off"
    assert through([DELTA, COMPLETED], Dialect.RESPONSES)[1].response_id is None
    assert through([FILTER, content("x")])[1].response_id is None


FAILED = event("response.failed", response={"error": {"code": "server_error"}, "usage": None})
FIRST = [
    ([ERROR], Dialect.CHAT, True),
    ([FILTER, ROLE, ERROR], Dialect.CHAT, True),
    ([content("x"), ERROR], Dialect.CHAT, False),
    ([content("x") + ERROR], Dialect.CHAT, False),
    ([CREATED, event("error", error={"code": "429"}), FAILED], Dialect.RESPONSES, True),
    ([CREATED + event("error", error={"code": "429"}) + FAILED], Dialect.RESPONSES, True),
    ([CREATED, FAILED], Dialect.RESPONSES, True),
    ([CREATED, DELTA, FAILED], Dialect.RESPONSES, False),
    ([CREATED + DELTA + FAILED], Dialect.RESPONSES, False),
]


@rows(("reads", "dialect", "first"), FIRST)
def test_an_error_before_any_output_is_told_from_one_after_it(
    reads: list[bytes], dialect: Dialect, first: bool
) -> None:
    for cut in (reads, bytewise(b"".join(reads))):
        out, done = through(cut, dialect)
        assert out == b"".join(reads)
        assert done.failure is not None
        assert done.failed_first is first


@rows(
    ("failures", "code"),
    [
        ([event("error", error={"code": "429"}), FAILED], "429"),  # the first one counts
        ([FAILED], "server_error"),
        ([event("error", code="rate_limit_exceeded", message="x")], "rate_limit_exceeded"),
    ],
)
def test_the_cause_of_a_failed_response_is_found_wherever_it_stands(failures: list[bytes], code: str) -> None:
    _, done = through([CREATED, *failures], Dialect.RESPONSES)
    assert json.loads(done.cause)["code"] == code


def test_an_error_without_a_terminal_event_ends_with_the_body() -> None:
    error = event("error", error={"code": "server_error"})
    out, done = through([DELTA, error], Dialect.RESPONSES)
    assert out == DELTA + error
    assert done.ended
    assert not done.complete


def test_done_in_a_delta_does_not_end_a_responses_stream() -> None:
    _, done = through([CREATED, DELTA], Dialect.RESPONSES)
    assert not done.complete
    assert not done.ended


# Images and audio.


def test_an_open_stream_is_complete_at_its_end() -> None:
    part = event("image_generation.partial_image", b64_json="aGVsbG8=")
    last = event("image_generation.completed", usage={"input_tokens": 1, "output_tokens": 2})
    for reads in ([part + last], bytewise(part + last)):
        out, done = through(reads, Dialect.OPEN)
        assert out == part + last
        assert done.complete
        assert done.usage == Usage(input=1, output=2)


def test_an_open_stream_with_an_error_ends_failed() -> None:
    error = event("error", error={"message": "x"})
    out, done = through([event("speech.audio.delta", audio="aa"), error], Dialect.OPEN)
    assert out.endswith(error)
    assert done.ended
    assert not done.complete
    assert done.end() is End.UPSTREAM_ERROR


def test_an_open_stream_of_comments_alone_keeps_them() -> None:
    out, done = through([b": nothing\n\n"], Dialect.OPEN)
    assert out == b": nothing\n\n"
    assert done.complete


@given(raw=st.binary(max_size=200), dialect=st.sampled_from(list(Dialect)))
def test_garbage_never_breaks_a_stream(raw: bytes, dialect: Dialect) -> None:
    passing = stream(dialect)
    passing.feed(content("x"))
    out = passing.feed(raw) + passing.feed(b"\n\n")
    assert (raw + b"\n\n").startswith(out) or passing.failure is not None


COUNT = b'{"prompt_tokens":9,"completion_tokens":3}'
ENDING = b'{"choices":[{"index":0,"delta":{},"finish_reason"%s"stop"}]}'


@rows("colon", [b":", b": ", b" : ", b" :", b":  ", b":\t"])
def test_usage_errors_and_ends_are_seen_with_any_white_space(colon: bytes) -> None:
    ending = b"data: " + ENDING % colon + b"\n\n"
    counted = b'data: {"choices":[],"usage"%s%s}\n\n' % (colon, COUNT)
    out, done = through([content("x"), ending, counted], strip_usage=True)
    assert out == content("x") + ending
    assert done.complete
    assert done.usage == Usage(input=9, output=3)
    for dialect in Dialect:
        failed = through([content("x"), b'data: {"error"%s{"message":"No."}}\n\n' % colon], dialect)[1]
        assert failed.failure == b'{"message":"No."}' or dialect is Dialect.OPEN
        assert not failed.complete or dialect is Dialect.OPEN


@rows("odd", ['"index":"0"', '"index":null', '"index":0.0', '"index":0,"text":5', '"delta":[]'])
def test_a_field_of_another_type_hides_neither_the_end_nor_the_usage(odd: str) -> None:
    ending = f'data: {{"model":5,"choices":[{{{odd},"finish_reason":"stop"}}],"usage":{COUNT.decode()}}}\n\n'.encode()
    out, done = through([content("x"), ending])
    assert out == content("x") + ending
    assert done.complete
    assert done.usage == Usage(input=9, output=3)


def test_text_is_weighed_with_white_space_before_its_colon() -> None:
    spaced = b'data: {"choices" : [{"index" : 0, "delta" : {"content" : "twelve bytes"}}]}\n\n'
    assert through([spaced])[1].generated_bytes == 12


@rows("said", ['data: {"error":{"code":"x"}}', 'event:error\ndata:{"type":"error","code":429}'])
def test_an_error_is_one_in_responses_however_it_is_written(said: str) -> None:
    done = through([said.encode() + b"\n\n"], Dialect.RESPONSES)[1]
    assert done.failure is not None
    assert done.failed_first
    assert not done.complete


@rows("name", ["content", "reasoning_content", "reasoning", "refusal"])
def test_what_is_made_is_weighed_under_every_name_that_servers_give_it(name: str) -> None:
    event = chunk(choices=[{"index": 0, "delta": {name: "twelve bytes"}, "finish_reason": None}])
    assert through([event, event])[1].generated_bytes == 24


# Messages.


def named(kind: str, **members: object) -> bytes:
    return sse.write(json.dumps({"type": kind, **members}, separators=(",", ":"), ensure_ascii=False).encode(), kind)


def block(text: str, kind: str = "text") -> bytes:
    return named("content_block_delta", index=0, delta={"type": f"{kind}_delta", kind: text})


BEGUN = named("message_start", message={"model": "claude", "usage": {"input_tokens": 7, "cache_read_input_tokens": 2}})
REASON = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 12})
MESSAGE = [
    BEGUN,
    named("ping"),
    named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    block("It is"),
    block(" a message_stop 🌊"),
    block('\\"', "partial_json"),
    named("content_block_stop", index=0),
    REASON,
    named("message_stop"),
]


def test_a_message_is_unchanged_at_every_split() -> None:
    whole = b"".join(MESSAGE)
    for reads in ([whole], MESSAGE, bytewise(whole), *every_split(whole)):
        out, done = through(reads, Dialect.MESSAGES)
        assert out == whole
        assert done.complete
        assert (done.usage, done.finish_reasons, done.model) == (Usage(9, 12, cached=2), {0: "stop"}, "claude")
        assert done.events == len(MESSAGE) - 2, "those of the preamble are held back"


def test_nothing_of_a_message_leaves_before_its_first_block() -> None:
    passing = stream(Dialect.MESSAGES)
    assert [passing.feed(each) for each in MESSAGE[:3]] == [b"", b"", b"".join(MESSAGE[:3])]
    assert passing.usage == Usage(9, 0, cached=2, estimated=True), "what is known so far"
    ended = passing.finished
    passing.feed(b"".join(MESSAGE[3:-1]))
    assert (ended, passing.finished, passing.ended) == (False, True, False)


@rows(
    ("reads", "proper", "complete"),
    [
        (MESSAGE[:-1], True, True),  # it has its reason, and the body has ended as its framing says
        (MESSAGE[:-1], False, False),
        (MESSAGE[:-2], True, False),
        (MESSAGE, False, True),
        ([*MESSAGE, b"data: more\n\n"], True, True),
    ],
)
def test_when_a_message_is_complete(reads: list[bytes], proper: bool, complete: bool) -> None:
    out, done = through(reads, Dialect.MESSAGES, proper=proper)
    assert done.complete is complete
    assert b"more" not in out


@rows(
    ("reason", "shown", "end"),
    [
        ("end_turn", "stop", End.COMPLETED),
        ("tool_use", "tool_calls", End.COMPLETED),
        ("max_tokens", "length", End.LENGTH),
        ("model_context_window_exceeded", "length", End.LENGTH),
        ("refusal", "content_filter", End.CONTENT_FILTER),
        ("pause_turn", "pause_turn", End.COMPLETED),
    ],
)
def test_a_stop_reason_is_shown_as_that_of_a_chat(reason: str, shown: str, end: End) -> None:
    last = named("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 1})
    _, done = through([BEGUN, last, MESSAGE[-1]], Dialect.MESSAGES)
    assert (done.finish_reasons, done.end()) == ({0: shown}, end)


def test_a_later_report_of_a_message_holds_and_what_it_leaves_out_stays() -> None:
    """With tools of the service the input grows while it answers; some services report zeros and nulls at the end."""
    usage = {"input_tokens": 900, "cache_read_input_tokens": None, "output_tokens": 12}
    last = named("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)
    _, done = through([BEGUN, last, MESSAGE[-1]], Dialect.MESSAGES)
    assert done.usage == Usage(902, 12, cached=2)


def test_odd_events_of_a_message_pass_unchanged() -> None:
    odd = [
        b'data: {"type":"message_delta","delta":7,"usage":"none"}\n\n',
        b"event: message_stop\ndata: [1]\n\n",
        b'data: {"type":"message_start","message":[]}\n\n',
        named("message_delta", delta={"stop_reason": None}, usage={"input_tokens": -1, "output_tokens": "x"}),
    ]
    reads = [*MESSAGE[:3], *odd, *MESSAGE[3:]]
    out, done = through(reads, Dialect.MESSAGES)
    assert out == b"".join(reads)
    assert done.complete
    assert done.usage == Usage(9, 12, cached=2)


def test_an_error_ends_a_message() -> None:
    error = named("error", error={"type": "overloaded_error", "message": "Overloaded"})
    for before, first in ((MESSAGE[:2], True), (MESSAGE[:4], False)):
        out, done = through([*before, error], Dialect.MESSAGES)
        assert out == b"".join(before) + error
        assert (done.ended, done.complete, done.failed_first) == (True, False, first)
        assert json.loads(done.failure or b"")["type"] == "overloaded_error"
