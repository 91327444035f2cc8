"""Credentials: the relay's own for Azure, and the keys and tokens to verify those of callers."""
