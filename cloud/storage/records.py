"""Represents the records that the cloud stores, besides node records. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """The address of a relay, for nodes and for visitors."""

    host: str
    port: int
    tls: bool = False  # BEP URLs are https, and nodes use TLS, too


@dataclass(frozen=True, slots=True)
class Bep:
    """One tunnel to one node, until it expires or is revoked."""

    bep_id: str
    node_id: str
    relay: RelayAddress
    expires_at: float
    run: str = ""  # of its node's process; "" of a node that names none


@dataclass(frozen=True, slots=True)
class DeviceGrant:
    """A node's request to join the account of the person who types its code (RFC 8628)."""

    device_digest: str
    user_code: str
    node_id: str
    node_name: str
    scope: str
    expires_at: float
    account_id: str = ""  # of the person who approved it
    denied: bool = False


@dataclass(frozen=True, slots=True)
class NewerClaim:
    """The claim of the SEP that a node has registered with, newer than the one that it shows."""

    epoch: int
    number: int
