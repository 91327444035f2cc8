"""The models that clients may request, each with its deployments in tiers."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

from chukei.errors import CallerError
from chukei.model import Deployment, Model
from chukei.pool.balance import Tier
from chukei.pool.member import Member

# Azure's characters of a deployment's name, and dots, which some resources allow. Dots alone would change the path.
_DEPLOYMENT = re.compile(r"(?!\.+$)[\w.-]{1,128}", re.ASCII)

MOST_OPENED = 256
"""Deployments remembered of a resource that serves any name; the bound is needed because clients choose the names."""


class ModelTiers:
    """A model and its deployments in tiers, the best tier first. Deployments of weight 0 are in no tier.

    ``deployments`` has each member's deployment as the model's configuration describes it.
    """

    __slots__ = ("deployments", "members", "model", "tiers")

    def __init__(self, model: Model, members: Sequence[Member], draw: Callable[[], float]) -> None:
        self.model = model
        self.members = members
        self.deployments = {member: member.deployment for member in members}
        ranked: dict[int, list[Member]] = {}
        for member in members:
            if member.deployment.weight:
                ranked.setdefault(member.deployment.priority, []).append(member)
        self.tiers = [Tier(ranked[priority], draw) for priority in sorted(ranked)]

    @property
    def available(self) -> bool:
        """Whether any deployment can take a request."""
        return any(tier.available for tier in self.tiers)


class Models:
    """Finds models by name. ``open`` is a resource that serves any other name as a deployment's name.

    ``before`` are the models before a reload. If the same resource is open, the deployments that clients named stay.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        default: str | None,
        open: Deployment | None,
        member: Callable[[Deployment], Member],
        unconfigured: Callable[[Deployment], Member],
        draw: Callable[[], float],
        before: "Models | None" = None,
    ) -> None:
        self._default = default
        self.open = open
        self._unconfigured = unconfigured
        self._draw = draw
        self._opened: OrderedDict[str, ModelTiers] = (
            before._opened if before is not None and before.open == open else OrderedDict()
        )
        self._named = {
            name: ModelTiers(model, [member(deployment) for deployment in model.deployments], draw)
            for name, model in models.items()
        }

    @property
    def named(self) -> list[ModelTiers]:
        """The configured models."""
        return list(self._named.values())

    @property
    def names(self) -> list[str]:
        """The names of the configured models, the default first."""
        names = list(self._named)
        if self._default is not None:
            names = [self._default, *(name for name in names if name != self._default)]
        return names

    @property
    def default(self) -> list[ModelTiers]:
        """The default model; if there is none, all configured models."""
        served = self._named.get(self._default or "")
        return [served] if served is not None else list(self._named.values())

    def __iter__(self) -> Iterator[ModelTiers]:
        yield from self._named.values()
        yield from (served for name, served in self._opened.items() if name not in self._named)

    def model(self, asked: str | None, may_see: Callable[[str], bool] = lambda _: True) -> Model:
        """Return the model of a name, or the default if ``asked`` is None. A name for ``open`` is not stored.

        ``may_see`` tells which models an error message may list.

        Raises:
            CallerError: 400 if a name is required or invalid, 404 if no such model exists.
        """
        name = asked if asked is not None else self._default
        if name is None:
            message = f"'model' is missing and this relay has no default model. {self._hint(may_see)}"
            raise CallerError(400, "missing_model", message, param="model")
        served = self._named.get(name) or self._opened.get(name)
        return served.model if served is not None else self._open_model(name, may_see)

    def find(self, asked: str | None) -> ModelTiers:
        """Return the model of a name with its deployments.

        Raises:
            CallerError: see ``model``.
        """
        model = self.model(asked)
        served = self._named.get(model.name)
        if served is not None:
            return served
        served = self._opened.get(model.name)
        if served is None:
            served = ModelTiers(model, [self._unconfigured(model.deployments[0])], self._draw)
            self._opened[model.name] = served
            if len(self._opened) > MOST_OPENED:
                self._opened.popitem(last=False)
        self._opened.move_to_end(model.name)
        return served

    def _open_model(self, name: str, may_see: Callable[[str], bool]) -> Model:
        place = self.open
        if place is None:
            message = f"There is no model {name[:80]!r} here. {self._hint(may_see)}"
            raise CallerError(404, "model_not_found", message, param="model")
        if not _DEPLOYMENT.fullmatch(name):
            message = "'model' must be a deployment's name: letters, digits, dots, dashes and underscores."
            raise CallerError(400, "invalid_model", message, param="model")
        return Model(name, (Deployment(place.name, place.endpoint, name, api_version=place.api_version),))

    def _hint(self, may_see: Callable[[str], bool]) -> str:
        names = [name for name in self.names if may_see(name)]
        if names:
            return f"Known models: {', '.join(names)}."
        hidden = self._named and self.open is None
        return "There is none that you may use." if hidden else "Send the name of a deployment."
