"""What the gateway works with, from the first stage of a request to the last."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chukei.accounts.admission import Admission
from chukei.accounts.policy import Policies
from chukei.callers.gatekeeper import Gatekeeper
from chukei.gateway.pages import Pages
from chukei.gateway.scrape import Scrape
from chukei.gateway.tracing import Tracing
from chukei.pool import Pool
from chukei.ports import Audit, Clock, HoldStore, Hook, Peers
from chukei.upstream.failover import Failover

if TYPE_CHECKING:  # it is imported where it is configured
    from chukei.admin.api import Admin
    from chukei.objects.jobs import Jobs


@dataclass(frozen=True, slots=True)
class Services:
    """What the gateway works with; the application wires it. ``wall`` returns Unix time."""

    gatekeeper: Gatekeeper
    policies: Policies
    admission: Admission
    pool: Pool
    failover: Failover
    pages: Pages
    hooks: Sequence[Hook]
    clock: Clock
    wall: Clock
    admin: "Admin | None" = None
    tracing: Tracing = field(default_factory=Tracing)
    scrape: Scrape | None = None
    audit: Audit | None = None
    jobs: "Jobs | None" = None
    peers: Peers | None = None
    holds: HoldStore | None = None
