"""Keeps the link to the cloud: dials when link.py says so, and serves the connection.

Readings pass from the broker through the spool to the cloud (forwarder.py). The broker
acknowledges a reading when the spool has it on disk; the spool deletes it when the cloud has
acknowledged it. Commands and SEP requests come from the cloud (downlinks.py). The spool takes
readings in every role of this node; only run(), in the role of supernode, sends them.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from broker import LocalClient, Message
from gateway.backoff import delays
from gateway.cloud_api.client import CloudApi
from gateway.errors import (
    CloudRefused,
    GatewayError,
    MqttVersionUnsupported,
    StaleClaim,
    UplinkError,
    UplinkLost,
)
from gateway.node.account import Account
from gateway.spool.spool import Spool
from gateway.uplink.connection import CloudConnection, ConnectionCallbacks, Endpoint
from gateway.uplink.downlinks import Downlinks
from gateway.uplink.forwarder import Forwarder
from gateway.uplink.link import CloudLink
from gateway.uplink.rules import Rules
from protocol.mqtt_limits import MqttLimits
from protocol.records import NodeRecord
from settings.secret import Secret

logger = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
OLD_VERSION_S = 3600.0  # until MQTT 5 is tried again with a broker that lacks it
SETTLE_S = 0.1  # one registration covers all changes within this time
TOKEN_RETRY_S = 10.0
REGISTER_AGAIN_S = 12 * 3600.0  # a signed record is valid for a day


# takes a SEP request, the supernode's id, and a function that sends the answer to a topic
RequestHandler = Callable[[bytes, str, Callable[[str, bytes], None]], None]


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The functions of the node that the uplink calls."""

    node_id: str
    signed_record: Callable[[], str]
    on_registered: Callable[[NodeRecord], None]
    on_reach: Callable[[bool], None] = lambda _: None  # the cloud, by a way of its own
    on_stale_claim: Callable[[int], None] = lambda _: None  # the epoch that the cloud knows


@dataclass(frozen=True, slots=True)
class UplinkParts:
    """The parts that an uplink connects."""

    api: CloudApi
    account: Account
    rules: Rules
    spool: Spool
    local: LocalClient


