"""Chooses the Bluetooth adapter to use, by its address. Pure.

An adapter that is unplugged and plugged in again gets another index (hci0, hci1), so its name says
nothing; what was built with the old name is of no use any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hardware.radio.errors import AdapterMissingError


@dataclass(frozen=True, slots=True)
class Adapter:
    """A Bluetooth adapter of this machine."""

    address: str  # in upper case
    name: str  # "hci0"; changes
    is_powered: bool = True


class AdapterSystem(Protocol):
    """The part of the operating system that knows adapters, links and bonds.

    Addresses are in upper case. Every method may raise anything: callers use backend_call.
    """

    async def adapters(self) -> list[Adapter]:
        """Return the adapters that can connect to devices."""

    async def connected(self, adapter: Adapter) -> list[str]:
        """Return the addresses of Hecate devices that the adapter has a link to."""

    async def disconnect(self, adapter: Adapter, address: str) -> None:
        """End the link to a device."""

    async def bonded(self, adapter: Adapter) -> list[str]:
        """Return the addresses of the devices that have a bond."""

    async def forget(self, adapter: Adapter, address: str) -> None:
        """Drop what the system remembers of a device: its services and its bond."""

    async def restart(self, adapter: Adapter) -> None:
        """Switch an adapter off and on."""


def choose_adapter(adapters: Sequence[Adapter], wanted: str, last: str = "") -> Adapter:
    """Return the adapter to use: the wanted one, or any, the last one before others.

    Raises:
        AdapterMissingError: none can be used; the text says why and what to do.
    """
    wanted = wanted.upper()
    found = [a for a in adapters if not wanted or a.address == wanted]
    powered = sorted((a for a in found if a.is_powered), key=lambda a: (a.address != last, a.name))
    if powered:
        return powered[0]
    if found:
        raise AdapterMissingError(
            f"Bluetooth adapter {found[0].address} ({found[0].name}) is switched off: "
            "`bluetoothctl power on` switches it on; if it does not, `rfkill unblock bluetooth`"
        )
    if adapters:
        others = ", ".join(f"{a.address} ({a.name})" for a in adapters)
        raise AdapterMissingError(
            f"Bluetooth adapter {wanted} is not there, found {others}: plug it in, or change "
            "[bluetooth] adapter"
        )
    raise AdapterMissingError(
        "no Bluetooth adapter found: plug one in; `bluetoothctl list` shows those that work"
    )
