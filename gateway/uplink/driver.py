"""Holds the link to the cloud: dials when link.py says so, carries what rules.py and the SEP say.

Readings go broker → spool → cloud; the device is acknowledged when the spool has them on disk,
and they are deleted there when the cloud has acknowledged them.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from broker import LocalClient, Message
from gateway.account import Account
from gateway.backoff import delays
from gateway.config import CloudSettings
from gateway.errors import GatewayError, LinkLost, Refused, UplinkError
from gateway.sep import SepService
from gateway.uplink.cloud_api import CloudApi
from gateway.uplink.connection import PUBACK_WINDOW, Connection
from gateway.uplink.downlink import CloudMessage, Downlink
from gateway.uplink.link import Link, State
from gateway.uplink.rules import Rules
from gateway.uplink.spool import Spool
from gateway.uplink.window import Window
from protocol.records import NodeRecord
from protocol.secret import Secret
from protocol.topics import downlinked, sep_request, uplinked

logger = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
READ_BATCH = 128
SETTLE_S = 0.1  # changes that come together are registered together
TOKEN_RETRY_S = 10.0
REGISTER_AGAIN_S = 12 * 3600.0  # a signed record is valid for a day
UNSENT_LIMIT = 1000  # QoS 0 messages and SEP answers waiting for the socket


@dataclass(frozen=True, slots=True)
class NodePorts:
    """What the uplink asks of and tells the node."""

    node_id: str
    signed_record: Callable[[], str]
    on_registered: Callable[[NodeRecord], None]


@dataclass(frozen=True, slots=True)
class Carried:
    """The parts that an uplink joins."""

    api: CloudApi
    account: Account
    rules: Rules
    spool: Spool
    local: LocalClient
    sep: SepService


class Uplink:
    """One task that owns the connection to the cloud."""

    def __init__(
        self,
        settings: CloudSettings,
        tls: ssl.SSLContext | None,
        node: NodePorts,
        parts: Carried,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._tls, self._node, self._clock = settings, tls, node, clock
        self._api, self._account = parts.api, parts.account
        self._rules, self._spool = parts.rules, parts.spool
        self._local, self._sep = parts.local, parts.sep
        rng = random.Random()  # noqa: S311  # spreads attempts
        self.link = Link(lambda: delays(FIRST_WAIT_S, LONGEST_WAIT_S, rng), clock())
        self._connection: Connection | None = None
        self._window = Window(PUBACK_WINDOW)
        self._stored = asyncio.Event()
        self._changed = asyncio.Event()
        self._failing_since: float | None = None
        self._spool.on_stored = self._stored.set

    def on_changed(self) -> None:
        """The node's record has changed: tell the cloud."""
        self._changed.set()

    async def associate(self, account_token: Secret) -> str:
        """Make this node a member of a token's account; return the account's id.

        Raises:
            Refused, LinkLost: the cloud says no, or cannot be reached.
        """
        account_id = await self._api.associate(account_token)
        await self._account.become(account_id)
        await self._learn_account_key()
        self.on_changed()
        return account_id

    def attach(self) -> None:
        """Keep from now on what the rules carry up, whether the link is up or not."""
        for rule in self._rules.up:
            self._local.subscribe(rule.filter, partial(self._on_local, rule.filter))

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        while True:
            await self._wait_until_due()
            self.link.dial(self._clock())
            try:
                await self._attempt()
            except Refused as exc:
                self._api.drop_token()
                self._note_failure(exc)
                self.link.refused(str(exc), self._clock())
            except GatewayError as exc:
                self._note_failure(exc)
                self.link.lost(str(exc), self._clock())
            except BaseException:
                self.link.lost("fault in the gateway", self._clock())
                raise
            else:
                self.link.renew(self._clock())

    # one attempt -----------------------------------------------------------------------

    async def _wait_until_due(self) -> None:
        wait_s = (self.link.deadline or 0.0) - self._clock()
        await asyncio.sleep(max(0.0, min(wait_s, LONGEST_WAIT_S)))  # the clock may have been set

    async def _attempt(self) -> None:
        """Connect and serve; return when the connection is to be opened anew at once."""
        token = await self._api.access_token()
        await self._register()
        connection = Connection(self._node.node_id, token, self._tls)
        downlink = Downlink(self._local, self._rules, connection.acknowledge)
        connection.on_message = partial(self._on_cloud, downlink)
        connection.on_acknowledged = self._on_acknowledged
        host, port = self._settings.mqtt_address
        try:
            await connection.open(host, port)
            self._window, self._connection = Window(PUBACK_WINDOW), connection
            node_id = self._node.node_id
            down = [downlinked(node_id, rule.filter) for rule in self._rules.down]
            await connection.subscribe([sep_request(node_id, "+"), *down])
            self.link.accepted(self._clock())
            self._note_success()
            await self._serve(connection)
        finally:
            self._connection = None
            downlink.close()
            await connection.close()

    async def _serve(self, connection: Connection) -> None:
        tasks = {
            asyncio.create_task(self._pump(connection), name="uplink pump"),
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

    async def _pump(self, connection: Connection) -> None:
        """Send what the spool holds, oldest first, never more than the window allows."""
        window = self._window
        while True:
            self._stored.clear()
            room = min(window.room, READ_BATCH)
            entries = await self._spool.read(window.cursor, room) if room else []
            for entry in entries:
                topic = uplinked(self._node.node_id, entry.topic)
                packet_id = connection.publish(topic, entry.payload, qos=1, retain=entry.retain)
                if not window.sent(packet_id, entry.row_id):
                    raise LinkLost("cannot go on: packet ids ran out")
            if not entries:
                await self._stored.wait()

    async def _renew_token(self) -> None:
        """Return when there is a new access token, shortly before the old one ends."""
        while True:
            await asyncio.sleep(max(0.0, self._api.renew_at - self._clock()))
            try:
                await self._api.access_token()
            except UplinkError as exc:  # the old one is good for a while
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
        record = await self._api.register(self._node.signed_record())
        await self._account.become(record.account_id)
        self._node.on_registered(record)
        if record.account_id and not self._account.key:
            await self._learn_account_key()

    async def _learn_account_key(self) -> None:
        try:
            await self._account.learn_key(await self._api.account_key())
        except UplinkError as exc:
            logger.warning("%s; trying again with the next registration", exc)

    # what passes -----------------------------------------------------------------------

    def _on_local(self, topic_filter: str, message: Message) -> None:
        route = self._rules.route_up(message.topic)
        if route is None or route[0].filter != topic_filter:  # an earlier rule has it
            return
        rule, name = route
        if rule.qos == 0:
            self._send_now(name, message)
            return
        hold = message.hold
        if hold is None:
            self._spool.append(name, message.payload, _ignore, retain=message.retain)
            return
        hold.keep()
        self._spool.append(
            name,
            message.payload,
            lambda stored: hold.release() if stored else hold.refuse(),
            retain=message.retain,
        )

    def _send_now(self, name: str, message: Message) -> None:
        connection = self._online()
        if connection is None:
            self._spool.count_dropped()
        else:
            topic = uplinked(self._node.node_id, name)
            connection.publish(topic, message.payload, qos=0, retain=message.retain)

    def _on_cloud(self, downlink: Downlink, message: CloudMessage) -> None:
        if message.topic.startswith("$hec/sep/"):
            downlink.accept(message)
            self._sep.handle(message.payload, self._node.node_id, self._send_answer)
        else:
            prefix = downlinked(self._node.node_id, "")
            downlink.forward(message.topic.removeprefix(prefix), message)

    def _send_answer(self, topic: str, payload: bytes) -> None:
        connection = self._online()
        if connection is not None:
            connection.publish(topic, payload, qos=0)

    def _online(self) -> Connection | None:
        connection = self._connection
        if connection is None or self.link.state is not State.ONLINE:
            return None
        return connection if connection.unsent < UNSENT_LIMIT else None

    def _on_acknowledged(self, packet_id: int) -> None:
        was_full = not self._window.room
        if self._window.acknowledged(packet_id):
            self._spool.forget(self._window.watermark)
            if was_full:
                self._stored.set()

    # the story -------------------------------------------------------------------------

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


async def _until_closed(connection: Connection) -> None:
    raise LinkLost(await connection.closed)


def _ignore(_stored: bool) -> None:  # a QoS 0 sender is told nothing
    return
