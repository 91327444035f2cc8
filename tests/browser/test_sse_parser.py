"""The page's event-stream parser against the WHATWG rules, however the bytes are cut."""

import pytest
from playwright.async_api import Page
from tests.browser.modules import RATIO, run_module
from tests.browser.scripted_server import azure_stream
from tests.rows import rows

pytestmark = pytest.mark.anyio

# (what, bytes, the events as "type|data")
CASES: list[tuple[str, bytes, list[str]]] = [
    ("one event", b"data: a\n\n", ["message|a"]),
    ("two events in one read", b"data: a\n\ndata: b\n\n", ["message|a", "message|b"]),
    ("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", ["message|a", "message|b"]),
    ("CR", b"data: a\r\rdata: b\r\r", ["message|a", "message|b"]),
    ("all line ends mixed", b"data: a\r\ndata: b\rdata: c\n\r\n", ["message|a\nb\nc"]),
    ("CR then LF at the end of an event", b"data: a\r\n\ndata: b\n\n", ["message|a", "message|b"]),
    ("byte-order mark", b"\xef\xbb\xbfdata: a\n\n", ["message|a"]),
    ("a second byte-order mark is text", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    ("lines of one event", b"data: a\ndata: b\n\n", ["message|a\nb"]),
    ("only one space goes", b"data:  a\n\ndata:b\n\n", ["message| a", "message|b"]),
    ("comments", b": hello\n\n:\n\ndata: a\n: within\ndata: b\n\n", ["message|a\nb"]),
    ("field without colon", b"data\n\n", ["message|"]),
    ("empty data lines", b"data:\ndata:\n\n", ["message|\n"]),
    ("no data, no event", b"event: ping\n\ndata: a\n\n", ["message|a"]),
    ("named event", b"event: error\ndata: a\n\ndata: b\n\n", ["error|a", "message|b"]),
    ("unknown fields", b"datax: a\nfoo: b\n data: c\ndata: d\n\n", ["message|d"]),
    ("colon in the value", b"data: a: b\n\n", ["message|a: b"]),
    ("no end, no event", b"data: a\n\ndata: lost", ["message|a"]),
    ("no blank line, no event", b"data: lost\n", []),
    ("emoji and kanji", "data: 🌊中継👩‍💻\n\n".encode(), ["message|🌊中継👩‍💻"]),
    ("separators that are no line ends", "data: a\u2028b\u0085c\x0bd\n\n".encode(), ["message|a\u2028b\u0085c\x0bd"]),
    ("invalid UTF-8", b"data: a\xffb\n\n", ["message|a\ufffdb"]),
    ("NUL in the data", b"data: a\x00b\n\n", ["message|a\x00b"]),
]

FEED = """
  const events = (pieces) => {
    const parser = new m.EventStreamParser();
    return pieces.flatMap((piece) => parser.push(Uint8Array.from(piece))).map(({ type, data }) => `${type}|${data}`);
  };
  const whole = events([arg]);
  const single = events(arg.map((byte) => [byte]));
  const differing = [];
  for (let cut = 0; cut <= arg.length; cut += 1) {
    for (const gap of [[], [[]]]) {
      const split = events([arg.slice(0, cut), ...gap, arg.slice(cut)]);
      if (JSON.stringify(split) !== JSON.stringify(whole)) differing.push([cut, split]);
    }
  }
  return { whole, single, differing };
"""


@rows(("data", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_events_do_not_depend_on_where_the_bytes_are_cut(library: Page, data: bytes, expected: list[str]) -> None:
    found = await run_module(library, "sse.js", FEED, list(data))
    assert found == {"whole": expected, "single": expected, "differing": []}


async def test_a_whole_answer_at_every_cut(library: Page) -> None:
    data = b"".join(azure_stream("波 🌊", "\r\n", "end")).replace(b"\n", b"\r\n")
    found = await run_module(library, "sse.js", FEED, list(data))
    assert len(found["whole"]) == 8
    assert found["whole"][-1] == "message|[DONE]"
    assert found["single"] == found["whole"]
    assert found["differing"] == []


async def test_id_and_retry(library: Page) -> None:
    body = """
      const parser = new m.EventStreamParser();
      const text = "id: 7\\nretry: 3000\\ndata: a\\n\\nid: x\\0y\\nretry: 3s\\ndata: b\\n\\nid\\ndata: c\\n\\n";
      const ids = parser.push(new TextEncoder().encode(text)).map((event) => event.lastEventId);
      return [ids, parser.retry];
    """
    assert await run_module(library, "sse.js", body) == [["7", "7", ""], 3000]


async def test_a_giant_event_costs_linear_time(library: Page) -> None:
    """Eight times the bytes may cost about eight times the time; quadratic work would cost 64."""
    body = """
      const parse = (pieces) => {
        const parser = new m.EventStreamParser();
        const piece = new Uint8Array(512).fill(97);
        parser.push(new TextEncoder().encode("data: "));
        for (let count = 0; count < pieces; count += 1) parser.push(piece);
        const events = parser.push(new TextEncoder().encode("\\n\\n"));
        if (events[0].data.length !== pieces * 512) throw new Error("lost data");
      };
      return ratio((pieces) => timed(() => parse(pieces)), 24000, 3000, 32);
    """
    assert await run_module(library, "sse.js", RATIO + body) <= 32
