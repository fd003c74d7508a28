"""Keeps the link to the cloud: dials when link.py says so, and serves the connection.

Readings pass from the broker through the spool to the cloud (forwarder.py). The broker
acknowledges a reading when the spool has it on disk; the spool deletes it when the cloud has
acknowledged it. Commands and SEP requests come from the cloud (downlinks.py). The spool takes
readings in every role of this node; only run() sends them, by a direct way or, when that has
failed, through the node that holds the SEP of the cluster.
"""

import asyncio
import contextlib
import importlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from broker import LocalClient, Message
from gateway.backoff import delays
from gateway.cloud_api.client import CloudApi
from gateway.cloud_api.ways import DIRECT, WayChoice
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
from gateway.uplink.downlinks import Downlinks
from gateway.uplink.endpoint import Endpoint
from gateway.uplink.forwarder import Forwarder
from gateway.uplink.link import CloudLink, CloudLinkState
from gateway.uplink.registration import DueRegistration
from gateway.uplink.rules import Rules
from hardware.boot_clock import boot_time
from protocol.mqtt_limits import MqttLimits
from protocol.records import NodeRecord
from settings.secret import Secret

if TYPE_CHECKING:
    from gateway.uplink.connection import CloudConnection

logger = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
OLD_VERSION_S = 3600.0  # until MQTT 5 is tried again with a broker that lacks it
TOKEN_RETRY_S = 10.0
LOOK_S = 5.0  # at the clock: a machine that has slept is late (boot_clock.py)
HANGS_S, HANGS_LOOK_S = 2.0, 0.25  # of a direct attempt, when there is another way
PROBE_S = 1.0  # at least, between two probes of the direct way


# takes a SEP request, the supernode's id, and a function that sends the answer to a topic
RequestHandler = Callable[[bytes, str, Callable[[str, bytes], None]], None]


