"""PUBACKs and PUBRECs that wait for a hold, in the order of their PUBLISHes.

Theory of operation
-------------------
Each waiting PUBLISH has one place in a line. A place may be decided at any time, in any order,
but only decided places at the head of the line leave it. [MQTT-4.6.0-2] [MQTT-4.6.0-3]
"""

from collections import deque
from collections.abc import Callable, Iterator

from broker.wire.reasons import Reason


class AckSlot:
    """One PUBLISH that waits for its PUBACK or PUBREC."""

    __slots__ = ("line", "packet_id", "qos", "run", "verdict")

    def __init__(
        self, line: "AckQueue", packet_id: int, qos: int, run: tuple[bytes, ...] = ()
    ) -> None:
        self.line = line
        self.packet_id = packet_id
        self.qos = qos
        self.run = run  # packet ids of QoS 1 that are decided together, instead of packet_id
        self.verdict: Reason | None = None

    def decide(self, verdict: Reason) -> None:
        """Set what the answer will say."""
        self.verdict = verdict
        self.line.decided()

    def leave(self) -> None:
        """Give the place up: it is the last, and one before it says the same."""
        self.line.left(self)


class AckQueue:
    """The line of one client."""

    __slots__ = ("_count", "_on_ready", "_places")

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready: Callable[[], None] | None = on_ready
        self._places: deque[AckSlot] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def join(self, packet_id: int, qos: int = 1) -> AckSlot:
        """Take a place at the end."""
        place = AckSlot(self, packet_id, qos)
        self._places.append(place)
        self._count += 1
        return place

    def join_run(self, packet_ids: tuple[bytes, ...]) -> AckSlot:
        """Take a place at the end for several PUBLISHes of QoS 1."""
        place = AckSlot(self, 0, 1, packet_ids)
        self._places.append(place)
        self._count += len(packet_ids)
        return place

    def take_ready(self) -> Iterator[tuple[AckSlot, Reason]]:
        """Yield, once, the places whose answers may leave now."""
        places = self._places
        while places and (verdict := places[0].verdict) is not None:
            place = places.popleft()
            self._count -= len(place.run) or 1
            yield place, verdict  # [MQTT-4.6.0-2] [MQTT-4.6.0-3]

    def decided(self) -> None:
        """Some place was decided."""
        if self._on_ready is not None and self._places and self._places[0].verdict is not None:
            self._on_ready()

    def left(self, place: AckSlot) -> None:
        """The last place waits no more."""
        assert self._places[-1] is place  # so nobody behind it becomes ready
        self._places.pop()
        self._count -= 1

    def close(self) -> None:
        """The client is gone: nobody waits any more, later decisions change nothing."""
        self._on_ready = None
        self._places.clear()
        self._count = 0
