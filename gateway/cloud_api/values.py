"""Defines the values that the cloud's HTTP API returns."""

from dataclasses import dataclass

from protocol.secret import Secret


@dataclass(frozen=True, slots=True)
class DeviceCodes:
    """The codes of a device authorization (RFC 8628, 3.2)."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    lasts_s: float
    interval_s: float
    device_code: Secret


@dataclass(frozen=True, slots=True)
class AuthorizationPending:
    """The owner of the account has not decided yet (RFC 8628, 3.5)."""

    slow_down: bool  # this node polls too often


@dataclass(frozen=True, slots=True)
class BepGrant:
    """The grant of mSS: the relay and the token to serve there."""

    bep_id: str
    url: str
    host: str
    port: int
    token: Secret
    expires_at: float  # unix seconds
    tls: bool = False  # the relay is reached over TLS
