"""Vector stores: their files, batches of files, and a search that counts common words."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Reply, json_reply
from chukei.simulator.files import named
from chukei.simulator.jobs import Progress
from chukei.simulator.objects import find, page
from chukei.simulator.prompts import fields_of
from chukei.simulator.stored import Kept

MOST_RESULTS = 50  # the API's own
RESULTS = 10  # the API's own, by default
CHUNK = 3200  # characters: about 800 tokens
MOST_CHARACTERS = 64 * CHUNK  # of a file that are searched
MOST_FILES = 500  # the API's own, of one batch
_WORD = re.compile(r"\w+")


def create(call: Call) -> Reply:
    """Make a vector store, with files if they are named."""
    given = call.object()
    files = [named(call, id_, "file_ids") for id_ in given.get("file_ids") or ()]
    shown = azure.shape("vector-store", id=call.id("vs_", 24), created_at=call.created, last_active_at=call.created)
    shown |= {name: given[name] for name in ("name", "description", "expires_after", "metadata") if given.get(name)}
    days = fields_of(given.get("expires_after")).get("days")
    shown["expires_at"] = call.created + 86_400 * days if isinstance(days, int) else None
    kept = Kept(shown)
    kept.refresh = lambda: _count(kept, _files_of(kept))
    call.stored["vector_store"].put(kept)
    _count(kept, [_index(call, kept, file, given).shown for file in files])
    return json_reply(shown)


def _files_of(kept: Kept) -> list[dict[str, Any]]:
    return [part.look() for part in kept.parts("vector_store_file")]


def _count(store: Kept, files: list[dict[str, Any]]) -> None:
    """Update what a store says about its files."""
    store.shown["file_counts"] = _counts(files)
    store.shown["usage_bytes"] = sum(file["usage_bytes"] for file in files)
    store.shown["status"] = "in_progress" if store.shown["file_counts"]["in_progress"] else "completed"


def _counts(files: list[dict[str, Any]]) -> dict[str, Any]:
    counted = Counter(file["status"] for file in files)
    return azure.shape("file-counts", **counted, total=len(files))


def _index(call: Call, store: Kept, file: Kept, given: dict[str, Any]) -> Kept:
    id_, created = file.shown["id"], call.created
    shown = azure.shape("vector-store-file", id=id_, created_at=created, vector_store_id=store.shown["id"])
    shown["attributes"] = given.get("attributes") or {}
    kept = Kept(shown, file.data)

    def reached(status: str) -> None:
        shown["status"] = status
        shown["usage_bytes"] = len(file.data) if status == "completed" else 0

    stages = [("in_progress", call.stage_seconds)]
    kept.progress = Progress(stages, "completed", call.job_looks, call.stored.now, reached)
    return store.parts("vector_store_file").put(kept)


def add_file(call: Call) -> Reply:
    """Add a file to a vector store."""
    store = find(call, "vector_store")
    given = call.object("file_id")
    return json_reply(_index(call, store, named(call, given["file_id"], "file_id"), given).shown)


def add_batch(call: Call) -> Reply:
    """Add several files at once."""
    store = find(call, "vector_store")
    given = call.object()
    rows = [fields_of(row) for row in given.get("files") or ()]
    rows += [{**given, "file_id": id_} for id_ in given.get("file_ids") or ()]
    if not 1 <= len(rows) <= MOST_FILES:
        raise azure.invalid_value(f"Invalid 'file_ids': expected 1 to {MOST_FILES} files.", "file_ids")
    files = [(named(call, row.get("file_id"), "file_ids"), row) for row in rows]
    shown = azure.shape("file-batch", id=call.hex_id("vsfb_", 32), created_at=call.created)
    kept = Kept(shown | {"vector_store_id": store.shown["id"]})
    for file, row in files:
        kept.parts("vector_store_file").put(_index(call, store, file, row))
    kept.refresh = lambda: _count_batch(kept, _files_of(kept))
    _count_batch(kept, [part.shown for part in kept.parts("vector_store_file")])
    return json_reply(store.parts("file_batch").put(kept).shown)


def _count_batch(batch: Kept, files: list[dict[str, Any]]) -> None:
    counts = _counts(files)
    ended = "cancelled" if counts["cancelled"] else "completed"
    batch.shown |= {"file_counts": counts, "status": "in_progress" if counts["in_progress"] else ended}


def cancel_batch(call: Call) -> Reply:
    """Cancel what a batch has not finished yet."""
    batch = find(call, "vector_store", "file_batch")
    for part in batch.parts("vector_store_file"):
        if part.progress is not None:
            part.progress.finish("cancelled")
    return json_reply(batch.look())


def list_files(call: Call) -> Reply:
    """List the files of a store or of a batch, or those of one status."""
    kinds = ("vector_store", "file_batch")[: len(call.ids)]
    status = call.query.get("filter")
    shown = _files_of(find(call, *kinds))
    rows = [row for row in shown if status in (None, "", row["status"])]
    return json_reply(page(call, rows, "vector_store_file"))


def file_content(call: Call) -> Reply:
    """Show the text of a file, in chunks."""
    kept = find(call, "vector_store", "vector_store_file")
    data = [{"type": "text", "text": chunk} for chunk in _chunks(kept)]
    body = {"object": "vector_store.file_content.page", "data": data, "has_more": False, "next_page": None}
    return json_reply(body)


def _chunks(file: Kept) -> list[str]:
    text = file.data[: 4 * MOST_CHARACTERS].decode(errors="replace")[:MOST_CHARACTERS]
    return [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]


def search(call: Call) -> Reply:
    """Search the files of a store: the score of a chunk is the share of the query's words that are in it."""
    store = find(call, "vector_store")
    given = call.object("query")
    asked = given["query"] if isinstance(given["query"], list) else [given["query"]]
    words = set(_WORD.findall(" ".join(map(str, asked)).lower()))
    most = given.get("max_num_results", RESULTS)
    if not isinstance(most, int) or not 1 <= most <= MOST_RESULTS:
        raise azure.out_of_range("max_num_results", most, 1, MOST_RESULTS)
    found = []
    for part in store.parts("vector_store_file"):
        if part.look()["status"] != "completed":
            continue
        file = call.stored["file"].get(part.shown["id"])
        for chunk in _chunks(part):
            score = len(words & set(_WORD.findall(chunk.lower()))) / max(len(words), 1)
            if score:
                found.append(_result(part, file.shown["filename"] if file else "", score, chunk))
    found.sort(key=lambda row: -row["score"])
    store.shown["last_active_at"] = call.created
    body = {"object": "vector_store.search_results.page", "search_query": asked, "data": found[:most]}
    return json_reply(body | {"has_more": len(found) > most, "next_page": None})


def _result(part: Kept, filename: str, score: float, chunk: str) -> dict[str, Any]:
    return {
        "file_id": part.shown["id"],
        "filename": filename,
        "score": round(score, 4),
        "attributes": part.shown["attributes"],
        "content": [{"type": "text", "text": chunk}],
    }
