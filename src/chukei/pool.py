"""Which model is meant and which deployment answers for it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chukei.errors import CallerError
from chukei.model import Deployment, Model

# What Azure allows in a deployment's name, and the dots that some resources have. Dots alone would change a path.
_DEPLOYMENT = re.compile(r"(?!\.+$)[\w.-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, the deployment that was chosen for it, and that deployment's name on its resource."""

    model: Model
    deployment: Deployment

    @property
    def deployment_name(self) -> str:
        """What the resource calls the deployment."""
        return self.deployment.deployment


class Pool:
    """The models and their deployments. ``open`` serves any other name as the name of a deployment."""

    def __init__(self, models: Mapping[str, Model], *, default: str | None, open: Deployment | None) -> None:
        self._models = models
        self._default = default
        self._open = open

    @property
    def names(self) -> list[str]:
        """The models that clients may ask for, the default first."""
        names = list(self._models)
        if self._default is not None:
            names = [self._default, *(name for name in names if name != self._default)]
        return names

    @property
    def ready(self) -> bool:
        """Whether there is anything to choose from."""
        return bool(self._models) or self._open is not None

    def choose(self, asked: str | None) -> Choice:
        """Choose the deployment for a model's name, or for the default where none was asked for.

        Raises:
            CallerError: 400 where a name is needed or impossible, 404 where no such model exists.
        """
        name = asked if asked is not None else self._default
        if name is None:
            message = f"'model' is missing and this relay has no default model. {self._known()}"
            raise CallerError(400, "missing_model", message, param="model")
        model = self._models.get(name)
        if model is None:
            model = self._opened(name)
        return Choice(model, model.deployments[0])

    def _opened(self, name: str) -> Model:
        if self._open is None:
            message = f"There is no model {name[:80]!r} here. {self._known()}"
            raise CallerError(404, "model_not_found", message, param="model")
        if not _DEPLOYMENT.fullmatch(name):
            message = "'model' must be a deployment's name: letters, digits, dots, dashes and underscores."
            raise CallerError(400, "invalid_model", message, param="model")
        place = self._open
        return Model(name, (Deployment(place.name, place.endpoint, name, api_version=place.api_version),))

    def _known(self) -> str:
        return f"Known models: {', '.join(self.names)}." if self.names else "Send the name of a deployment."

    def __repr__(self) -> str:
        served = (f"{model.name}: {model.deployments[0].name}" for model in self._models.values())
        return f"<Pool [{' | '.join(served)}]{' any' if self._open else ''}>"
