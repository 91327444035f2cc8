"""Redis, for what replicas share: quotas (``quota``, by scripts on a ``line``), and news of deployments (``board``)."""
