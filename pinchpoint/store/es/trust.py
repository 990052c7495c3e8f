"""Whom to trust over TLS: an authority by its file or by its fingerprint, always with the whole check of chain and name."""

import hashlib
import socket
import ssl
import urllib.parse
from pathlib import Path

from pinchpoint.errors import StoreRefused
from pinchpoint.store.es.address import PREFIX, Access

_TIMEOUT_S = 10.0
_PEM = ssl.PEM_HEADER


def context(server: str, access: Access) -> ssl.SSLContext | None:
    """What a client of a server trusts; None for the authorities that the system trusts.

    A fingerprint names the authority: its certificate is taken from the file, else from what the server shows, and then the chain
    is checked against it. The client's own option looks only whether the fingerprint is somewhere in the chain, with the check of
    signatures off: seen with elastic-transport 8.17, a server whose forged authority has the same name gets in, and gets the password.

    Raises: StoreRefused when no certificate has the fingerprint or the file holds none; OSError, ssl.SSLError when the server does not
    show its certificates.
    """
    if access.ca_file is None and access.ca_fingerprint is None:
        return None
    shown = _of_file(access.ca_file) if access.ca_file is not None else _of_server(server)
    trusted = [der for der in shown if access.ca_fingerprint in (None, hashlib.sha256(der).hexdigest())]
    if not trusted:
        where = access.ca_file or server
        raise StoreRefused(f"no certificate of {where} has the fingerprint that is to be trusted; their SHA-256 fingerprints are "
                           f"{', '.join(hashlib.sha256(der).hexdigest() for der in shown)}. Correct {PREFIX}CA_FINGERPRINT, or where the "
                           f"server does not show its authority, name the file: {PREFIX}CA_FILE=ca.crt")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # what is pinned is trusted, whether or not it signed itself
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trust.load_verify_locations(cadata="".join(map(ssl.DER_cert_to_PEM_cert, trusted)))
    return trust


def _of_file(path: str) -> list[bytes]:
    try:
        parts = Path(path).read_text("utf-8").split(_PEM)[1:]
        found = [ssl.PEM_cert_to_DER_cert(_PEM + part.partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER) for part in parts]
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=b"".join(found))
    except (OSError, ValueError) as error:
        raise StoreRefused(f"{path} is no file of certificates in PEM: name that of the authority that signed the server's certificate, "
                           f"{PREFIX}CA_FILE=ca.crt") from error
    return found


def _of_server(server: str) -> list[bytes]:
    """What a server shows, its own certificate first; nothing is sent to it."""
    parts = urllib.parse.urlsplit(server)
    look = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    look.check_hostname = False
    look.verify_mode = ssl.CERT_NONE
    with (socket.create_connection((str(parts.hostname), parts.port or 443), _TIMEOUT_S) as plain,
          look.wrap_socket(plain, server_hostname=parts.hostname) as connection):
        if hasattr(connection, "get_unverified_chain"):  # 3.13
            return list(connection.get_unverified_chain())
        chain = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
        return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain]
