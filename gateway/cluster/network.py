"""Builds this node's part of the cluster on the network: server, links, records. Does I/O."""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.addresses import interface_addresses
from gateway.cluster.calls.client import LanCalls
from gateway.cluster.calls.protocol import HTTP
from gateway.cluster.calls.server import CallServer
from gateway.cluster.discovery.address_watch import interface_changes
from gateway.cluster.discovery.txt import Announcement
from gateway.cluster.election.machine import Election
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.candidates import Candidates
from gateway.cluster.links.frames import SepMessage
from gateway.cluster.links.link import CONTROL
from gateway.cluster.links.peering import Peering, PeeringPorts
from gateway.cluster.links.server import PeerServer, Serve
from gateway.cluster.records.directory import Directory
from gateway.cluster.records.exchange import DATA, ExchangePorts, RecordExchange
from gateway.cluster.ways.client import WayClient
from gateway.cluster.ways.relay import Dial, RelayPorts, WayRelay
from gateway.cluster.ways.request import WAY
from gateway.errors import ClusterError
from hardware.boot_clock import boot_time
from protocol.keys import NodeKey
from protocol.memberships import SepClaim
from protocol.node_tls import NodeTlsContext
from settings.addresses import format_address
from web.asgi import App

if TYPE_CHECKING:  # a node without multicast does not load it
    from gateway.cluster.discovery.service import NodeDiscovery

logger = logging.getLogger(__name__)

BACKLOG = 128


@dataclass(frozen=True, slots=True)
class WaysToPeers:
    """The configured ways to find peers."""

    peers: tuple[str, ...] = ()  # host:port
    by_multicast: bool = True  # DNS-SD


@dataclass(frozen=True, slots=True)
class WaysToCloud:
    """The places of the cloud, and the direct way there."""

    way_sockets: Mapping[Path, str]  # host:port, by the Unix socket that leads there through a peer
    dial: Dial


@dataclass(frozen=True, slots=True)
class NetworkPorts:
    """The functions of other parts that the network calls."""

    own_record: Callable[[], str]  # signed
    addresses: Callable[[int], tuple[str, ...]]  # host:port of this node, by the port it listens on
    changed: Callable[[], None]  # role, or a claim of it or of the SEP
    moved: Callable[[tuple[str, ...]], None]  # this node has these addresses now
    stored: Callable[[str, str], None]  # a node id and its record; "": withdrawn
    vouch: Callable[[str, SepClaim], str]  # this node's statement that it forwards to a node
    vouched: Callable[[str], None]  # the SEP holder's statement about this node
    sep: Callable[[str, SepMessage], None]  # from a peer
    save_epoch: Callable[[int], None]
    mqtt_port: Callable[[], int]  # reachable from the network; 0: none


