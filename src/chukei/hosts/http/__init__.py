"""HTTP/1.1 of the relay's own server, from bytes to the ports; docs/architecture.md explains it."""
