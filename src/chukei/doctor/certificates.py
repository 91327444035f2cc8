"""Certificates: who issued one, until when it is valid, and what is wrong with it."""

import re
import ssl
from collections.abc import Mapping
from typing import Any

from chukei.doctor.finding import Status

SOON_DAYS = 14
"""Days before its end from which a certificate is about to expire: automatic renewals come earlier."""

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""

_INSPECTORS = re.compile(
    r"zscaler|netskope|fortinet|fortigate|palo alto|blue ?coat|symantec|sophos|umbrella|forcepoint|"
    r"check ?point|mcafee|skyhigh|kaspersky|avast|bitdefender|eset|mitmproxy|charles|fiddler|burp|cato networks|"
    r"barracuda|watchguard",
    re.IGNORECASE,
)
"""Issuers that are products for the inspection of TLS."""

_AZURE = re.compile(r"\.azure\.(com|us|cn)$")
_AZURES_ISSUERS = re.compile(r"microsoft|digicert", re.IGNORECASE)


class Certificate:
    """The relevant parts of a certificate, from ``ssl``'s description of it."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self.issuer = self._name(described.get("issuer", ()))
        self.subject = self._name(described.get("subject", ()))
        self.names = [str(value) for _, value in described.get("subjectAltName", ())]
        self.expires = ssl.cert_time_to_seconds(described["notAfter"]) if "notAfter" in described else None

    @staticmethod
    def _name(parts: Any) -> str:
        fields = {str(key): str(value) for part in parts for key, value in part}
        return fields.get("organizationName") or fields.get("commonName") or "an unknown issuer"

    @property
    def inspected(self) -> bool:
        """Whether its issuer is a product for the inspection of TLS."""
        return _INSPECTORS.search(self.issuer) is not None


def verdict(certificate: Certificate, host: str, now: float) -> tuple[Status, str, str, float]:
    """Judge a valid certificate: the status, what was seen, the remedy, and the days until it expires."""
    days = round(((certificate.expires or now) - now) / 86_400, 1)
    seen = f"certificate of {certificate.issuer}, valid for {days:.0f} days"
    if certificate.inspected or (_AZURE.search(host) and not _AZURES_ISSUERS.search(certificate.issuer)):
        remedy = "exempt this host from TLS inspection, which sees every prompt and often buffers streams"
        return Status.WARNING, f"{seen}: a proxy on the way decrypts the connection", remedy, days
    if days < SOON_DAYS:
        return Status.WARNING, seen, "renew the certificate, and see why that did not happen by itself", days
    return Status.OK, seen, "", days


# By the codes of OpenSSL (X509_V_ERR_…, "openssl verify", section "Diagnostics").
_EXPIRED, _NOT_YET, _REVOKED = 10, 9, 23
_OTHER_NAME = frozenset({62, 64})
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})


def explained(error: ssl.SSLCertVerificationError, host: str, shown: Certificate | None, trust: str) -> tuple[str, str]:
    """Return what is wrong with a certificate, and the remedy. ``trust`` names the setting for more authorities."""
    code, issuer = error.verify_code, f" (issued by {shown.issuer})" if shown is not None else ""
    if code == _EXPIRED:
        return (
            f"the certificate of {host} has expired{issuer}",
            "renew it on the server, and look at this machine's clock",
        )
    if code == _NOT_YET:
        return (
            f"the certificate of {host} is not valid yet{issuer}",
            "look at this machine's clock: it is probably slow",
        )
    if code == _REVOKED:
        return f"the certificate of {host} was revoked{issuer}", "replace it on the server"
    if code in _OTHER_NAME:
        names = ", ".join(shown.names[:4]) if shown is not None else "others"
        remedy = "use one of these names in the address, or get a certificate for this one"
        return f"the certificate is not for {host} but for {names or 'no name'}", remedy
    if shown is not None and shown.inspected:
        remedy = f"exempt this host from TLS inspection, or put that proxy's authority into a PEM file and set {trust}"
        return f"a proxy on the way decrypts the connection{issuer}", remedy
    if code in _UNKNOWN_ISSUER:
        remedy = f"put the certificate of that authority into a PEM file and set {trust}; a server must send its "
        return f"the certificate of {host} is from an unknown authority{issuer}", f"{remedy}intermediate certificates"
    return f"the certificate of {host} is not accepted: {error.verify_message}{issuer}", f"replace it, or set {trust}"


def presented(raw: bytes | None) -> ssl.SSLContext:
    """Return a context for looking at a certificate that was refused. Nothing is sent over such a connection.

    Python describes only verified certificates. So the first look takes the certificate's bytes, and the second one
    takes ``raw``, these bytes, as its own authority.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if raw is None:
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(cadata=raw)
    flags = context.verify_flags | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags = ssl.VerifyFlags(int(flags) | _NO_CHECK_TIME)
    return context
