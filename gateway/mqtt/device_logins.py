"""Admits devices, and boards that join.

The session of a joining board is named by its secret and its client id, so that no other board can
take its place or read its answer, whatever client id that one says to have.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker import Credentials, Identity, Refusal
from broker.access.certificates import NameField, name_in
from gateway.devices.credentials import digest_of
from gateway.devices.join_handler import ENCRYPTED, PENDING_NAME
from gateway.devices.joining.pending import SECRET_BYTES
from gateway.devices.joining.requests import may_be_client_id
from gateway.devices.record import DeviceRecord
from gateway.devices.tables import DeviceTables
from gateway.links.names import LISTENER as LINKS
from gateway.mqtt.groups import CLAIM, DEVICE
from protocol.ids import DEVICE_ID

logger = logging.getLogger(__name__)

CLAIM_USER = "claim"


@dataclass(frozen=True, slots=True)
class DevicePorts:
    """The functions of other parts that logins of devices use."""

    clock: Callable[[], float]
    store: Callable[[DeviceRecord], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LoginRules:
    """The settings of logins of devices."""

    approval: bool = True
    expire_days: int = 0
    encrypted: frozenset[str] = frozenset()  # the names of listeners with TLS


class DeviceLogins:
    """Authenticates devices by token or certificate, and joining boards."""

    def __init__(self, tables: DeviceTables, rules: LoginRules, ports: DevicePorts) -> None:
        self._tables, self._rules, self._ports = tables, rules, ports

    def claim(self, credentials: Credentials) -> Identity | Refusal:
        """Return the identity of a board with a claim token."""
        client_id, now = credentials.client_id, self._ports.clock()
        claim = self._tables.claims.find(credentials.password or b"", now)
        if claim is None or not may_be_client_id(client_id):
            return Refusal.BAD_CREDENTIALS
        if not claim.is_for(client_id):
            logger.warning(
                "a claim token for the board %s is used by %.64r at %s: is it in wrong hands?",
                claim.client_id, client_id, credentials.peer,
            )  # fmt: skip
            return Refusal.BAD_CREDENTIALS
        known = self._tables.registry.unconfirmed(claim.digest, client_id)
        if claim.uses < 1 and known is None:
            logger.warning(
                "a claim token that is used up is used by %.64r at %s", client_id, credentials.peer
            )
            return Refusal.BAD_CREDENTIALS
        return self._joining(claim.name, credentials)

    def pending(self, credentials: Credentials) -> Identity | Refusal:
        """Return the identity of a board that asks for approval."""
        client_id, secret = credentials.client_id, credentials.password or b""
        if not self._rules.approval:
            return Refusal.NOT_AUTHORIZED
        if len(secret) not in SECRET_BYTES or not may_be_client_id(client_id):
            return Refusal.BAD_CREDENTIALS
        digest = digest_of(secret)
        board = self._tables.pending.ask(digest, client_id, credentials.peer, self._ports.clock())
        if board is None:
            return Refusal.QUOTA_EXCEEDED
        return self._joining(f"{PENDING_NAME}{digest}", credentials)

    def has_certificate(self, credentials: Credentials) -> bool:
        """Return whether a login without a user name shows the certificate of a device."""
        return not credentials.username and self._by_certificate(credentials) is not None

    async def linked(self, credentials: Credentials) -> Identity | Refusal:
        """Return the identity of a device without IP: the one that its link has proved."""
        user, proved = credentials.username or "", credentials.proved
        if DEVICE_ID.fullmatch(user) and user == proved == credentials.client_id:
            return await self.device(credentials)
        if user == CLAIM_USER:
            answer = self.claim(credentials)
            if not isinstance(answer, Identity) or answer.name == proved:
                return answer
        return Refusal.BAD_CREDENTIALS

    async def device(self, credentials: Credentials) -> Identity | Refusal:
        """Return the identity of a device."""
        device, client_id = self._find(credentials), credentials.client_id
        if device is None:
            return Refusal.BAD_CREDENTIALS
        device_id = device.device_id
        if DEVICE_ID.match(client_id) is not None and not client_id.startswith(device_id):
            return Refusal.BAD_CREDENTIALS
        if client_id == device_id and not self._may_take_over(device, credentials):
            return Refusal.SERVER_UNAVAILABLE
        is_changed = bool(credentials.password) and device.note_token(credentials.password or b"")
        if credentials.certificate is not None:
            is_changed |= device.note_certificate(_digest(credentials.certificate))
        if is_changed:
            await self._ports.store(device)
        self._note_link(device, credentials)
        return Identity(device_id, client_id, frozenset({DEVICE}))

    def _note_link(self, device: DeviceRecord, credentials: Credentials) -> None:
        """Note the kind of link that a device uses; nothing of one that never had any but IP."""
        kind = "ip"
        if credentials.listener == LINKS:
            kind = credentials.peer.partition(":")[0]  # "ble:ADDRESS", "serial:PATH"
        known = device.attributes.get("link")
        if kind != known and (known is not None or kind != "ip"):
            self._tables.registry.report(device.device_id, {"link": kind})

    def _joining(self, name: str, credentials: Credentials) -> Identity:
        groups = {CLAIM}
        if credentials.listener in self._rules.encrypted:
            groups.add(ENCRYPTED)
        session = f"{name}:{credentials.client_id}"
        return Identity(name, session, frozenset(groups), keeps_session=False)

    def _find(self, credentials: Credentials) -> DeviceRecord | None:
        if credentials.password:
            device = self._tables.registry.authenticate(
                credentials.username or "",
                credentials.password,
                self._ports.clock(),
                self._rules.expire_days,
            )
            if device is not None:
                return device
        return self._by_certificate(credentials)

    def _by_certificate(self, credentials: Credentials) -> DeviceRecord | None:
        if credentials.certificate is None:
            return None
        name = name_in(credentials.certificate_names, NameField.COMMON_NAME) or ""
        device = self._tables.registry.get(name)
        if device is None or (credentials.username or name) != name:
            return None
        return device if device.has_certificate(_digest(credentials.certificate)) else None

    def _may_take_over(self, device: DeviceRecord, credentials: Credentials) -> bool:
        conflicts = device.conflicts
        is_admitted = device.admit(self._ports.clock())
        if device.conflicts > conflicts:
            logger.warning(
                "device %s (%s): two boards use its identity; the one at %s is refused; run "
                "`hecate devices revoke %s` and let both join again",
                device.name, device.device_id, credentials.peer, device.device_id,
            )  # fmt: skip
            self._tables.registry.report_conflict(device)
        return is_admitted


def joining_client_id(identity: Identity) -> str:
    """Return the client id with which a joining board logged in."""
    return identity.client_id.rpartition(":")[2]


def _digest(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()
