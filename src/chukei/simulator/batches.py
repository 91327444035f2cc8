"""Batches: the requests of an input file, each answered by the resource's own operations."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Reply, json_reply
from chukei.simulator.files import keep, named
from chukei.simulator.jobs import FOR_EVER, Progress
from chukei.simulator.prompts import fields_of
from chukei.simulator.stored import Kept

ENDPOINTS = ("chat/completions", "completions", "embeddings", "responses")
MOST_LINES = 1000  # less than the service's 100,000: their answers are kept in memory
LINES_PER_TURN = 16  # answered before other connections get a turn; each takes about a millisecond
WINDOW_SECONDS = 86_400


@dataclass(slots=True)
class _Work:
    """The requests of a batch and what became of them."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""


def create(call: Call) -> Reply:
    """Begin a batch. Its file is checked in the first stage and answered at the end."""
    given = call.object("input_file_id", "endpoint", "completion_window")
    operation = _operation(str(given["endpoint"]))
    if operation not in ENDPOINTS:
        known = ", ".join(f"'/v1/{name}'" for name in ENDPOINTS)
        what = f"Invalid value: '{given['endpoint']}'. Supported values are: {known}."
        raise azure.invalid_value(what, "endpoint")
    file = call.stored["file"].get(str(given["input_file_id"]))
    work = _read(file.data if file else b"", operation)
    struck = call.faults_of(work.model) if work.model else call.struck
    file = named(call, given["input_file_id"], "input_file_id", struck)
    if file.shown["purpose"] != "batch":
        raise azure.invalid_value("The input file of a batch must have the purpose 'batch'.", "input_file_id")
    shown = azure.shape("batch", id=call.guid("batch_"), created_at=call.created, input_file_id=file.shown["id"])
    shown |= {"endpoint": given["endpoint"], "metadata": given.get("metadata"), "model": work.model or None}
    shown["expires_at"] = call.created + WINDOW_SECONDS
    if "job-fails" in struck:
        work.errors.append(_error("server_error", "The batch could not be processed."))
    batch = _Batch(call, shown, operation, work)
    seconds = FOR_EVER if "job-stays-queued" in struck else call.stage_seconds
    stages = [(name, seconds) for name in ("validating", "in_progress", "finalizing")]
    end = "failed" if work.errors else "completed"
    kept = Kept(shown)
    kept.progress = Progress(
        stages[: 1 if work.errors else 3], end, call.job_looks, call.stored.now, batch.reached, batch.busy
    )
    call.stored["batch"].put(kept)
    return json_reply(shown)


def _operation(endpoint: str) -> str:
    return endpoint.strip("/").removeprefix("openai/").removeprefix("v1/")


