"""/api/chat-stream: the text that a simple client reads is the text that the model wrote."""

import json

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recordings import DONE, FINISH, USAGE, delta
from tests.live.relays import InProcessRelay

pytestmark = pytest.mark.anyio

TOKENS = {
    "newline": ["one\ntwo", "\n", "\n\n", "three\n"],
    "leading-space": ["Hello", " world", "  two", " ", "", "   "],
    "emoji": ["🌊", "👩‍👩‍👧", "中", "継", "e\u0301"],
    "data-in-the-text": ["data: x", "\ndata: y\n\ndata:z", "event: error\n", ": comment\n", "id: 1\n", ":"],
    "done-in-the-text": ["[DONE]", "[DO", "NE]", " [DONE]", "[DONE]\n", "\n[DONE]", "data: [DONE]\n\n"],
    "carriage-return": ["a\rb", "\r", "c\r\r"],
    "crlf": ["a\r\nb", "\r\n", "\r\n\r\n"],
    "crlf-split-between-tokens": ["a\r", "\nb", "\r", "\n", "\r", "\n\n", "\r", "\r\n", "end"],
    "other-separators": ["a\u2028b", "\u2029", "\u0085", "\v\f\x1c\x1d\x1e", "\ufeff", "\ufeffa"],
    "quotes-and-escapes": ['"', "\\", "\\n", "</script>", "\x00", "\x7f"],
}
TOKENS["everything"] = [token for tokens in list(TOKENS.values()) for token in tokens]


async def stream_of(tokens: list[str], together: bool, relay: InProcessRelay, scripted: FaultUpstream) -> bytes:
    events = [*map(delta, tokens), FINISH, USAGE, DONE]
    parts = [b"".join(events)] if together else events
    scripted.script = [Send(head()), *(Send(chunk(part)) for part in parts), Send(LAST_CHUNK)]
    async with RawClient(relay.url) as client:
        await client.post("/api/chat-stream", b'{"messages":[{"role":"user"}]}')
        assert await client.head() == 200
        return await client.rest()


def read_minimally(body: bytes) -> str:
    """What a newcomer writes: events by blank lines, data by its prefix."""
    text = ""
    for event in body.decode().split("\n\n"):
        lines = event.split("\n")
        data = "\n".join(line[6:] for line in lines if line.startswith("data: "))
        if data == "[DONE]":
            return text
        if not lines[0].startswith("event: "):
            text += data
    raise AssertionError("no [DONE]")


def read_by_the_book(body: bytes) -> list[tuple[str, str]]:
    """Read as WHATWG HTML §9.2.6 says; return each event's type and data."""
    text = body.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    events, kind, data = [], "", ""
    for line in text.split("\n"):
        if not line:
            if data:
                events.append((kind or "message", data.removesuffix("\n")))
            kind, data = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data += value + "\n"
        elif field == "event":
            kind = value
    return events


def normalised(text: str) -> str:
    """Every line end as LF: all that server-sent events can tell."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("name", TOKENS)
async def test_the_text_survives(name: str, relay: InProcessRelay, scripted: FaultUpstream) -> None:
    tokens = TOKENS[name]
    for together in (True, False):
        survives(tokens, await stream_of(tokens, together, relay, scripted))


def survives(tokens: list[str], body: bytes) -> None:
    expected = normalised("".join(tokens))
    assert read_minimally(body) == expected
    *messages, finish, done = read_by_the_book(body)
    assert {kind for kind, _ in messages} == {"message"}
    assert "[DONE]" not in [data for _, data in messages]
    assert "".join(data for _, data in messages) == expected
    assert finish[0] == "finish"
    assert json.loads(finish[1])["finish_reason"] == "stop"
    assert done == ("message", "[DONE]")
    assert b"\r" not in body
