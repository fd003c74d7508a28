"""Makes and loads key pairs: the P-256 key of a node's identity, the hybrid sealing key."""

import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from protocol.errors import WireError
from protocol.ids import node_id_of

MLKEM_SEED_BYTES = 64  # FIPS 203, 6.1: d and z
MLKEM_PUBLIC_BYTES = 1184  # FIPS 203, table 3
X25519_BYTES = 32


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A node's identity."""

    private: ec.EllipticCurvePrivateKey
    node_id: str

    def pem(self) -> bytes:
        """Return the private key as unencrypted PKCS #8, for a file of mode 0600."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_node_key() -> NodeKey:
    """Make a new identity."""
    return _node_key(ec.generate_private_key(ec.SECP256R1()))


def load_node_key(pem: bytes) -> NodeKey:
    """Return the identity in a PEM file's bytes; WireError when it is not a P-256 key."""
    try:
        private = load_pem_private_key(pem, password=None)
    except ValueError as exc:
        raise WireError(f"cannot load node key: {exc}") from exc
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise WireError("cannot load node key: not a P-256 key")
    return _node_key(private)


def public_key_id(public: ec.EllipticCurvePublicKey) -> str:
    """Return the node id of a public key."""
    return node_id_of(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _node_key(private: ec.EllipticCurvePrivateKey) -> NodeKey:
    return NodeKey(private, public_key_id(private.public_key()))


class SealingKey:
    """The private half of the key that bodies are sealed to: ML-KEM-768 + X25519.

    Its seed (96 bytes) is what is stored; its public half (1,216 bytes) goes into node records.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != MLKEM_SEED_BYTES + X25519_BYTES:
            raise WireError(f"cannot load sealing key: {len(seed)} bytes, not 96")
        self.seed = seed
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed[:MLKEM_SEED_BYTES])
        curve = x25519.X25519PrivateKey.from_private_bytes(seed[MLKEM_SEED_BYTES:])
        self.private = MLKEM768X25519PrivateKey(kem, curve)
        self.public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


def new_sealing_key() -> SealingKey:
    """Make a new sealing key."""
    return SealingKey(secrets.token_bytes(MLKEM_SEED_BYTES + X25519_BYTES))


def load_sealing_public(raw: bytes) -> MLKEM768X25519PublicKey:
    """Return a peer's public sealing key; WireError when the bytes are not one."""
    if len(raw) != MLKEM_PUBLIC_BYTES + X25519_BYTES:
        raise WireError(f"cannot load sealing key: {len(raw)} bytes, not 1216")
    try:
        return MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(raw[:MLKEM_PUBLIC_BYTES]),
            x25519.X25519PublicKey.from_public_bytes(raw[MLKEM_PUBLIC_BYTES:]),
        )
    except ValueError as exc:
        raise WireError(f"cannot load sealing key: {exc}") from exc
