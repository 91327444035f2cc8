"""Which deployment answers: choosing among many, and remembering how each is doing.

pool      choosing, and a Lease for each request; the public face
models    names to models with their deployments in tiers
balance   who is next among deployments of one priority; ring sends what belongs together to one of them
health    how all of them are doing, from what became of requests and what other replicas say
member    one deployment: the cool-down of its quota, its work, its pace
breaker   when one is left alone and when it is tried again, as one table of states
source    who provoked a failure: a caller, or a content; source_breakers what one alone has met
busy      what a caller hears when there is none; status what an operator sees
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
