"""Which events of a realtime client pass, and what the policy changes in them."""

import json
from typing import Any, cast

import pytest

from chukei.errors import CallerError
from chukei.gateway.sockets import events
from chukei.model import Model
from chukei.ports import Audit

CAPPED = Model("voice", (), caps={"max_tokens": 100})
PLAIN = Model("voice", ())


def names(name: str) -> str:
    if name != "whisper":
        raise CallerError(403, "model_not_allowed", "No.")
    return "my-whisper"


def read(event: object, model: Model = PLAIN) -> events.ClientEvent:
    raw = event if isinstance(event, bytes) else json.dumps(event, separators=(",", ":")).encode()
    return events.read(raw, model, "gpt-realtime", names)


def test_sound_passes_as_it_came() -> None:
    raw = b'{"event_id":"e1","type":"input_audio_buffer.append","audio":"' + b"A" * 12_800 + b'"}'
    read_event = read(raw)
    assert read_event.message is raw
    assert read_event.tokens == 3


@pytest.mark.parametrize(
    "hidden",
    [
        b'{"type":"input_audio_buffer.append","audio":"AA","type":"response.create"}',
        b'{"type":"input_audio_buffer.append","audio":"AA","ty\\u0070e":"response.create"}',
    ],
)
def test_a_second_type_is_not_overlooked(hidden: bytes) -> None:
    read_event = read(hidden)
    assert read_event.type == "response.create"
    assert read_event.message.count(b"type") == 1


@pytest.mark.parametrize(
    ("session", "written", "limit"),
    [
        ({"max_output_tokens": "inf"}, {"max_output_tokens": 100}, 100),
        ({"max_response_output_tokens": 4000}, {"max_response_output_tokens": 100}, 100),
        ({"max_output_tokens": 50}, {"max_output_tokens": 50}, 50),
        ({"model": "voice"}, {"model": "gpt-realtime"}, None),
        ({"model": "gpt-realtime"}, {"model": "gpt-realtime"}, None),
        (
            {"input_audio_transcription": {"model": "whisper"}},
            {"input_audio_transcription": {"model": "my-whisper"}},
            None,
        ),
    ],
)
def test_the_policy_in_a_configuration(session: dict[str, Any], written: dict[str, Any], limit: int | None) -> None:
    read_event = read({"type": "session.update", "session": session}, CAPPED)
    assert json.loads(read_event.message)["session"] == written
    assert read_event.limit == limit


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update", "session": {"model": "other"}},
        {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "other"}}}}},
        {"type": "session.update", "session": []},
        {"type": "session.update", "session": {"max_output_tokens": True}},
        {"type": "response.create", "response": {"model": "other"}},
        {"type": "response.steer"},
        {"no": "type"},
        [],
        {"type": "session.update", "Type": "response.create"},
        {"type": "session.update", "Session": {"max_output_tokens": 9000}},
        {"type": "session.update", "session": {"Max_Output_Tokens": 9000}},
        {"type": "session.update", "session": {"AUDIO": {"input": {"transcription": {"model": "other"}}}}},
        {"type": "session.update", "session": {"audio": {"Input": {"transcription": {"model": "other"}}}}},
        {"type": "session.update", "session": {"audio": {"input": {"transcription": {"Model": "other"}}}}},
    ],
)
def test_what_may_not_pass(event: object) -> None:
    with pytest.raises(CallerError):
        read(event, CAPPED)


def test_a_new_session_gets_the_models_own_configuration() -> None:
    model = Model("voice", (), system="Be kind.", parameters={"temperature": 0.7}, caps={"max_completion_tokens": 9})
    first = events.first_update(model, preview=True)
    assert first is not None
    assert json.loads(first)["session"] == {
        "temperature": 0.7,
        "max_response_output_tokens": 9,
        "instructions": "Be kind.",
    }
    assert events.first_update(PLAIN, preview=False) is None


class Memory:
    """An audit that has so many bytes."""

    def __init__(self, free: int) -> None:
        self.free = free

    def take(self, wanted: int) -> int:
        given = min(wanted, self.free)
        self.free -= given
        return given

    def release(self, size: int) -> None:
        self.free += size


def said_to(memory: Memory, most: int) -> events.Said:
    return events.Said(most, cast(Audit, memory))


CREATE = b'{"type":"response.create"}'


def test_what_a_client_has_said_is_kept_without_sound_up_to_a_bound() -> None:
    said = said_to(Memory(1000), 60)
    sound = b'{"type":"input_audio_buffer.append","audio":"AAAA"}'
    for message in (CREATE, sound, CREATE):
        said.add(read(message), message)
    assert json.loads(said.taken()) == [{"type": "response.create"}] * 2
    assert said.taken() == b""
    for _ in range(3):
        said.add(read(CREATE), CREATE)
    assert 60 < len(said.taken()) < 70  # so its reader sees that it is cut


def test_sound_within_an_item_is_not_kept_either() -> None:
    said = said_to(Memory(1000), 500)
    content = [{"type": "input_audio", "audio": "AAA/BBB+"}, {"type": "input_text", "text": '"audio": "a word"'}]
    item = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
    for message in (json.dumps(item).encode(), json.dumps(item).replace("/", "\\/").encode()):
        said.add(read(message), message)
    content[0]["audio"] = ""
    assert json.loads(said.taken()) == [item, item]


def test_what_is_said_takes_the_audits_memory_until_it_is_recorded() -> None:
    memory = Memory(100)
    said = said_to(memory, 1000)
    for _ in range(2):
        said.add(read(CREATE), CREATE)
    taken = said.taken()
    assert memory.free == 100 - 2 * (len(CREATE) + 1)
    for _ in range(3):
        said.add(read(CREATE), CREATE)
    assert said.taken() == b"[" + CREATE + b"]"  # there is room for one more
    said.release(b"[" + CREATE + b"]")
    said.release(taken)
    assert memory.free == 100
