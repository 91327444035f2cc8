"""The list of models, in Azure's classic shape and in OpenAI's."""

from __future__ import annotations

from typing import Any

from chukei.simulator.calls import Call
from chukei.simulator.errors import resource_not_found
from chukei.simulator.steps import Reply, sorted_json, whole

# What the list shows when any name is accepted.
USUAL = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1-mini",
    "o4-mini",
    "gpt-35-turbo-instruct",
    "text-embedding-3-small",
    "gpt-image-1",
    "whisper",
    "tts",
)
CREATED = 1_735_689_600  # 2025-01-01; every model is of that day


def models(call: Call) -> Reply:
    """Answer with the list, or with one model; ApiError 404 for one that does not exist."""
    names = call.deployments or USUAL
    if call.model_asked is not None:
        if call.deployments and call.model_asked not in names:
            raise resource_not_found()
        return whole(sorted_json(_entry(call, call.model_asked)))
    return whole(sorted_json({"data": [_entry(call, name) for name in names], "object": "list"}))


def _entry(call: Call, name: str) -> dict[str, Any]:
    if call.api_version is None:
        return {"created": CREATED, "id": name, "object": "model", "owned_by": "azure-openai"}
    speaks = not name.startswith(("text-embedding", "gpt-image", "whisper", "tts"))
    return {
        "capabilities": {
            "chat_completion": speaks and "instruct" not in name,
            "completion": "instruct" in name,
            "embeddings": name.startswith("text-embedding"),
            "fine_tune": False,
            "inference": True,
        },
        "created_at": CREATED,
        "id": name,
        "lifecycle_status": "generally-available",
        "object": "model",
        "status": "succeeded",
        "updated_at": CREATED,
    }
