"""Load balancing: choosing a deployment among many, and tracking the health of each.

pool      choosing, and a Lease for each request; the package's interface
models    models by name, with their deployments in tiers
balance   weighted choice among deployments of one priority; ring implements consistent hashing for affinity
health    the health of all deployments, from the outcome of requests and from other replicas
member    one deployment: the cool-down of its quota, its load, its latency
breaker   the circuit breaker, as one table of states
source    the caller or the content that provoked a failure; source_breakers what one source alone has met
busy      the caller's error when no deployment is available; status is the operator's view
"""

from chukei.pool.member import Member
from chukei.pool.pool import Lease, Pool
from chukei.pool.ring import digest
from chukei.pool.signals import retry_after
from chukei.pool.source import Source
from chukei.pool.status import DeploymentStatus
from chukei.pool.verdicts import Fault, Verdict, judge

__all__ = [
    "DeploymentStatus",
    "Fault",
    "Lease",
    "Member",
    "Pool",
    "Source",
    "Verdict",
    "digest",
    "judge",
    "retry_after",
]
