"""``[upstream]``: connections to Azure, their proxies, and what of clients' requests passes."""

from chukei.azure import PREVIEWS, may_pass
from chukei.config.endpoints import split_address
from chukei.config.reader import Reader
from chukei.config.sections import read_section
from chukei.config.settings import UpstreamSettings


def read_upstream(table: Reader) -> UpstreamSettings:
    """Read ``[upstream]``."""
    ca_file = read_file_name(table, "ca_file", "a PEM file of extra certificate authorities")
    return read_section(
        table,
        UpstreamSettings,
        ca_file=ca_file,
        proxies=_proxies,
        pass_headers=_pass_headers,
        pass_versions=_pass_versions,
    )


def _pass_headers(table: Reader) -> tuple[str, ...]:
    names = tuple(name.lower() for name in table.strings("pass_headers"))
    for name in [name for name in names if not may_pass(name)]:
        why = "is no header field that may pass: it is none, or carries a credential or an address, belongs to one"
        table.problem("pass_headers", f"{name!r} {why} connection, or chooses a deployment, a quota or an account")
    return names


def _pass_versions(table: Reader) -> tuple[str, ...]:
    versions = table.strings("pass_versions")
    for version in [version for version in versions if version not in PREVIEWS]:
        table.problem("pass_versions", f"{version!r} is not one of {', '.join(PREVIEWS)}; dated versions need no leave")
    return versions


def read_file_name(table: Reader, key: str, what: str) -> str | None:
    """Read the name of a file, which must be readable; ``what`` says what it is."""
    name = table.string(key)
    if name and table.document.content(name) is None:
        table.problem(key, f"{name} is not a readable file; give {what}")
    return name


def _proxies(table: Reader) -> dict[str, str]:
    """Read HTTPS_PROXY, HTTP_PROXY and NO_PROXY in upper or lower case; under CGI ignore HTTP_PROXY in upper case."""
    environment, found = table.document.environment, {}
    for scheme in ("http", "https", "no"):
        name = f"{scheme}_proxy"
        value = environment.get(name) or environment.get(name.upper())
        if not value or (name == "http_proxy" and "REQUEST_METHOD" in environment and name not in environment):
            continue
        if scheme != "no":
            parts = split_address(value if "://" in value else f"http://{value}")
            if parts is None or parts.scheme != "http" or not parts.hostname:
                table.problem(
                    name, f"the variable {name.upper()} must be an http:// address of a proxy that knows CONNECT"
                )
                continue
        found[scheme] = value
    return found
