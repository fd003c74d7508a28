"""Bundles the classes that bleak works with, and the system below them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.radio.adapters import AdapterSystem

if TYPE_CHECKING:  # loaded only when Bluetooth is enabled
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.scanner import BaseBleakScanner


@dataclass(frozen=True, slots=True)
class RadioBackend:
    """A radio: bleak's classes for scanning and connecting, and the system of adapters."""

    system: AdapterSystem
    scanner: "type[BaseBleakScanner] | None" = None  # None: bleak's own for this platform
    client: "type[BaseBleakClient] | None" = None
