"""Derives rates, last readings and changes from a series of snapshots.

The rate is taken over a window, so that the number on the screen is calm. Readings are kept per
device and name, because a snapshot holds only a device's very last message.
"""

from collections import deque
from dataclasses import dataclass

from gateway.cli.view.snapshot import Snapshot, parse_reading
from gateway.cli.view.words import restarted

WINDOW_S = 5.0  # long enough to smooth a device that sends once a second
READINGS_PER_DEVICE = 3  # as many as fit on one line of the screen


@dataclass(frozen=True, slots=True)
class Picture:
    """One snapshot with what earlier ones add to it."""

    snapshot: Snapshot
    messages_per_s: float
    readings: dict[str, dict[str, str]]  # device id → reading name → value with unit


class Watch:
    """Keeps as much of past snapshots as rates and changes need."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque(maxlen=64)
        self._readings: dict[str, dict[str, str]] = {}
        self._facts: dict[str, str] = {}

    def take(self, snapshot: Snapshot, now: float) -> Picture:
        """Return the picture after one more snapshot, taken at a monotonic instant."""
        known = {device.device_id for device in snapshot.devices}
        self._readings = {k: v for k, v in self._readings.items() if k in known}
        for device in snapshot.devices:
            reading = parse_reading(device)
            if reading is not None:
                self._note(device.device_id, *reading)
        rate = self._rate(snapshot.broker.messages_received, now)
        return Picture(snapshot, rate, {k: dict(v) for k, v in self._readings.items()})

    def changes(self, snapshot: Snapshot) -> list[str]:
        """Return a line for each change since the last call."""
        facts = _facts(snapshot)
        lines = [f"{what}: {how}" for what, how in facts.items() if self._facts.get(what) != how]
        lines += [f"{what}: gone" for what in self._facts if what not in facts]
        self._facts = facts
        return lines

    def _note(self, device_id: str, name: str, value: str) -> None:
        readings = self._readings.setdefault(device_id, {})
        if name not in readings and len(readings) >= READINGS_PER_DEVICE:
            del readings[next(iter(readings))]
        readings[name] = value

    def _rate(self, count: int, now: float) -> float:
        if self._counts and count < self._counts[-1][1]:  # the gateway began anew
            self._counts.clear()
        self._counts.append((now, count))
        while len(self._counts) > 2 and now - self._counts[1][0] >= WINDOW_S:
            self._counts.popleft()
        first_at, first = self._counts[0]
        return (count - first) / (now - first_at) if now > first_at else 0.0


def _facts(snapshot: Snapshot) -> dict[str, str]:
    facts = {
        f"node {snapshot.node_id[:12]}": snapshot.role or "starting",
        "ready": "yes" if snapshot.ready else f"no ({', '.join(snapshot.reasons) or 'starting'})",
        "SEP": ": ".join(part for part in (snapshot.sep.state, snapshot.sep.error) if part),
    }
    facts |= {f"warning {number}": text for number, text in enumerate(snapshot.warnings, 1)}
    facts |= {f"cloud note {number}": note for number, note in enumerate(snapshot.sep.notes, 1)}
    for device in snapshot.devices:
        name = f"device {device.name or device.device_id} ({device.device_id})"
        facts[name] = device.shown_state
    for container in snapshot.containers:
        why = container.error or restarted(container.restarts, container.last_end)
        facts[f"microservice {container.name}"] = container.state + (f" ({why})" if why else "")
    for bep in snapshot.beps:
        facts[f"BEP {bep.bep_id}"] = f"{bep.state} at {bep.url}"
    return facts
