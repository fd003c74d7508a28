"""Admits and revokes devices: answers joins, makes claim tokens, counts messages."""

import asyncio
import logging
import time
from collections.abc import Callable

from broker import Broker, Message
from gateway.devices.claims import Claim, Claims
from gateway.devices.credentials import digest_of, new_token
from gateway.devices.join import (
    encode_credentials,
    encode_refusal,
    encode_time,
    parse_request,
)
from gateway.devices.registry import DEVICE_LIMIT, DeviceRecord, DeviceRegistry
from gateway.devices.store import DeviceStore
from gateway.errors import GatewayError
from protocol.ids import new_device_id
from protocol.topics import (
    JOIN_REQUESTS,
    ONLINE,
    join_response,
    status_topic,
    time_topic,
)
from settings.secret import Secret

logger = logging.getLogger(__name__)

CLAIM_NAME = "claim:"  # and the digest: an identity of the broker that may only join
JOINS_AT_ONCE = 64
SAVE_INTERVAL_S = 60.0  # the most of "last seen" that a power cut costs


class DeviceAdmission:
    """The owner of the registry of devices and of the claim tokens."""

    def __init__(
        self,
        store: DeviceStore,
        registry: DeviceRegistry,
        claims: Claims,
        broker: Broker,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry, self.claims = registry, claims
        self._store, self._broker, self._clock = store, broker, clock
        self._local = broker.local_client("devices")
        self._joins: set[asyncio.Task[None]] = set()
        self._one_join = asyncio.Lock()  # a repeated request finds the device of the first one

    def attach(self) -> None:
        """Answer joins and count the messages of devices from now on."""
        self._local.subscribe(JOIN_REQUESTS, self._on_join)
        self._local.subscribe("devices/#", self._on_message)

    async def run(self) -> None:
        """Store the times of last messages every SAVE_INTERVAL_S until cancelled."""
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            await self.save()

    async def save(self) -> None:
        """Store the times of last messages; delete claims that expired."""
        try:
            await self._store.save_seen(self.registry.take_seen())
            await self._delete_old_claims()
        except GatewayError as exc:
            logger.warning("%s", exc)

    async def new_claim(self, uses: int, ttl_s: float) -> tuple[Secret, Claim] | None:
        """Make a claim token; None when there are too many."""
        token = new_token()
        digest = digest_of(token.reveal().encode())
        claim = Claim(digest, uses, self._clock() + ttl_s)
        await self._delete_old_claims()
        if not self.claims.add(claim):
            return None
        await self._store.save_claim(claim)
        return token, claim

    async def end_claims(self) -> int:
        """End all claim tokens; return their number."""
        ended = self.claims.take_all()
        await self._store.delete_claims(ended)
        logger.info("%d claim tokens ended", len(ended))
        return len(ended)

    async def revoke(self, device_id: str) -> bool:
        """Revoke a device and close its connection; return whether there was such a device."""
        device = self.registry.remove(device_id)
        if device is None:
            return False
        self._broker.revoke(device_id)
        self._local.publish(status_topic(device_id), b"", retain=True)
        await self._store.delete_device(device_id)
        logger.info("device %s (%s) revoked", device.name, device_id)
        return True

    async def _delete_old_claims(self) -> None:
        """Delete claims that admit no device any more, so that they do not count."""
        async with self._one_join:  # a join that cannot be stored restores its use
            old = self.claims.take_expired(self._clock())
            old += self.claims.take_spent(self.registry.claims_in_use())
            await self._store.delete_claims(old)

    def _on_message(self, message: Message) -> None:
        sender = message.sender
        if sender.startswith("dev-"):
            self.registry.observe(sender, message.topic, message.payload, self._clock())
            if message.payload == ONLINE and message.topic == status_topic(sender):
                self._local.publish(time_topic(sender), encode_time(self._clock()))

    def _on_join(self, message: Message) -> None:
        if not message.sender.startswith(CLAIM_NAME):
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
        client_id = message.topic.split("/")[2]
        async with self._one_join:
            answer = await self._join(
                client_id, message.sender.removeprefix(CLAIM_NAME), message.payload
            )
        self._local.publish(join_response(client_id), answer, qos=1)
        if message.hold is not None:
            message.hold.release()

    async def _join(self, client_id: str, claim_digest: str, payload: bytes) -> bytes:
        try:
            request = parse_request(payload)
        except ValueError as exc:
            return encode_refusal(str(exc))
        now = self._clock()
        claim = self.claims.get(claim_digest, now)
        if claim is None:
            return encode_refusal("claim token has expired")
        known = self.registry.unconfirmed(claim_digest, client_id)
        if known is None and claim.uses < 1:
            return encode_refusal("claim token is used up")
        if known is None and len(self.registry) >= DEVICE_LIMIT:
            return encode_refusal(f"{DEVICE_LIMIT} devices have joined already")
        password = new_token()
        device = DeviceRecord(
            device_id=known.device_id if known else new_device_id(),
            name=request.name,
            model=request.model,
            token_digest=digest_of(password.reveal().encode()),
            joined_at=now,
            claim_digest=claim_digest,
            client_id=client_id,
        )
        used = None if known else self.claims.use(claim_digest)
        try:
            await self._store.save_join(device, used)  # the commit comes before the answer
        except GatewayError as exc:
            logger.warning("%s", exc)
            if used is not None:
                self.claims.restore(claim_digest)
            return encode_refusal("the gateway cannot store it now")
        self.registry.add(device)
        logger.info("device %s (%s, %s) joined", device.name, device.model, device.device_id)
        return encode_credentials(device.device_id, password)


async def confirm(store: DeviceStore, device: DeviceRecord) -> None:
    """Store that a device has logged in with its own credentials: its join is over."""
    if not device.confirmed:
        device.confirm()
        await store.confirm_device(device.device_id)