def _error(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


def _read(data: bytes, operation: str) -> _Work:
    """Read an input file; all that is wrong is in the errors, with the codes of the service."""
    work = _Work()
    rows = [row for row in data.split(b"\n", MOST_LINES + 1) if row.strip()]
    if not rows:
        work.errors.append(_error("empty_file", "The input file is empty."))
    if len(rows) > MOST_LINES:
        work.errors.append(_error("too_many_tasks", f"The simulator answers at most {MOST_LINES} requests of a batch."))
    for at, row in enumerate(rows[:MOST_LINES], 1):
        try:
            line = fields_of(msgspec.json.decode(row))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            line = {}
        model = fields_of(line.get("body")).get("model")
        if not line.get("custom_id") or not isinstance(model, str):
            work.errors.append(_error("invalid_json_line", "A line is no JSON object with all required fields.", at))
        elif _operation(str(line.get("url"))) != operation:
            what = "The URL of a line does not match the endpoint of the batch."
            work.errors.append(_error("url_mismatch", what, at))
        elif model != (work.model or model):
            work.errors.append(_error("model_mismatch", "All lines of a batch must name the same model.", at))
        else:
            work.model = model
            work.lines.append(line)
    times = Counter(str(line["custom_id"]) for line in work.lines)
    for name in (name for name, count in times.items() if count > 1):
        work.errors.append(_error("duplicate_custom_id", f"The custom_id '{name}' is not unique."))
    return work


class _Batch:
    """What happens at each status of a batch."""

    def __init__(self, call: Call, shown: dict[str, Any], operation: str, work: _Work) -> None:
        self._call = call
        self._shown = shown
        self._operation = operation
        self._work = work
        self._left: Iterator[dict[str, Any]] | None = None
        self._rows: dict[str, list[bytes]] = {"completed": [], "failed": []}
        self._used = azure.shape("response-usage")

    def reached(self, status: str) -> None:
        """Note a status and when it was reached."""
        shown, lines = self._shown, self._work.lines
        shown |= {"status": status, f"{status}_at": self._call.created}
        if status == "in_progress":
            shown["request_counts"] = {"total": len(lines), "completed": 0, "failed": 0}
        elif status == "failed":
            shown["errors"] = {"object": "list", "data": self._work.errors}
        elif status == "finalizing":
            self._left = iter(lines)
            self._answer()

    def busy(self) -> bool:
        """Whether lines are still to be answered."""
        return self._left is not None

    def _answer(self) -> None:
        """Answer some lines, and the others in later turns of the event loop, unless the batch was cancelled."""
        if self._left is None or self._shown["status"] != "finalizing":
            return
        part = list(islice(self._left, LINES_PER_TURN))
        for line in part:
            self._answer_line(line)
        if len(part) == LINES_PER_TURN:
            asyncio.get_running_loop().call_soon(self._answer)
            return
        self._left = None
        self._finish()

    def _answer_line(self, line: dict[str, Any]) -> None:
        body = {name: value for name, value in line["body"].items() if name != "stream"}
        status, answer = self._call.ask(self._operation, msgspec.json.encode(body))
        answered = _json(answer)
        said = {"request_id": self._call.guid(""), "status_code": status, "body": answered}
        row = {
            "id": self._call.hex_id("batch_req_", 24),
            "custom_id": line["custom_id"],
            "response": said,
            "error": None,
        }
        name = "completed" if status < 300 else "failed"
        self._rows[name].append(msgspec.json.encode(row) + b"\n")
        self._shown["request_counts"][name] += 1
        _add(self._used, fields_of(fields_of(answered).get("usage")))

    def _finish(self) -> None:
        """Keep the files of answers and errors."""
        for name, rows in (("output", self._rows["completed"]), ("error", self._rows["failed"])):
            if rows:
                named = f"{self._shown['id']}_{name}.jsonl"
                file = keep(self._call, named, "batch_output", b"".join(rows), id_=self._call.guid("file-"))
                self._shown[f"{name}_file_id"] = file.shown["id"]
        self._shown["usage"] = self._used


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"error": {"message": body.decode(errors="replace")}}


def _add(total: dict[str, Any], used: dict[str, Any]) -> None:
    """Add an answer's usage, of either API, to that of the batch."""
    read, said = used.get("input_tokens", used.get("prompt_tokens", 0)), used.get("output_tokens", 0)
    said = said or used.get("completion_tokens", 0)
    details = fields_of(used.get("output_tokens_details")) or fields_of(used.get("completion_tokens_details"))
    total["input_tokens"] += read
    total["output_tokens"] += said
    total["total_tokens"] += read + said
    total["output_tokens_details"]["reasoning_tokens"] += details.get("reasoning_tokens", 0)


def cancel(call: Call) -> Reply:
    """Cancel a batch that has not ended."""
    kept = call.stored["batch"].get(call.ids[0])
    if kept is None or kept.progress is None:
        raise azure.unknown_object("batch", call.ids[0])
    kept.look()
    if not kept.progress.running:
        what = f"Cannot cancel a batch with status '{kept.shown['status']}'."
        raise azure.model_error(409, what, code="conflict")
    kept.shown["cancelling_at"] = call.created
    kept.progress.finish("cancelled")
    return json_reply({**kept.shown, "status": "cancelling", "cancelled_at": None})
