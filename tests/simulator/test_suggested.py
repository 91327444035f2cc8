"""The first minute: what the simulator says to the chat page's suggestions, and to questions that it cannot answer."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.wire import CHAT, Answer, post

from chukei.simulator import Simulator
from chukei.simulator.attachments import pixels_of
from chukei.simulator.prose import is_japanese, phrases

PAGE = Path(__file__).parents[2] / "src/chukei/web/words/chat.js"
LANGUAGES = [False, True]  # whether it is Japanese
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)

pytestmark = pytest.mark.anyio


def suggestions() -> dict[str, list[str]]:
    """Return the chat page's suggestions in English and Japanese, by the name of their topic."""
    rows = re.findall(r'"welcome\.(\d)": (\[.*\]),', PAGE.read_text("utf-8"))
    topics = {"1": "events", "2": "retries", "3": "authentication"}
    return {topics[number]: json.loads(pair) for number, pair in rows}


REWORDED = {
    "events": [
        "Explain Server Sent Events like you would to a colleague.",
        "what is SSE?",
        "Please explain server-sent events to me",
        "SSEとは何ですか",
        "同僚に話すようにServer-Sent Eventsを説明してください。",
    ],
    "retries": [
        "write a python function that retries with exponential backoff",
        "Write a function to retry with back-off in Python, please",
        "Show me a Python retry decorator",
        "Pythonで、バックオフ付きのリトライ関数を書いてください",
        "バックオフ付きで再試行するPythonの関数",
    ],
    "authentication": [
        "Compare 3 ways of authenticating an API as a table",
        "In a table, compare three methods for API authentication",
        "What are the ways to authenticate to an API?",
        "APIの認証方法を3つ、表で比較してください",
        "API の認証方式を比べて",
    ],
}
OTHERS = [
    "Write a JavaScript function that retries with backoff",
    "Who is the author of the best way to cook rice?",
    "What does the error code 429 mean?",
    "エラーコード 429 で再試行しますか",
]


async def asked(sim: Simulator, content: Any, model: str = "chat", **fields: Any) -> str:
    """Return the answer to one message."""
    body = {"messages": [{"role": "user", "content": content}], "stream": True, **fields}
    answer = await post(sim.url, CHAT.format(model), body)
    assert answer.status == 200, answer.body
    return answer.text


async def responses(sim: Simulator, content: Any, model: str, **fields: Any) -> Answer:
    body = {"model": model, "input": [{"role": "user", "content": content}], "stream": True, **fields}
    return await post(sim.url, "/openai/v1/responses", body)


async def test_each_suggestion_gets_its_answers_in_its_language_in_turn(sim: Simulator) -> None:
    for topic, texts in suggestions().items():
        for text, japanese in zip(texts, LANGUAGES, strict=True):
            variants = phrases(japanese=japanese)[topic]
            answers = [await asked(sim, text) for _ in range(len(variants) + 1)]
            assert len(variants) >= 3
            assert set(answers) == set(variants), text
            assert all(one != other for one, other in pairwise(answers)), text


async def test_other_words_for_the_same_question(sim: Simulator) -> None:
    for topic, texts in REWORDED.items():
        for text in texts:
            assert await asked(sim, text) in phrases(japanese=is_japanese(text))[topic], text
    known = {answer for japanese in LANGUAGES for topic in REWORDED for answer in phrases(japanese=japanese)[topic]}
    for text in OTHERS:
        assert await asked(sim, text) not in known, text


async def test_the_same_question_in_one_conversation_gets_another_answer(sim: Simulator) -> None:
    (text, _) = suggestions()["events"]
    first = await asked(sim, text)
    messages = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": first},
        {"role": "user", "content": text},
    ]
    again = await post(sim.url, CHAT.format("chat"), {"messages": messages, "stream": True})
    assert again.text in phrases()["events"]
    assert again.text != first


async def test_a_seed_pins_the_answer(simulate: Simulate) -> None:
    (text, _) = suggestions()["retries"]
    sim, other = await simulate(), await simulate()
    assert len({await asked(sim, text, seed=7) for _ in range(4)}) == 1
    assert [await asked(sim, text) for _ in range(5)] == [await asked(other, text) for _ in range(5)]


def snippets(topic: str, language: str) -> Iterator[tuple[str, str]]:
    """Yield the code in one programming language of every variant, and the variant."""
    for japanese in LANGUAGES:
        for variant in phrases(japanese=japanese)[topic]:
            for found, code in FENCE.findall(variant):
                if found == language:
                    yield code, variant


