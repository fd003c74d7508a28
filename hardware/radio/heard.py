"""Remembers the devices that the scanner that runs has heard, within bounds."""

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bleak.backends.device import BLEDevice

HEARD_LIMIT = 512


class HeardDevices:
    """The handles of a scanner by address, the last ones heard.

    A handle holds a path of the adapter and the type of the address. It is worth nothing once the
    adapter has another name, so a new scanner begins with none.
    """

    def __init__(self, limit: int = HEARD_LIMIT) -> None:
        self._limit = limit
        self._handles: OrderedDict[str, BLEDevice] = OrderedDict()

    def __len__(self) -> int:
        return len(self._handles)

    def note(self, address: str, handle: "BLEDevice") -> None:
        """Remember a handle; the one not heard for longest makes room."""
        self._handles[address] = handle
        self._handles.move_to_end(address)
        if len(self._handles) > self._limit:
            self._handles.popitem(last=False)

    def get(self, address: str) -> "BLEDevice | None":
        """Return the handle of a device, or None."""
        return self._handles.get(address)

    def forget(self, address: str) -> None:
        """Forget a device."""
        self._handles.pop(address, None)

    def clear(self) -> None:
        """Forget all."""
        self._handles.clear()
