"""Configuration: read once at the start from a TOML file and the environment, checked as a whole, then immutable."""

from chukei.config.load import load, log_format
from chukei.config.reader import ConfigError, Problem
from chukei.config.settings import (
    AdminSettings,
    AuditSettings,
    AuthSettings,
    CallerSettings,
    CredentialSettings,
    EntraSettings,
    LedgerSettings,
    LogSettings,
    MetricsSettings,
    PolicySettings,
    PoolSettings,
    Secret,
    ServerSettings,
    Settings,
    SimulatorSection,
    StoreSettings,
    StreamSettings,
    TelemetrySettings,
    UpstreamSettings,
)
from chukei.config.upstreams import SIMULATED_MODELS

__all__ = [
    "SIMULATED_MODELS",
    "AdminSettings",
    "AuditSettings",
    "AuthSettings",
    "CallerSettings",
    "ConfigError",
    "CredentialSettings",
    "EntraSettings",
    "LedgerSettings",
    "LogSettings",
    "MetricsSettings",
    "PolicySettings",
    "PoolSettings",
    "Problem",
    "Secret",
    "ServerSettings",
    "Settings",
    "SimulatorSection",
    "StoreSettings",
    "StreamSettings",
    "TelemetrySettings",
    "UpstreamSettings",
    "load",
    "log_format",
]
