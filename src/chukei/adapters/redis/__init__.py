"""Redis, for state that replicas share: quotas (``quota``, scripts on a ``line``) and deployments (``board``)."""
