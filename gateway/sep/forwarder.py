"""Passes SEP envelopes between the cloud and the nodes of this node's cluster.

cloud ── SEP ──► holder ── data connection ──► supernode ── data connection ──► member

Answers take the same way back. As a rule the supernode is the holder. An envelope is sealed for its
node: the others read the receiver's id and nothing else.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sep.service import SepService
from protocol.envelope import decode_envelope
from protocol.errors import WireError
from protocol.topics import read_sep_response

logger = logging.getLogger(__name__)

SendAnswer = Callable[[str, bytes], None]  # to a topic of the cloud


@dataclass(frozen=True, slots=True)
class PeerPorts:
    """The functions of the cluster that the forwarder calls."""

    # peer id, topic, envelope, the holder that has a request from the cloud; False: it cannot go
    send: Callable[[str, str, bytes, str], bool]
    supernode_id: Callable[[], str]
    holder_id: Callable[[], str]  # the node that holds the SEP
    is_awake: Callable[[], bool]  # False after a pause that has ended the role of this node


class SepForwarder:
    """Serves envelopes to this node, and passes on those to other nodes of its cluster."""

    def __init__(self, node_id: str, service: SepService, peers: PeerPorts) -> None:
        self._node_id, self._service, self._peers = node_id, service, peers
        self._send_answer: SendAnswer | None = None  # while the link to the cloud is up
        self.passed, self.dropped = 0, 0

    def handle(self, payload: bytes, holder_id: str, send: SendAnswer) -> None:
        """Take an envelope from the cloud, which knows this node as holder_id."""
        self._send_answer = send
        receiver = self._read_receiver(payload)
        if receiver == self._node_id:
            self._service.handle(payload, holder_id, send)
        elif receiver and self._leads():
            self._pass(receiver, "", payload, holder_id)
        elif receiver:  # it holds the SEP as a member
            self._pass(self._peers.supernode_id(), "", payload, holder_id)

    def take_from_peer(self, peer_id: str, topic: str, payload: bytes, holder_id: str) -> None:
        """Take a request or an answer of another node of the cluster."""
        if topic:
            self._take_answer(peer_id, topic, payload)
            return
        supernode_id, receiver = self._peers.supernode_id(), self._read_receiver(payload)
        if not receiver:
            return
        if not self._leads() and peer_id == supernode_id:
            self._serve(payload, peer_id, holder_id or peer_id)
        elif self._leads() and peer_id == self._peers.holder_id():
            if receiver == self._node_id:
                self._serve(payload, peer_id, peer_id)
            else:
                self._pass(receiver, "", payload, peer_id)
        else:
            self._drop(f"node {peer_id[:12]} has no right to send it")

    async def stop(self) -> None:
        """Cancel the requests in progress."""
        self._send_answer = None
        await self._service.stop()

    def _take_answer(self, peer_id: str, topic: str, payload: bytes) -> None:
        """Pass on the answer of a member, or one that the supernode passes on."""
        holder_id, answerer_id = read_sep_response(topic)
        is_members = self._leads() and answerer_id == peer_id
        is_passed_on = not self._leads() and peer_id == self._peers.supernode_id()
        if is_members and holder_id not in ("", self._node_id):
            self._pass(holder_id, topic, payload, "")
        elif (
            (is_members or is_passed_on)
            and holder_id == self._node_id
            and self._send_answer is not None
        ):
            self._send_answer(topic, payload)
            self.passed += 1
        else:
            self._drop(f"node {peer_id[:12]} has no right to send it")

    def _read_receiver(self, payload: bytes) -> str:
        """Return the node that a request is for; "" when nobody may have it."""
        if not self._peers.is_awake():
            self._drop("this node has paused, and has no role now")
            return ""
        try:
            return decode_envelope(payload).to
        except WireError as exc:
            self._drop(str(exc))
            return ""

    def _serve(self, payload: bytes, peer_id: str, holder_id: str) -> None:
        self._service.handle(
            payload, holder_id, lambda topic, answer: self._answer(peer_id, topic, answer)
        )

    def _leads(self) -> bool:
        return self._peers.supernode_id() == self._node_id

    def _pass(self, peer_id: str, topic: str, payload: bytes, holder_id: str) -> None:
        if self._peers.send(peer_id, topic, payload, holder_id):
            self.passed += 1
        else:
            self._drop(f"no data connection to node {peer_id[:12]}, or it takes nothing")

    def _answer(self, peer_id: str, topic: str, answer: bytes) -> None:
        if not self._peers.send(peer_id, topic, answer, ""):
            self._drop(f"node {peer_id[:12]} is gone, or takes nothing")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        level = logging.WARNING if self.dropped == 1 else logging.DEBUG
        logger.log(level, "dropped an envelope: %s", why)
