"""What the relay is compared with."""

import os
import shutil
import subprocess
import tempfile
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


def nginx_version() -> str:
    """Return nginx's version, or that there is none."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        return "nginx: not here"
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().removeprefix("nginx version: ")