class Uplink:
    """The owner of the connection to the cloud."""

    def __init__(
        self,
        endpoint: Endpoint,
        node: NodePorts,
        parts: UplinkParts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint, self._node, self._clock = endpoint, node, clock
        self._api, self._account = parts.api, parts.account
        self._rules, self._local = parts.rules, parts.local
        rng = random.Random()  # noqa: S311  # spreads attempts
        self.link = CloudLink(lambda: delays(FIRST_WAIT_S, LONGEST_WAIT_S, rng), clock())
        self.forwarder = Forwarder(node.node_id, parts.spool)
        self.downlinks = Downlinks(node.node_id, parts.rules, parts.local, self._on_request)
        self._limits = MqttLimits()  # as the cloud announced them last
        self._old_version_until = float("-inf")
        self.mqtt = ""  # the present version and transport, in words
        self._changed = asyncio.Event()
        self._failing_since: float | None = None
        self._handle_request: RequestHandler | None = None  # while run() runs

    def register_soon(self) -> None:
        """Register the node's record again: it has changed."""
        self._changed.set()

    async def associate(self, account_token: Secret) -> str:
        """Make this node a member of a token's account; return the account's id.

        Raises:
            CloudRefused: the cloud refuses the token.
            UplinkLost: the cloud cannot be reached.
        """
        account_id = await self._api.associate(account_token)
        await self._account.become(account_id)
        await self._fetch_account_key()
        self.register_soon()
        return account_id

    def attach(self) -> None:
        """Store from now on the messages that the rules forward, in every role and link state."""
        for rule in self._rules.up:
            self._local.subscribe(rule.filter, partial(self._on_local, rule.filter))

    async def run(self, handle_request: RequestHandler) -> None:
        """Keep the link up until cancelled; may run again afterwards."""
        self._handle_request = handle_request
        while True:
            await self._wait_until_due()
            self.link.dial(self._clock())
            self.forwarder.prepare()
            try:
                await self._attempt()
            except CloudRefused as exc:
                self._api.drop_token()
                self._note_failure(exc)
                self.link.refused(str(exc), self._clock())
            except GatewayError as exc:
                self._note_failure(exc)
                self.link.lost(str(exc), self._clock(), was_useful=self.forwarder.has_settled)
            except asyncio.CancelledError:
                self.link.renew(self._clock())
                raise
            except BaseException:
                self.link.lost("fault in the gateway", self._clock())
                raise
            else:
                self.link.renew(self._clock())

    # one attempt -----------------------------------------------------------------------

    async def _wait_until_due(self) -> None:
        wait_s = (self.link.deadline or 0.0) - self._clock()
        await asyncio.sleep(max(0.0, wait_s))

    async def _attempt(self) -> None:
        """Connect and serve; return when another connection should open at once."""
        token = await self._api.access_token()
        await self._register()
        self._limits = await self._api.mqtt_limits(self._limits)
        connection = await self._open(token)
        try:
            if not connection.server.maximum_qos:
                raise CloudRefused("cannot forward: the cloud's broker takes QoS 0 only")
            self.forwarder.begin(connection, self._limits)
            await self.downlinks.subscribe(connection, self.forwarder.limits)
            self.link.accepted(self._clock())
            self._note_success()
            self._node.on_reach(True)
            await self._serve(connection)
        finally:
            self._node.on_reach(False)
            closed = connection.closed
            self.forwarder.end(closed.result() if closed.done() else None)
            self.downlinks.end()
            self.mqtt = ""
            await connection.close()

    async def _open(self, token: Secret) -> CloudConnection:
        """Connect by MQTT 5, or by 3.1.1 to a broker without MQTT 5."""
        if self._clock() >= self._old_version_until:
            try:
                return await self._dial(token, five=True)
            except MqttVersionUnsupported as exc:
                logger.debug("%s; trying MQTT 3.1.1", exc)
        connection = await self._dial(token, five=False)
        self._old_version_until = self._clock() + OLD_VERSION_S
        return connection

    async def _dial(self, token: Secret, *, five: bool) -> CloudConnection:
        callbacks = ConnectionCallbacks(self.downlinks.take, self.forwarder.on_puback)
        node_id = self._node.node_id
        connection = CloudConnection(node_id, token, self._endpoint, callbacks, five=five)
        self.downlinks.begin(connection)
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        self.mqtt = f"MQTT {'5' if five else '3.1.1'} over {self._endpoint.transport}"
        return connection

    async def _serve(self, connection: CloudConnection) -> None:
        tasks = {
            asyncio.create_task(self.forwarder.run(), name="uplink forwarder"),
            asyncio.create_task(self._follow_changes(), name="uplink changes"),
            asyncio.create_task(self._renew_token(), name="uplink token"),
            asyncio.ensure_future(_until_closed(connection)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew_token(self) -> None:
        """Return when there is a new access token, shortly before the old one expires."""
        while True:
            await asyncio.sleep(self._api.renews_in_s)
            try:
                await self._api.access_token()
            except UplinkError as exc:  # the old one stays valid for a while
                logger.debug("%s", exc)
                await asyncio.sleep(TOKEN_RETRY_S)
            else:
                return

    async def _follow_changes(self) -> None:
        waits = delays(FIRST_WAIT_S, LONGEST_WAIT_S, random.Random())  # noqa: S311
        while True:
            try:
                async with asyncio.timeout(REGISTER_AGAIN_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(SETTLE_S)
            try:
                await self._register()
            except UplinkError as exc:
                logger.warning("%s; trying again", exc)
                self._changed.set()
                await asyncio.sleep(next(waits))

    async def _register(self) -> None:
        self._changed.clear()
        try:
            record = await self._api.register(self._node.signed_record())
        except StaleClaim as exc:
            self._node.on_stale_claim(exc.epoch)
            raise
        try:
            await self._account.become(record.account_id)
        except GatewayError as exc:  # a full disk here is no reason to be offline
            logger.warning("%s; trying again with the next registration", exc)
        self._node.on_registered(record)
        if record.account_id and not self._account.key:
            await self._fetch_account_key()

    async def _fetch_account_key(self) -> None:
        try:
            await self._account.save_key(await self._api.account_key())
        except GatewayError as exc:
            logger.warning("%s; trying again with the next registration", exc)

    # messages ---------------------------------------------------------------------------

    def _on_local(self, topic_filter: str, message: Message) -> None:
        route = self._rules.route_up(message.topic)
        if route is None or route[0].filter != topic_filter:  # an earlier rule has it
            return
        self.forwarder.take(*route, message)

    def _on_request(self, payload: bytes) -> None:
        if self._handle_request is not None:
            self._handle_request(payload, self._node.node_id, self.forwarder.send_answer)

    # log lines ------------------------------------------------------------------------

    def _note_failure(self, exc: GatewayError) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock()
            logger.warning("SEP is down: %s", exc)
        else:
            logger.debug("SEP is still down: %s", exc)

    def _note_success(self) -> None:
        if self._failing_since is None:
            logger.info("SEP is up")
        else:
            logger.info("SEP is up after %.0f s", self._clock() - self._failing_since)
        self._failing_since = None


async def _until_closed(connection: CloudConnection) -> None:
    raise UplinkLost((await connection.closed).why)
