"""Makes a small authority and a server's certificate, for one test."""

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from web.tls import authority

NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Files:
    """An authority's certificate, and what a server shows."""

    ca: Path
    cert: Path
    key: Path
    issuer: authority.CertificateAuthority

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def renew(self) -> int:
        """Write a new certificate with a new key; return its serial number."""
        key = authority.new_key()
        now = datetime.datetime.now(datetime.UTC)
        certificate = authority.make_server_certificate(self.issuer, key, NAMES, now)
        self.key.write_bytes(authority.encode_key(key))
        self.cert.write_bytes(authority.encode_certificate(certificate))
        return certificate.serial_number


def make_authority(folder: Path) -> Files:
    folder.mkdir(exist_ok=True)
    key = authority.new_key()
    certificate = authority.make_authority("tests", key, datetime.datetime.now(datetime.UTC))
    files = Files(
        folder / "ca.crt", folder / "server.crt", folder / "server.key",
        authority.CertificateAuthority(certificate, key),
    )  # fmt: skip
    files.ca.write_bytes(authority.encode_certificate(certificate))
    files.renew()
    return files
