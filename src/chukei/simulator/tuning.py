"""Fine-tuning jobs and evals: nothing is trained, and only checks of strings are graded."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Reply, json_reply
from chukei.simulator.files import keep, named
from chukei.simulator.jobs import FOR_EVER, Progress
from chukei.simulator.objects import find
from chukei.simulator.prompts import fields_of
from chukei.simulator.stored import Kept
from chukei.simulator.tokens import count

CHECKPOINTS = 3
EPOCHS = 3
MOST_ITEMS = 1000  # of an eval run
MESSAGES = {
    "running": "Training started.",
    "succeeded": "Job succeeded.",
    "failed": "Job failed.",
    "cancelled": "Training cancelled.",
}
_FIELD = re.compile(r"\{\{\s*item\.(\w+)\s*\}\}")


def create_job(call: Call) -> Reply:
    """Begin a fine-tuning job."""
    given = call.object("model", "training_file")
    model = str(given["model"])
    struck = call.faults_of(model)
    file = named(call, given["training_file"], "training_file", struck)
    if given.get("validation_file"):
        named(call, given["validation_file"], "validation_file", struck)
    shown = azure.shape("tuning", id=call.hex_id("ftjob-", 32), model=model, created_at=call.created)
    shown |= {name: given[name] for name in shown if given.get(name) is not None and name in TAKEN}
    shown |= {"training_file": file.shown["id"], "user_provided_suffix": given.get("suffix")}
    kept = Kept(shown)
    end = "failed" if "job-fails" in struck else "succeeded"
    seconds = FOR_EVER if "job-stays-queued" in struck else call.stage_seconds
    stages = [("queued", seconds), ("running", seconds)]
    job = _Job(call, kept, file.data)
    kept.progress = Progress(stages, end, call.job_looks, call.stored.now, job.reached)
    job.event("Created fine-tuning job.")
    call.stored["tuning"].put(kept)
    return json_reply(shown)


TAKEN = ("validation_file", "hyperparameters", "seed", "method", "metadata")


class _Job:
    """What happens at each status of a fine-tuning job."""

    def __init__(self, call: Call, kept: Kept, data: bytes) -> None:
        self._call = call
        self._kept = kept
        self._data = data

    def event(self, message: str) -> None:
        """Add an event to the job."""
        id_ = self._call.hex_id("ftevent-", 32)
        shown = azure.shape("event", id=id_, created_at=self._call.created, message=message, data={})
        self._kept.parts("event").put(Kept(shown))

    def reached(self, status: str) -> None:
        """Note a status; the end brings the model, its checkpoints and a file of results."""
        call, shown = self._call, self._kept.shown
        shown["status"] = status
        self.event(MESSAGES[status])
        if status == "running":
            return
        shown["finished_at"] = call.created
        if status == "failed":
            shown["error"] = {"code": "server_error", "message": "The job failed.", "param": None}
        if status != "succeeded":
            return
        suffix = f".{shown['user_provided_suffix']}" if shown["user_provided_suffix"] else ""
        shown["fine_tuned_model"] = f"{shown['model']}.ft-{shown['id'].removeprefix('ftjob-')}{suffix}"
        shown["trained_tokens"] = EPOCHS * count(self._data.decode(errors="replace"))
        for number in range(1, CHECKPOINTS + 1):
            self._checkpoint(number)
        table = b"step,train_loss\n" + b"".join(b"%d,%.3f\n" % (n, 1 / n) for n in range(1, CHECKPOINTS + 1))
        results = keep(call, "results.csv", "fine-tune-results", table, id_=call.hex_id("file-", 32))
        shown["result_files"] = [results.shown["id"]]

    def _checkpoint(self, number: int) -> None:
        shown = azure.shape("checkpoint", id=self._call.hex_id("ftchkpt-", 32), created_at=self._call.created)
        shown |= {"fine_tuning_job_id": self._kept.shown["id"], "step_number": number}
        shown["fine_tuned_model_checkpoint"] = f"{self._kept.shown['fine_tuned_model']}:ckpt-step-{number}"
        shown["metrics"] = {"step": number, "train_loss": round(1 / number, 3)}
        self._kept.parts("checkpoint").put(Kept(shown))


# Evals.


def create_eval(call: Call) -> Reply:
    """Make an eval."""
    given = call.object("data_source_config", "testing_criteria")
    shown = azure.shape("eval", id=call.hex_id("eval_", 32), created_at=call.created)
    shown |= {name: given[name] for name in shown if name in given and name not in ("id", "object", "created_at")}
    return json_reply(call.stored["eval"].put(Kept(shown)).shown, status=201)


def create_run(call: Call) -> Reply:
    """Begin a run of an eval over the items of its data source. A sample of a model is not taken."""
    eval_ = find(call, "eval")
    given = call.object("data_source")
    struck = (
        call.faults_of(model) if isinstance(model := fields_of(given["data_source"]).get("model"), str) else call.struck
    )
    items = _items(call, fields_of(fields_of(given["data_source"]).get("source")), struck)
    shown = azure.shape("eval-run", id=call.hex_id("evalrun_", 32), eval_id=call.ids[0], created_at=call.created)
    shown |= {name: given[name] for name in ("name", "metadata", "data_source") if name in given}
    shown["model"] = model or ""
    kept = Kept(shown)

    def reached(status: str) -> None:
        shown["status"] = status
        if status == "completed":
            _grade(call, eval_, kept, items)
        elif status == "failed":
            shown["error"] = {"code": "server_error", "message": "The run failed."}

    seconds = FOR_EVER if "job-stays-queued" in struck else call.stage_seconds
    stages = [("queued", seconds), ("in_progress", seconds)]
    end = "failed" if "job-fails" in struck else "completed"
    kept.progress = Progress(stages, end, call.job_looks, call.stored.now, reached)
    eval_.parts("eval_run").put(kept)
    return json_reply(shown, status=201)


def _items(call: Call, source: dict[str, Any], struck: frozenset[str]) -> list[dict[str, Any]]:
    """Return the items of a source: what it holds, or the lines of a file. ApiError 404 if there is no such file."""
    if source.get("type") != "file_id":
        rows = source.get("content")
        return [fields_of(row) for row in rows[:MOST_ITEMS]] if isinstance(rows, list) else []
    file = named(call, source.get("id"), "data_source", struck)
    found = []
    for line in file.data.split(b"\n", MOST_ITEMS)[:MOST_ITEMS]:
        try:
            found.append(fields_of(msgspec.json.decode(line)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def _grade(call: Call, eval_: Kept, run: Kept, items: list[dict[str, Any]]) -> None:
    counts = dict.fromkeys(("errored", "failed", "passed"), 0)
    for at, row in enumerate(items):
        item = fields_of(row.get("item")) or row
        results = [_check(item, fields_of(criterion)) for criterion in eval_.shown["testing_criteria"]]
        status = "errored" if None in results else "passed" if all(results) else "failed"
        counts[status] += 1
        shown = azure.shape("output-item", id=call.hex_id("outputitem_", 32), created_at=call.created)
        shown |= {"run_id": run.shown["id"], "eval_id": eval_.shown["id"], "datasource_item_id": at}
        shown |= {"datasource_item": item, "status": {"passed": "pass", "failed": "fail"}.get(status, "error")}
        shown["results"] = [
            {"name": "check", "passed": bool(passed), "score": float(bool(passed))} for passed in results
        ]
        run.parts("output_item").put(Kept(shown))
    run.shown["result_counts"] = {"total": len(items), **counts}


def _check(item: dict[str, Any], criterion: dict[str, Any]) -> bool | None:
    """Return whether an item passes a check of strings; None for graders that the simulator does not have."""
    if criterion.get("type") != "string_check":
        return None
    given, wanted = (
        _FIELD.sub(lambda match: str(item.get(match[1], "")), str(criterion.get(name, "")))
        for name in ("input", "reference")
    )
    operations = {"eq": given == wanted, "ne": given != wanted, "like": wanted in given}
    return operations.get(str(criterion.get("operation")), wanted.lower() in given.lower())
