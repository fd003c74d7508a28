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
    holder_id: str = OWN
    is_awake: bool = True
    accepts: bool = True
    served: list[tuple[bytes, str]] = field(default_factory=list)
    to_peers: list[tuple[str, str]] = field(default_factory=list)
    to_cloud: list[str] = field(default_factory=list)

    def handle(self, payload: bytes, supernode_id: str, send: Any) -> None:
        self.served.append((payload, supernode_id))
        send("answer", b"x")

    async def stop(self) -> None: ...

    def send(self, peer_id: str, topic: str, payload: bytes, holder_id: str) -> bool:
        del payload, holder_id
        self.to_peers.append((peer_id, topic))
        return self.accepts

    def answer(self, topic: str, payload: bytes) -> None:
        del payload
        self.to_cloud.append(topic)


def make(world: World) -> SepForwarder:
    service: Any = world
    ports = PeerPorts(
        world.send,
        lambda: world.supernode_id,
        lambda: world.holder_id,
        lambda: world.is_awake,
    )
    return SepForwarder(OWN, service, ports)


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
    forwarder.take_from_peer(MEMBER, topic, b"early", "")  # the cloud is not there yet
    forwarder.handle(request(MEMBER), OWN, world.answer)
    forwarder.take_from_peer(MEMBER, topic, b"x", "")
    assert world.to_cloud == [topic]
    forwarder.take_from_peer(OTHER, topic, b"forged", "")
    forwarder.take_from_peer(MEMBER, "nodes/x/readings", b"forged", "")
    forwarder.take_from_peer(MEMBER, "", request(OWN), "")  # a member sends no requests
    world.supernode_id = OTHER
    forwarder.take_from_peer(MEMBER, topic, b"late", "")  # it is not the supernode any more
    assert (world.to_cloud, world.served, forwarder.dropped) == ([topic], [], 5)


def test_a_member_serves_its_supernode_only() -> None:
    world = World(supernode_id=OTHER)
    forwarder = make(world)
    forwarder.take_from_peer(OTHER, "", request(OWN), "")
    assert world.served[0][1] == OTHER
    assert world.to_peers == [(OTHER, "answer")]
    forwarder.take_from_peer(MEMBER, "", request(OWN), "")
    assert (len(world.served), forwarder.dropped) == (1, 1)


def test_the_supernode_passes_on_what_the_holder_of_the_sep_brings() -> None:
    world = World(holder_id=OTHER)
    forwarder = make(world)
    forwarder.take_from_peer(OTHER, "", request(MEMBER), "")
    assert world.to_peers == [(MEMBER, "")]
    forwarder.take_from_peer(OTHER, "", request(OWN), "")
    assert world.served[0][1] == OTHER  # it answers by way of the holder
    assert world.to_peers[1:] == [(OTHER, "answer")]
    topic = sep_response(OTHER, MEMBER, "one")
    forwarder.take_from_peer(MEMBER, topic, b"x", "")
    assert world.to_peers[2:] == [(OTHER, topic)]
    forwarder.take_from_peer(MEMBER, sep_response(OTHER, OWN, "one"), b"forged", "")
    forwarder.take_from_peer(MEMBER, "", request(OWN), "")  # it does not hold the SEP
    assert (len(world.to_peers), len(world.served), forwarder.dropped) == (3, 1, 2)


def test_a_member_that_holds_the_sep_passes_on_by_way_of_the_supernode() -> None:
    world = World(supernode_id=OTHER)
    forwarder = make(world)
    forwarder.handle(request(MEMBER), OWN, world.answer)
    assert world.to_peers == [(OTHER, "")]
    topic = sep_response(OWN, MEMBER, "one")
    forwarder.take_from_peer(OTHER, topic, b"x", "")
    assert world.to_cloud == [topic]
    forwarder.take_from_peer(MEMBER, topic, b"not by way of the supernode", "")
    assert (world.to_cloud, forwarder.dropped) == ([topic], 1)


# case N7
def test_after_a_pause_that_ended_its_role_a_node_serves_nothing() -> None:
    world = World(is_awake=False)
    forwarder = make(world)
    forwarder.handle(request(OWN), OWN, world.answer)
    forwarder.handle(request(MEMBER), OWN, world.answer)
    assert (world.served, world.to_peers, forwarder.dropped) == ([], [], 2)
