"""Holds the output of one connection, which sessions, groups and routes append to."""

from __future__ import annotations

from broker.wire.packets import MQTT_3_1_1, MQTT_5

UNLIMITED_BYTES = 1 << 62


class Outbound:
    """The output of one connection and the limits of its peer; Client adds the rest."""

    __slots__ = ("five", "max_packet_bytes", "out", "paused", "version")

    def __init__(self) -> None:
        self.version = MQTT_3_1_1
        self.five = False
        self.max_packet_bytes = UNLIMITED_BYTES  # the Maximum Packet Size of the peer
        self.out: list[bytes] = []  # emptied, never replaced: routes hold its append
        self.paused = False  # the peer reads more slowly than it is sent

    def set_version(self, version: int) -> None:
        """Set the protocol version."""
        self.version = version
        self.five = version == MQTT_5
