"""Makes client certificates for devices, with a small authority of this node's own.

The key of the authority lies in the state folder, readable by its owner only. It signs no servers:
listeners accept it for clients alone, and the registry, which knows the digest of each device's
certificate, decides which device a client is. So a certificate ends with its device, without a list
of revoked ones.

A device without means to make a key gets one, by TLS only; MicroPython has no such means. A renewed
certificate is for the same key, which never travels again.
"""

import asyncio
import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from gateway.devices.joining.requests import JoinRequest
from gateway.devices.record import DeviceCertificate
from gateway.errors import GatewayError
from gateway.storage.private_file import write_private
from web.errors import CertificateError
from web.tls.authority import (
    CertificateAuthority,
    decode_certificate,
    decode_key,
    encode_certificate,
    encode_key,
    make_authority,
    make_client_certificate,
    new_key,
)

KEY_FILE, CERTIFICATE_FILE = "devices-authority.key", "devices-authority.crt"
CERTIFICATE_DAYS = 825


@dataclass(frozen=True, slots=True)
class DeviceAuthority:
    """The authority of a node's devices."""

    authority: CertificateAuthority
    certificate_file: Path

    async def issue(
        self, device_id: str, request: JoinRequest
    ) -> tuple[DeviceCertificate, Mapping[str, str]]:
        """Return a certificate for a joining device, and what the answer says about it."""
        return await asyncio.to_thread(self._issue, device_id, request.csr)

    async def renew(
        self, device_id: str, old: DeviceCertificate
    ) -> tuple[DeviceCertificate, Mapping[str, str]]:
        """Return a certificate for the same key, and what the device is told about it."""
        return await asyncio.to_thread(self._sign, device_id, _load_public(old.public_key), "")

    def _issue(self, device_id: str, csr: str) -> tuple[DeviceCertificate, Mapping[str, str]]:
        if csr:
            return self._sign(device_id, _key_of(csr), "")
        key = new_key()
        return self._sign(device_id, key.public_key(), encode_key(key).decode())

    def _sign(
        self, device_id: str, key: ec.EllipticCurvePublicKey, private: str
    ) -> tuple[DeviceCertificate, Mapping[str, str]]:
        now = datetime.datetime.now(datetime.UTC)
        certificate = make_client_certificate(self.authority, key, device_id, now, CERTIFICATE_DAYS)
        record = DeviceCertificate(
            digest=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
            public_key=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            ends_at=certificate.not_valid_after_utc.timestamp(),
        )
        fields = {"certificate": encode_certificate(certificate).decode()}
        return record, fields | ({"key": private} if private else {})


def open_authority(state: Path) -> DeviceAuthority:
    """Return the authority in a state folder, made at the first time.

    Raises:
        GatewayError: its files cannot be read or written.
    """
    key_file, certificate_file = state / KEY_FILE, state / CERTIFICATE_FILE
    try:
        if not key_file.exists():
            write_private(key_file, encode_key(new_key()))
        key = decode_key(key_file.read_bytes())
        if not certificate_file.exists():
            now = datetime.datetime.now(datetime.UTC)
            made = make_authority("Hecate devices", key, now)
            write_private(certificate_file, encode_certificate(made))
        certificate = decode_certificate(certificate_file.read_bytes())
    except (OSError, CertificateError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise GatewayError(f"cannot open the authority of devices {key_file}: {why}") from exc
    if certificate.public_key() != key.public_key():
        raise GatewayError(
            f"cannot use {certificate_file}: it is not for the key {key_file}; move both away to "
            "begin anew, then let the devices with certificates join again"
        )
    return DeviceAuthority(CertificateAuthority(certificate, key), certificate_file)


def _key_of(csr: str) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        is_good = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, InvalidSignature) as exc:
        raise ValueError("csr is not a certificate request in PEM") from exc
    if not is_good or not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("csr must be signed, for an elliptic curve key")
    if not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("csr must be for a P-256 key")  # noqa: TRY004  # a fault of the peer
    return key


def _load_public(der: bytes) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(der)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise GatewayError("cannot renew a certificate: its key is not of an elliptic curve")
    return key
