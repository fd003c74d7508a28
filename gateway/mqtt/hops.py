"""Counts the containers that a message comes through, and cuts chains without an end.

Theory of operation
-------------------
A container that publishes while it handles a message passes the message's count on, in a user
property; this policy adds one. It is called only for messages from a container to a container
(broker/routing/hooks.py), so all others have no count and keep their fast path. A count that is
missing or too low is raised: a container to which only messages with a count are in flight cannot
publish below the smallest of them. Limits: messages at QoS 0 are never in flight, and what leaves
the broker and comes back (HTTP, a bridge, a device) starts again at 0.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from broker import ConnectingClient, Message, Refusal, RemoteProtocolError
from broker.wire import decode_packet
from broker.wire.packets import MQTT_5, Publish
from gateway.mqtt.groups import CONTAINER
from microservice.mqtt.dead_letters import HOPS, find_pair

logger = logging.getLogger(__name__)

LIMIT = 16  # containers that a message may come through
IN_FLIGHT = 64  # packets that are looked at; the first without a count ends the search
MEMBERS_S = 60.0  # containers seen deep in a chain within this time are named with it
WARN_AGAIN_S = 600.0
NAMES = 32  # containers, and sets of them, that are remembered


class HopPolicy:
    """Sets the count of each message between containers."""

    def __init__(
        self, in_flight: Callable[[str], Iterator[bytes]], clock: Callable[[], float]
    ) -> None:
        self.cut = 0  # messages
        self._in_flight, self._clock = in_flight, clock
        self._deep: dict[str, float] = {}  # containers deep in a chain, and when
        self._warned: dict[frozenset[str], float] = {}

    def admit(self, arrival: ConnectingClient) -> Refusal | None:
        """Refuse a container whose version of MQTT has no user properties."""
        is_old = CONTAINER in arrival.identity.groups and arrival.version < MQTT_5
        return Refusal.NOT_AUTHORIZED if is_old else None

    def check(self, message: Message) -> Message | None:
        """Return a message with its count, None when it came through too many containers."""
        pairs = message.properties.user_properties
        name = message.sender
        hops = max(read_hops(pairs), self._least(name)) + 1
        if hops > LIMIT // 2:
            self._note_deep(name)
        if hops > LIMIT:
            self._note_cut(name, message.topic)
            return None
        counted = (*(each for each in pairs if each[0] != HOPS), (HOPS, str(hops)))
        return replace(message, properties=replace(message.properties, user_properties=counted))

    def _least(self, client_id: str) -> int:
        """Return the smallest count of the messages in flight to a container."""
        least = 0
        for _, packet in zip(range(IN_FLIGHT), self._in_flight(client_id), strict=False):
            hops = _hops_of(packet)
            if not hops:
                return 0
            least = min(least, hops) if least else hops
        return least

    def _note_deep(self, name: str) -> None:
        if name not in self._deep and len(self._deep) >= NAMES:
            self._deep.clear()
        self._deep[name] = self._clock()

    def _note_cut(self, name: str, topic: str) -> None:
        self.cut += 1
        now = self._clock()
        members = frozenset(each for each, at in self._deep.items() if now - at < MEMBERS_S)
        if now - self._warned.get(members, -WARN_AGAIN_S) < WARN_AGAIN_S:
            return
        if len(self._warned) >= NAMES:
            self._warned.clear()
        self._warned[members] = now
        names = ", ".join(sorted(each.removeprefix("container:") for each in members))
        logger.warning(
            "chain of messages cut at %d containers: %s trigger each other; the last one was "
            "published by %s to %.200r",
            LIMIT,
            names,
            name.removeprefix("container:"),
            topic,
        )


def read_hops(pairs: tuple[tuple[str, str], ...]) -> int:
    """Return the count in user properties; 0 when there is none that makes sense."""
    text = find_pair(pairs, HOPS)
    return min(int(text), LIMIT) if text.isascii() and text.isdecimal() and len(text) < 4 else 0


def _hops_of(packet: bytes) -> int:
    try:
        decoded = decode_packet(packet, MQTT_5)
    except RemoteProtocolError:
        return 0
    if decoded is None or not isinstance(decoded[0], Publish):
        return 0
    return read_hops(decoded[0].properties.user_properties)
