"""Defines [bluetooth]: the adapter, and the links over it."""

import re
from dataclasses import dataclass

LINKS_LIMIT = 16
_ADDRESS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class BluetoothSettings:
    """Devices behind [Bluetooth LE](bluetooth.md), which have no network of their own.

    An adapter carries few links at once. With more devices than links, the devices take turns.
    """

    enabled: bool = False
    adapter: str = ""  # its address, as `bluetoothctl list` shows it; any adapter when empty
    links: int = 3  # at once; most adapters carry 5 to 7, some with Wi-Fi on the same chip only 3

    def check(self) -> None:
        """Refuse an address that is none, and a number of links that no adapter carries."""
        if self.adapter and not _ADDRESS.fullmatch(self.adapter):
            raise ValueError(
                f'adapter = "{self.adapter}": must be an address like "F0:00:00:00:00:01"; names '
                "like hci0 change when adapters are plugged in"
            )
        if not 1 <= self.links <= LINKS_LIMIT:
            raise ValueError(f"links = {self.links}: must be 1 to {LINKS_LIMIT}")
