"""Counts the events of one broker; the numbers may be read at any time."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class BrokerCounters:
    """Counts events since the start; the first four fields are current values."""

    connections: int = 0
    subscriptions: int = 0
    retained: int = 0
    queued_bytes: int = 0
    connections_total: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    messages_dropped: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    controls_received: int = 0  # packets other than PUBLISH
    controls_sent: int = 0
    control_bytes_received: int = 0
    control_bytes_sent: int = 0
    connects_received: int = 0
    sessions_expired: int = 0
    senders_held: int = 0  # times that a sender was held for the store
    store_damages: int = 0  # places and sessions of the store that could not be read at the start
    dropped: Counter[str] = field(default_factory=Counter)  # messages, by reason
    refused: Counter[str] = field(default_factory=Counter)  # connections and requests, by reason

    def send_control(self, packets: int, size_bytes: int) -> None:
        """Count packets other than PUBLISH."""
        self.controls_sent += packets
        self.control_bytes_sent += size_bytes

    def drop(self, reason: str, messages: int = 1) -> None:
        """Count messages that did not reach a client."""
        self.messages_dropped += messages
        self.dropped[reason] += messages

    def refuse(self, reason: str) -> None:
        """Count a request that was not granted, or a connection that was closed for cause."""
        self.refused[reason] += 1
