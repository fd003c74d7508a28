"""Authenticates clients by certificates, which TLS has checked already."""

from collections.abc import Iterable
from enum import Enum

from broker.policy import Credentials, Identity, Refusal


class NameField(Enum):
    """The part of a certificate that names the user."""

    COMMON_NAME = "common-name"
    DNS = "dns"
    URI = "uri"
    EMAIL = "email"


_KINDS = {
    NameField.COMMON_NAME: "commonName",
    NameField.DNS: "DNS",
    NameField.URI: "URI",
    NameField.EMAIL: "email",
}


class CertificateSource:
    """Identifies clients by a certificate that the listener's authorities signed."""

    def __init__(self, field: NameField) -> None:
        self._field = field

    def identify(self, credentials: Credentials) -> Identity | Refusal | None:
        """Return the identity that the certificate names; None without a certificate."""
        if credentials.certificate is None:
            return None
        name = name_in(credentials.certificate_names, self._field)
        if name is None:
            return Refusal.BAD_CREDENTIALS
        return Identity(name, credentials.client_id)


def name_in(names: Iterable[tuple[str, str]], field: NameField) -> str | None:
    """Return the one name in a certificate's field, None when there is none or several."""
    found = {value for kind, value in names if kind == _KINDS[field]}
    if len(found) != 1:
        return None  # several names are ambiguous
    (name,) = found
    return name if name and name.isprintable() else None
