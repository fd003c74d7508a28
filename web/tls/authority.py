"""Makes a small authority, and certificates of servers and clients (RFC 5280). Writes no files."""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from web.errors import CertificateError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 825  # the limit of Apple's systems for an authority that a person has installed
RENEW_DAYS = 60  # before the end
SKEW = datetime.timedelta(hours=1)  # clocks without a battery


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """An authority that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as unencrypted PKCS #8 in PEM, for a file of mode 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def decode_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key in PEM bytes; CertificateError when it is not an elliptic curve key."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as exc:
        raise CertificateError(str(exc)) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("not an elliptic curve key")
    return key


def decode_certificate(pem: bytes) -> x509.Certificate:
    """Return the first certificate in PEM bytes; CertificateError when there is none."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as exc:
        raise CertificateError(str(exc)) from exc


def encode_certificate(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM."""
    return certificate.public_bytes(Encoding.PEM)


def make_authority(
    common_name: str, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.Certificate:
    """Return the certificate of an authority that may sign no other authorities."""
    name = _name(common_name)
    usage = _usage(signs_certificates=True)
    return (
        _begin(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def make_server_certificate(
    issuer: CertificateAuthority,
    key: ec.EllipticCurvePrivateKey,
    names: Iterable[str],
    now: datetime.datetime,
) -> x509.Certificate:
    """Return a certificate for a server's names and addresses; the first is its common name."""
    names = list(names)
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return (
        _begin(_name(names[0]), issuer.certificate.subject, key.public_key(), now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_san(n) for n in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(issuer.key, SHA256())
    )


def make_client_certificate(
    issuer: CertificateAuthority,
    key: ec.EllipticCurvePublicKey,
    common_name: str,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    """Return a certificate for a client that its common name identifies."""
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return (
        _begin(_name(common_name), issuer.certificate.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(issuer.key, SHA256())
    )


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the names and addresses that a certificate is for, in lower case."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    names = {name.lower() for name in found.get_values_for_type(x509.DNSName)}
    return frozenset(names | {str(a) for a in found.get_values_for_type(x509.IPAddress)})


def is_good(
    certificate: x509.Certificate,
    issuer: CertificateAuthority,
    key: ec.EllipticCurvePrivateKey,
    names: Iterable[str],
    now: datetime.datetime,
) -> bool:
    """Return whether a certificate need not be made again."""
    lasts = certificate.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)
    try:
        certificate.verify_directly_issued_by(issuer.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return (
        lasts
        and certificate.public_key() == key.public_key()
        and (names_of(certificate) >= {name.lower() for name in names})
    )


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)
    except (ValueError, UnicodeError) as exc:
        raise CertificateError(f"{name!r} is neither a name nor an address") from exc


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
