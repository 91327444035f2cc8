"""What a tape keeps of a request and its answer, and that it changes neither."""

import pytest
from tests.fakes import EVENT_STREAM, FakeIncoming, FakeReply

from chukei.adapters.audit.tape import Tape, TapedIncoming, TapedReply
from chukei.record import RequestRecord

pytestmark = pytest.mark.anyio
FIRST, SECOND = b"data: one\n\n", b"data: two\n\n"


class QuickReply(FakeReply):
    """Takes at once what is offered, unless it is ``full``."""

    full = False

    def send_now(self, data: bytes, begin: int) -> bool:
        if not self.full:
            self.sent.append(data)
        return not self.full


def tape_of(operation: str | None = "chat", *, most: int = 1000, left: int = 10_000, wanted: bool = True) -> Tape:
    record = RequestRecord("req_1", "POST", "/", operation=operation)
    return Tape(record, most=most, take=lambda size: min(size, left), wanted=lambda record: wanted)


async def served(tape: Tape, body: bytes = b"{}") -> QuickReply:
    """Let a request and a streamed answer pass."""
    incoming, inner = TapedIncoming(FakeIncoming(body), tape), QuickReply()
    reply = TapedReply(inner, tape)
    assert await incoming.body(1000, 1) == body
    before = reply.started
    await reply.start(200, EVENT_STREAM)
    assert (before, reply.started) == (False, True)
    await reply.send(FIRST)
    assert reply.send_now(b"b\r\n" + SECOND + b"\r\n", 3)
    assert reply.send_now(FIRST, 0)
    inner.full = True
    assert not reply.send_now(SECOND, 0), "it is sent again in another way"
    await reply.finish(SECOND)
    return inner


async def test_the_body_and_all_that_the_client_is_sent_is_kept() -> None:
    tape = tape_of()
    inner = await served(tape)
    assert (tape.request.kept, tape.request.media_type) == (b"{}", "application/json")
    assert bytes(tape.answer) == FIRST + SECOND + FIRST + SECOND
    assert (tape.answer_size, tape.answer_type) == (44, "text/event-stream")
    assert inner.finished


@pytest.mark.parametrize("tape", [tape_of("admin"), tape_of("models"), tape_of(None), tape_of(wanted=False)])
async def test_only_requests_for_models_are_recorded_and_only_of_those_who_are_wanted(tape: Tape) -> None:
    """An administrator's answer may contain a new key."""
    await served(tape)
    assert (tape.on, tape.held, tape.answer_size) == (False, 0, 0)


@pytest.mark.parametrize("operation", ["response_delete", "response_get", "conversation_items_create", "batch_cancel"])
async def test_what_changes_an_object_is_recorded_and_what_a_background_response_has_made(operation: str) -> None:
    tape = tape_of(operation)
    await served(tape)
    assert (tape.on, tape.answer_size) == (True, 44)


@pytest.mark.parametrize("operation", ["file_list", "file_content", "realtime_client_secrets"])
async def test_lists_files_and_ephemeral_keys_are_not(operation: str) -> None:
    tape = tape_of(operation)
    await served(tape)
    assert not tape.on


async def test_of_a_file_that_flows_the_size_is_kept() -> None:
    tape = tape_of("file_create")
    incoming = TapedIncoming(FakeIncoming(b"x" * 500), tape)
    assert b"".join([part async for part in incoming.parts(1000, 1)]) == b"x" * 500
    assert (tape.on, tape.flowed, tape.request.kept) == (True, 500, b"")


async def test_no_more_is_kept_than_wanted_and_the_size_is_the_whole_one() -> None:
    tape = tape_of(most=16)
    await served(tape, b"x" * 20)
    assert (tape.request.kept, tape.request.size, tape.request.cut) == (b"x" * 16, 20, True)
    assert (bytes(tape.answer), tape.answer_size) == (FIRST + SECOND[:5], 44)
    assert tape.held == 32


async def test_no_more_is_kept_than_there_is_memory() -> None:
    tape = tape_of(left=0)
    await served(tape)
    assert (tape.on, tape.held, tape.request.cut, tape.answer_size) == (True, 0, True, 44)


async def test_a_failed_start_is_none() -> None:
    class Broken(FakeReply):
        async def start(self, status: int, headers: object) -> None:
            raise RuntimeError

    reply = TapedReply(Broken(), tape_of())
    with pytest.raises(RuntimeError):
        await reply.start(200, EVENT_STREAM)
    assert not reply.started
