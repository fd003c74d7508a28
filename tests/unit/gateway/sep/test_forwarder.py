"""The forwarder passes envelopes on and lets no peer speak for another."""

from dataclasses import dataclass, field
from typing import Any

from gateway.sep.forwarder import PeerPorts, SepForwarder
from protocol.envelope import Envelope, EnvelopeKind, encode_envelope
from protocol.topics import sep_response

OWN, MEMBER, OTHER = "a" * 56, "b" * 56, "c" * 56


@dataclass
class World:
    """Stands for the service, the cluster and the cloud."""

    supernode_id: str = OWN
    accepts: bool = True
    served: list[tuple[bytes, str]] = field(default_factory=list)
    to_peers: list[tuple[str, str]] = field(default_factory=list)
    to_cloud: list[str] = field(default_factory=list)

    def handle(self, payload: bytes, supernode_id: str, send: Any) -> None:
        self.served.append((payload, supernode_id))
        send("answer", b"x")

    async def stop(self) -> None: ...

    def send(self, peer_id: str, topic: str, payload: bytes) -> bool:
        del payload
        self.to_peers.append((peer_id, topic))
        return self.accepts

    def answer(self, topic: str, payload: bytes) -> None:
        del payload
        self.to_cloud.append(topic)


def make(world: World) -> SepForwarder:
    service: Any = world
    return SepForwarder(OWN, service, PeerPorts(world.send, lambda: world.supernode_id))


def request(to: str) -> bytes:
    return encode_envelope(
        Envelope(EnvelopeKind.REQUEST, b"i" * 16, to, "mss:one", 100.0, b"sealed", b"k" * 1216)
    )


def test_an_envelope_goes_to_its_node() -> None:
    world = World()
    forwarder = make(world)
    forwarder.handle(request(OWN), OWN, world.answer)
    assert (len(world.served), world.to_peers, world.to_cloud) == (1, [], ["answer"])
    forwarder.handle(request(MEMBER), OWN, world.answer)
    assert (len(world.served), world.to_peers) == (1, [(MEMBER, "")])
    world.accepts = False
    forwarder.handle(request(MEMBER), OWN, world.answer)
    forwarder.handle(b"junk", OWN, world.answer)
    assert (forwarder.passed, forwarder.dropped) == (1, 2)


def test_a_member_answers_for_itself_only() -> None:
    world = World()
    forwarder = make(world)
    topic = sep_response(OWN, MEMBER, "one")
    forwarder.take_from_peer(MEMBER, topic, b"early")  # the cloud is not there yet
    forwarder.handle(request(MEMBER), OWN, world.answer)
    forwarder.take_from_peer(MEMBER, topic, b"x")
    assert world.to_cloud == [topic]
    forwarder.take_from_peer(OTHER, topic, b"forged")
    forwarder.take_from_peer(MEMBER, "nodes/x/readings", b"forged")
    forwarder.take_from_peer(MEMBER, "", request(OWN))  # a member sends no requests
    world.supernode_id = OTHER
    forwarder.take_from_peer(MEMBER, topic, b"late")  # it is not the supernode any more
    assert (world.to_cloud, world.served, forwarder.dropped) == ([topic], [], 5)


def test_a_member_serves_its_supernode_only() -> None:
    world = World(supernode_id=OTHER)
    forwarder = make(world)
    forwarder.take_from_peer(OTHER, "", request(OWN))
    assert world.served[0][1] == OTHER
    assert world.to_peers == [(OTHER, "answer")]
    forwarder.take_from_peer(MEMBER, "", request(OWN))
    assert (len(world.served), forwarder.dropped) == (1, 1)
