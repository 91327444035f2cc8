"""Whose the objects are that a request names, and at which resource it is served."""

from collections.abc import Sequence
from typing import NamedTuple

from chukei.accounts.policy import OF_ALL
from chukei.accounts.stores import StoreAway
from chukei.config import Settings
from chukei.errors import CallerError, UpstreamError
from chukei.gateway.object_request import ObjectRequest, Services
from chukei.model import Deployment
from chukei.objects import answers, errors
from chukei.objects.looks import MOST_RESOURCES, Looks
from chukei.objects.registry import ObjectRecord
from chukei.objects.resources import Resources
from chukei.record import Attempt
from chukei.request.object_routes import AT_HOME, KINDS, LOOKS, ObjectRoute, is_part, path_of
from chukei.upstream.connect import Waits
from chukei.upstream.object_client import Asked, ObjectClient

LOOK_SECONDS = 10.0
"""Time limit of the question whether a resource keeps an object."""


CURSORS = ("after", "before")
"""Parameters of a list that name an object in it."""


class Wanted(NamedTuple):
    """An id in a request: its kind, the parameter that holds it, and whether it must be known to some resource.

    ``param`` is None for an id in the path.
    """

    kind: str
    id: str
    param: str | None
    needed: bool = True


class Homes:
    """Finds the homes of objects under one configuration. ``looks`` and the registry outlive it."""

    def __init__(self, settings: Settings, services: Services, client: ObjectClient, looks: Looks) -> None:
        self._settings = settings
        self._services = services
        self._client = client
        self._looks = looks
        self._registry = services.failover.objects
        self._resources = Resources(settings.models, settings.open)

    async def of(self, request: ObjectRequest) -> tuple[Deployment, ObjectRecord | None]:
        """Return where a request is served, and the home of what it names, if that has one.

        Raises:
            CallerError: 404, one of the ids does not exist, or is another caller's, or its resource is no longer
                configured; 400, they are at different homes; 429, too many unknown ids.
            Unavailable: a store that may know an id cannot be asked.
        """
        ids = request.route.ids
        for kind, id in ids:
            if not (KINDS[kind].may_be(id) if kind else is_part(id)):
                raise errors.not_found(kind, id)
        wanted = [Wanted(kind, id, None) for kind, id in ids if kind]
        wanted += [Wanted(each.kind, each.id, each.param, each.needed) for each in request.references]
        home: ObjectRecord | None = None
        for each, found in zip(wanted, await self.find(wanted, request), strict=True):
            if found is None:
                continue
            if home is not None and _endpoint(found) != _endpoint(home):
                raise errors.elsewhere(each.id, each.param or "id")
            home = home or found
        if home is None:
            return self._usual(request), None
        deployment = self._resources.at(home.identity)
        if deployment is None:
            raise errors.gone(wanted[0].id)
        return deployment, home

    async def find(self, wanted: Sequence[Wanted], request: ObjectRequest) -> list[ObjectRecord | None]:
        """Return what is known about the caller's own objects, after a look for those that no store knows."""
        registry, owners = self._registry, request.policy.owners
        if not wanted:
            return []
        try:
            records = await registry.find([each.id for each in wanted])
        except StoreAway:
            raise errors.objects_unavailable() from None
        found: list[ObjectRecord | None] = []
        for each, record in zip(wanted, records, strict=True):
            if record is None:
                found.append(await self._look(each, request) if each.needed else None)
                continue
            if record.owner not in ("", *owners):
                self._looks.spend(request.caller, each.id)
                raise _missing(each)
            self._check_change(each, record, request)
            if not record.owner:  # an earlier version recorded it
                registry.made(each.id, record._replace(owner=owners[0]))
            found.append(record)
        return found

    @staticmethod
    def _check_change(wanted: Wanted, record: ObjectRecord, request: ObjectRequest) -> None:
        """Refuse to change what the operator has made for all callers.

        Raises:
            CallerError: 403.
        """
        route, theirs = request.object, record.owner == OF_ALL != request.policy.owners[0]
        if theirs and wanted.param is None and not route.reads:
            raise errors.shared(wanted.id)

    async def _look(self, wanted: Wanted, request: ObjectRequest) -> ObjectRecord | None:
        """Ask a few resources whether one of them keeps an object.

        From then on it belongs to this caller. A file, a vector store and the like may be the operator's, for all
        callers: these belong to all.

        Raises:
            CallerError: 404, none of them does; 429, too many ids were unknown.
            UpstreamError: one of them cannot tell.
        """
        route, looks = LOOKS.get(wanted.kind), self._looks
        missing = _missing(wanted)
        if route is None:
            if wanted.param is None or self._settings.objects.unknown == "refuse":
                raise missing
            return None  # the resource will say whether it knows such an id
        if not KINDS[wanted.kind].may_be(wanted.id):
            if wanted.param is None:
                raise missing
            return None  # it is a caller's own data, such as metadata, or the resource will refuse it
        if not looks.spend(request.caller, wanted.id):
            raise missing
        if self._settings.objects.unknown == "refuse":
            raise missing
        first = self._keeper() if route.family not in AT_HOME else None
        path = path_of(route, ((wanted.kind, wanted.id),))
        for deployment in self._resources.each(request.policy.allows, first)[:MOST_RESOURCES]:
            if await self._keeps(Asked(route, deployment, path), request):
                owner = request.policy.owners[0] if route.family in AT_HOME else OF_ALL
                record = ObjectRecord(wanted.kind, identity_of(route, deployment), owner, None)
                self._registry.made(wanted.id, record)
                looks.found(request.caller, wanted.id)
                self._check_change(wanted, record, request)
                return record
        raise missing

    async def _keeps(self, asked: Asked, request: ObjectRequest) -> bool:
        waits = Waits(LOOK_SECONDS, 0.0, LOOK_SECONDS)
        attempt = Attempt(asked.deployment.name)
        try:
            opened = await self._client.ask(asked, request.exchange.record.request_id, attempt, waits)
        except UpstreamError as error:
            if error.status in (400, 404):
                return False
            raise
        opened.answer.abort()
        return True

    # Without a home.

    def _keeper(self) -> Deployment | None:
        """Return the deployment whose resource keeps files and the like."""
        model = self._settings.objects.model
        return self._services.pool.model(model).deployments[0] if model is not None else None

    def _usual(self, request: ObjectRequest) -> Deployment:
        """Return where a new object is made: at the keeper, or where the pool sends the caller's default model."""
        keeper = self._keeper()
        if request.object.family not in AT_HOME and keeper is not None:
            return keeper
        exchange, policy, pool = request.exchange, request.policy, self._services.pool
        name = policy.rules.default_model or self._settings.default_model or self._settings.objects.model
        if name is None or not policy.allows(name):
            name = next((each for each in pool.names if policy.allows(each)), name)
        model = pool.model(name, policy.allows)
        policy.check_model(model.name)
        exchange.record.model = model.name
        lease = pool.choose(model.name, exchange.started)
        lease.release(exchange.started)
        return lease.deployment

    # Lists.

    async def listing(self, request: ObjectRequest) -> list[Deployment]:
        """Return the resources whose lists are read, beginning with that of the object at the cursor."""
        kind = request.object.lists or ""
        given = [(name.partition("[")[0], value) for name, value in request.query]
        cursors = [Wanted(kind, value, name, needed=False) for name, value in given if name in CURSORS and value]
        found = await self.find(cursors, request)  # nobody may look around from another's object
        if request.object.family not in AT_HOME:
            keeper = self._keeper()
            return [keeper] if keeper is not None else []
        every = self._resources.each(request.policy.allows)
        home = self._resources.at(found[-1].identity) if found and found[-1] is not None else None
        places = [place for place, each in enumerate(every) if home and each.endpoint == home.endpoint]
        return every[places[0] :] if places else every

    async def own(
        self, entries: Sequence[answers.Json], request: ObjectRequest, deployment: Deployment
    ) -> list[answers.Json]:
        """Return those objects of a list that the caller may see, and learn the ids in them."""
        registry, owners, route = self._registry, request.policy.owners, request.object
        if not entries:
            return []
        try:
            records = await registry.find([entry["id"] for entry in entries])
        except StoreAway:
            raise errors.objects_unavailable() from None
        known = zip(entries, records, strict=True)
        mine = [entry for entry, record in known if record is not None and record.owner in owners]
        for entry in mine:
            for kind, id in answers.learnt(route, entry):
                registry.made(id, ObjectRecord(kind, identity_of(route, deployment), owners[0], None))
        return mine


def _missing(wanted: Wanted) -> CallerError:
    """Return the error for an unknown object; at a cursor it is that of a path."""
    return errors.not_found(wanted.kind, wanted.id, None if wanted.param in CURSORS else wanted.param)


def identity_of(route: ObjectRoute, deployment: Deployment) -> str:
    """Return the home of an object: a deployment, or the whole resource for what belongs to no model."""
    return deployment.identity if route.family in AT_HOME else deployment.resource


def _endpoint(record: ObjectRecord) -> str:
    return record.identity.rpartition("/")[0]
