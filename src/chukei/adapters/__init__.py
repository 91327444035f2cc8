"""Adapters to the outside world: HTTP, Redis, databases, Azure identity, logs."""
