"""What the list of models says about each of them: OpenAI's fields, and in ``chukei`` what a page or a tool can use."""

import re
from collections.abc import Iterable

from chukei.azure import ALL_V1, ANY_OUTPUT_LIMIT, CHAT, MESSAGES, RESPONSES
from chukei.model import Deployment, Model

RESPONSES_SINCE = "2025-03-01"
"""The first dated version of the classic API that has the Responses API, in preview."""

# Families whose deployments usually have the name of the model. Those that Microsoft lists as served by the Responses
# API ("Use the Azure OpenAI Responses API"), and those that are no models for chat at all.
_WITH_RESPONSES = re.compile(r"(gpt-4o|gpt-4\.1|gpt-5|o[134])(?![a-z])(?!.*(audio|realtime|transcribe|tts|search))")
_OTHER_APIS = {
    re.compile(r"text-embedding|embed-|cohere-embed"): ("embeddings",),
    re.compile(r"gpt-image|dall-e|flux"): ("image_generation", "image_edit"),
    re.compile(r".*transcribe|whisper"): ("transcription", "translation"),
    re.compile(r".*-tts|tts"): ("speech",),
    re.compile(r".*realtime"): ("realtime",),
}


def described(model: Model, since: int, language: str) -> dict[str, object]:
    """Return a model as the list shows it. ``since`` is its creation in Unix time, ``language`` is the reader's tag."""
    told = {
        "description": model.descriptions.get(language.lower().partition("-")[0], model.description),
        "apis": model.apis or apis_of(model.deployments),
        "input": model.input or None,
        "context_tokens": model.context_tokens,
        "output_tokens": _output_tokens(model),
        "max_images": model.max_images,
        "failure": model.failure,
    }
    return {"id": model.name, "object": "model", "created": since, "owned_by": "chukei", "chukei": told}


def apis_of(deployments: Iterable[Deployment]) -> list[str]:
    """Return the APIs that all the deployments serve, as far as their APIs, versions and names tell."""
    first, *others = map(_apis_of, deployments)
    return [api for api in first if all(api in other for other in others)]


def _apis_of(deployment: Deployment) -> tuple[str, ...]:
    if deployment.api == "anthropic":
        return (MESSAGES.name,)
    name = deployment.deployment.lower()
    for family, apis in _OTHER_APIS.items():
        if family.match(name):
            return apis
    version = deployment.api_version
    recent = version is None or version in ALL_V1 or version >= RESPONSES_SINCE
    return (CHAT.name, RESPONSES.name) if recent and _WITH_RESPONSES.match(name) else (CHAT.name,)


def _output_tokens(model: Model) -> int | None:
    """Return the most tokens of an answer: a cap of the configuration holds whatever the model could do."""
    caps = [int(cap) for name, cap in (model.caps or {}).items() if name in ANY_OUTPUT_LIMIT]
    known = [*caps, *([model.output_tokens] if model.output_tokens is not None else [])]
    return min(known, default=None)


def language_of(accepted: bytes | None) -> str:
    """Return the tag of the first language of ``accept-language``; "" if there is none."""
    return (accepted or b"").decode("latin-1").partition(",")[0].partition(";")[0].strip()
