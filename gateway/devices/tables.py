"""Loads the devices, the claim tokens and the boards that ask to join."""

from dataclasses import dataclass
from functools import partial

from gateway.devices.credentials import new_code
from gateway.devices.joining.claims import Claims
from gateway.devices.joining.pending import CODE_DIGITS, PendingBoards
from gateway.devices.registry import DeviceRegistry
from gateway.devices.store import DeviceStore


@dataclass(frozen=True, slots=True)
class DeviceTables:
    """Everything that the node knows about devices."""

    registry: DeviceRegistry
    claims: Claims
    pending: PendingBoards


async def load_tables(store: DeviceStore) -> DeviceTables:
    """Return the tables that the store holds."""
    return DeviceTables(
        DeviceRegistry(await store.devices()),
        Claims(await store.claims()),
        PendingBoards(await store.pending(), partial(new_code, CODE_DIGITS)),
    )
