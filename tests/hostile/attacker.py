"""Plays one hostile client: python -m tests.hostile.attacker ATTACK PORT. Ends when killed.

Every attack is a function that goes on for ever; it may use as many connections as it gets.
"""

import contextlib
import itertools
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator

from broker.wire import encode_length, encode_packet
from broker.wire.packets import (
    MQTT_5,
    Auth,
    Connect,
    Packet,
    PingReq,
    Publish,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.net.frames import BINARY, MORE, PING, frame, handshake

HOST = "127.0.0.1"
MANY = 200  # connections
KEPT = Properties(session_expiry_s=86_400)

Attack = Callable[[int], None]
ATTACKS: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    ATTACKS[function.__name__] = function
    return function


class Peer:
    """A socket that never waits for what it is sent, unless it reads."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port))

    def send(self, *packets: Packet | bytes) -> bool:
        """Send, for a while; return False once the broker has closed."""
        encoded = b"".join(
            each if isinstance(each, bytes) else encode_packet(each, MQTT_5) for each in packets
        )
        self.socket.settimeout(1)
        try:
            self.socket.sendall(encoded)
        except TimeoutError:
            return True  # it is not read any more: what the broker should do
        except OSError:
            return False
        return True

    def drain(self) -> None:
        """Read what there is."""
        self.socket.setblocking(False)
        with contextlib.suppress(OSError):
            while self.socket.recv(1 << 20):
                pass

    def close(self) -> None:
        self.socket.close()


def dial(port: int, client_id: str = "hostile", **options: object) -> Peer:
    peer = Peer(port)
    peer.send(Connect(client_id, MQTT_5, **options))  # type: ignore[arg-type]  # passed on
    peer.socket.settimeout(2)
    with contextlib.suppress(OSError):
        peer.socket.recv(4)
    return peer


def again(port: int, packets: Iterator[bytes], *, reads: bool = True, **options: object) -> None:
    """Send for ever, over a new connection whenever the last one was closed."""
    peer = dial(port, **options)  # type: ignore[arg-type]  # passed on
    for packet in packets:
        if not peer.send(packet):
            peer.close()
            peer = dial(port, **options)  # type: ignore[arg-type]  # passed on
        if reads:
            peer.drain()


def encode(*packets: Packet) -> bytes:
    return b"".join(encode_packet(each, MQTT_5) for each in packets)


def hold(peers: list[Peer]) -> None:
    """Do nothing more."""
    while peers:
        time.sleep(1)


def subscribe(*filters: str, qos: int = 0) -> bytes:
    return encode(Subscribe(1, tuple(Subscription(each, qos) for each in filters)))


@attack
def never_reads_its_own_flood(port: int) -> None:
    peers = [dial(port, f"slow-{each}") for each in range(20)]
    for peer in peers:
        peer.send(subscribe("flood/#", qos=1))
    sender = dial(port)
    flood = encode(*[Publish("flood/a", bytes(1000))] * 200)
    held = [encode(Publish("flood/b", bytes(1000), 1, packet_id=each)) for each in range(1, 200)]
    while sender.send(flood, *held):
        sender.drain()


@attack
def half_packets(port: int) -> None:
    peers = [dial(port, f"half-{each}") for each in range(MANY)]
    for peer in peers:
        peer.send(b"\x30" + encode_length(1_900_000), bytes(1_899_000))
    hold(peers)


@attack
def many_subscriptions(port: int) -> None:
    peers = []
    for number in range(100):
        peers.append(dial(port, f"subscriber-{number}"))
        for some in range(0, 1000, 250):
            filters = [f"s/{number}/+/{each}/+/x/#" for each in range(some, some + 250)]
            peers[-1].send(subscribe(*filters))
            peers[-1].drain()
    hold(peers)


@attack
def deep_topics(port: int) -> None:
    deep = ("/".join([f"{each}"] + ["x"] * 31) for each in itertools.count())
    again(port, (encode(*[Publish(next(deep), b"x") for _ in range(500)]) for _ in deep))


@attack
def retained_flood(port: int) -> None:
    topics = (f"retained/{each}/x" for each in itertools.count())
    packets = (
        encode(*[Publish(next(topics), bytes(200), retain=True) for _ in range(500)])
        for _ in topics
    )
    again(port, packets)


@attack
def user_properties(port: int) -> None:
    pairs = Properties(user_properties=(("", ""),) * 1000)
    many = Properties(user_properties=(("", ""),) * 20_000)
    bad = encode(Connect("x", MQTT_5, properties=many))
    subscriber = dial(port, "reader")
    subscriber.send(subscribe("p"))
    peer = dial(port)
    while True:
        if not peer.send(*[Publish("p", b"x", properties=pairs)] * 20):
            peer = dial(port)
        subscriber.drain()
        stranger = Peer(port)
        stranger.send(bad)
        stranger.close()


@attack
def alias_churn(port: int) -> None:
    def packets() -> Iterator[bytes]:
        for number in itertools.count():
            yield encode(
                *(
                    Publish(f"alias/{number}/{each}", b"", properties=Properties(topic_alias=each))
                    for each in range(1, 33)
                )
            )

    again(port, packets())


@attack
def exactly_once_never_released(port: int) -> None:
    ids = itertools.cycle(range(1, 65_536))
    packets = (
        encode(*[Publish("q", b"x", 2, packet_id=next(ids)) for _ in range(50)]) for _ in ids
    )
    again(port, packets, clean_start=False, properties=KEPT)


@attack
def never_acknowledges(port: int) -> None:
    peers = [dial(port, f"lazy-{each}", properties=KEPT) for each in range(50)]
    for peer in peers:
        peer.send(subscribe("lazy", qos=2))
    for number in itertools.count():
        peers[number % 50].send(Publish("lazy", bytes(2000), 1, packet_id=1))
        for peer in peers:
            peer.drain()


@attack
def connect_storm(port: int) -> None:
    while True:
        for peer in [Peer(port) for _ in range(20)]:
            peer.send(Connect("storm", MQTT_5))
            peer.close()


@attack
def take_over_storm(port: int) -> None:
    peers: list[Peer] = []
    for number in itertools.count():
        peers.append(Peer(port))
        peers[-1].send(
            Connect("me", MQTT_5, clean_start=not number % 2, properties=KEPT), subscribe("#")
        )
        if len(peers) > 20:
            peers.pop(0).close()


@attack
def silence(port: int) -> None:
    peers = [Peer(port) for _ in range(100)]
    for number in range(100):
        peers.append(Peer(port))
        peers[-1].send(Connect(f"silent-{number}", MQTT_5, keep_alive_s=1))
    hold(peers)


@attack
def malformed_flood(port: int) -> None:
    junk = [b"\x30\xff\xff\xff\xff\xff", b"\x82\x02\x00\x00", b"\xf0\x02\x00\x00", b"\x32\x00" * 9]
    for number in itertools.count():
        peer = Peer(port)
        peer.send(Connect("junk", MQTT_5) if number % 2 else b"\x10", junk[number % 4])
        peer.close()


@attack
def websocket_pings(port: int) -> None:
    peer = Peer(port)
    peer.send(handshake(), frame(BINARY, encode(Connect("ws", MQTT_5))))
    pings = frame(PING, bytes(100)) * 200
    while True:
        if not peer.send(pings):
            peer = Peer(port)
            peer.send(handshake(), frame(BINARY, encode(Connect("ws", MQTT_5))))


@attack
def websocket_fragments(port: int) -> None:
    def start() -> Peer:
        peer = Peer(port)
        peer.send(handshake(), frame(BINARY, encode(Connect("ws", MQTT_5)), first=0))
        return peer

    peer, pieces = start(), frame(MORE, b"", first=0) * 2000
    ping = b"".join(
        frame(MORE, b"\xc0", first=0) + frame(MORE, b"\x00", first=0) for _ in "x" * 500
    )
    while True:
        if not peer.send(pieces, ping):
            peer = start()
        peer.drain()


@attack
def half_tls_handshakes(port: int) -> None:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    hello = outgoing.read()
    peers: list[Peer] = []
    while True:
        peers.append(Peer(port))
        peers[-1].send(hello if len(peers) % 2 else hello[:50])
        if len(peers) > MANY:
            peers.pop(0).close()


@attack
def subscribe_churn(port: int) -> None:
    both = subscribe("#") + encode(Unsubscribe(2, ("#",)))
    again(port, itertools.repeat(both * 50))


@attack
def filter_bombs(port: int) -> None:
    """A thousand filters that match what honest clients publish, and all that is retained."""
    sender = dial(port, "filler")
    for number in range(0, 20_000, 100):
        some = range(number, number + 100)
        sender.send(*(Publish(f"r/{each}/a/b", b"x", retain=True) for each in some))
    levels = (["honest", "+"], [*"0123456789", "+"], ["a", "+"], ["b", "+"])
    parts = [each for depth in range(1, 5) for each in itertools.product(*levels[:depth])]
    matching = ["/".join(each) for each in parts if len(each) == 4]
    matching += ["/".join((*each, "#")) for each in parts]
    in_vain = [f"+/+/+/none-{each}" for each in range(900 - len(matching))]
    bomb = subscribe(*matching, *in_vain)
    again(port, itertools.repeat(bomb))


@attack
def shared_churn(port: int) -> None:
    peers = [dial(port, f"share-{each}") for each in range(20)]
    both = subscribe("$share/g/honest/#") + encode(Unsubscribe(2, ("$share/g/honest/#",)))
    for number in itertools.count():
        peers[number % 20].send(both * 20)
        peers[number % 20].drain()


@attack
def session_churn(port: int) -> None:
    for number in itertools.count():
        peer = Peer(port)
        filters = [f"x/{number}/{each}" for each in range(50)]
        peer.send(Connect(f"gone-{number}", MQTT_5, properties=KEPT), subscribe(*filters))
        peer.close()


@attack
def will_storm(port: int) -> None:
    will = Will("honest/wills", bytes(60_000), 1, retain=True)
    for number in itertools.count():
        peer = Peer(port)
        late = Properties(will_delay_s=number % 3)
        mine = Will(will.topic, will.payload, 1, retain=True, properties=late)
        peer.send(Connect(f"will-{number}", MQTT_5, will=mine, properties=KEPT))
        peer.close()


@attack
def thousands_of_topics(port: int) -> None:
    topics = (f"churn/{each}" for each in itertools.count())
    again(port, (encode(*[Publish(next(topics), b"") for _ in range(2000)]) for _ in topics))


@attack
def auth_flood(port: int) -> None:
    auth = Auth(Reason.RE_AUTHENTICATE, Properties(authentication_method="x"))
    method = Properties(authentication_method="SCRAM-SHA-256", authentication_data=bytes(1000))
    while True:
        peer = Peer(port)
        peer.send(Connect("auth", MQTT_5, properties=method), auth, auth)
        peer.close()
        peer = dial(port, "auth")
        peer.send(*[auth] * 100)
        peer.close()


@attack
def ping_flood(port: int) -> None:
    again(port, itertools.repeat(encode(PingReq()) * 100_000))


@attack
def pings_never_read(port: int) -> None:
    peers = [dial(port, f"deaf-{each}") for each in range(20)]
    for number in itertools.count():
        peers[number % 20].socket.settimeout(0.1)
        peers[number % 20].send(encode(PingReq()) * 50_000)


@attack
def wide_subscribes(port: int) -> None:
    wide = [subscribe(*(f"w/{number}/{each}" for each in range(1000))) for number in range(9)]
    again(port, itertools.cycle(wide))


@attack
def expired_retained(port: int) -> None:
    sender = dial(port, "filler")
    soon = Properties(message_expiry_s=1)
    for number in range(0, 20_000, 100):
        some = range(number, number + 100)
        sender.send(*(Publish(f"r/{each}", b"x", retain=True, properties=soon) for each in some))
    again(port, itertools.repeat(subscribe("#", "r/+", "+/+")))


if __name__ == "__main__":
    os.nice(10)  # mostly what others leave, as if on a machine of its own; never nothing
    print("ready", flush=True)  # noqa: T201  # read by who started it
    ATTACKS[sys.argv[1]](int(sys.argv[2]))