class ClusterNetwork:
    """The cluster port and everything behind it."""

    def __init__(
        self,
        key: NodeKey,
        agreed: tuple[Election, SepAgreement],
        directory: Directory,
        admission: PeerAdmission,
        ways: tuple[WaysToPeers, WaysToCloud],
        ports: NetworkPorts,
    ) -> None:
        """Build the parts; `agreed` is what the nodes agree on: the supernode, and its SEP."""
        to_peers, to_cloud = ways
        self._key, self._discovers = key, to_peers.by_multicast
        self._election, self._sep = agreed
        self._ports = ports
        self._discovery: NodeDiscovery | None = None
        self._port = 0  # until it listens
        self._directory = directory
        self._own: tuple[str, ...] = ()  # host:port by which it would call itself
        self._followed = ""  # the supernode that the data connection goes to
        self.candidates = Candidates(key.node_id, to_peers.peers, lambda: self._own)
        context = NodeTlsContext(key, (CONTROL, DATA, HTTP, WAY))
        self.peering = Peering(
            agreed,
            context,
            admission,
            self.candidates,
            PeeringPorts(
                lambda: ports.addresses(self._port),
                self._changed,
                lambda peer_id: self.exchange.cut(peer_id),
                ports.save_epoch,
                lambda: self.exchange.members,
                time.time,
                boot_time,
            ),
        )
        self.exchange = RecordExchange(
            context,
            admission,
            directory,
            ExchangePorts(
                hello=self.peering.hello,
                own_record=ports.own_record,
                supernode=self._find_supernode,
                leads=self._leads,
                stored=ports.stored,
                claim=lambda: self._sep.claim,
                holds=self._holds,
                vouch=ports.vouch,
                vouched=ports.vouched,
                sep=ports.sep,
            ),
        )
        note_refused = self.peering.links.refused.note
        self.calls = CallServer(admission, note_refused)
        self.relay = WayRelay(
            frozenset(to_cloud.way_sockets.values()),
            admission,
            RelayPorts(self._holds_sep, to_cloud.dial, note_refused),
        )
        self.way = WayClient(context, admission, self._find_holder, to_cloud.way_sockets)
        self._context, self._admission = context, admission
        protocols: dict[str, Serve] = {
            HTTP: self.calls.serve,
            CONTROL: self.peering.links.serve,
            DATA: self.exchange.serve,
            WAY: self.relay.serve,
        }
        self._server = PeerServer(context, protocols)
        self._on_change = ports.changed

    def listen(self, host: str, port: int) -> socket.socket:
        """Return the listening socket; ClusterError when the address cannot be used."""
        try:
            listener = _listen_near(host, port)
        except OSError as exc:
            raise ClusterError(
                f"cannot listen on {host}:{port}: {exc.strerror}; set [cluster] port"
            ) from exc
        if port and listener.getsockname()[1] != port:
            logger.warning(
                "port %d is in use, perhaps by another gateway of this machine: other nodes find "
                "this one at port %d instead; set [cluster] port",
                port,
                listener.getsockname()[1],
            )
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        return listener

    def counters(self) -> dict[str, int]:
        """Return how often strangers and peers have gone beyond a limit."""
        discovery = self._discovery
        return {
            "announcementsIgnored": discovery.ignored if discovery is not None else 0,
            "candidatesRefused": self.candidates.refused,
            "handshakesFailed": self._server.failed,
            "linksRefused": self.peering.links.refused.count,
            "framesSlowed": self.peering.links.slowed + self.exchange.slowed,
            "recordsRefused": self._directory.refused,
            "queriesUnanswered": self.exchange.unanswered,
        }

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before."""
        return self._port

    def build_calls(self, addresses: Callable[[str], tuple[str, ...]]) -> LanCalls:
        """Return the way by which this node calls others; it asks for their addresses."""
        return LanCalls(self._context, self._admission, addresses)

    async def run(self, listener: socket.socket, app: App) -> None:
        """Take part until cancelled; peers may call the application."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_addresses(), name="addresses")
                if self._discovers:
                    group.create_task(self._discover(), name="discovery")
                group.create_task(self._server.run([listener]), name="cluster port")
                group.create_task(self.calls.run(app), name="calls of peers")
                group.create_task(self.peering.run(), name="election")
                group.create_task(self.exchange.run(), name="records")
                group.create_task(self.way.run(), name="way to the cloud")
        finally:
            self.relay.close()
            listener.close()

    async def _follow_addresses(self) -> None:
        """Spread new addresses of this machine, and use its new interfaces."""
        known: tuple[str, ...] | None = None
        async with aclosing(interface_changes()) as changes:
            async for _ in changes:
                found = await asyncio.to_thread(interface_addresses)
                self._own = tuple(format_address(each, self._port) for each in found)
                if known is not None:
                    if found != known:
                        shown = ", ".join(found) or "none"
                        logger.info("the addresses of this machine are now %s", shown)
                        self._ports.moved(self._ports.addresses(self._port))
                    self.candidates.retry(boot_time())
                    self.peering.links.look_again()
                    if self._discovery is not None:
                        self._discovery.interfaces_changed()
                known = found

    async def _discover(self) -> None:
        from gateway.cluster.discovery.service import DiscoveryPorts, NodeDiscovery

        ports = DiscoveryPorts(self._announce, self._searches, self._note_found)
        self._discovery = NodeDiscovery(
            self._key.node_id, self._port, self._ports.mqtt_port(), ports
        )
        await self._discovery.run()

    def _announce(self) -> Announcement:
        election = self._election
        return Announcement(self._key.node_id, election.role, election.supernode_id)

    def _searches(self) -> bool:
        return self.candidates.misses(self.peering.links.linked)

    def _note_found(self, announcement: Announcement, addresses: tuple[str, ...]) -> None:
        links = self.peering.links
        self.candidates.note(announcement.node_id, addresses, boot_time(), links.linked)
        links.look_again()

    def _changed(self) -> None:
        if self._discovery is not None:
            self._discovery.role_changed()
        followed = self._election.supernode_id
        if followed != self._followed:
            self._followed = followed
            self.exchange.supernode_changed()
        self.way.holder_changed()
        self._on_change()

    def _leads(self) -> bool:
        self.peering.wake()
        return self._election.supernode_id == self._key.node_id

    def _holds(self, supernode_id: str, claim: SepClaim) -> bool:
        """Return whether this node holds the SEP by a claim of the supernode that it follows."""
        self.peering.wake()
        is_followed = self._election.supernode_id == supernode_id
        return is_followed and self._sep.follow(supernode_id, claim) and self._sep.holds

    def _holds_sep(self) -> bool:
        self.peering.wake()
        return self._sep.holds

    def _find_holder(self) -> tuple[str, tuple[str, ...]]:
        """Return the other node that holds the SEP, and its addresses; ("", ()) for none."""
        holder_id = self._sep.claim.holder_id
        if holder_id in ("", self._key.node_id):
            return "", ()
        return holder_id, self.candidates.addresses(holder_id)

    def _find_supernode(self) -> tuple[str, tuple[str, ...]]:
        supernode_id = self._election.supernode_id
        return supernode_id, self.candidates.addresses(supernode_id)


def _listen_near(host: str, port: int) -> socket.socket:
    """Listen on a port, or on any free one when it is in use."""
    try:
        return _listen(host, port)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE or not port:
            raise
        return _listen(host, 0)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; on a machine without IPv6, "::" stands for all of IPv4."""
    if host == "::" and socket.has_dualstack_ipv6():
        return socket.create_server(
            (host, port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    family = socket.AF_INET6 if ":" in host and host != "::" else socket.AF_INET
    return socket.create_server(
        ("" if host == "::" else host, port), family=family, backlog=BACKLOG
    )
