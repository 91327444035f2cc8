"""Configuration: read from a TOML file and the environment, checked as a whole, immutable. ``changes`` compares two."""

from chukei.config.changes import Changes, Reload, Reloaded, changes, without_restart
from chukei.config.load import load, wants_json
from chukei.config.reader import ConfigError, Problem
from chukei.config.settings import (
    NEEDS_RESTART,
    AdminSettings,
    AuthSettings,
    CallerSettings,
    CredentialSettings,
    EntraSettings,
    LedgerSettings,
    LogSettings,
    PolicySettings,
    PoolSettings,
    ReloadSettings,
    Secret,
    ServerSettings,
    Settings,
    SimulatorSection,
    StoreSettings,
    StreamSettings,
    UpstreamSettings,
)
from chukei.config.upstreams import SIMULATED_MODELS

__all__ = [
    "NEEDS_RESTART",
    "SIMULATED_MODELS",
    "AdminSettings",
    "AuthSettings",
    "CallerSettings",
    "Changes",
    "ConfigError",
    "CredentialSettings",
    "EntraSettings",
    "LedgerSettings",
    "LogSettings",
    "PolicySettings",
    "PoolSettings",
    "Problem",
    "Reload",
    "ReloadSettings",
    "Reloaded",
    "Secret",
    "ServerSettings",
    "Settings",
    "SimulatorSection",
    "StoreSettings",
    "StreamSettings",
    "UpstreamSettings",
    "changes",
    "load",
    "wants_json",
    "without_restart",
]
