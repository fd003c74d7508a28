"""Names the GATT service of Hecate devices, and reads what they advertise about it. Pure.

A device advertises service data under SERVICE (AD type 0x21, so the UUID is part of it): one byte
of flags, and the layout version. With the flags of the advertisement that is 23 of 31 bytes.

The layout version is a number from 1 that changes whenever an update moves the handles of the
device's characteristics. It is no version of a protocol: that one is in the hello of
protocol/chunks/records.py.
"""

from dataclasses import dataclass

from hardware.radio.advertisement import Advertisement

SERVICE = "8ec0a1e0-4ec7-4b1e-9e0d-7e0c0de0cafe"
RX = "8ec0a1e1-4ec7-4b1e-9e0d-7e0c0de0cafe"  # the gateway writes chunks, without response
TX = "8ec0a1e2-4ec7-4b1e-9e0d-7e0c0de0cafe"  # the device notifies chunks
LAYOUT = "8ec0a1e3-4ec7-4b1e-9e0d-7e0c0de0cafe"  # read: one byte

GREETING = b"\x00"  # the first write; shorter than any chunk, it says that the gateway hears

HAS_DATA = 0x01  # messages wait in the device
WANTS_TO_JOIN = 0x02  # it has no credentials yet


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The statements of a device in its advertisement; nothing of them is proved."""

    has_data: bool = False
    wants_to_join: bool = False
    layout: int = 0  # 0: not said


def read_service_state(advertisement: Advertisement) -> ServiceState | None:
    """Return what a Hecate device says; None for other devices."""
    data = advertisement.service_data.get(SERVICE)
    if data is None:
        return ServiceState() if SERVICE in advertisement.service_uuids else None
    flags = data[0] if data else 0
    return ServiceState(
        has_data=bool(flags & HAS_DATA),
        wants_to_join=bool(flags & WANTS_TO_JOIN),
        layout=data[1] if len(data) > 1 else 0,
    )
