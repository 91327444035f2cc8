"""What the content filter says: about a prompt, about a completion, and when it blocks one."""

from __future__ import annotations

from typing import Any

import msgspec

from chukei.simulator.errors import SAFE, UNDETECTED

PROMPT_CATEGORIES: dict[str, Any] = {
    "hate": SAFE,
    "jailbreak": UNDETECTED,
    "self_harm": SAFE,
    "sexual": SAFE,
    "violence": SAFE,
}
PROMPT_FILTER = [{"prompt_index": 0, "content_filter_results": PROMPT_CATEGORIES}]
CATEGORIES: dict[str, Any] = dict.fromkeys(("hate", "self_harm", "sexual", "violence"), SAFE)
FULL_RESULTS: dict[str, Any] = {
    **CATEGORIES,
    "protected_material_code": UNDETECTED,
    "protected_material_text": UNDETECTED,
}
BLOCKED: dict[str, Any] = {**FULL_RESULTS, "violence": {"filtered": True, "severity": "medium"}}
# Not sorted, unlike every other chunk: prompt_index comes before content_filter_results in the recordings.
_FILTER_CHUNK: dict[str, Any] = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": PROMPT_FILTER,
}
FILTER_EVENT = b"data: " + msgspec.json.encode(_FILTER_CHUNK) + b"\n\n"

# The Responses API says the same in another order, as recorded in 2026.
_DETECTED_LAST = {"filtered": False, "detected": False}
RESPONSE_PROMPT: dict[str, Any] = {
    "self_harm": SAFE,
    "sexual": SAFE,
    "violence": SAFE,
    "jailbreak": _DETECTED_LAST,
    "hate": SAFE,
}
RESPONSE_COMPLETION: dict[str, Any] = {
    "hate": SAFE,
    "sexual": SAFE,
    "self_harm": SAFE,
    "violence": SAFE,
    "protected_material_text": _DETECTED_LAST,
    "protected_material_code": _DETECTED_LAST,
}
RESPONSE_BLOCKED: dict[str, Any] = {**RESPONSE_COMPLETION, "violence": BLOCKED["violence"]}
