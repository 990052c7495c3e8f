"""Which certificates are trusted: those of the system, of a file, or of the authority with a fingerprint."""

import hashlib
import hmac
import re
import socket
import ssl
from typing import Any

from pinchpoint.errors import StoreRefused, UsageError

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_DER = 2  # of OpenSSL: ssl._ssl.ENCODING_DER


def check_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as 64 hexadecimal digits. Raises: UsageError.

    >>> check_fingerprint("AA:" * 31 + "AA") == "aa" * 32
    True
    """
    digits = text.replace(":", "").strip().lower()
    if not _FINGERPRINT.fullmatch(digits):
        raise UsageError(f"ca_fingerprint: expected the 64 hexadecimal digits of a SHA-256 fingerprint, got {text[:80]!r}; "
                         "print it with: openssl x509 -fingerprint -sha256 -noout -in ca.crt")
    return digits


def context_of_file(ca_file: str | None) -> ssl.SSLContext:
    """Trust the authorities of a file, those of the system without one.

    Raises: UsageError when the file holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"ca_file: {ca_file} holds no certificate in PEM: {error}") from error


def context_of_fingerprint(host: str, port: int, fingerprint: str, timeout_s: float) -> ssl.SSLContext:
    """Ask the server for its chain, and trust the one certificate in it that has the fingerprint.

    The chain itself proves nothing; the connection made with the context is then checked as with a file. Where the fingerprint
    is that of the server's own certificate, the certificate says nothing that a name could add.

    Raises: OSError when the server cannot be reached; StoreRefused when its chain holds no such certificate.
    """
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, port), timeout_s) as raw, asking.wrap_socket(raw, server_hostname=host) as secure:
        chain = _chain(secure)
    for place, certificate in enumerate(chain):
        if hmac.compare_digest(hashlib.sha256(certificate).hexdigest(), fingerprint):
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.load_verify_locations(cadata=certificate)
            if place == 0:
                trusting.check_hostname = False
                trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            return trusting
    raise StoreRefused(f"no certificate that {host}:{port} shows has the fingerprint {fingerprint[:16]}…. Compare it with: "
                       "openssl x509 -fingerprint -sha256 -noout -in ca.crt, or name the file with ca_file")


def _chain(secure: ssl.SSLSocket) -> list[bytes]:
    """The certificates a server shows, its own first, DER."""
    get: Any = getattr(secure, "get_unverified_chain", None)  # from Python 3.13 on
    if get is not None:
        return [bytes(one) for one in get()]
    hidden: Any = getattr(secure, "_sslobj", None)
    if hidden is None or not hasattr(hidden, "get_unverified_chain"):
        own = secure.getpeercert(binary_form=True)
        return [own] if own else []
    return [one.public_bytes(_DER) for one in hidden.get_unverified_chain()]
