"""The audit of prompts and answers: what is on the disk after each way in which a request may end."""

import asyncio
import json
import os
import resource
import sys
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Close, Send, Stall, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, FINISH, delta
from tests.live.relays import InProcessRelay, RelayProcess, eventually, in_process, settings_for
from tests.live.simulated import SimulatorThread
from tests.live.test_sockets_responses import client_of
from tests.live.test_sockets_simulator import FAST

from chukei.config import ConfigError, load
from chukei.hosts.asgi import checked_settings

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="looks at modes and limits")]

BODY = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "中継?"}]}
ASKED = json.dumps(BODY).encode()
WHOLE = json.dumps(BODY | {"stream": False}).encode()
ANSWER = b'{"choices":[{"index":0,"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}'
GOOD: Sequence[Step] = [Send(head() + chunk(delta("one")) + chunk(delta("two") + FINISH + DONE) + LAST_CHUNK)]


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return what was written, in the order of the files and their lines."""
    return [json.loads(line) for path in sorted(folder.glob("audit-*.jsonl")) for line in path.read_text().splitlines()]


def audited(upstream: FaultUpstream, folder: Path, **more: str) -> InProcessRelay:
    return InProcessRelay(settings_for(upstream.url, {"CHUKEI_AUDIT__FOLDER": str(folder), **more}))


async def ask(relay: InProcessRelay, body: bytes, *fields: tuple[str, str]) -> bytes:
    async with RawClient(relay.url) as client:
        await client.post(CHAT, body, *fields)
        return await client.rest()


async def test_a_stream_a_whole_answer_and_a_refusal_are_as_the_client_got_them(tmp_path: Path) -> None:
    async with FaultUpstream(GOOD) as upstream:
        async with audited(upstream, tmp_path / "audit", CHUKEI_API_KEY="the-callers-key") as relay:
            key = ("authorization", "Bearer the-callers-key")
            streamed = await ask(relay, ASKED, key)
            upstream.script = [Send(head("application/json", length=len(ANSWER)) + ANSWER)]
            await ask(relay, WHOLE, key)
            refused = await ask(relay, b'{"messages": ', key)
            await ask(relay, ASKED, ("authorization", "Bearer wrong"))
            assert relay.relay.audit is not None
        assert relay.records[0].end == "completed"
    stream, whole, bad = entries(tmp_path / "audit")  # whoever is not known has said nothing that was read
    assert (stream["request"], stream["answer"]) == (BODY, streamed.decode())
    assert (stream["end"], stream["stream"], stream["truncated"]) == ("completed", True, False)
    assert stream["caller"] == "shared-key"
    assert (whole["answer"], whole["deployment"], whole["operation"]) == (json.loads(ANSWER), "azure", "chat")
    assert (bad["request"], bad["answer"]) == ('{"messages": ', json.loads(refused))
    assert (bad["status"], bad["end"], bad["code"]) == (400, "refused", "invalid_json")
    text = json.dumps([stream, whole, bad])
    assert "the-callers-key" not in text
    assert "upstream-secret-key" not in text


async def test_a_client_that_leaves_has_got_what_is_written(tmp_path: Path) -> None:
    script: list[Step] = [Send(head() + chunk(delta("one"))), Stall()]
    async with FaultUpstream(script) as upstream, audited(upstream, tmp_path / "audit") as relay:
        async with RawClient(relay.url) as client:
            await client.post(CHAT, ASKED)
            got = await client.until(delta("one"))
        await relay.record()
    [entry] = entries(tmp_path / "audit")
    assert (entry["end"], entry["answer"], entry["truncated"]) == ("client_aborted", got.decode(), False)


async def test_a_break_and_a_shutdown_are_there_with_their_error_event(tmp_path: Path) -> None:
    script: list[Step] = [Send(head() + chunk(delta("one"))), Close()]
    async with FaultUpstream(script) as upstream, audited(upstream, tmp_path / "audit") as relay:
        broken = await ask(relay, ASKED)
        script[-1] = Stall()
        async with RawClient(relay.url) as client:
            await client.post(CHAT, ASKED)
            await client.until(delta("one"))
            relay.application.stop_all()
            ended = await client.rest()
    first, second = entries(tmp_path / "audit")
    assert (first["end"], first["answer"]) == ("truncated", broken.decode())
    assert (second["end"], second["answer"]) == ("server_shutdown", ended.decode())
    assert b"server_shutdown" in ended


async def test_a_failover_is_one_entry_of_what_the_client_was_told(tmp_path: Path) -> None:
    failing = [Send(head("application/json", status="500 No", length=2) + b"{}")]
    async with FaultUpstream(failing) as east, FaultUpstream(GOOD) as west:
        path = tmp_path / "relay.toml"
        path.write_text(
            f'[upstream]\nplain_http = true\n[models.gpt-4o]\ndeployments = ["east", "west"]\n'
            f'[deployments.east]\nendpoint = "{east.url}"\napi_key = {{ env = "AZURE_OPENAI_API_KEY" }}\npriority = 1\n'
            f'[deployments.west]\nendpoint = "{west.url}"\napi_key = {{ env = "AZURE_OPENAI_API_KEY" }}\npriority = 2\n'
        )
        settings = settings_for("", {"CHUKEI_AUDIT__FOLDER": str(tmp_path / "audit")}, str(path))
        async with InProcessRelay(settings) as relay:
            got = await ask(relay, ASKED)
    [entry] = entries(tmp_path / "audit")
    assert (entry["deployment"], entry["end"], entry["answer"]) == ("west", "completed", got.decode())


async def test_long_content_is_cut_and_the_client_gets_it_whole(tmp_path: Path) -> None:
    long = [Send(head() + chunk(delta("x" * 5000)) + chunk(FINISH + DONE) + LAST_CHUNK)]
    cut = {"CHUKEI_AUDIT__MAX_CONTENT_BYTES": "1000"}
    async with FaultUpstream(long) as upstream, audited(upstream, tmp_path / "audit", **cut) as relay:
        got = await ask(relay, ASKED)
    [entry] = entries(tmp_path / "audit")
    assert entry["answer"] == got.decode()[:1000]
    assert (entry["answer_bytes"], entry["truncated"], entry["request"]) == (len(got), True, BODY)


async def test_turns_sessions_and_what_changes_objects_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    settings = load(None, FAST | {"CHUKEI_AUDIT__FOLDER": str(folder)})
    create = {"type": "response.create", "model": "gpt-4o", "input": "repeat: one"}
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "repeat: two"}]}
    sound: dict[str, Any] = {"type": "input_audio_buffer.append", "audio": "AAAA" * 100}
    spoken: list[dict[str, Any]] = [{"type": "conversation.item.create", "item": said}, {"type": "response.create"}]
    async with InProcessRelay(settings) as relay:
        async with client_of(relay) as client:
            made = (await client.turn(create))[-1]["response"]["id"]
        async with client_of(relay, "/v1/realtime?model=gpt-realtime") as client:
            for event in (sound, *spoken):
                await client.say(event)
            while (done := await client.next())["type"] != "response.done":
                pass
        await eventually(lambda: len(relay.records) == 4)
        async with RawClient(relay.url) as raw:
            for method, path in (("GET", "/v1/conversations/conv_1"), ("DELETE", f"/v1/responses/{made}")):
                await raw.request(method, path)
                await raw.rest()
    found = {entry["operation"]: entry for entry in entries(folder)}
    assert sorted(found) == ["realtime", "realtime_socket", "response_delete", "responses", "responses_socket"]
    assert found["responses"]["request"] == create
    assert made in found["responses"]["answer"]
    assert (found["realtime"]["request"], found["realtime"]["answer"]) == (spoken, done)
    assert (found["realtime_socket"]["status"], found["realtime_socket"]["request"]) == (101, "")
    deleted = found["response_delete"]
    assert (deleted["method"], deleted["path"], deleted["answer"]["deleted"]) == (
        "DELETE",
        f"/v1/responses/{made}",
        True,
    )


# Processes.

COUNT = 200


@pytest.fixture(scope="module")
def simulator(simulator_thread: SimulatorThread) -> dict[str, str]:
    """The settings of a relay to the simulator."""
    return {
        "AZURE_OPENAI_ENDPOINT": simulator_thread.url,
        "AZURE_OPENAI_API_KEY": "key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_LOG__FORMAT": "json",
    }


def post(url: str) -> str:
    """Ask for a stream; return the id of the request."""
    request = urllib.request.Request(f"{url}{CHAT}", ASKED, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.read().endswith(b"data: [DONE]\n\n")
        return str(answer.headers["x-request-id"])


def test_each_worker_writes_whole_lines_to_a_file_of_its_own(simulator: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    more = {"CHUKEI_AUDIT__FOLDER": str(folder), "CHUKEI_AUDIT__MAX_FILE_BYTES": "400000"}
    asked: list[str] = []
    with RelayProcess(simulator | more, "--workers", "2") as relay, ThreadPoolExecutor(16) as pool:
        for _ in range(10):
            asked += pool.map(post, [relay.url] * COUNT)
            if len({path.name.split("-")[2] for path in folder.iterdir()}) == 2:
                break
        assert relay.stop() == 0
    assert len({path.name.split("-")[2] for path in folder.iterdir()}) == 2
    assert sorted(entry["request_id"] for entry in entries(folder)) == sorted(asked)
    assert all(path.stat().st_size <= 400_000 and path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    told = [json.loads(line) for line in relay.log]
    assert sum("prompts and answers are written to" in line["event"] for line in told) == 2


async def test_a_full_disk_stops_no_request_and_is_told_of(simulator: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    with RelayProcess(simulator | {"CHUKEI_AUDIT__FOLDER": str(folder), "CHUKEI_LOG__LEVEL": "error"}) as relay:
        first = await asyncio.to_thread(post, relay.url)
        await eventually(
            lambda: sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl")) == 1
        )  # a whole line
        room = sum(path.stat().st_size for path in folder.iterdir()) + 100
        resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        await asyncio.to_thread(post, relay.url)
        await eventually(lambda: any("cannot be written: File too large" in line for line in relay.log))
        async with RawClient(relay.url) as client:
            await client.request("GET", "/metrics")
            counted = (await client.rest()).decode().splitlines()
        assert {"chukei_audit_written_entries_total 1.0", "chukei_audit_lost_entries_total 1.0"} <= set(counted)
        resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        last = await asyncio.to_thread(post, relay.url)
        assert relay.stop() == 0
    assert [entry["request_id"] for entry in entries(folder)] == [first, last], "no half line is left"


def test_the_check_warns_and_refuses_what_others_could_read(tmp_path: Path) -> None:
    status, output = in_process("check", environment={"CHUKEI_AUDIT__FOLDER": str(tmp_path / "audit")})
    assert status == 0
    assert f"warning: prompts and answers are written to {tmp_path / 'audit'}" in output
    tmp_path.chmod(0o755)
    wrong = {"CHUKEI_AUDIT__FOLDER": str(tmp_path), "CHUKEI_AUDIT__REDACT": "missing:redact"}
    status, output = in_process("check", environment=wrong)
    assert status == 3
    assert "audit.folder: " in output
    assert "chmod 700" in output
    assert "audit.redact: missing:redact cannot be imported" in output
    assert not list(tmp_path.iterdir())


def test_a_platform_without_a_disk_refuses_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.folder: Azure Functions keeps no disk"):
        checked_settings(None, {"CHUKEI_AUDIT__FOLDER": str(tmp_path / "audit")}, behind_platform=True)


def test_a_redactor_of_the_operators_own(simulator: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "privacy.py").write_text("def redact(entry):\n    return entry | {'request': None}\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    more = {"CHUKEI_AUDIT__FOLDER": str(tmp_path / "audit"), "CHUKEI_AUDIT__REDACT": "privacy:redact"}
    with RelayProcess(simulator | more | {"PYTHONPATH": path}) as relay:
        post(relay.url)
        relay.stop()
    [entry] = entries(tmp_path / "audit")
    assert entry["request"] is None
    assert entry["answer"].endswith("data: [DONE]\n\n")
