"""Describes one advertisement that a Bluetooth LE scanner heard. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Advertisement:
    """An advertisement and its scan response, as far as they came."""

    address: str  # in upper case; may be random, so it never identifies anybody
    rssi_dbm: int
    heard_at: float  # seconds, monotonic
    name: str = ""
    service_uuids: tuple[str, ...] = ()  # 128 bits each, in lower case
    service_data: Mapping[str, bytes] = field(default_factory=dict)  # by UUID of 128 bits
    manufacturer_data: Mapping[int, bytes] = field(default_factory=dict)  # by company id
    address_type: str = ""  # "public", "random", or empty for unknown
