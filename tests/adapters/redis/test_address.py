"""Which URLs lead to Redis, and how a connection there begins."""

import ssl

import pytest
import trustme

from chukei.adapters.redis.address import address_of


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sesame",
        "http://:sesame@127.0.0.1",
        "redis://",
        "redis://:sesame@",
        "redis://:sesame/with@127.0.0.1",
        "redis://:sesame#with@127.0.0.1",
        "redis://:sesame@127.0.0.1:port",
        "redis://:sesame@127.0.0.1:99999",
        "redis://:sesame@127.0.0.1/one",
        "redis://:sesame@127.0.0.1?protocol=3",
        "redis://:sesame@127.0.0.1?ssl_ca_certs=x",
        "rediss://:sesame@127.0.0.1?ssl_unknown=x",
        "rediss://:sesame@127.0.0.1?socket_timeout=100",
        "rediss://:sesame@127.0.0.1?socket_timeout=",
        "rediss://:sesame@127.0.0.1?ssl_cert_reqs=perhaps",
        "rediss://:sesame@127.0.0.1?ssl_min_version=TLSv1.3",
        "rediss://:sesame@127.0.0.1?ssl_min_version=3",
        "rediss://:sesame@127.0.0.1?ssl_include_verify_flags=VERIFY_NOTHING",
        "unix:///sesame",
    ],
)
def test_a_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"^a Redis URL is redis://") as refusal:
        address_of(url)
    assert "sesame" not in str(refusal.value)
    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "host", "port", "greeting"),
    [
        ("redis://h", "h", 6379, []),
        ("redis://h:0/", "h", 6379, []),
        ("redis://:secret@h/0", "h", 6379, [("AUTH", "secret")]),
        ("redis://me:a%2Fb@h:7000/3", "h", 7000, [("AUTH", "me", "a/b"), ("SELECT", 3)]),
        ("redis://me@h", "h", 6379, [("AUTH", "me", "")]),
        ("redis://:secret@[::1]:7000/2/", "::1", 7000, [("AUTH", "secret"), ("SELECT", 2)]),
    ],
)
def test_an_address_says_how_to_begin(url: str, host: str, port: int, greeting: list[tuple[str | int, ...]]) -> None:
    address = address_of(url)
    assert (address.host, address.port, list(address.greeting)) == (host, port, greeting)
    assert address.tls() is None


def context_of(options: str) -> ssl.SSLContext:
    context = address_of(f"rediss://user:a%2Fb@host:6380?{options}").tls()
    assert context is not None
    return context


@pytest.mark.parametrize(
    ("options", "verifies", "checks_name"),
    [
        ("", ssl.CERT_REQUIRED, True),
        ("ssl_ca_certs=", ssl.CERT_REQUIRED, True),
        ("ssl_cert_reqs=optional", ssl.CERT_OPTIONAL, True),
        ("ssl_cert_reqs=none", ssl.CERT_NONE, False),
        ("ssl_cert_reqs=none&ssl_check_hostname=true", ssl.CERT_NONE, False),
        ("ssl_cert_reqs=required&ssl_cert_reqs=none", ssl.CERT_REQUIRED, True),
        ("ssl_check_hostname=False", ssl.CERT_REQUIRED, False),
        ("ssl_check_hostname=no", ssl.CERT_REQUIRED, False),
        ("ssl_check_hostname=yes", ssl.CERT_REQUIRED, True),
    ],
)
def test_whose_certificate_is_checked(options: str, verifies: ssl.VerifyMode, checks_name: bool) -> None:
    context = context_of(options)
    assert (context.verify_mode, context.check_hostname) == (verifies, checks_name)


def test_flags_version_and_ciphers_are_set() -> None:
    usual = ssl.create_default_context().verify_flags
    strict, chain = ssl.VerifyFlags.VERIFY_X509_STRICT, ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    context = context_of("ssl_include_verify_flags=[VERIFY_X509_STRICT,%20VERIFY_CRL_CHECK_CHAIN]")
    assert context.verify_flags == usual | strict | chain
    flags = f"ssl_include_verify_flags={chain.name}&ssl_exclude_verify_flags={strict.name},{chain.name}"
    assert context_of(flags).verify_flags == usual & ~strict & ~chain
    context = context_of(f"ssl_min_version={ssl.TLSVersion.TLSv1_3.value}&ssl_ciphers=ECDHE-RSA-AES256-GCM-SHA384")
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert "ECDHE-RSA-AES256-GCM-SHA384" in [cipher["name"] for cipher in context.get_ciphers()]
    assert "ECDHE-RSA-AES128-GCM-SHA256" not in [cipher["name"] for cipher in context.get_ciphers()]


def test_files_are_read_when_a_connection_is_made(authority: trustme.CA, ca_file: str) -> None:
    own = authority.issue_cert("relay")
    with own.private_key_and_cert_chain_pem.tempfile() as both, own.private_key_pem.tempfile() as key:
        for options in (f"ssl_certfile={both}", f"ssl_certfile={both}&ssl_keyfile={key}&ssl_password=x"):
            assert context_of(f"{options}&ssl_ca_certs={ca_file}").get_ca_certs()
    with pytest.raises(FileNotFoundError):
        context_of(f"ssl_certfile={both}")
    with pytest.raises(FileNotFoundError):
        context_of("ssl_keyfile=missing")
    address = address_of("rediss://host?ssl_ca_certs=missing")  # the file may come later
    with pytest.raises(FileNotFoundError):
        address.tls()
