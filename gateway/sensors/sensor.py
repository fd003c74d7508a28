"""Holds the state of one accepted sensor, and decides which of its frames count. Pure.

A sensor that was accepted with a key is heard through that key only: a plain frame under its
address is somebody else's. A frame that the key does not open says nothing about the sensor either,
because anybody can send it. So those two become a problem to show only after BAD_FRAMES in a row
without a good one; a counter that goes back is authentic, and shown at once.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.limits.token_bucket import Rate, TokenBucket
from gateway.sensors.counter_guard import NO_COUNTER, CounterGuard, CounterVerdict
from gateway.sensors.duplicates import DuplicateFilter
from gateway.sensors.frames import Frame, open_frame
from gateway.sensors.presence import SensorPresence
from gateway.sensors.values import Packet

BAD_FRAMES = 3
FRAME_RATE = Rate(burst=200, interval_s=0.01)  # frames of one sensor that are decoded
PACKET_RATE = Rate(burst=20, interval_s=0.1)  # packets of one sensor that count
RSSI_INTERVAL_S = 300.0  # the signal alone is told no more often
NO_KEY = b""

Decode = Callable[[bytes, str, str], Packet]  # of objects, an address, and a name


class SensorProblem(StrEnum):
    """The reasons why nothing of a sensor counts."""

    NONE = ""
    WENT_BACK = "counter went back"
    WRONG_KEY = "wrong key"
    KEY_MISSING = "key missing"
    NOT_ENCRYPTED = "not encrypted"


REMEDIES = {
    SensorProblem.WENT_BACK: "it has a new battery, or somebody repeats old frames; "
    "`hecate devices resume {0}` accepts the lower counter",
    SensorProblem.WRONG_KEY: "`hecate devices key {0}` changes its bind key",
    SensorProblem.KEY_MISSING: "`hecate devices key {0}` gives it a bind key",
    SensorProblem.NOT_ENCRYPTED: "frames without encryption do not count; if it is meant to send "
    "them, `hecate devices forget {0}` and approve it again",
}


class FrameOutcome(StrEnum):
    """The results of a frame."""

    TAKEN = "taken"
    REPEATED = "repeated"
    LATE = "late"
    WENT_BACK = "counter went back"
    NOT_OPENED = "not opened"
    TOO_FAST = "too fast"


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """The part of a sensor that the store holds."""

    device_id: str
    address: str
    key: bytes = NO_KEY
    is_trigger_based: bool = False
    floor: int = NO_COUNTER

    def __repr__(self) -> str:
        return f"SensorSettings({self.device_id}, {self.address})"


class Sensor:
    """An accepted sensor."""

    def __init__(self, settings: SensorSettings, now: float, *, is_online: bool = False) -> None:
        self.device_id, self.address = settings.device_id, settings.address
        self.is_trigger_based = settings.is_trigger_based
        self.problem = SensorProblem.NONE
        self.presence = SensorPresence(now, is_online=is_online)
        self.guard = CounterGuard(settings.floor)
        self.refused: Frame | None = None  # the last one that the key did not open
        self._key = settings.key
        self._name = ""
        self._next_number = 0
        self._attributes_at = 0.0
        self._copies = DuplicateFilter()
        self._bad_frames = 0
        self._frame_bucket = TokenBucket(FRAME_RATE)
        self._packet_bucket = TokenBucket(PACKET_RATE)

    @property
    def is_encrypted(self) -> bool:
        """True when it was accepted with a key."""
        return bool(self._key)

    @property
    def settings(self) -> SensorSettings:
        """The part that the store holds, with the exact counter."""
        return SensorSettings(
            self.device_id, self.address, self._key, self.is_trigger_based, self.guard.last
        )

    def settings_with(self, key: bytes) -> SensorSettings:
        """Return the part that the store holds once it has another key."""
        if key == self._key:
            return self.settings
        return replace(self.settings, key=key, floor=NO_COUNTER)

    def take(
        self, frame: Frame, name: str, now: float, decode: Decode
    ) -> tuple[FrameOutcome, Packet | None]:
        """Note a frame; return its content if it counts.

        Raises:
            FrameError: its objects cannot be read.
        """
        if frame.is_encrypted != self.is_encrypted:
            self._refuse(
                frame,
                SensorProblem.KEY_MISSING if frame.is_encrypted else SensorProblem.NOT_ENCRYPTED,
            )
            return FrameOutcome.NOT_OPENED, None
        if not self._frame_bucket.take(now):
            return FrameOutcome.TOO_FAST, None
        objects = self._open(frame)
        if objects is None:
            return FrameOutcome.NOT_OPENED, None
        self._name = name or self._name
        packet = decode(objects, self.address, self._name)
        outcome = self._judge(frame, packet, objects, now)
        if outcome is not FrameOutcome.TAKEN:
            return outcome, None
        if not self._packet_bucket.take(now):
            return FrameOutcome.TOO_FAST, None
        self._bad_frames, self.problem, self.refused = 0, SensorProblem.NONE, None
        self.is_trigger_based = frame.is_trigger_based
        self.presence.note(now)
        return outcome, packet

    def number(self, count: int) -> int:
        """Return the first of so many numbers of messages, which rise from 0 with each start."""
        first, self._next_number = self._next_number, self._next_number + count
        return first

    def notes_attributes(self, changed: Collection[str], now: float) -> bool:
        """Note that attributes are told if they have to be; return whether they have to."""
        is_due = now - self._attributes_at >= RSSI_INTERVAL_S
        if not changed or (set(changed) == {"rssi"} and not is_due):
            return False
        self._attributes_at = now
        return True

    def change_key(self, key: bytes) -> None:
        """Use another key; any counter under it counts."""
        settings = self.settings_with(key)
        if key != self._key:
            self.guard = CounterGuard(settings.floor)
        self._key, self._bad_frames, self.problem = key, 0, SensorProblem.NONE
        self.refused = None

    def resume(self) -> bool:
        """Accept the counter from where it went back to; False when it did not go back."""
        if not self.guard.resume():
            return False
        self.problem = SensorProblem.NONE
        return True

    def _open(self, frame: Frame) -> bytes | None:
        if not frame.is_encrypted:
            return frame.body
        objects = open_frame(frame, self._key)
        if objects is None:
            self._refuse(frame, SensorProblem.WRONG_KEY)
        return objects

    def _refuse(self, frame: Frame, problem: SensorProblem) -> None:
        self._bad_frames += 1
        if frame.is_encrypted:
            self.refused = frame
        if self._bad_frames >= BAD_FRAMES and self.problem is not SensorProblem.WENT_BACK:
            self.problem = problem

    def _judge(self, frame: Frame, packet: Packet, objects: bytes, now: float) -> FrameOutcome:
        if frame.is_encrypted:
            verdict = self.guard.judge(frame.counter, frame.mic + frame.body)
            if verdict is CounterVerdict.WENT_BACK:
                self.problem = SensorProblem.WENT_BACK
                return FrameOutcome.WENT_BACK
            if verdict is not CounterVerdict.NEW:
                return (
                    FrameOutcome.LATE if verdict is CounterVerdict.LATE else FrameOutcome.REPEATED
                )
            if packet.packet_id is None:
                return FrameOutcome.TAKEN  # the counter tells copies from packets
        has_events = bool(packet.events)
        is_copy = self._copies.is_duplicate(packet.packet_id, objects, now, has_events=has_events)
        return FrameOutcome.REPEATED if is_copy else FrameOutcome.TAKEN
