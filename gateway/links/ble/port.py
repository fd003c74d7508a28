"""Makes a chunk port of a GATT link."""

from collections.abc import Awaitable, Callable

from gateway.links.ports import LinkClosedError
from hardware.radio.errors import LinkLostError
from hardware.radio.gatt_link import GattLink

PREFIX = "ble:"


class BlePort:
    """One link to one device, as gateway.links serves it."""

    def __init__(self, link: GattLink, close: Callable[[GattLink], Awaitable[None]]) -> None:
        self.link = link
        self._close = close

    @property
    def name(self) -> str:
        """The name in lists and logs."""
        return f"{PREFIX}{self.link.address}"

    @property
    def chunk_bytes(self) -> int:
        """The largest chunk that the link is said to carry."""
        return self.link.chunk_bytes

    async def read(self) -> bytes:
        """Return the next chunk; LinkClosedError when the link has ended."""
        try:
            return await self.link.receive()
        except LinkLostError as exc:
            raise LinkClosedError(str(exc)) from exc

    async def write(self, chunk: bytes) -> None:
        """Send a chunk; LinkClosedError when the link has ended."""
        try:
            await self.link.send(chunk)
        except LinkLostError as exc:
            raise LinkClosedError(str(exc)) from exc

    async def close(self) -> None:
        """Close the link."""
        await self._close(self.link)
