"""Which deployment answers: choosing among many, and remembering how each is doing.

pool      names to models, choosing, what became of a request; the public face
balance   who is next among deployments of one priority; ring keeps what belongs together together
member    one deployment: its breaker, the cool-down of its quota, its work, its pace
signals   whose affair a failure is, and when to come back
busy      what a caller hears when there is none
"""

from chukei.pool.pool import DeploymentStatus, Lease, Pool
from chukei.pool.ring import digest
from chukei.pool.signals import Fault, Verdict, judge, retry_after

__all__ = ["DeploymentStatus", "Fault", "Lease", "Pool", "Verdict", "digest", "judge", "retry_after"]
