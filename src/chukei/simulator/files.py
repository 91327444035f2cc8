"""Files, uploads in parts, and containers with their files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Event, Reply, json_reply
from chukei.simulator.media import Part, fields
from chukei.simulator.objects import MOST_LISTED, find, page
from chukei.simulator.prompts import fields_of
from chukei.simulator.stored import Kept

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
PIECE = 64 * 1024  # bytes of a content that are sent at once
UPLOAD_SECONDS = 3600  # the API's own: how long an upload may stay unfinished
MOST_PART_BYTES = 64 * 1024 * 1024  # the API's own


def create(call: Call) -> Reply:
    """Keep an uploaded file. The classic path answers 201."""
    form = fields(call.body, call.content_type)
    for name in ("file", "purpose"):
        if name not in form:
            raise azure.missing_parameter(name)
    purpose = _text(form, "purpose")
    seconds = _text(form, "expires_after[seconds]")
    shown = keep(call, form["file"].filename or "file", purpose, form["file"].data).shown
    if seconds.isdigit():
        shown["expires_at"] = call.created + int(seconds)
    return json_reply(shown, status=200 if call.api_version is None else 201)


def _text(form: dict[str, Part], name: str) -> str:
    return form[name].data.decode(errors="replace").strip() if name in form else ""


def keep(call: Call, filename: str, purpose: str, data: bytes, *, id_: str | None = None) -> Kept:
    """Make a file; ApiError 400 if its purpose does not exist."""
    if id_ is None:
        if purpose not in PURPOSES:
            what = f"Invalid value: '{purpose}'. Supported values are: {', '.join(PURPOSES)}."
            raise azure.invalid_value(what, "purpose")
        id_ = call.id("assistant-", 24) if purpose == "assistants" else call.hex_id("file-", 32)
    shown = azure.shape("file", id=id_, purpose=purpose, filename=filename, bytes=len(data), created_at=call.created)
    return call.stored["file"].put(Kept(shown, data))


def named(call: Call, given: Any, param: str, struck: frozenset[str] | None = None) -> Kept:
    """Return a file that a request names; ApiError 404 if it is not kept, or a fault says so."""
    gone = "file-gone" in (call.struck if struck is None else struck)
    found = None if gone else call.stored["file"].get(str(given))
    if found is None:
        raise azure.model_error(404, azure.unknown_object("file", str(given)).message, param=param)
    return found


def listing(call: Call) -> Reply:
    """List the files, or those of one purpose."""
    purpose = call.query.get("purpose")
    shown = [kept.shown for kept in call.stored["file"] if purpose in (None, "", kept.shown["purpose"])]
    return json_reply(page(call, shown, "file", most=MOST_LISTED))


def content(call: Call) -> Reply:
    """Send the content of a file in pieces."""
    kept = find(call, "file")
    return _content(kept.data, kept.shown["filename"])


def _content(data: bytes, filename: str) -> Reply:
    headers = {"content-disposition": f'attachment; filename="{filename}"'}
    return Reply(200, _pieces(data), headers, len(data), "application/octet-stream")


def _pieces(data: bytes) -> Iterator[Event]:
    for at in range(0, len(data), PIECE):
        yield Event(data[at : at + PIECE], 0.0, "body")


# Uploads.


def create_upload(call: Call) -> Reply:
    """Begin an upload."""
    given = call.object("filename", "purpose", "bytes")
    size = given["bytes"]
    if not isinstance(size, int) or size < 1:
        raise azure.invalid_value("Invalid type for 'bytes': expected a positive integer.", "bytes", "invalid_type")
    shown = azure.shape("upload", id=call.hex_id("upload_", 32), bytes=size, created_at=call.created)
    shown |= {"filename": str(given["filename"]), "purpose": str(given["purpose"])}
    shown["expires_at"] = call.created + UPLOAD_SECONDS
    return json_reply(call.stored["upload"].put(Kept(shown)).shown)


def _pending(call: Call) -> Kept:
    kept = find(call, "upload")
    if kept.shown["status"] != "pending":
        raise azure.model_error(400, f"Upload {call.ids[0]} has status '{kept.shown['status']}', not 'pending'.")
    return kept


def add_part(call: Call) -> Reply:
    """Add a part to an upload. What it holds counts as bytes of the upload."""
    kept = _pending(call)
    form = fields(call.body, call.content_type)
    if "data" not in form:
        raise azure.missing_parameter("data")
    data = form["data"].data
    if len(data) > MOST_PART_BYTES:
        raise azure.invalid_value(f"A part has at most {MOST_PART_BYTES} bytes.", "data")
    shown = azure.shape("part", id=call.hex_id("part_", 32), created_at=call.created, upload_id=call.ids[0])
    return json_reply(kept.parts("part").put(Kept(shown, data)).shown)


def complete_upload(call: Call) -> Reply:
    """Make the file of an upload from its parts, in the given order."""
    kept = _pending(call)
    ids = call.object("part_ids")["part_ids"]
    parts = [kept.parts("part").get(str(id_)) for id_ in ids] if isinstance(ids, list) else [None]
    data = b"".join(part.data for part in parts if part is not None)
    if None in parts:
        raise azure.invalid_value("'part_ids' names a part that this upload does not have.", "part_ids")
    if len(data) != kept.shown["bytes"]:
        what = f"The parts have {len(data)} bytes together, but the upload was to have {kept.shown['bytes']}."
        raise azure.invalid_value(what, "part_ids")
    file = keep(call, kept.shown["filename"], kept.shown["purpose"], data)
    kept.shown |= {"status": "completed", "file": file.shown}
    kept.empty()
    return json_reply(kept.shown)


def cancel_upload(call: Call) -> Reply:
    """Cancel an upload and forget its parts."""
    kept = _pending(call)
    kept.shown["status"] = "cancelled"
    kept.empty()
    return json_reply(kept.shown)


# Containers.


def create_container(call: Call) -> Reply:
    """Make a container, with copies of the files that are named."""
    given = call.object("name")
    sources = [named(call, id_, "file_ids") for id_ in given.get("file_ids") or ()]
    shown = azure.shape("container", id=call.hex_id("cntr_"), created_at=call.created, last_active_at=call.created)
    shown |= {"name": str(given["name"]), "memory_limit": given.get("memory_limit") or "1g"}
    shown["expires_after"] |= fields_of(given.get("expires_after"))
    kept = call.stored["container"].put(Kept(shown))
    for source in sources:
        _put(call, kept, source.shown["filename"], source.data)
    return json_reply(shown)


def create_container_file(call: Call) -> Reply:
    """Put a file into a container: an uploaded one, or a copy of one that is named."""
    kept = find(call, "container")
    if call.content_type.startswith("multipart/"):
        form = fields(call.body, call.content_type)
        if "file" not in form:
            raise azure.missing_parameter("file")
        return json_reply(_put(call, kept, form["file"].filename or "file", form["file"].data))
    source = named(call, call.object("file_id")["file_id"], "file_id")
    return json_reply(_put(call, kept, source.shown["filename"], source.data))


def _put(call: Call, container: Kept, filename: str, data: bytes) -> dict[str, Any]:
    shown = azure.shape("container-file", id=call.hex_id("cfile_"), created_at=call.created, bytes=len(data))
    shown |= {"container_id": container.shown["id"], "path": f"/mnt/data/{filename}"}
    return container.parts("container_file").put(Kept(shown, data)).shown


def container_content(call: Call) -> Reply:
    """Send the content of a file in a container."""
    kept = find(call, "container", "container_file")
    return _content(kept.data, kept.shown["path"].rpartition("/")[2])
