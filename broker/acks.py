"""PUBACKs that wait for a hold, in the order of their PUBLISHes.

Theory of operation
-------------------
Each waiting PUBLISH has one place in a line. A place may be decided at any time, in any order,
but only decided places at the head of the line leave it. [MQTT-4.6.0-2]
"""

from collections import deque
from collections.abc import Callable, Iterator

from broker.reasons import Reason


class Place:
    """One PUBLISH that waits for its PUBACK."""

    __slots__ = ("_line", "packet_id", "verdict")

    def __init__(self, line: "AckLine", packet_id: int) -> None:
        self._line = line
        self.packet_id = packet_id
        self.verdict: Reason | None = None

    def decide(self, verdict: Reason) -> None:
        """Set what the PUBACK will say."""
        self.verdict = verdict
        self._line.decided()


class AckLine:
    """The line of one client."""

    __slots__ = ("_on_ready", "_places")

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready: Callable[[], None] | None = on_ready
        self._places: deque[Place] = deque()

    def __len__(self) -> int:
        return len(self._places)

    def join(self, packet_id: int) -> Place:
        """Take a place at the end."""
        place = Place(self, packet_id)
        self._places.append(place)
        return place

    def take_ready(self) -> Iterator[tuple[int, Reason]]:
        """Yield, once, the PUBACKs that may leave now."""
        places = self._places
        while places and (verdict := places[0].verdict) is not None:
            yield places.popleft().packet_id, verdict

    def decided(self) -> None:
        """Some place was decided."""
        if self._on_ready is not None and self._places and self._places[0].verdict is not None:
            self._on_ready()

    def close(self) -> None:
        """The client is gone: nobody waits any more, later decisions change nothing."""
        self._on_ready = None
        self._places.clear()