async def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The functions of the node that the uplink calls."""

    node_id: str
    signed_record: Callable[[], str]
    on_registered: Callable[[NodeRecord], None]
    on_reach: Callable[[bool], None] = lambda _: None  # the cloud, by a way of its own
    on_stale_claim: Callable[[int], None] = lambda _: None  # the epoch that the cloud knows
    way_fault: Callable[[], str] = lambda: ""  # the fault of a way through another node


@dataclass(frozen=True, slots=True)
class UplinkParts:
    """The parts that an uplink connects."""

    api: CloudApi
    account: Account
    rules: Rules
    spool: Spool
    local: LocalClient
    ways: WayChoice = field(default_factory=WayChoice)
    probe: Callable[[], Awaitable[bool]] = _never  # true if the direct way works


class Uplink:
    """The owner of the connection to the cloud."""

    def __init__(
        self,
        endpoint: Endpoint,
        node: NodePorts,
        parts: UplinkParts,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._endpoint, self._node, self._clock = endpoint, node, clock
        self._api, self._account = parts.api, parts.account
        self._rules, self._local = parts.rules, parts.local
        self._ways, self._probe = parts.ways, parts.probe
        self._look = asyncio.Event()  # at the ways: another node may lead to the cloud
        self._is_watched_closely = False
        self._connection: CloudConnection | None = None
        self._rng = random.Random()  # noqa: S311  # spreads attempts
        self.link = CloudLink(self._make_waits, clock())
        self.forwarder = Forwarder(node.node_id, parts.spool)
        self.downlinks = Downlinks(node.node_id, parts.rules, parts.local, self._on_request)
        self._limits = MqttLimits()  # as the cloud announced them last
        self._old_version_until = float("-inf")
        self.mqtt = ""  # the present version and transport, in words
        self._due = DueRegistration(self._rng)
        self._failing_since: float | None = None
        self._handle_request: RequestHandler | None = None  # while run() runs

    def _make_waits(self) -> Iterator[float]:
        return delays(FIRST_WAIT_S, LONGEST_WAIT_S, self._rng)

    def register_soon(self, spread_s: float = 0.0) -> None:
        """Register the node's record again: it has changed, as others' within spread_s."""
        self._due.request(spread_s)

    def look_again(self, *, closely: bool) -> None:
        """Look at the ways to the cloud: they may have changed.

        Args:
            closely: others depend on this node's way, so that its loss must be noticed soon.
        """
        self._look.set()
        if closely is not self._is_watched_closely:
            self._is_watched_closely = closely
            if self._connection is not None:
                self._connection.watch(closely=closely)

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
            via = self._ways.choose(self._clock())
            self.link.dial(self._clock())
            self.forwarder.prepare()
            try:
                await self._attempt_in_time(via)
            except CloudRefused as exc:
                self._api.drop_token()
                self._note_failure(exc)
                self.link.refused(str(exc), self._clock())
            except GatewayError as exc:
                self._note_failure(exc)
                self._note_lost(exc, via)
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
        """Wait for the next attempt, or until a way through another node can be tried."""
        while (wait_s := (self.link.deadline or 0.0) - self._clock()) > 0:
            self._look.clear()
            was_left = self._ways.has_holder(self._clock())
            if not was_left:
                wait_s = min(wait_s, self._ways.holder_in_s(self._clock()))
            wait_s = min(wait_s, LOOK_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._look.wait()
            if not was_left and self._ways.has_holder(self._clock()):
                return

    def _note_lost(self, exc: GatewayError, via: str) -> None:
        was_online, now = self.link.state is CloudLinkState.ONLINE, self._clock()
        why = f"{exc} ({self._node.way_fault()})" if via and self._node.way_fault() else str(exc)
        self.link.lost(why, now, was_useful=self.forwarder.has_settled)
        if not was_online:
            self._ways.failed(via, now)
            if self._ways.has_holder(now) and not via:
                self.link.renew(now)

    async def _attempt_in_time(self, via: str) -> None:
        """Make an attempt; end a direct one that hangs when another node leads to the cloud."""
        attempt = asyncio.create_task(self._attempt(via), name="uplink attempt")
        began = self._clock()
        try:
            while self.link.state is CloudLinkState.CONNECTING and not attempt.done():
                await asyncio.wait({attempt}, timeout=HANGS_LOOK_S)
                now = self._clock()
                if via or attempt.done() or now - began < HANGS_S:
                    continue
                if self.link.state is CloudLinkState.CONNECTING and self._ways.has_holder(now):
                    raise UplinkLost("cannot reach the cloud directly: no answer")
            await attempt
        finally:
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)

    async def _attempt(self, via: str) -> None:
        """Connect and serve; return when another connection should open at once."""
        token = await self._api.access_token()
        await self._register()
        self._limits = await self._api.mqtt_limits(self._limits)
        connection = self._connection = await self._open(token, via)
        connection.watch(closely=self._is_watched_closely)
        try:
            if not connection.server.maximum_qos:
                raise CloudRefused("cannot forward: the cloud's broker takes QoS 0 only")
            self.forwarder.begin(connection, self._limits)
            await self.downlinks.subscribe(connection, self.forwarder.limits)
            self.link.accepted(self._clock())
            self._note_success()
            self._ways.worked(via)
            self._node.on_reach(not via)
            await self._serve(connection, via)
        finally:
            self._connection = None
            self._node.on_reach(False)
            closed = connection.closed
            self.forwarder.end(closed.result() if closed.done() else None)
            self.downlinks.end()
            self.mqtt = ""
            await connection.close()

    async def _open(self, token: Secret, via: str) -> "CloudConnection":
        """Connect by MQTT 5, or by 3.1.1 to a broker without MQTT 5."""
        if self._clock() >= self._old_version_until:
            try:
                return await self._dial(token, via, five=True)
            except MqttVersionUnsupported as exc:
                logger.debug("%s; trying MQTT 3.1.1", exc)
        connection = await self._dial(token, via, five=False)
        self._old_version_until = self._clock() + OLD_VERSION_S
        return connection

    async def _dial(self, token: Secret, via: str, *, five: bool) -> "CloudConnection":
        await asyncio.to_thread(self._load_client)
        from gateway.uplink.connection import CloudConnection, ConnectionCallbacks

        callbacks = ConnectionCallbacks(self.downlinks.take, self.forwarder.on_puback)
        node_id = self._node.node_id
        endpoint = self._endpoint.through(via)
        connection = CloudConnection(node_id, token, endpoint, callbacks, five=five)
        self.downlinks.begin(connection)
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        self.mqtt = f"MQTT {'5' if five else '3.1.1'} over {endpoint.transport}"
        return connection

    def _load_client(self) -> None:
        """Load the MQTT client and its context: 1.5 MiB that a cloud which is away does not need.

        Blocks on the disk the first time.
        """
        importlib.import_module("gateway.uplink.connection")
        if self._endpoint.tls is not None:
            self._endpoint.tls()

    async def _serve(self, connection: "CloudConnection", via: str) -> None:
        tasks = {
            asyncio.create_task(self.forwarder.run(), name="uplink forwarder"),
            asyncio.create_task(self._follow_changes(), name="uplink changes"),
            asyncio.create_task(self._renew_token(), name="uplink token"),
            asyncio.ensure_future(_until_closed(connection)),
        }
        if via:
            tasks.add(asyncio.create_task(self._watch_direct(), name="uplink way"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_direct(self) -> None:
        """Return when the direct way works again."""
        while True:
            await asyncio.sleep(max(self._ways.direct_in_s(self._clock()), PROBE_S))
            works = await self._probe()
            logger.debug("the direct way to the cloud %s", "works" if works else "does not work")
            if works:
                self._ways.retry_direct()
                return
            self._ways.failed(DIRECT, self._clock())

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
        waits = self._make_waits()
        while True:
            await self._due.wait()
            try:
                await self._register()
            except UplinkError as exc:
                logger.warning("%s; trying again", exc)
                self._due.request()
                await asyncio.sleep(next(waits))
            else:
                waits = self._make_waits()

    async def _register(self) -> None:
        self._due.begin()
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


async def _until_closed(connection: "CloudConnection") -> None:
    ended = await asyncio.shield(connection.closed)  # a cancelled wait does not end it
    raise UplinkLost(ended.why)
