"""Defines the content of a sensor's packet, and encodes it as messages of a device. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol.topics import device_prefix

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class SensorValue:
    """One measured value."""

    name: str
    value: Scalar
    unit: str = ""


@dataclass(frozen=True, slots=True)
class SensorEvent:
    """Something that happened once, as a press of a button."""

    name: str
    event: str
    details: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Packet:
    """The content of one packet."""

    model: str = ""
    packet_id: int | None = None
    values: tuple[SensorValue, ...] = ()
    events: tuple[SensorEvent, ...] = ()
    attributes: Mapping[str, Scalar] = field(default_factory=dict)  # battery, firmware


Message = tuple[str, bytes]


def encode_packet(device_id: str, packet: Packet, at: float, first_number: int) -> list[Message]:
    """Return the messages of a packet, numbered from a number on."""
    prefix, messages = device_prefix(device_id), []
    for number, value in enumerate(packet.values, first_number):
        content: dict[str, object] = {"value": value.value, "seq": number}
        if value.unit:
            content["unit"] = value.unit
        content["at"] = int(at)
        messages.append((f"{prefix}/readings/{value.name}", encode(content)))
    for number, event in enumerate(packet.events, first_number + len(packet.values)):
        content = {"event": event.event, "seq": number, **event.details, "at": int(at)}
        messages.append((f"{prefix}/events/{event.name}", encode(content)))
    return messages


def encode(content: Mapping[str, object]) -> bytes:
    """Return a JSON object."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
