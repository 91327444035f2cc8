"""Which model a session has, and where it is at a resource. Pure."""

import re

from chukei.accounts.policy import Policy
from chukei.azure import TRANSCRIPTION
from chukei.errors import CallerError
from chukei.model import Deployment, Model
from chukei.pool import Pool

_TRANSCRIBERS = re.compile("transcribe|whisper", re.IGNORECASE)


def name_at(model: Model, at: Deployment) -> str:
    """Return what a model is called at the resource of a deployment.

    Raises:
        CallerError: 400, the resource has no deployment of it.
    """
    for each in model.deployments:
        if each.endpoint == at.endpoint:
            return each.deployment
    message = f"The resource of this session has no deployment of {model.name[:80]!r}. "
    message += "A session that only transcribes may name it in its address."
    raise CallerError(400, "model_elsewhere", message, param="model")


def model_at(pool: Pool, name: str, at: Deployment) -> Model | None:
    """Return the model that has a deployment of this name at the resource of ``at``; None if there is none."""
    for model in map(pool.model, pool.names):
        if any((each.endpoint, each.deployment) == (at.endpoint, name) for each in model.deployments):
            return model
    return None


def transcriber_of(pool: Pool, policy: Policy) -> str | None:
    """Return the caller's first model that transcribes, as far as is known: for a session that names none."""
    return next(filter(lambda name: policy.allows(name) and _transcribes(pool.model(name)), pool.names), None)


def _transcribes(model: Model) -> bool:
    return TRANSCRIPTION in model.apis or any(_TRANSCRIBERS.search(each.deployment) for each in model.deployments)
