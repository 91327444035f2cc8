"""Thin translations between a platform and the gateway; no decisions about requests are made here."""
