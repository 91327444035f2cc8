"""Translation between a platform and the gateway. The gateway makes all decisions about requests."""
