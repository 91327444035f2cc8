"""Log lines about changes of deployments, for the operator: one for each change, not for each request."""

import logging

from chukei.model import Change, Condition, Deployment
from chukei.pool.verdicts import TABLE, Fault

logger = logging.getLogger("chukei.pool")

# Failures that an operator must fix.
_TO_MEND = frozenset(row.kind for row in TABLE if row.fault is Fault.MISCONFIGURED)


def log_change(deployment: Deployment, change: Change) -> None:
    """Log a change that this relay has detected."""
    name, seconds = deployment.name, change.seconds
    only = f", for {change.only} only" if change.only is not None else ""
    if change.condition is Condition.CLOSED:
        logger.info("deployment %s answers again%s", name, only)
    elif change.condition is Condition.COOLING:
        logger.info("deployment %s is busy (%s) and left alone for %.1f s%s", name, change.why, seconds, only)
    elif change.why in _TO_MEND:
        logger.error("deployment %s is misconfigured (%s) and taken out for %.0f s%s", name, change.why, seconds, only)
    else:
        logger.warning("deployment %s fails (%s) and is left alone for %.1f s%s", name, change.why, seconds, only)
