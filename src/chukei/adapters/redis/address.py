"""A Redis URL: its address, the first commands of a connection, and its TLS."""

import ssl
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 6379

_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_FALSE = frozenset({"0", "F", "FALSE", "N", "NO"})
_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers"}
    | {"ssl_exclude_verify_flags", "ssl_include_verify_flags", "ssl_keyfile", "ssl_min_version", "ssl_password"}
)
"""TLS options in a URL. Names and values are those of redis-py, which users know."""


class Address(NamedTuple):
    """The address of a URL, and the first commands of a connection."""

    host: str
    port: int
    greeting: tuple[tuple[str | int, ...], ...]
    tls: Callable[[], ssl.SSLContext | None]
    """Makes a new context each time, because its files may have changed."""


def address_of(url: str) -> Address:
    """Parse a URL.

    Raises:
        ValueError: the URL is invalid.
    """
    try:
        return _parsed(url)
    except ValueError:
        pass  # its text is not passed on: it may quote a password as the port
    raise ValueError(
        "a Redis URL is redis://[user:password@]host[:port][/number], or rediss:// with TLS and its ssl_ options; "
        "special characters in the password must be percent-encoded"
    )


def _parsed(url: str) -> Address:
    parts = urlsplit(url)
    number = parts.path.strip("/") or "0"
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or not number.isdecimal() or parts.fragment:
        raise ValueError("not a Redis URL")
    greeting: list[tuple[str | int, ...]] = []
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user:
        greeting.append(("AUTH", user, password))
    elif password:
        greeting.append(("AUTH", password))
    if int(number):
        greeting.append(("SELECT", int(number)))
    tls = _tls(parts.query) if parts.scheme == "rediss" else _no_tls
    if tls is _no_tls and parts.query:
        raise ValueError("options without TLS")
    return Address(unquote(parts.hostname), parts.port or PORT, tuple(greeting), tls)


def _no_tls() -> None:
    return None


def _tls(query: str) -> Callable[[], ssl.SSLContext]:
    """Return a function that makes a context from a URL's options. If an option occurs twice, the first one counts.

    Raises:
        ValueError: an option or its value is unknown.
    """
    options = dict(reversed(parse_qsl(query)))
    if not (options.keys() <= _OPTIONS and all(name.startswith("ssl_") for name, _ in parse_qsl(query, True))):
        raise ValueError("an unknown option")
    verify = _VERIFY.get(options.get("ssl_cert_reqs", "required"))
    if verify is None:
        raise ValueError("an unknown requirement")
    check_name = options.get("ssl_check_hostname", "").upper() not in _FALSE and verify is not ssl.CERT_NONE
    version = ssl.TLSVersion(int(options["ssl_min_version"])) if "ssl_min_version" in options else None
    include, exclude = (_flags(options.get(f"ssl_{which}_verify_flags", "")) for which in ("include", "exclude"))

    def context() -> ssl.SSLContext:
        made = ssl.create_default_context()
        made.check_hostname, made.verify_mode = check_name, verify
        made.verify_flags = (made.verify_flags | include) & ~exclude
        ca_file, ca_path, ca_data = (options.get(f"ssl_ca_{what}") for what in ("certs", "path", "data"))
        if ca_file or ca_path or ca_data:
            made.load_verify_locations(ca_file, ca_path, ca_data)
        if "ssl_certfile" in options or "ssl_keyfile" in options:
            certificate = options.get("ssl_certfile", "")
            made.load_cert_chain(certificate, options.get("ssl_keyfile"), options.get("ssl_password"))
        if version is not None:
            made.minimum_version = version
        if "ssl_ciphers" in options:
            made.set_ciphers(options["ssl_ciphers"])
        return made

    return context


def _flags(names: str) -> ssl.VerifyFlags:
    """Parse flags such as ``[VERIFY_X509_STRICT, VERIFY_X509_PARTIAL_CHAIN]``."""
    known = ssl.VerifyFlags.__members__
    wanted = [name.strip() for name in names.strip("[]").split(",")] if names else []
    if not known.keys() >= set(wanted):
        raise ValueError("an unknown flag")
    return reduce(or_, (known[name] for name in wanted), ssl.VerifyFlags.VERIFY_DEFAULT)
