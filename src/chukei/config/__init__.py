"""Configuration: read once at the start from a TOML file and the environment, checked as a whole, then immutable."""

from chukei.config.load import load
from chukei.config.reader import ConfigError, Problem
from chukei.config.settings import (
    AuthSettings,
    CredentialSettings,
    LogSettings,
    Secret,
    ServerSettings,
    Settings,
    SimulatorSection,
    StreamSettings,
    UpstreamSettings,
)
from chukei.config.upstreams import SIMULATED_MODELS

__all__ = [
    "SIMULATED_MODELS",
    "AuthSettings",
    "ConfigError",
    "CredentialSettings",
    "LogSettings",
    "Problem",
    "Secret",
    "ServerSettings",
    "Settings",
    "SimulatorSection",
    "StreamSettings",
    "UpstreamSettings",
    "load",
]
