"""Describes sensors for the API; a key is part of nothing here. Pure."""

from typing import Any

from gateway.sensors.sensor import Sensor
from gateway.sensors.strangers import Stranger


def describe_stranger(stranger: Stranger, wall: float, monotonic: float) -> dict[str, Any]:
    """Return a sensor that nobody has accepted, with the times of the wall clock."""
    offset, packet = wall - monotonic, stranger.packet
    values = packet.values if packet is not None else ()
    events = packet.events if packet is not None else ()
    return {
        "address": stranger.address,
        "address_type": stranger.address_type,
        "name": stranger.name,
        "model": packet.model if packet is not None else "",
        "encrypted": stranger.frame.is_encrypted,
        "trigger_based": stranger.frame.is_trigger_based,
        "changes_address": stranger.changes_address,
        "rssi": stranger.rssi_dbm,
        "values": [{"name": v.name, "value": v.value, "unit": v.unit} for v in values],
        "events": [{"name": e.name, "event": e.event} for e in events],
        "attributes": dict(packet.attributes) if packet is not None else {},
        "first_at": round(stranger.first_at + offset, 3),
        "heard_at": round(stranger.heard_at + offset, 3),
        "frames": stranger.frames,
    }


def describe_sensor(sensor: Sensor) -> dict[str, Any]:
    """Return what a device has that is a sensor."""
    return {
        "address": sensor.address,
        "encrypted": sensor.is_encrypted,
        "trigger_based": sensor.is_trigger_based,
        "counter": sensor.guard.last if sensor.is_encrypted else None,
        "lower_counter": sensor.guard.lower,
    }
