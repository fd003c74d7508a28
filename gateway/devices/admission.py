"""Carries out what the owner decides about devices, and follows what devices report.

join_handler.py answers joins, rotation.py renews credentials, announcements.py tells applications.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from broker import Broker, ConnectingClient, Message, Refusal
from gateway.devices.announcements import Announcements
from gateway.devices.attributes import parse_attributes
from gateway.devices.credentials import digest_of, new_token
from gateway.devices.join_handler import PENDING_NAME, CertificateIssuer, JoinHandler, JoinPorts
from gateway.devices.joining.claims import Claim
from gateway.devices.joining.pending import PendingBoard
from gateway.devices.joining.requests import encode_time
from gateway.devices.record import DeviceRecord
from gateway.devices.rotation import CertificateRenewer, Rotation, RotationRule
from gateway.devices.store import DeviceStore
from gateway.devices.tables import DeviceTables
from gateway.errors import GatewayError
from protocol.ids import new_device_id
from protocol.topics import ONLINE, attributes_topic, status_topic, time_topic
from settings.secret import Secret

logger = logging.getLogger(__name__)

SAVE_INTERVAL_S = 60.0  # the most of "last seen" that a power cut costs


class DeviceIssuer(CertificateIssuer, CertificateRenewer, Protocol):
    """Makes and renews client certificates."""


class ApprovalError(GatewayError):
    """A board cannot be approved."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """The settings of joining, and the authority that makes certificates."""

    rotation: RotationRule
    issuer: DeviceIssuer | None = None


class DeviceAdmission:
    """The owner's hand on the devices, the claim tokens, and the boards that wait."""

    def __init__(
        self,
        store: DeviceStore,
        tables: DeviceTables,
        broker: Broker,
        rules: AdmissionRules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry, self.claims, self.pending = tables.registry, tables.claims, tables.pending
        self._store, self._broker, self._clock = store, broker, clock
        self._local = broker.local_client("devices")
        self._announcements = Announcements(self._local, clock)
        self._rotation = Rotation(rules.rotation, store, self._local, clock, rules.issuer)
        ports = JoinPorts(
            clock=clock,
            is_connected=broker.is_connected,
            on_pending=self._on_pending,
            on_joined=self._announcements.device,
            on_replaced=broker.cut,
        )
        self._joins = JoinHandler(store, tables, self._local, ports, rules.issuer)
        self._rotations: set[asyncio.Task[None]] = set()

    def attach(self) -> None:
        """Answer joins and follow the messages of devices from now on."""
        self._joins.attach()
        self._broker.hooks.on_connect(self._refuse_revoked)
        self.registry.add_listener(self._announcements.device)
        self._local.subscribe("devices/#", self._on_message)

    def announce(self) -> None:
        """Tell applications what has changed since the last run; call it when the broker runs."""
        self._announcements.attach(self.registry.all(), self.pending.all())

    async def run(self) -> None:
        """Store the times of last messages every SAVE_INTERVAL_S until cancelled."""
        self.announce()
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            if await self.save():
                self._on_pending()
            for device in self.registry.all():
                if device.conflicts:  # the state may have ended by time
                    self._announcements.device(device)

    async def save(self) -> bool:
        """Store the times of last messages; delete claims and boards that expired.

        Returns whether boards have expired. It publishes nothing, so it can follow the broker's
        end.
        """
        try:
            await self._store.save_seen(self.registry.take_seen())
            await self._delete_old_claims()
            self.pending.remove_old(self._clock())
            removed = self.pending.take_removed()
            if removed:
                await self._store.save_pending((), removed)
        except GatewayError as exc:
            logger.warning("%s", exc)
            return False
        return bool(removed)

    # claim tokens ----------------------------------------------------------------------

    async def new_claim(
        self, uses: int, ttl_s: float, client_id: str = ""
    ) -> tuple[Secret, Claim] | None:
        """Make a claim token, of one board if its client id is given; None for too many."""
        token = new_token()
        digest = digest_of(token.reveal().encode())
        claim = Claim(digest, uses, self._clock() + ttl_s, client_id)
        await self._delete_old_claims()
        if not self.claims.add(claim):
            return None
        try:
            await self._store.save_claim(claim)
        except GatewayError:
            self.claims.remove(digest)  # nobody knows its token
            raise
        return token, claim

    async def end_claims(self) -> int:
        """End all claim tokens; return their number."""
        ended = self.claims.take_all()
        await self._store.delete_all_claims()
        logger.info("%d claim tokens ended", len(ended))
        return len(ended)

    # boards that wait ------------------------------------------------------------------

    async def approve(
        self, board: PendingBoard, name: str = "", *, as_new: bool = False
    ) -> PendingBoard:
        """Let a board join; one that was a device before becomes it again, unless as_new.

        Raises:
            ApprovalError: the device that the board was before is online.
        """
        old = None if as_new else self.registry.find_board(board.client_id)
        if old is not None and self._broker.is_connected(old.device_id):
            raise ApprovalError(
                f"cannot approve {board.shown_code}: {old.name} ({old.device_id}), which joined "
                "with the same board id, is online; two boards may have this id: approve it with "
                "--new as a device of its own, or revoke the other first"
            )
        device_id = old.device_id if old is not None else new_device_id()
        name = name or (old.name if old is not None else board.name)
        approved = self.pending.approve(board.digest, device_id, name, self._clock())
        await self._store_decision(board, approved)
        logger.info("board %s approved as %s", board.client_id, device_id)
        await self._joins.tell(approved)
        return approved

    async def deny(self, board: PendingBoard) -> None:
        """Refuse a board until the denial is forgotten."""
        denied = self.pending.deny(board.digest, self._clock())
        await self._store_decision(board, denied)
        logger.info("board %s refused", board.client_id)
        await self._joins.tell(denied)
        self._broker.cut(f"{PENDING_NAME}{board.digest}")

    async def _store_decision(self, before: PendingBoard, after: PendingBoard) -> None:
        try:
            await self._store.save_pending([after], self.pending.take_removed())
        except GatewayError:
            self.pending.restore(before)
            raise
        self._on_pending()

    def _on_pending(self) -> None:
        self._announcements.boards(self.pending.all())

    # devices ---------------------------------------------------------------------------

    def add(self, device: DeviceRecord) -> None:
        """Add a device that the store has and that needs no login, and tell applications."""
        self.registry.add(device)
        self._announcements.device(device)

    def note_problem(self, device: DeviceRecord, problem: str) -> bool:
        """Note why nothing of a device counts, or that it counts; return whether it changed."""
        changed = device.note_problem(problem)
        if changed:
            self._announcements.device(device)
        return changed

    async def rename(self, device: DeviceRecord, name: str) -> None:
        """Change the name of a device."""
        before = device.name
        device.rename(name)
        await self._store_change(device, lambda: device.rename(before))
        self._announcements.device(device)

    async def regroup(self, device: DeviceRecord, groups: tuple[str, ...]) -> None:
        """Change the groups of a device; its rights follow at once."""
        before = device.groups
        device.join_groups(groups)
        await self._store_change(device, lambda: device.join_groups(before))
        self._broker.rights_changed()
        self._announcements.device(device)

    async def rotate(self, device: DeviceRecord) -> bool:
        """Send a device a new token; return False when it is away and gets it later."""
        if not self._broker.is_connected(device.device_id):
            await self._rotation.want(device)
            return False
        await self._rotation.send(device)
        return True

    async def revoke(self, device_id: str) -> bool:
        """End the credentials of a device and its connection; return False when none is known."""
        device = self.registry.get(device_id)
        if device is None:
            return False
        self._end(device)
        async with self._joins.lock:  # a join that was under way may have let it in again
            device = self.registry.get(device_id)
            if device is not None:
                if not device.is_revoked:
                    self._end(device)
                await self._end_approvals(device_id)
                await self._store.save_device(device)
                logger.info("device %s (%s) revoked", device.name, device_id)
        return True

    async def forget(self, device_id: str) -> bool:
        """Revoke a device and remove it from the registry; return False when none is known."""
        device = self.registry.get(device_id)
        if device is None:
            return False
        self._end(device)  # it stays, revoked, when the store does not delete it
        async with self._joins.lock:
            await self._end_approvals(device_id)
            await self._store.delete_device(device_id)
            device = self.registry.remove(device_id) or device
            self._end(device)
            self._announcements.forget(device_id)
        logger.info("device %s (%s) forgotten", device.name, device_id)
        return True

    async def _store_change(self, device: DeviceRecord, undo: Callable[[], None]) -> None:
        """Store a change that is made already, so that no login stores the device without it."""
        try:
            await self._store.save_device(device)
        except GatewayError:
            undo()
            raise

    async def _end_approvals(self, device_id: str) -> None:
        """End the approvals of boards that have not yet joined as a device again."""
        for board in self.pending.all():
            if board.device_id == device_id:
                self.pending.remove(board.digest)
        removed = self.pending.take_removed()
        if removed:
            await self._store.save_pending((), removed)
            self._on_pending()

    def _end(self, device: DeviceRecord) -> None:
        """End the credentials and the connection of a device, and tell applications."""
        device.revoke(self._clock())
        self._cut_off(device)
        self._announcements.device(device)

    def _cut_off(self, device: DeviceRecord) -> None:
        device_id = device.device_id
        self._rotation.forget(device_id)
        self._broker.revoke(device_id)
        self._local.publish(status_topic(device_id), b"", retain=True)

    async def _delete_old_claims(self) -> None:
        """Delete claims that admit no device any more, so that they do not count."""
        async with self._joins.lock:  # a join that cannot be stored restores its use
            old = self.claims.take_expired(self._clock())
            old += self.claims.take_spent(self.registry.claims_in_use())
            await self._store.delete_claims(old)

    def _refuse_revoked(self, client: ConnectingClient) -> Refusal | None:
        """Refuse a device whose credentials ended while its login was being stored."""
        name = client.identity.name
        if not name.startswith("dev-"):
            return None
        device = self.registry.get(name)
        is_good = device is not None and not device.is_revoked
        return None if is_good else Refusal.BAD_CREDENTIALS

    # messages --------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        sender = message.sender
        if not sender.startswith("dev-"):
            return
        self.registry.observe(sender, message.topic, message.payload, self._clock())
        device = self.registry.get(sender)
        if device is None:
            return
        if message.topic == attributes_topic(sender):
            self._take_attributes(device, message.payload)
        elif message.payload == ONLINE and message.topic == status_topic(sender):
            self._local.publish(time_topic(sender), encode_time(self._clock()))
            if self._rotation.is_due(device):
                task = asyncio.create_task(self._rotation.try_send(device))
                self._rotations.add(task)
                task.add_done_callback(self._rotations.discard)

    def _take_attributes(self, device: DeviceRecord, payload: bytes) -> None:
        try:
            device.report(parse_attributes(payload))
        except ValueError as exc:
            logger.debug("cannot read attributes of %s: %s", device.device_id, exc)
