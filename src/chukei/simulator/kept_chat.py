"""Chat completions that are stored: what is kept of them, and lists of them."""

from __future__ import annotations

from typing import Any

import msgspec

from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Reply, json_reply
from chukei.simulator.objects import find, page
from chukei.simulator.stored import Kept


def keep(call: Call, asked: dict[str, Any], completion: dict[str, Any]) -> None:
    """Store a completion with the parameters and messages of its request."""
    shown = {
        "object": "chat.completion",
        **completion,
        "metadata": asked.get("metadata") or {},
        "request_id": call.guid(""),
        "tools": asked.get("tools"),
        "tool_choice": asked.get("tool_choice"),
        "temperature": asked.get("temperature", 1.0),
        "top_p": asked.get("top_p", 1.0),
        "seed": asked.get("seed"),
        "input_user": asked.get("user"),
        "response_format": asked.get("response_format"),
    }
    call.stored["completion"].put(Kept(shown, items=tuple(asked["messages"]), size=len(call.body)))


def listing(call: Call) -> Reply:
    """List the stored completions, or those of a model or with certain metadata."""
    wanted = {name[9:-1]: value for name, value in call.query.items() if name.startswith("metadata[")}
    rows = [
        kept.shown
        for kept in call.stored["completion"]
        if call.query.get("model") in (None, "", kept.shown["model"])
        and all(kept.shown["metadata"].get(name) == value for name, value in wanted.items())
    ]
    return json_reply(page(call, rows, "completion", "asc"))


def messages(call: Call) -> Reply:
    """List the messages of a stored completion's request."""
    kept = find(call, "completion")
    rows = [{**_message(item), "id": f"{call.ids[0]}-{at}"} for at, item in enumerate(kept.items)]
    return json_reply(page(call, rows, "item", "asc"))


def _message(item: dict[str, Any]) -> dict[str, Any]:
    parts = item.get("content")
    if not isinstance(parts, list):
        return {"name": None, "content_parts": None, **item}
    return {"name": None, **item, "content": msgspec.json.encode(parts).decode(), "content_parts": parts}
