"""Decodes the objects of BTHome v2 with bthome-ble. Import this module when a sensor is heard.

The import costs memory and time, because bthome-ble imports a whole Bluetooth stack for one type.
The library reads decrypted objects only and keeps nothing from one packet to the next: counters,
copies and keys have rules of our own. It stops at a truncated object and returns those before;
here such a packet is dropped as a whole.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum

from bthome_ble import BTHomeBluetoothDeviceData, SensorUpdate
from bthome_ble.const import MEAS_TYPES
from habluetooth import BluetoothServiceInfoBleak

from gateway.sensors.frames import SERVICE_UUID, FrameError, FrameFault
from gateway.sensors.values import Packet, Scalar, SensorEvent, SensorValue

NO_MODEL = "BTHome sensor"

_PLAIN = b"\x40"  # version 2, not encrypted
_PACKET_ID = 0x00
_NOT_VALUES = frozenset({"packet_id", "signal_strength"})
_SPEAKS_OF_BTHOME = "BTHome BLE"  # instead of a firmware's version
# binary sensors that the library names like a measured value
_BINARY_NAMES = {
    "battery": "battery_low",
    "gas": "gas_detected",
    "light": "light_detected",
    "moisture": "moisture_detected",
    "power": "power_on",
}


def decode_objects(objects: bytes, address: str, name: str) -> Packet:
    """Return the content of decrypted objects; FrameError when one of them is cut or unreadable."""
    packet_id = _check(objects)
    try:
        update = _parse(objects, address, name)
        return _read(update, packet_id)
    except Exception as exc:  # a library reads bytes that anybody may send
        raise FrameError(FrameFault.UNREADABLE) from exc


def _parse(objects: bytes, address: str, name: str) -> SensorUpdate:
    information = BluetoothServiceInfoBleak(
        name=name or address,
        address=address,
        rssi=0,
        manufacturer_data={},
        service_data={SERVICE_UUID: _PLAIN + objects},
        service_uuids=[SERVICE_UUID],
        source="",
        device=None,  # type: ignore[arg-type]  # it is not read
        advertisement=None,
        connectable=False,
        time=0.0,
        tx_power=None,
    )
    return BTHomeBluetoothDeviceData().update(information)


def _check(objects: bytes) -> int | None:
    """Return the packet id, if there is one; FrameError unless all known objects are whole.

    An unknown object ends the packet: its length is unknown, and the specification has those
    before it count.
    """
    packet_id, known = None, 0
    for kind, start, end in _split(objects):
        if end > len(objects):
            raise FrameError(FrameFault.TRUNCATED)
        if kind == _PACKET_ID:
            packet_id = objects[start]
        known += 1
    if not known:
        raise FrameError(FrameFault.NOTHING_KNOWN)
    return packet_id


def _split(objects: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the kind, the start and the end of the data of each object."""
    position = 0
    while position < len(objects):
        kind, start = objects[position], position + 1
        known = MEAS_TYPES.get(kind)
        if known is None:
            return
        length = known.data_length
        if known.data_format in ("raw", "string", "command"):
            if start >= len(objects):
                raise FrameError(FrameFault.TRUNCATED)
            length, start = objects[start], start + 1
            if known.data_format == "command":
                length = 1 + (length & 0x1F)  # an opcode, then so many bytes
        yield kind, start, start + length
        position = start + length


def _read(update: SensorUpdate, packet_id: int | None) -> Packet:
    attributes: dict[str, Scalar] = {}
    values = []
    for key, entry in update.entity_values.items():
        value = _scalar(entry.native_value)
        if key.key in _NOT_VALUES or value is None:
            continue
        if key.key == "battery":
            if 0 <= float(value) <= 100:
                attributes["battery"] = value
            continue
        unit = update.entity_descriptions[key].native_unit_of_measurement
        values.append(SensorValue(key.key, value, _text(unit)))
    for key, binary in update.binary_entity_values.items():
        values.append(SensorValue(_binary_name(key.key), bool(binary.native_value)))
    events = tuple(
        SensorEvent(key.key, str(event.event_type), _details(event.event_properties))
        for key, event in update.events.items()
    )
    device = update.devices.get(None)
    firmware = (device.sw_version if device else None) or ""
    if firmware and not firmware.startswith(_SPEAKS_OF_BTHOME):
        attributes["firmware"] = firmware
    model = " ".join(filter(None, (device.manufacturer, device.model))) if device else NO_MODEL
    return Packet(model, packet_id, tuple(values), events, attributes)


def _binary_name(key: str) -> str:
    name, _, number = key.rpartition("_")
    if not name or not number.isdigit():
        name, number = key, ""
    name = _BINARY_NAMES.get(name, name)
    return f"{name}_{number}" if number else name


def _details(properties: Mapping[str, object] | None) -> dict[str, Scalar]:
    read = {name: _scalar(value) for name, value in (properties or {}).items()}
    return {name: value for name, value in read.items() if value is not None}


def _scalar(value: object) -> Scalar | None:
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float) else None


def _text(unit: object) -> str:
    return str(unit.value if isinstance(unit, Enum) else unit or "")
