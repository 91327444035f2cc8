"""What can be done with responses that are stored, conversations and their items; and what only counts or compacts."""

from __future__ import annotations

from typing import Any

from chukei.simulator import azure, items
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Reply, json_reply, stream
from chukei.simulator.objects import find, page
from chukei.simulator.responses import context, prompt_of, read
from chukei.simulator.stored import Kept

STREAMABLE_SECONDS = 300.0  # the service's own: "more than 5 minutes old"
MOST_ITEMS = 20  # the API's own limit, of items that are added at once
SUMMARY_TOKENS = 64  # of a compaction


def response(call: Call) -> Reply:
    """Show a stored response, or resume its stream."""
    kept = find(call, "response")
    if call.query.get("stream", "").lower() not in ("true", "1"):
        return json_reply(kept.look())
    log = kept.log
    if log is None:
        what = "This response cannot be streamed because it was not created with background=true and stream=true."
        raise azure.model_error(400, what)
    if call.created - kept.shown["created_at"] > STREAMABLE_SECONDS:
        what = "This response can no longer be streamed because it is more than 5 minutes old."
        raise azure.model_error(400, what)
    return stream(log.follow(call.number("starting_after", -1, -1, max(log.last(), 0))), prompt_tokens=0)


def delete(call: Call) -> Reply:
    """Delete a response; a job that is not done ends."""
    kept = find(call, "response")
    if kept.progress is not None:
        kept.progress.finish("cancelled")
    call.stored["response"].pop(call.ids[0])
    call.stored.forget_items(kept.said)
    return json_reply(azure.deletion("response", call.ids[0]))


def cancel(call: Call) -> Reply:
    """Cancel a background response; one that is done stays as it is."""
    kept = find(call, "response")
    if kept.progress is None:
        raise azure.model_error(400, "Cannot cancel a synchronous response.")
    kept.look()
    kept.progress.finish("cancelled")
    return json_reply(kept.shown)


def input_items(call: Call) -> Reply:
    """List the input of a response."""
    return json_reply(page(call, list(find(call, "response").items), "item"))


def input_tokens(call: Call) -> Reply:
    """Count the tokens of a request without answering it."""
    request = read(call)
    said = (*context(call, request), *items.read(call, request.input))
    return json_reply({"object": "response.input_tokens", "input_tokens": prompt_of(request, said).tokens})


def compact(call: Call) -> Reply:
    """Answer with the user's messages and one item in place of the rest."""
    request = read(call)
    said = (*context(call, request), *items.read(call, request.input))
    prompt = prompt_of(request, said)
    item = {"id": call.hex_id("cmp_"), "type": "compaction", "encrypted_content": call.stored.seal(prompt.text)}
    tokens = {"input_tokens": prompt.tokens, "output_tokens": SUMMARY_TOKENS}
    return json_reply(
        {
            "id": call.hex_id("resp_"),
            "object": "response.compaction",
            "created_at": call.created,
            "output": [*(row for row in said if row.get("role") == "user"), item],
            "usage": azure.shape("response-usage", **tokens, total_tokens=prompt.tokens + SUMMARY_TOKENS),
        },
        wait=call.pace.total(SUMMARY_TOKENS),
    )


# Conversations.


def create_conversation(call: Call) -> Reply:
    """Make a conversation, with items if they are given."""
    given = call.object()
    made = azure.shape("conversation", id=call.hex_id("conv_"), created_at=call.created)
    kept = Kept(made | {"metadata": given.get("metadata") or {}})
    added = _read(call, given.get("items"))
    call.stored["conversation"].put(kept)
    _add(call, kept, added)
    return json_reply(kept.shown)


def add_items(call: Call) -> Reply:
    """Add items to a conversation."""
    kept = find(call, "conversation")
    added = _read(call, call.object("items")["items"])
    _add(call, kept, added)
    ends = {"first_id": added[0]["id"], "last_id": added[-1]["id"]} if added else {"first_id": None, "last_id": None}
    return json_reply({"object": "list", "data": added, **ends, "has_more": False})


def _read(call: Call, given: list[Any] | None) -> list[dict[str, Any]]:
    if not all(isinstance(item, dict) for item in given or ()):
        raise azure.invalid_value("Invalid type for 'items': expected an array of objects.", "items", "invalid_type")
    if given and len(given) > MOST_ITEMS:
        what = f"Invalid 'items': array too long. Expected at most {MOST_ITEMS} items, but got {len(given)}."
        raise azure.invalid_value(what, "items", "array_above_max_length")
    return items.read(call, given)


def _add(call: Call, kept: Kept, added: list[dict[str, Any]]) -> None:
    for item in added:
        kept.parts("item").put(Kept(item))
    call.stored.keep_items(added)


def delete_item(call: Call) -> Reply:
    """Delete an item, and show the conversation."""
    item = find(call, "conversation", "item")
    conversation = find(call, "conversation")
    conversation.parts("item").pop(call.ids[1])
    call.stored.forget_items([item.shown])
    return json_reply(conversation.shown)
