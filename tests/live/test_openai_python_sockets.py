"""OpenAI's Python package over WebSockets, through a relay as users run it: responses and realtime."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI
from tests.live.client_answers import KEY, KEYED, requests
from tests.live.relays import RelayProcess, eventually

# OpenAI's package uses its library for WebSockets in the way of the library's version 16.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning")

SAID: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "repeat: one two"}]}
TEXT = {"response.output_text.delta", "response.output_audio_transcript.delta"}
"""Events with a part of what is said."""

OFFER = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(KEYED) as relay:
        yield relay


@pytest.fixture(scope="module")
def client(relay: RelayProcess) -> Iterator[OpenAI]:
    with made(relay) as client:
        yield client


def made(relay: RelayProcess, key: str = KEY) -> OpenAI:
    return OpenAI(base_url=f"{relay.url}/v1", api_key=key, max_retries=0, timeout=60)


def azure(relay: RelayProcess) -> AzureOpenAI:
    """Make Azure's client. It asks for TLS unless it is given the address of its sockets."""
    sockets = relay.url.replace("http", "ws", 1) + "/openai"
    return AzureOpenAI(
        azure_endpoint=relay.url, websocket_base_url=sockets, api_key=KEY, api_version="2025-04-01-preview"
    )


def until(connection: Any, last: str) -> tuple[str, Any]:
    """Read events up to one of a type; return the text of all before, and that event."""
    text = ""
    for event in connection:
        if event.type in (
            "response.output_text.delta",
            "response.text.delta",
            "response.output_audio_transcript.delta",
        ):
            text += event.delta
        if event.type == last:
            return text, event
        assert event.type not in ("error", "response.failed"), event
    raise AssertionError("the connection ended")


@pytest.mark.parametrize("shape", ["openai", "azure"])
def test_turns_of_responses(shape: str, relay: RelayProcess, client: OpenAI) -> None:
    asking = client if shape == "openai" else azure(relay)
    with asking.responses.connect() as connection:
        previous: Any = None
        for text in ("one two", "three"):
            connection.response.create(
                model="chat", input=f"repeat: {text}", store=False, previous_response_id=previous, stream_id="main"
            )
            said, done = until(connection, "response.completed")
            assert (said, done.stream_id) == (text, "main")
            previous = done.response.id


def test_a_response_of_a_socket_is_stored_as_any_other(client: OpenAI) -> None:
    with client.responses.connect() as connection:
        connection.response.create(model="chat", input="repeat: kept")
        _, done = until(connection, "response.completed")
    assert client.responses.retrieve(done.response.id).output_text == "kept"


def test_a_turn_that_is_refused_leaves_the_connection_open(client: OpenAI) -> None:
    with client.responses.connect() as connection:
        connection.response.create(model="chat--filter-prompt", input="repeat: one")
        refused: Any = connection.recv()
        assert (refused.type, refused.status, refused.error.code) == ("error", 400, "content_filter")
        connection.response.create(model="chat", input="repeat: one")
        assert until(connection, "response.completed")[0] == "one"


def spoken(relay: RelayProcess) -> list[dict[str, Any]]:
    """The log's lines of the realtime API."""
    return [line for line in requests(relay) if line["operation"].startswith("realtime")]


@pytest.mark.anyio
async def test_realtime_by_text_and_by_sound(relay: RelayProcess, client: OpenAI) -> None:
    relay.log.clear()
    with client.realtime.connect(model="voice") as connection:
        assert connection.recv().type == "session.created"
        for modality in ("text", "audio"):
            session: Any = {"type": "realtime", "output_modalities": [modality]}
            connection.session.update(session=session)
            connection.conversation.item.create(item=SAID)
            connection.response.create()
            said, done = until(connection, "response.done")
            assert (said, done.response.status) == ("one two", "completed")
    # A line for each answer, and one for the connection. Those of the test before may come later than its end.
    await eventually(lambda: len(spoken(relay)) == 3)
    assert sorted(line.get("output_tokens", 0) > 0 for line in spoken(relay)) == [False, True, True]


def test_realtime_of_azures_preview(relay: RelayProcess) -> None:
    with azure(relay) as client, client.realtime.connect(model="voice") as connection:
        assert connection.recv().type == "session.created"
        connection.conversation.item.create(item=SAID)
        connection.response.create()
        assert until(connection, "response.done")[1].response.status == "completed"


def test_an_ephemeral_key_opens_realtime_and_nothing_else(relay: RelayProcess, client: OpenAI) -> None:
    session: Any = {"type": "realtime", "model": "voice", "instructions": "Sing."}
    secret = client.realtime.client_secrets.create(session=session)
    with made(relay, secret.value) as guest:
        with guest.realtime.connect(model="voice") as connection:
            begun: Any = connection.recv()
            assert begun.session.instructions == "Sing."
        with pytest.raises(openai.AuthenticationError):
            guest.responses.create(model="chat", input="repeat: one")


def test_a_call_is_joined_and_ended(client: OpenAI) -> None:
    session: Any = {"type": "realtime", "model": "voice"}
    answer = client.realtime.calls.create(sdp=OFFER, session=session)
    assert answer.text.startswith("v=0")
    call = answer.response.headers["location"].rpartition("/")[2]
    with client.realtime.connect(call_id=call) as connection:
        assert connection.recv().type == "session.created"
    client.realtime.calls.hangup(call)


def test_a_wrong_key_is_refused_in_the_handshake(relay: RelayProcess) -> None:
    with made(relay, "wrong") as stranger:
        for connecting in (stranger.responses.connect(), stranger.realtime.connect(model="voice")):
            with pytest.raises(Exception, match="401"), connecting:
                pass
