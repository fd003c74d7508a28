"""Tells applications about devices, and about boards that wait, by retained messages.

A message is published when its content changes. The broker keeps retained messages over a restart,
so the first comparison is with those.
"""

import json
from collections.abc import Callable, Iterable

from broker import LocalClient, Message
from gateway.devices.joining.pending import PendingBoard, PendingState
from gateway.devices.record import DeviceRecord
from protocol.topics import ABOUT, PENDING, about_topic

NEWEST = 8  # boards in the message; the API has all


class Announcements:
    """Publishes what is known about devices."""

    def __init__(self, local: LocalClient, clock: Callable[[], float]) -> None:
        self._local, self._clock = local, clock
        self._told: dict[str, bytes] = {}  # by topic

    def attach(self, devices: Iterable[DeviceRecord], boards: Iterable[PendingBoard]) -> None:
        """Read what is retained, and publish what has changed since."""
        for topic in (ABOUT, PENDING):
            self._local.subscribe(topic, self._note)
            self._local.unsubscribe(topic)
        known = list(devices)
        wanted = {about_topic(device.device_id) for device in known} | {PENDING}
        for topic in set(self._told) - wanted:
            self._publish(topic, b"")
        for device in known:
            self.device(device)
        self.boards(boards)

    def device(self, device: DeviceRecord) -> None:
        """Tell about a device."""
        content = {
            "id": device.device_id,
            "name": device.name,
            "model": device.model,
            "groups": list(device.groups),
            "state": str(device.state(self._clock())),
            "joined_at": int(device.joined_at),
            "conflicts": device.conflicts,
        }
        if device.problem:
            content["problem"] = device.problem
        self._publish(about_topic(device.device_id), json.dumps(content).encode())

    def forget(self, device_id: str) -> None:
        """Tell that a device is no more."""
        self._publish(about_topic(device_id), b"")

    def boards(self, boards: Iterable[PendingBoard]) -> None:
        """Tell which boards wait for approval."""
        waiting = [b for b in boards if b.name and b.state is PendingState.WAITING]
        newest = [
            {"board": b.client_id, "code": b.shown_code, "name": b.name, "model": b.model}
            for b in waiting[-NEWEST:]
        ]
        content = json.dumps({"count": len(waiting), "newest": newest}).encode() if waiting else b""
        self._publish(PENDING, content)

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._told.get(topic, b"") == payload:
            return
        if payload:
            self._told[topic] = payload
        else:
            self._told.pop(topic, None)
        self._local.publish(topic, payload, qos=1, retain=True)

    def _note(self, message: Message) -> None:
        if message.payload:
            self._told[message.topic] = message.payload
