"""A Pico W for the emulator rp2040py 0.3.6 whose Wi-Fi reaches nothing but this machine.

The guest finds 127.0.0.1 at 10.0.0.1. Every other address is refused, and so is DNS. The emulator
has no public way to set this.
"""

import asyncio
import dataclasses
from typing import Any

from rp2040py.boards import BOARDS
from rp2040py.external.bootsel_button import BootselButton
from rp2040py.external.cyw43 import Cyw43439

GATEWAY = "10.0.0.1"


async def connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection for the guest."""
    if host != GATEWAY:
        raise OSError(f"cannot reach {host}: only {GATEWAY} is there")
    return await asyncio.open_connection("127.0.0.1", port)


class LoopCyw(Cyw43439):  # type: ignore[misc, unused-ignore]
    """The Wi-Fi chip behind a network that ends at this machine."""

    def attach(self, rp2040: Any) -> None:
        """Take the place of what would reach the world."""
        super().attach(rp2040)
        for part in vars(self.bus.nat_bridge).values():
            if type(part).__name__ == "TcpReflector":
                part._connect_fn = connect
            elif type(part).__name__ == "UdpRelay":
                part._relay = self._drop

    async def _drop(self, *_: object) -> None:
        """Lose a datagram."""


SPEC = dataclasses.replace(BOARDS["pico_w"], extras=(BootselButton, LoopCyw))
