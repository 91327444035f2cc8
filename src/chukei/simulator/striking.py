"""Which faults apply to a request: those of the settings and those in a deployment's name, for the nth request."""

from __future__ import annotations

import random
from collections import OrderedDict

from chukei.simulator.azure import model_error, recorded_error
from chukei.simulator.calls import Filter
from chukei.simulator.faults import Fault, FaultSpecError, parse, parse_deployment
from chukei.simulator.settings import SimulatorSettings

COUNTED = 4096  # prompts and deployments whose requests are counted; the oldest are forgotten


class Striking:
    """The faults of a resource, and how often each deployment was asked."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._configured = {name: parse(spec) for name, spec in settings.faults.items()}
        self._strikes = Tally()

    def faults_of(self, deployment: str) -> tuple[str, tuple[Fault, ...]]:
        """Return the deployment's name without its faults, and the faults; ApiError if it does not exist."""
        configured = self._configured.get(deployment)
        try:
            name, faults = (deployment, configured) if configured is not None else parse_deployment(deployment)
        except FaultSpecError as error:
            raise model_error(404, f"{error}.", code="DeploymentNotFound") from None
        known = self._settings.deployments
        if known and name and name not in known and deployment not in known and configured is None:
            raise recorded_error("404")
        return name, faults

    def striking(self, deployment: str) -> tuple[str, tuple[Fault, ...]]:
        """Return the deployment's name without its faults, and those that apply to this request."""
        name, faults = self.faults_of(deployment)
        return name, self._count(deployment, faults)

    def _count(self, name: str, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        if not faults:
            return ()
        nth = self._strikes.count(name)
        dice = random.Random(f"{self._settings.seed}:{name}:{nth}")  # noqa: S311
        return tuple(
            fault
            for fault in faults
            if (fault.times is None or nth < fault.times)
            and (fault.percent is None or dice.random() * 100 < fault.percent)
        )

    def refusing(self, operation: str, deployment: str | None) -> tuple[Fault, ...]:
        """Return the faults that refuse a handshake of a WebSocket. They are counted apart from those of its turns."""
        faults = self.faults_of(deployment)[1] if deployment else self._configured.get(operation, ())
        refusals = tuple(fault for fault in faults if fault.kind.stage == "instead")
        return self._count(f"{operation} {deployment}", refusals)

    def of_operation(self, operation: str) -> tuple[Fault, ...]:
        """Return the faults that apply to a request which names no deployment: the settings may have some."""
        return self.striking(operation)[1] if operation in self._configured else ()


def filter_of(faults: tuple[Fault, ...]) -> Filter | None:
    """Return what the content filter does to the completion; None if no fault asks for it."""
    for fault in faults:
        if fault.name == "filter-completion":
            return Filter("blocks", int(fault.values[0] or 0))
        if fault.name == "filter-async":
            return Filter("asynchronous")
    return None


def limit_of(faults: tuple[Fault, ...]) -> int | None:
    """Return the most tokens of an answer; None if no fault asks for a limit."""
    return next((int(fault.values[0] or 0) for fault in faults if fault.name == "length"), None)


class Tally:
    """Counts by key, for a bounded number of keys."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def count(self, key: str) -> int:
        """Return the previous count of the key, and increase it."""
        before = self._counts.pop(key, 0)
        self._counts[key] = before + 1
        if len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        return before
