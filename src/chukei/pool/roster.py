"""The deployments of a configuration as members of the pool, and what becomes of them when it changes. Pure."""

from collections.abc import Callable, Collection

from chukei.config import PoolSettings
from chukei.model import Deployment
from chukei.pool.balance import Tier
from chukei.pool.member import Member, Quota


class Roster:
    """The members by deployment and by address, and the quotas by name.

    ``leaving`` are members that are no longer configured, but that earlier requests may still use.
    """

    def __init__(self, settings: PoolSettings, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._draw = draw
        self.members: dict[Deployment, Member] = {}
        self.by_identity: dict[str, list[Member]] = {}
        self.quotas: dict[str, Quota] = {}
        self.leaving: set[Member] = set()

    def member(self, deployment: Deployment) -> Member:
        """Return the member of a configured deployment; create it if necessary."""
        member = self.members.get(deployment)
        if member is None:
            quota = self.quotas.setdefault(deployment.quota, Quota())
            member = Member(deployment, quota, self._settings, self._draw, named=True)
            self._add(member)
        return member

    def unconfigured(self, deployment: Deployment) -> Member:
        """Return a member for a deployment that a client named. It is not stored."""
        return Member(deployment, Quota(), self._settings, self._draw, named=False)

    @property
    def subjects(self) -> list[str]:
        """The possible subjects of other replicas' changes: every quota and every configured deployment."""
        return [*self.quotas, *(identity for identity in self.by_identity if identity not in self.quotas)]

    def configure(self, settings: PoolSettings, deployments: Collection[Deployment]) -> None:
        """Take over a changed configuration. A deployment with the same address keeps its member and so its state.

        Of several entries with one address, those with the same name keep theirs first.
        """
        self._settings = settings
        spare: dict[str, list[Member]] = {}
        for member in (*self.members.values(), *self.leaving):
            member.breaker.settings = settings
            spare.setdefault(member.deployment.identity, []).append(member)
        before = self.quotas
        self.quotas = {each.quota: before[each.quota] for each in deployments if each.quota in before}
        self.members, self.by_identity = {}, {}
        for same_name in (True, False):
            for deployment in deployments:
                left = spare.get(deployment.identity, []) if deployment not in self.members else []
                found = [each for each in left if each.deployment.name == deployment.name or not same_name]
                if found:
                    left.remove(found[0])
                    self._keep(found[0], deployment)
        self.leaving = {member for members in spare.values() for member in members}

    def _keep(self, member: Member, deployment: Deployment) -> None:
        member.deployment = deployment
        quota = self.quotas.get(deployment.quota)
        if quota is None:
            quota = self.quotas[deployment.quota] = member.quota.like()
        member.quota.members.remove(member)
        member.quota = quota
        quota.members.append(member)
        self._add(member)

    def _add(self, member: Member) -> None:
        self.members[member.deployment] = member
        self.by_identity.setdefault(member.deployment.identity, []).append(member)

    def drop(self, tiers: Collection[Tier[Member]]) -> None:
        """Forget tiers that no request uses any more, and the members that were only there."""
        for member in (*self.members.values(), *self.leaving):
            member.slots = [slot for slot in member.slots if slot.tier not in tiers]
        for member in [member for member in self.leaving if not member.slots]:
            self.leaving.discard(member)
            member.quota.members.remove(member)
