"""curl: streams, the simple form, old and odd ways to send a request; HTTP/1.0 and ``Expect`` on each host."""

import asyncio
import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
from tests.live.both_hosts import CLIENT_KEY, Host
from tests.live.plain_http import CHAT, STREAM
from tests.live.simulated import Upstream

from chukei import azure

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine"),
]

JSON = ("-H", "content-type: application/json")
POEM = "one\n two\n\ndata: three 🌊\n"


class Curl:
    """One run of curl, its output as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdout is not None
        self.output = process.stdout

    @classmethod
    async def start(cls, *arguments: str) -> "Curl":
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--noproxy", "*", "--max-time", "20", *arguments, stdout=asyncio.subprocess.PIPE
        )
        return cls(process)

    async def end(self) -> tuple[int, bytes]:
        output = await self.output.read()
        return await self.process.wait(), output


async def curl(*arguments: str) -> bytes:
    """Run curl to its end, which must be a good one."""
    status, output = await (await Curl.start(*arguments)).end()
    assert status == 0, (status, output)
    return output


async def test_a_stream_arrives_event_by_event(each_host: Host, upstream: Upstream) -> None:
    """With -N curl shows what has come: the first words, while the upstream has not sent the rest."""
    body = STREAM.replace(b"{", b'{"model":"curl--stall-6",', 1).replace(b"one two", b"one two three four five six")
    run = await Curl.start("-N", f"{each_host.base_url}/chat/completions", *JSON, "-d", body.decode())
    seen = b""
    async with asyncio.timeout(60):
        while b'"content":"one"' not in seen:
            seen += await run.output.read(65536)
    assert upstream.only.ended is None
    run.process.terminate()
    await run.end()
    assert upstream.ending() == "client_left"


async def test_a_whole_stream(host: Host, upstream: Upstream) -> None:
    output = await curl("-N", "--http1.1", f"{host.base_url}/chat/completions", *JSON, "-d", STREAM.decode())
    assert output.endswith(b"data: [DONE]\n\n")
    assert upstream.ending() == "completed"


async def test_a_broken_stream(host: Host) -> None:
    body = STREAM.replace(b"{", b'{"model":"fault-truncate-5",', 1).decode()
    output = await curl("-N", f"{host.base_url}/chat/completions", *JSON, "-d", body)
    assert b"[DONE]" not in output
    last = output.rstrip().rpartition(b"\n\n")[2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_incomplete"


async def test_the_simple_form(host: Host) -> None:
    """What a reader of `data:` lines gets is the text: line ends, leading spaces and all."""
    body = json.dumps({"messages": [{"role": "user", "content": f"repeat: {POEM}"}]})
    output = (await curl("-N", f"{host.url}/api/chat-stream", *JSON, "-d", body)).decode()
    text, done = "", False
    for event in output.split("\n\n"):
        lines = event.split("\n")
        data = "\n".join(line.removeprefix("data:").removeprefix(" ") for line in lines if line.startswith("data:"))
        if lines[0] == "event: finish":
            assert json.loads(data)["finish_reason"] == "stop"
        elif data == "[DONE]":
            done = True
        else:
            text += data
    assert text == POEM
    assert done


async def test_a_broken_stream_in_the_simple_form(host: Host) -> None:
    body = CHAT.replace(b"{", b'{"model":"fault-truncate-5",', 1).decode()
    output = await curl("-N", f"{host.url}/api/chat-stream", *JSON, "-d", body)
    assert b"event: error\ndata: {" in output
    assert b"[DONE]" not in output


async def test_http_1_0(each_host: Host) -> None:
    """The body ends with the connection, since HTTP/1.0 knows no chunks."""
    output = await curl("-0", "-i", f"{each_host.base_url}/chat/completions", *JSON, "-d", CHAT.decode())
    head, _, body = output.partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0]
    assert json.loads(body)["choices"][0]["message"]["content"] == "one two"
    output = await curl("-0", "-N", "-i", f"{each_host.base_url}/chat/completions", *JSON, "-d", STREAM.decode())
    head, _, body = output.partition(b"\r\n\r\n")
    if each_host.kind == "server":  # the platform's front speaks as it likes
        assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


async def test_expect_100_continue(each_host: Host, upstream: Upstream, tmp_path: Path) -> None:
    """curl asks before it sends a large body: it is told to go on, or refused before it has sent a byte."""
    large = tmp_path / "large.json"
    large.write_bytes(CHAT.replace(b"}]}", b'}],"x":"' + b"a" * 2_000_000 + b'"}'))
    expect = ("-H", "expect: 100-continue", "--expect100-timeout", "15")
    output = await curl("-i", *expect, f"{each_host.base_url}/chat/completions", *JSON, "--data-binary", f"@{large}")
    assert re.match(rb"HTTP/1\.1 100 (Continue)?\r\n\r\nHTTP/1\.1 200 OK\r\n", output)
    assert len(upstream.only.body) == large.stat().st_size + len(b'"model":"gpt-4o",')
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (azure.CHAT.max_body_bytes + 1))
    sent = "%{size_upload} %{http_code}"
    output = await curl(
        *expect,
        "-w",
        sent,
        "-o",
        "/dev/null",
        f"{each_host.base_url}/chat/completions",
        *JSON,
        "--data-binary",
        f"@{huge}",
    )
    assert re.fullmatch(rb"\d+ 413", output)
    if each_host.kind == "server":  # the platform's front says to go on before it knows
        assert output == b"0 413"
    assert len(upstream.exchanges) == 1


async def test_an_upload_in_chunks(host: Host, upstream: Upstream) -> None:
    await curl(f"{host.base_url}/chat/completions", *JSON, "-H", "transfer-encoding: chunked", "-d", CHAT.decode())
    assert upstream.only.body == CHAT.replace(b"{", b'{"model":"gpt-4o",', 1)
    assert upstream.only.headers["content-length"] == str(len(upstream.only.body))


async def test_a_compressed_upload(host: Host, upstream: Upstream, tmp_path: Path) -> None:
    packed = tmp_path / "body.gz"
    packed.write_bytes(gzip.compress(CHAT))
    output = await curl(
        "-w", " %{http_code}", f"{host.base_url}/chat/completions", *JSON, "-H", "content-encoding: gzip",
        "--data-binary", f"@{packed}",
    )  # fmt: skip
    assert output.endswith(b" 200")
    assert "content-encoding" not in upstream.only.headers
    assert b'"messages"' in upstream.only.body


async def test_an_answer_is_never_compressed(host: Host) -> None:
    output = await curl("-i", "--compressed", f"{host.base_url}/chat/completions", *JSON, "-d", CHAT.decode())
    assert b"content-encoding" not in output.lower()


async def test_an_offer_of_http_2(host: Host) -> None:
    output = await curl("-i", "--http2", f"{host.base_url}/chat/completions", *JSON, "-d", CHAT.decode())
    assert output.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_head(host: Host) -> None:
    output = await curl("-I", f"{host.url}/")
    assert output.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/html; charset=utf-8\r\n" in output
    assert output.endswith(b"\r\n\r\n")


async def test_a_form_and_the_azure_address(host: Host, upstream: Upstream, tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    sound.write_bytes(bytes(range(256)) * 100)
    target = f"{host.url}/openai/deployments/whisper/audio/transcriptions?api-version=2024-10-21"
    output = await curl(target, "-H", f"api-key: {CLIENT_KEY}", "-F", f"file=@{sound}", "-F", "response_format=text")
    assert b"25,600 bytes" in output
    assert sound.read_bytes() in upstream.only.body
    assert CLIENT_KEY not in f"{upstream.only.headers}"


async def test_two_requests_on_one_connection(host: Host) -> None:
    arguments = (*JSON, "-d", CHAT.decode(), "-o", "/dev/null", "-w", "%{num_connects}")
    target = f"{host.base_url}/chat/completions"
    assert await curl(target, *arguments, "--next", "-sS", "--noproxy", "*", target, *arguments) == b"10"
