"""Publishes what sensors send, on the topics that other devices publish themselves."""

from collections.abc import Callable

from broker import LocalClient
from gateway.devices.record import DeviceRecord
from gateway.devices.registry import DeviceRegistry
from gateway.sensors.sensor import Sensor
from gateway.sensors.values import Packet, Scalar, encode, encode_packet
from protocol.topics import ONLINE, attributes_topic, status_topic

OFFLINE = b"offline"


class SensorPublisher:
    """Publishes packets, attributes and status of sensors, and notes them in the registry."""

    def __init__(
        self, registry: DeviceRegistry, local: LocalClient, clock: Callable[[], float]
    ) -> None:
        self._registry, self._local, self._clock = registry, local, clock

    def publish(self, sensor: Sensor, packet: Packet, rssi_dbm: int, age_s: float = 0.0) -> None:
        """Publish a packet, and what it changes; one of a device that is forgotten is dropped."""
        record, now = self._registry.get(sensor.device_id), self._clock()
        if record is None or record.is_revoked:
            return
        if not record.is_up:
            self._send(record, status_topic(record.device_id), ONLINE, retain=True)
        first = sensor.number(len(packet.values) + len(packet.events))
        for topic, payload in encode_packet(record.device_id, packet, now - age_s, first):
            self._send(record, topic, payload)
        self._tell_attributes(sensor, record, {**packet.attributes, "rssi": rssi_dbm}, now)

    def tell_offline(self, sensor: Sensor) -> None:
        """Tell that a sensor has fallen silent."""
        record = self._registry.get(sensor.device_id)
        if record is not None:
            record.note_away()
            self._local.publish(status_topic(record.device_id), OFFLINE, qos=1, retain=True)

    def _tell_attributes(
        self, sensor: Sensor, record: DeviceRecord, reported: dict[str, Scalar], now: float
    ) -> None:
        known = record.attributes
        record.report(reported)
        changed = {name for name, value in reported.items() if known.get(name) != value}
        if sensor.notes_attributes(changed, now):
            self._send(record, attributes_topic(record.device_id), encode(record.attributes))

    def _send(
        self, record: DeviceRecord, topic: str, payload: bytes, *, retain: bool = False
    ) -> None:
        self._registry.observe(record.device_id, topic, payload, self._clock())
        self._local.publish(topic, payload, qos=1, retain=retain)
