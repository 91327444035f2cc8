"""Selects the proxy for an address by the variables that curl, Python and Azure's tools share.

There is no standard for NO_PROXY. The relay supports ``*``, a host, a domain with or without a leading dot (itself and
its subdomains), either with a port, and an address block such as 10.0.0.0/8. Loopback never uses a proxy.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit


def proxy_for(endpoint: SplitResult, proxies: Mapping[str, str]) -> SplitResult | None:
    """Return the proxy to use for an endpoint, or None for a direct connection."""
    given = proxies.get(endpoint.scheme)
    host = endpoint.hostname or ""
    port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
    if given is None or _is_loopback(host) or _bypassed(host, port, proxies.get("no", "")):
        return None
    return urlsplit(given if "://" in given else f"http://{given}")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or _in_block(host, "127.0.0.0/8") or _in_block(host, "::1/128")


def _bypassed(host: str, port: int, patterns: str) -> bool:
    return any(_matches(host, port, pattern.strip().lower()) for pattern in patterns.split(",") if pattern.strip())


def _matches(host: str, port: int, pattern: str) -> bool:
    if pattern == "*":
        return True
    if "/" in pattern:
        return _in_block(host, pattern)
    name, colon, wanted = pattern.rpartition(":")
    if colon and wanted.isdigit() and "]" not in wanted and name.count(":") == 0:
        if int(wanted) != port:
            return False
        pattern = name
    pattern = pattern.removeprefix("*").strip("[]")
    domain = pattern.lstrip(".")
    return host == domain or host.endswith("." + domain)


def _in_block(host: str, block: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(block, strict=False)
    except ValueError:
        return False