class Flaky:
    """Fails so many times, then returns its arguments."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left, self.error, self.calls = failures, error, 0

    def __call__(self, *args: object) -> tuple[object, ...]:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return args

    async def later(self) -> tuple[object, ...]:
        return self()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept, in seconds, without any sleep; each random wait is the longest that is allowed."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("asyncio.sleep", sleep)
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    return slept


def retrying_of(names: dict[str, Any]) -> tuple[Callable[[Flaky, int], object], type[Exception]]:
    """Return what calls with so many attempts, and the error that it retries."""
    if "retry" in names:
        return lambda call, attempts: names["retry"](call, attempts=attempts), ConnectionError
    if "retrying" in names:
        return lambda call, attempts: names["retrying"](attempts=attempts)(call)(), TimeoutError
    retry, busy = names["retry_async"], names["Busy"]
    return lambda call, attempts: asyncio.run(retry(call.later, attempts=attempts)), busy


def test_the_functions_that_retry_do(waits: list[float]) -> None:
    shown = [code for code, _ in snippets("retries", "python") if "import" in code]
    assert len(shown) == 6
    for code in shown:
        names: dict[str, Any] = {"__name__": "answer"}
        exec(code, names)
        run, error = retrying_of(names)
        Flaky.__name__ = "flaky"

        steady = Flaky(0, error())
        assert (run(steady, 3), steady.calls, waits) == ((), 1, [])

        recovering = Flaky(3, error())
        assert (run(recovering, 5), recovering.calls) == ((), 4)
        assert waits == [0.5, 1.0, 2.0], "each wait is at most twice the one before"
        waits.clear()

        broken = Flaky(99, error())
        with pytest.raises(error):
            run(broken, 9)
        assert broken.calls == 9
        assert len(waits) == 8
        assert max(waits) <= 30, "waits have a limit"
        waits.clear()

        wrong = Flaky(1, ValueError())
        with pytest.raises(ValueError):
            run(wrong, 5)
        assert (wrong.calls, waits) == (1, []), "other errors are not retried"

        once = Flaky(1, error())
        with pytest.raises(error):
            run(once, 1)
        assert once.calls == 1


def test_the_asynchronous_one_waits_as_long_as_it_is_told(waits: list[float]) -> None:
    (code, *_) = [code for code, _ in snippets("retries", "python") if "retry_async(call" in code]
    names: dict[str, Any] = {}
    exec(code, names)
    asyncio.run(names["retry_async"](Flaky(1, names["Busy"](7.5)).later))
    assert waits == [7.5]


def test_the_server_that_is_shown_sends_events() -> None:
    shown = [code for code, _ in snippets("events", "python")]
    assert len(shown) == 2
    for code in shown:
        names: dict[str, Any] = {"__name__": "answer"}
        exec(code, names)
        names["sleep"] = lambda _: None
        handler = Mock()
        names["Ticks"].do_GET(handler)
        assert call("Content-Type", "text/event-stream") in handler.send_header.mock_calls
        sent = [f"id: {tick}\ndata: tick {tick}\n\n".encode() for tick in range(1, 6)]
        assert handler.wfile.write.mock_calls == [call(event) for event in sent]


def test_shown_events_end_in_a_blank_line() -> None:
    shown = [code for code, _ in snippets("events", "text")]
    assert len(shown) == 4
    assert all(code.endswith("\n\n") for code in shown)


def test_the_tables_compare_three_ways() -> None:
    for japanese in LANGUAGES:
        for variant in phrases(japanese=japanese)["authentication"]:
            rows = [line.strip("|").split("|") for line in variant.splitlines() if line.startswith("|")]
            assert len({len(row) for row in rows}) == 1, variant
            assert len(rows[0]) == 4 or len(rows) == 5, "three ways: in columns, or in rows"


def test_both_languages_say_as_much() -> None:
    english, japanese = phrases(), phrases(japanese=True)
    for topic in (*REWORDED, "formulas", "answers", "thoughts"):
        assert len(english[topic]) == len(japanese[topic]), topic
    for topic in REWORDED:
        for one, other in zip(english[topic], japanese[topic], strict=True):
            assert [name for name, _ in FENCE.findall(one)] == [name for name, _ in FENCE.findall(other)]
            assert is_japanese(other)


HONEST = [("What is the capital of Peru?", "simulator"), ("ペルーの首都はどこ?", "シミュレーター")]


async def test_any_other_question_is_quoted_and_answered_honestly(sim: Simulator) -> None:
    for text, word in HONEST:
        answers = [await asked(sim, text) for _ in range(5)]
        assert len(set(answers)) >= 3
        for answer in answers:
            assert text in answer
            assert word in answer.lower()
    (long,) = {len(await asked(sim, "why? " * 200_000)) for _ in range(1)}
    assert long < 2000, "a long question is quoted in part"


async def test_samples_say_that_they_are_samples(sim: Simulator) -> None:
    for text in (
        "A table of the planets",
        "Some tips for gardening",
        "Write Rust code for a queue",
        "惑星の表を見せて",
    ):
        for _ in range(3):
            answer = await asked(sim, text)
            assert re.search("simulator|real model|シミュレーター|本物のモデル", answer), answer


FORMULAS = [
    ("What is the quadratic formula?", r"\frac{-b \pm \sqrt{b^2 - 4ac}}{2a}"),
    ("二次方程式の解の公式を見せて", r"\frac{-b \pm \sqrt{b^2 - 4ac}}{2a}"),
    ("Bayes' theorem, please", r"P(H \mid E) ="),
    ("the formula of compound interest", r"K_0 \left(1 + \frac{r}{n}\right)^{nt}"),
    ("show me some LaTeX math", "\\[\n"),
    ("数式を見せて", "\\[\n"),
]


async def test_formulas(sim: Simulator) -> None:
    for text, expected in FORMULAS:
        assert expected in await asked(sim, text), text


def picture(width: int, height: int) -> bytes:
    """Return a PNG file."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(bytes((width * 3 + 1) * height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def data_url(type_: str, data: bytes) -> str:
    return f"data:{type_};base64,{base64.b64encode(data).decode()}"


