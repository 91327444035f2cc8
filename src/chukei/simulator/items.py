"""The input of the Responses API as items: with ids, with what they refer to, and with what came before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.prompts import fields_of, text_of

PREFIXES = {"reasoning": "rs_", "compaction": "cmp_", "function_call": "fc_", "function_call_output": "fco_"}
NOT_STORED = (
    " Items are not persisted when `store` is set to false."
    " Try again with `store` set to true, or remove this item from your input."
)
# Where a request names an object that the resource must keep: the field, and the kind of the object.
NAMED = {"file_id": "file", "file_ids": "file", "vector_store_ids": "vector_store", "container": "container"}


def read(call: Call, given: Any, *, store: bool = True) -> list[dict[str, Any]]:
    """Return the items of an input: a string, or a list of items. ApiError 400 or 404 if one of them is not right."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return [_item(call, at, item, store) for at, item in enumerate(given or ())]


def _item(call: Call, at: int, item: dict[str, Any], store: bool) -> dict[str, Any]:
    kind = str(item.get("type") or ("item_reference" if set(item) <= {"id", "type"} and "id" in item else "message"))
    sealed = item.get("encrypted_content")
    if sealed is not None:
        _unseal(call, str(sealed))
    elif kind == "item_reference" or (kind == "reasoning" and item.get("id")):
        return _referred(call, str(item.get("id")), store)
    id_ = str(item.get("id") or call.hex_id(PREFIXES.get(kind, "msg_")))
    if kind != "message":
        return {**item, "id": id_, "type": kind}
    for name in ("role", "content"):
        if name not in item:
            raise azure.missing_parameter(f"input[{at}].{name}")
    check_named(call, item["content"], "input")
    role = str(item["role"])
    return {
        "id": id_,
        "type": "message",
        "status": "completed",
        "content": _parts(item["content"], role),
        "role": role,
    }


def _parts(content: Any, role: str) -> Any:
    if not isinstance(content, str):
        return content
    if role == "assistant":
        return [{"type": "output_text", "annotations": [], "logprobs": [], "text": content}]
    return [{"type": "input_text", "text": content}]


def _referred(call: Call, id_: str, store: bool) -> dict[str, Any]:
    kept = call.stored["item"].get(id_)
    if kept is None:
        what = f"Item with id '{id_}' not found.{'' if store else NOT_STORED}"
        raise azure.model_error(404, what, param="input")
    return kept.shown


def _unseal(call: Call, sealed: str) -> None:
    if call.stored.unseal(sealed) is None:
        what = (
            f"The encrypted content {sealed[:4]}...{sealed[-4:]} could not be verified."
            " Reason: Encrypted content could not be decrypted or parsed."
        )
        raise azure.model_error(400, what, code="invalid_encrypted_content")


def check_named(call: Call, value: Any, param: str) -> None:
    """Refuse parts or tools that name files, vector stores or containers which this resource does not keep."""
    for kind, id_ in _named(value):
        missing = kind == "file" and "file-gone" in call.struck
        if missing or call.stored[kind].get(id_) is None:
            what = azure.unknown_object(kind, id_)
            raise azure.model_error(404, what.message, param=param)


def _named(value: Any) -> Iterator[tuple[str, str]]:
    for part in value if isinstance(value, list) else ():
        fields = fields_of(part)
        fields = fields | fields_of(fields.get("container")) | fields_of(fields.get("file"))
        for name, kind in NAMED.items():
            found = fields.get(name)
            ids = found if isinstance(found, list) else [found]
            yield from ((kind, id_) for id_ in ids if isinstance(id_, str))


def spoken(item: dict[str, Any]) -> tuple[str, Any]:
    """Return the role, of chat, and the content of an item."""
    match item.get("type"):
        case "message":
            return str(item["role"]), item["content"]
        case "function_call_output":
            return "tool", item.get("output")
        case "function_call":
            return "assistant", f"{item.get('name')} {item.get('arguments')}"
        case "reasoning":
            return "assistant", text_of(item.get("summary"))
        case _:
            return "assistant", None
