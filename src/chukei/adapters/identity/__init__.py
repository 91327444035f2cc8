"""Credentials: the relay's own towards Azure, and what is needed to know those of callers."""