async def test_a_picture_is_acknowledged_with_its_type_and_size(sim: Simulator) -> None:
    data = picture(64, 48)
    line = f"- a picture, image/png, 64 × 48 pixels, {len(data)} B"
    image = {"type": "image_url", "image_url": {"url": data_url("image/png", data)}}
    said = await asked(sim, [{"type": "text", "text": "What is this?"}, image])
    assert line in said
    assert "“What is this?”" in said
    assert line in await asked(sim, [image]), "a question is not required"
    part = {"type": "input_image", "image_url": data_url("image/png", data)}
    answer = await responses(sim, [{"type": "input_text", "text": "この画像は何ですか"}, part], "gpt-5-mini")
    assert (
        f"- 画像、image/png、64 × 48 ピクセル、{len(data)} B"
        in json.loads(events(answer)[-1])["response"]["output"][-1]["content"][0]["text"]
    )


async def test_pictures_that_tell_little(sim: Simulator) -> None:
    for url, line in (
        ("https://example.com/cat.png", "- a picture\n"),
        (data_url("image/webp", bytes(1234)), "- a picture, image/webp, 1.2 kB\n"),
        ("data:image/png;base64,%%%", "- a picture, image/png, 2 B\n"),
        (data_url("image/png", picture(1, 1)[:20]), "- a picture, image/png, 20 B\n"),
        ("", "- a picture\n"),
    ):
        said = await asked(sim, [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}])
        assert line in said, url


FILE = 'File "notes \\"1\\".txt":\n````\ncount to 20\n```\n````\n\nWhat does it say?'


async def test_a_text_file_is_acknowledged_and_is_not_the_question(sim: Simulator) -> None:
    said = await asked(sim, FILE)
    assert '- a file `notes "1".txt`, text/plain, 16 B' in said
    assert "“What does it say?”" in said
    assert '- a file `notes "1".txt`' in await asked(sim, FILE.removesuffix("\n\nWhat does it say?"))
    open_ended = 'File "a.txt":\n```\nnever closed'
    assert "a.txt" in await asked(sim, open_ended), "it is quoted as any other text"
    document = {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": data_url("application/pdf", bytes(2_500_000))},
    }
    assert "- a file `a.pdf`, application/pdf, 2.5 MB" in await asked(sim, [document])


async def test_an_attachment_belongs_to_its_own_message(sim: Simulator) -> None:
    image = {"type": "image_url", "image_url": {"url": data_url("image/png", picture(2, 2))}}
    messages = [
        {"role": "user", "content": [image]},
        {"role": "assistant", "content": "Thanks."},
        {"role": "user", "content": "repeat: on we go"},
    ]
    assert (await post(sim.url, CHAT.format("chat"), {"messages": messages, "stream": True})).text == "on we go"


def test_sizes_of_pictures_in_pixels() -> None:
    jpeg = b"\xff\xd8" + b"\xff\xe0\x00\x04xx" + b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 480, 640)
    assert pixels_of(picture(3, 5)) == (3, 5)
    assert pixels_of(b"GIF89a" + struct.pack("<HH", 7, 9)) == (7, 9)
    assert pixels_of(jpeg) == (640, 480)
    for head in (b"", b"\x89PNG", b"GIF8", b"\xff\xd8", b"\xff\xd8xxxx", jpeg[:12], b"BM"):
        assert pixels_of(head) is None, head


def events(answer: Answer) -> list[bytes]:
    return [event.partition(b"\ndata: ")[2] for event in answer.events]


async def test_reasoning_models_summarise_their_thoughts_in_the_language_of_the_question(sim: Simulator) -> None:
    for text, heading in (("What is love?", "**"), ("愛とは何ですか", "答え|結果")):
        seen = set()
        for _ in range(3):
            answer = await responses(sim, text, "gpt-5-mini", reasoning={"summary": "auto"})
            end = json.loads(events(answer)[-1])["response"]
            reasoning, message = end["output"]
            (summary,) = reasoning["summary"]
            said = "".join(
                json.loads(event)["delta"]
                for event in events(answer)
                if b'"response.reasoning_summary_text.delta"' in event
            )
            assert summary["text"] == said
            assert text in said
            assert re.search(heading.replace("**", r"\*\*"), said)
            assert text in message["content"][0]["text"]
            seen.add(said)
        assert len(seen) == 3, "regenerated, it thinks otherwise"
