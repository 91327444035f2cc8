"""The configured deployments, found by what is known about an object. Pure."""

from collections.abc import Callable, Mapping

from chukei.model import Deployment, Model


class Resources:
    """The deployments of all models, by their identity and by the endpoint of their resource."""

    def __init__(self, models: Mapping[str, Model], open: Deployment | None = None) -> None:
        self._models = models
        self._open = open
        every = [deployment for model in models.values() for deployment in model.deployments]
        self._by_identity = {deployment.identity: deployment for deployment in reversed(every)}
        self._by_endpoint = {deployment.endpoint: deployment for deployment in reversed(every)}
        if open is not None:
            self._by_endpoint.setdefault(open.endpoint, open)

    def at(self, identity: str) -> Deployment | None:
        """Return the deployment of an identity, else another one of the same resource; None if there is none."""
        return self._by_identity.get(identity) or self._by_endpoint.get(identity.rpartition("/")[0])

    def each(self, allows: Callable[[str], bool], first: Deployment | None = None) -> list[Deployment]:
        """Return a deployment of each resource with a model that ``allows`` permits; that of ``first`` comes first."""
        found = {first.endpoint: first} if first is not None else {}
        for name, model in self._models.items():
            if allows(name):
                for deployment in model.deployments:
                    found.setdefault(deployment.endpoint, deployment)
        if self._open is not None:
            found.setdefault(self._open.endpoint, self._open)
        return list(found.values())
