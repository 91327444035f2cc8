"""Products between a client and the relay: their signs, and what helps against what each of them does.

Sources: each product's reference, under the name of the setting. Times in the remedies are the products' defaults.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Symptom(StrEnum):
    """What something on the way does to a stream."""

    BUFFERING = "buffering"
    MERGING = "merging"
    COMPRESSION = "compression"
    CUT = "cut"
    IDLE = "idle"
    LATENCY = "latency"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Product:
    """A product. ``signs`` are patterns of header fields, ``hosts`` of names of hosts. A remedy is for a symptom."""

    name: str
    remedies: Mapping[Symptom, str]
    signs: Mapping[str, str] | None = None
    hosts: str = ""

    def on_the_way(self, host: str, headers: Mapping[str, str]) -> str:
        """Return the sign by which the product is recognised; empty if there is none."""
        for name, pattern in (self.signs or {}).items():
            value = headers.get(name)
            if value is None or (found := re.search(pattern, value, re.IGNORECASE)) is None:
                continue
            shown = found[0] if name == "set-cookie" else value[:60]  # a cookie's value may open a session
            return f"{name}: {shown}"
        return f"the name {host}" if self.hosts and re.search(self.hosts, host, re.IGNORECASE) else ""


BUFFERING, MERGING, COMPRESSION, CUT, IDLE, LATENCY, PROTOCOL = Symptom

PRODUCTS = (
    Product(
        "a Cloudflare quick tunnel",
        {
            # https://github.com/cloudflare/cloudflared/issues/1449
            BUFFERING: "use a named tunnel: a quick tunnel holds back streams that are asked for with GET, as this "
            "test does; answers to POST, as chats are, arrive as they are sent",
        },
        hosts=r"\.trycloudflare\.com$",
    ),
    Product(
        "Cloudflare",
        {
            BUFFERING: "add a Configuration Rule for this path with response body buffering none",
            COMPRESSION: "add a Compression Rule for this path that disables compression",
            IDLE: "keep the relay's heartbeat below 100 s, after which Cloudflare answers 524",
        },
        {"cf-ray": ".", "server": "^cloudflare"},
    ),
    Product(
        "Azure Front Door",
        {
            BUFFERING: "turn off caching on the route, and rules that rewrite bodies",
            COMPRESSION: "turn off compression, which is part of caching, on the route",
            IDLE: "raise the profile's origin response timeout (30 s by default, 240 s at most)",
        },
        {"x-azure-ref": "."},
        r"\.azurefd\.net$",
    ),
    Product(
        "Azure Application Gateway",
        {
            BUFFERING: "az network application-gateway update … --set "
            "globalConfiguration.enableResponseBuffering=false",
            IDLE: "raise the request time-out in the backend settings above the longest silence",
        },
        {"server": "^Microsoft-Azure-Application-Gateway"},
    ),
    Product(
        "Azure API Management",
        {
            BUFFERING: 'set <forward-request buffer-response="false"/>, remove validate-content and response caching, '
            "and turn off the logging of bodies; the Consumption tier cannot stream",
            IDLE: "keep the relay's heartbeat below 4 minutes, the idle limit of its load balancer",
        },
        {"ocp-apim-trace-location": ".", "ocp-apim-apiid": "."},
        r"\.azure-api\.net$",
    ),
    Product(
        "IIS with Application Request Routing",
        {
            BUFFERING: "set the proxy's response buffer threshold (responseBufferLimit) to 0",
            COMPRESSION: 'set doDynamicCompression="false" in <urlCompression>',
            IDLE: "raise the proxy's time-out in Application Request Routing above the longest silence",
        },
        {"x-powered-by": "ARR", "server": "^Microsoft-IIS"},
    ),
    Product(
        "Azure App Service or Functions",
        {IDLE: "keep silences below 230 s, the limit of its front end, which cannot be changed"},
        {"set-cookie": "ARRAffinity"},
        r"\.azurewebsites\.net$",
    ),
    Product(
        "Amazon CloudFront",
        {
            COMPRESSION: "turn off automatic compression (Compress) in the cache behaviour",
            IDLE: "raise the origin's response timeout (30 s by default)",
        },
        {"x-amz-cf-id": ".", "via": "cloudfront"},
    ),
    Product(
        "Amazon API Gateway",
        {
            BUFFERING: "turn on response streaming for this method, or go around API Gateway",
            IDLE: "raise the integration timeout (29 s by default), or go around API Gateway",
        },
        {"x-amz-apigw-id": ".", "apigw-requestid": "."},
    ),
    Product(
        "AWS Application Load Balancer",
        {IDLE: "raise idle_timeout.timeout_seconds (60 s by default)"},
        {"server": "^awselb", "set-cookie": "AWSALB"},
        r"\.elb\.amazonaws\.com$",
    ),
    Product(
        "Google Cloud load balancer",
        {
            CUT: "raise timeoutSec of the backend service (30 s by default), which covers the whole answer",
            IDLE: "raise timeoutSec of the backend service (30 s by default), which covers the whole answer",
        },
        {"via": r"1\.1 google"},
    ),
    Product(
        "Envoy",
        {
            BUFFERING: "remove the buffer filter from the route",
            COMPRESSION: "leave text/event-stream out of the compressor filter's content_type",
            CUT: "set timeout: 0s on the route; its default of 15 s covers the whole answer",
            IDLE: "raise idle_timeout on the route, or stream_idle_timeout",
        },
        {"server": "^(istio-)?envoy", "x-envoy-upstream-service-time": "."},
    ),
    Product(
        "Varnish or Fastly",
        {
            BUFFERING: "set beresp.do_stream = true, or return (pipe) for this path",
            COMPRESSION: "set beresp.do_gzip = false for text/event-stream",
            IDLE: "raise between_bytes_timeout (60 s by default)",
        },
        {"x-varnish": ".", "via": "varnish"},
    ),
    Product(
        "Apache httpd",
        {
            BUFFERING: "add flushpackets=on to ProxyPass",
            COMPRESSION: "SetEnv no-gzip 1 for this path",
            IDLE: "raise ProxyTimeout (60 s by default)",
            PROTOCOL: "remove force-proxy-request-1.0 and downgrade-1.0",
        },
        {"server": "^Apache"},
    ),
    Product(
        "Caddy",
        {
            BUFFERING: "set flush_interval -1 in reverse_proxy",
            COMPRESSION: "leave text/event-stream out of encode's match",
            IDLE: "raise read_timeout of reverse_proxy's transport",
        },
        {"server": "^Caddy", "via": "Caddy"},
    ),
    Product(
        "Kong",
        {BUFFERING: "set response_buffering to false on the route", IDLE: "raise read_timeout of the service"},
        {"via": "kong", "x-kong-proxy-latency": "."},
    ),
    Product(
        "a forward proxy (Squid)",
        {BUFFERING: "go around the proxy for this host (NO_PROXY)", IDLE: "raise read_timeout, or go around it"},
        {"via": "squid", "x-squid-error": "."},
    ),
    Product(
        "nginx",
        {
            BUFFERING: "set proxy_buffering off, and remove proxy_ignore_headers X-Accel-Buffering; for ingress-nginx "
            "the annotation proxy-buffering",
            COMPRESSION: "set gzip off (and brotli off), or leave text/event-stream out of gzip_types",
            IDLE: "raise proxy_read_timeout (60 s by default), for instance to 300s",
            PROTOCOL: "set proxy_http_version 1.1",
        },
        {"server": "nginx|openresty|tengine"},
    ),
)
"""Products that name themselves. nginx comes last: it is also a part of others."""

ANYBODY = {
    BUFFERING: "turn off response buffering in the proxies and gateways in front of the relay",
    MERGING: "turn off response buffering in the proxies and gateways in front of the relay",
    COMPRESSION: "turn off compression of text/event-stream in the proxies and gateways in front of the relay",
    CUT: "raise the time limits of the proxies and gateways in front of the relay; see the relay's log, too",
    IDLE: "raise the idle limits of the proxies and gateways in front of the relay above the longest silence",
    LATENCY: "measure again from a machine nearer to the relay, to see which part of the way is slow",
    PROTOCOL: "let the proxies in front of the relay speak HTTP/1.1 to clients",
}
"""Remedies for products that do not name themselves, such as HAProxy, Traefik and firewalls."""


def recognised(host: str, headers: Mapping[str, str]) -> list[tuple[Product, str]]:
    """Return the products that name themselves in an answer, each with its sign."""
    found = ((product, product.on_the_way(host, headers)) for product in PRODUCTS)
    return [(product, sign) for product, sign in found if sign]


def remedy(symptom: Symptom, products: Sequence[tuple[Product, str]]) -> str:
    """Return the likely culprits of a symptom with their remedies, else the general remedy."""
    wanted = (symptom, Symptom.BUFFERING) if symptom is Symptom.MERGING else (symptom,)
    parts = []
    for product, sign in products:
        text = next((product.remedies[each] for each in wanted if each in product.remedies), None)
        if text is not None:
            parts.append(f"probably {product.name} ({sign}): {text}")
    return "; ".join(parts) or ANYBODY[symptom]
