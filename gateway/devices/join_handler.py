"""Answers join requests: of boards with a claim token, and of boards that a person approves.

Theory of operation
-------------------
The session of a joining board is named by its secret and its client id, and the answer goes to that
session alone: two boards that say to have one client id never see each other's credentials.

The commit comes before the answer. A board that lost the answer asks again with the same secret and
client id, and gets the same device id and a new token, until it has logged in once. Then its claim
token, or its secret, admits nobody any more.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from broker import LocalClient, Message
from gateway.devices.credentials import digest_of, new_token
from gateway.devices.joining.claims import CLAIM_NAME
from gateway.devices.joining.pending import PendingBoard, PendingState
from gateway.devices.joining.requests import (
    JOIN_LEVEL,
    JoinRequest,
    encode_credentials,
    encode_pending,
    encode_refusal,
    parse_request,
)
from gateway.devices.record import DeviceCertificate, DeviceRecord
from gateway.devices.registry import DEVICE_LIMIT
from gateway.devices.store import DeviceStore
from gateway.devices.tables import DeviceTables
from gateway.errors import GatewayError
from protocol.ids import new_device_id
from protocol.topics import JOIN_REQUESTS, join_response
from settings.secret import Secret

logger = logging.getLogger(__name__)

PENDING_NAME = "join:"
ENCRYPTED = "encrypted"  # the group of boards that join by TLS
JOINS_AT_ONCE = 64


class CertificateIssuer(Protocol):
    """Makes client certificates for devices."""

    async def issue(
        self, device_id: str, request: JoinRequest
    ) -> tuple[DeviceCertificate, Mapping[str, str]]:
        """Return a certificate and the fields of the answer; ValueError when it cannot."""


@dataclass(frozen=True, slots=True)
class JoinPorts:
    """The functions of other parts that the handler uses."""

    clock: Callable[[], float]
    is_connected: Callable[[str], bool]  # by the name of an identity
    on_pending: Callable[[], None]  # called when the boards that wait have changed
    on_joined: Callable[[DeviceRecord], None]
    on_replaced: Callable[[str], object]  # by id: a device whose old credentials ended


class JoinHandler:
    """Answers the requests of joining boards."""

    def __init__(
        self,
        store: DeviceStore,
        tables: DeviceTables,
        local: LocalClient,
        ports: JoinPorts,
        issuer: CertificateIssuer | None = None,
    ) -> None:
        self._store, self._tables, self._ports = store, tables, ports
        self._local, self._issuer = local, issuer
        self._joins: set[asyncio.Task[None]] = set()
        self._requests: dict[str, JoinRequest] = {}  # of boards that wait, by secret
        self.lock = asyncio.Lock()  # a repeated request finds the device of the first one

    def attach(self) -> None:
        """Answer joins from now on."""
        self._local.subscribe(JOIN_REQUESTS, self._on_join)

    async def tell(self, board: PendingBoard) -> bool:
        """Answer a board that waits for the decision; return False when it is not connected."""
        sender = f"{PENDING_NAME}{board.digest}"
        request = self._requests.pop(board.digest, None)
        if request is None or not self._ports.is_connected(sender):
            return False
        async with self.lock:
            try:
                answer = await self._join_by_approval(board.client_id, board.digest, request)
            except ValueError as exc:
                answer = encode_refusal(str(exc))
            except GatewayError as exc:  # it asks again
                answer = _not_stored(exc)
        self._send(sender, board.client_id, answer)
        return True

    def _on_join(self, message: Message) -> None:
        if not message.sender.startswith((CLAIM_NAME, PENDING_NAME)):
            return
        hold = message.hold
        if len(self._joins) >= JOINS_AT_ONCE:
            logger.warning("cannot join: too many devices at once")
            return
        if hold is not None:
            hold.keep()
        task = asyncio.create_task(self._answer(message))
        self._joins.add(task)
        task.add_done_callback(self._joins.discard)

    async def _answer(self, message: Message) -> None:
        client_id = message.topic.split("/")[JOIN_LEVEL]
        try:
            async with self.lock:
                answer = await self._decide(client_id, message)
            self._send(message.sender, client_id, answer)
        except GatewayError as exc:
            self._send(message.sender, client_id, _not_stored(exc))
        finally:
            if message.hold is not None:
                message.hold.release()

    def _send(self, sender: str, client_id: str, answer: bytes) -> None:
        session, topic = f"{sender}:{client_id}", join_response(client_id)
        self._local.send(session, topic, answer, lambda _: None)

    async def _decide(self, client_id: str, message: Message) -> bytes:
        sender = message.sender
        try:
            request = parse_request(message.payload)
            if message.publisher is None or ENCRYPTED not in message.publisher.groups:
                request = replace(request, wants_certificate=False)  # a key would be readable
            if sender.startswith(CLAIM_NAME):
                return await self._join_by_claim(
                    client_id, sender.removeprefix(CLAIM_NAME), request
                )
            return await self._join_by_approval(
                client_id, sender.removeprefix(PENDING_NAME), request
            )
        except ValueError as exc:
            return encode_refusal(str(exc))

    # with a claim token ----------------------------------------------------------------

    async def _join_by_claim(self, client_id: str, claim_id: str, request: JoinRequest) -> bytes:
        claims, now = self._tables.claims, self._ports.clock()
        claim = claims.find_id(claim_id, now)
        if claim is None:
            raise ValueError("claim token has expired")
        digest = claim.digest
        known = self._tables.registry.unconfirmed(digest, client_id)
        if known is None and claim.uses < 1:
            raise ValueError("claim token is used up")
        device = self._new_device(known.device_id if known else "", request, now)
        device = replace(device, claim_digest=digest, client_id=client_id)
        device, password, fields = await self._give_credentials(device, request, now)
        used = None if known else claims.use(digest)
        try:
            await self._store.save_join(device, used)
        except GatewayError:
            if used is not None:
                claims.restore(digest)
            raise
        return self._finish(device, password, fields)

    # by approval -----------------------------------------------------------------------

    async def _join_by_approval(self, client_id: str, digest: str, request: JoinRequest) -> bytes:
        registry, now = self._tables.registry, self._ports.clock()
        secret = f"{PENDING_NAME}{digest}"  # in the column of claims
        known = registry.unconfirmed(secret, client_id)
        if known is not None:  # it lost the answer
            self._tables.pending.remove(digest)  # its login made it wait again
            return await self._admit(known, "", request, now)
        board = self._tables.pending.describe(digest, request.name, request.model)
        if board is None:
            raise ValueError("too many boards wait for approval; this one asks again later")
        if board.state is PendingState.DENIED:
            raise ValueError("the installer refused this board")
        if board.state is PendingState.WAITING:
            return await self._let_wait(board, request)
        old = registry.get(board.device_id)
        device = self._new_device(board.device_id, request, now)
        device = replace(device, claim_digest=secret, client_id=client_id)
        device = replace(device, name=board.name)
        if old is not None:  # a board that lost its credentials becomes the same device again
            device = replace(device, groups=old.groups, joined_at=old.joined_at)
        answer = await self._admit(device, digest, request, now)
        self._tables.pending.remove(digest)
        if old is not None:
            self._ports.on_replaced(device.device_id)
        self._ports.on_pending()
        return answer

    async def _let_wait(self, board: PendingBoard, request: JoinRequest) -> bytes:
        pending = self._tables.pending
        gone = [digest for digest in self._requests if pending.get(digest) is None]
        for digest in gone:
            del self._requests[digest]
        self._requests[board.digest] = request
        if not board.is_stored:
            await self._store.save_pending([board], pending.take_removed())
            pending.note_stored(board.digest)
            logger.info(
                "board %s (%s) waits for approval, code %s",
                board.client_id, board.name, board.shown_code,
            )  # fmt: skip
            self._ports.on_pending()
        known = self._tables.registry.find_board(board.client_id)
        return encode_pending(board.shown_code, known.device_id if known else "")

    async def _admit(
        self, device: DeviceRecord, ended: str, request: JoinRequest, now: float
    ) -> bytes:
        device, password, fields = await self._give_credentials(device, request, now)
        await self._store.save_join(device, ended=ended)
        return self._finish(device, password, fields)

    # both ------------------------------------------------------------------------------

    def _new_device(self, device_id: str, request: JoinRequest, now: float) -> DeviceRecord:
        registry = self._tables.registry
        if registry.get(device_id) is None and len(registry) >= DEVICE_LIMIT:
            raise ValueError(f"{DEVICE_LIMIT} devices have joined already")
        return DeviceRecord(device_id or new_device_id(), request.name, request.model, "", now)

    async def _give_credentials(
        self, device: DeviceRecord, request: JoinRequest, now: float
    ) -> tuple[DeviceRecord, Secret, Mapping[str, str]]:
        password, certificate = new_token(), None
        fields: Mapping[str, str] = {}
        if request.csr and self._issuer is None:
            raise ValueError("this gateway makes no certificates: [devices] certificates")
        if self._issuer is not None and (request.csr or request.wants_certificate):
            certificate, fields = await self._issuer.issue(device.device_id, request)
        digest = digest_of(password.reveal().encode())
        device = replace(
            device, token_digest=digest, token_made_at=now, certificate=certificate, next_digest=""
        )
        return device, password, fields

    def _finish(self, device: DeviceRecord, password: Secret, fields: Mapping[str, str]) -> bytes:
        self._tables.registry.add(device)
        logger.info("device %s (%s, %s) joined", device.name, device.model, device.device_id)
        self._ports.on_joined(device)
        return encode_credentials(device.device_id, password, fields)


def _not_stored(exc: GatewayError) -> bytes:
    logger.warning("%s", exc)
    return encode_refusal("the gateway cannot store it now")
