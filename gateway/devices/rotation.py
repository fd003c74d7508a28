"""Gives devices new tokens and certificates over their authenticated connection.

Theory of operation
-------------------
The gateway stores the digest of the next token, then sends it. The device stores it, connects
again, and so uses it once: then the old token ends. A device that says "online" with its old token
has not stored the next one, and gets another. The message has QoS 0 and waits in no queue: a token
that came late would replace one that is good. Only the device may read its topic.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from broker import LocalClient
from gateway.devices.credentials import digest_of, new_token
from gateway.devices.joining.requests import encode_credentials
from gateway.devices.record import DAY_S, DeviceCertificate, DeviceRecord
from gateway.devices.store import DeviceStore
from gateway.errors import GatewayError
from protocol.topics import credentials_topic

logger = logging.getLogger(__name__)

RETRY_S = 3600.0  # between two tokens for a device that does not take them: each costs a write
CERTIFICATE_LEFT_S = 90 * DAY_S  # before its end


class CertificateRenewer(Protocol):
    """Makes new certificates for the keys of devices."""

    async def renew(
        self, device_id: str, old: DeviceCertificate
    ) -> tuple[DeviceCertificate, Mapping[str, str]]:
        """Return a certificate for the same key, and what the device is told."""


@dataclass(frozen=True, slots=True)
class RotationRule:
    """The age of a token at which a device gets a new one; 0 days: never."""

    rotate_days: int

    def is_due(self, device: DeviceRecord, now: float) -> bool:
        """Return whether a device that is online gets new credentials."""
        if device.is_revoked:
            return False
        certificate = device.certificate
        if certificate is not None and certificate.ends_at - now < CERTIFICATE_LEFT_S:
            return True
        return self.rotate_days > 0 and now - device.token_made_at > self.rotate_days * DAY_S


class Rotation:
    """Sends new credentials to devices."""

    def __init__(
        self,
        rule: RotationRule,
        store: DeviceStore,
        local: LocalClient,
        clock: Callable[[], float],
        renewer: CertificateRenewer | None = None,
    ) -> None:
        self._rule, self._store, self._local = rule, store, local
        self._clock, self._renewer = clock, renewer
        self._tried: dict[str, float] = {}

    def is_due(self, device: DeviceRecord) -> bool:
        """Return whether a device that has come online should get new credentials now."""
        now = self._clock()
        if device.next_digest and device.device_id in self._tried:
            # it was told in this run, and came back with its old token: a power cut, or an old
            # package that does not listen
            return now - self._tried[device.device_id] > RETRY_S
        return device.next_made_at > 0 or self._rule.is_due(device, now)

    async def want(self, device: DeviceRecord) -> None:
        """Send a next token when the device, which is away, comes back."""
        device.want_token(self._clock())
        await self._store.save_device(device)

    async def send(self, device: DeviceRecord) -> None:
        """Store and send a next token; GatewayError when it cannot be stored."""
        now, password = self._clock(), new_token()
        self._tried[device.device_id] = now
        certificate: DeviceCertificate | None = None
        fields: Mapping[str, str] = {}
        if device.certificate is not None and self._renewer is not None:
            certificate, fields = await self._renewer.renew(device.device_id, device.certificate)
        device.offer_token(digest_of(password.reveal().encode()), now, certificate)
        await self._store.save_device(device)
        self._local.publish(
            credentials_topic(device.device_id),
            encode_credentials(device.device_id, password, fields),
        )
        logger.info("device %s (%s) was sent a new token", device.name, device.device_id)

    async def try_send(self, device: DeviceRecord) -> None:
        """Send a next token; a failure is logged."""
        try:
            await self.send(device)
        except GatewayError as exc:
            logger.warning("%s", exc)

    def forget(self, device_id: str) -> None:
        """Forget a device."""
        self._tried.pop(device_id, None)
