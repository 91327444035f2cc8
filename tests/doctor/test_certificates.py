"""Judgements about certificates; tests/live/test_doctor.py presents real ones."""

import ssl

from tests.rows import rows

from chukei.doctor.certificates import Certificate, explained, verdict
from chukei.doctor.finding import Status

NOW = 1_800_000_000.0
LATER = "Jan 15 08:00:00 2028 GMT"


def issued(by: str, until: str = LATER, *names: str) -> Certificate:
    """Return a certificate as ``ssl`` describes it."""
    issuer = ((("organizationName", by),), (("commonName", "an authority"),))
    return Certificate({"issuer": issuer, "notAfter": until, "subjectAltName": [("DNS", name) for name in names]})


@rows(
    ("certificate", "host", "status", "seen"),
    [
        (issued("Microsoft Corporation"), "contoso.openai.azure.com", Status.OK, "valid for 365 days"),
        (issued("DigiCert Inc"), "contoso.openai.azure.com", Status.OK, "DigiCert"),
        (issued("Let's Encrypt"), "relay.example.com", Status.OK, "Let's Encrypt"),
        (issued("Zscaler Inc."), "relay.example.com", Status.WARNING, "decrypts the connection"),
        (issued("Contoso Web Gateway"), "contoso.openai.azure.com", Status.WARNING, "decrypts the connection"),
        (issued("Let's Encrypt", "Jan 20 08:00:00 2027 GMT"), "relay.example.com", Status.WARNING, "valid for 5 days"),
    ],
)
def test_valid_certificates(certificate: Certificate, host: str, status: Status, seen: str) -> None:
    level, text, remedy, _ = verdict(certificate, host, NOW)
    assert level is status
    assert seen in text
    assert bool(remedy) == (status is not Status.OK)


@rows(
    ("code", "shown", "seen", "remedy"),
    [
        (10, issued("Contoso"), "expired (issued by Contoso)", "renew"),
        (10, None, "expired", "renew"),
        (9, None, "not valid yet", "clock"),
        (23, None, "revoked", "replace"),
        (62, issued("Contoso", LATER, "a.example", "b.example"), "but for a.example, b.example", "names"),
        (62, issued("Contoso"), "but for no name", "names"),
        (64, None, "but for others", "names"),
        (19, issued("Netskope Inc"), "a proxy on the way decrypts", "exempt"),
        (20, issued("Contoso"), "unknown authority", "set THE_SETTING"),
        (18, None, "unknown authority", "set THE_SETTING"),
        (99, None, "not accepted: some words", "THE_SETTING"),
    ],
)
def test_refused_certificates(code: int, shown: Certificate | None, seen: str, remedy: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "some words"
    text, advice = explained(error, "x.example", shown, "THE_SETTING")
    assert seen in text
    assert remedy in advice
