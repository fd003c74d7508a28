"""Opens a GATT link to a Hecate device, and finds out whether the system knows its services.

Trap: BlueZ remembers the services of a device by its address. After an update of the device the
handles belong to other characteristics, and writes go astray without an error. So the layout
version is read at each opening. A layout that cannot be read, or that is not the one that the
device advertises or had at the last opening, makes the system forget the device. Then the next
opening discovers the services again.
"""

import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from hardware.radio.adapters import Adapter
from hardware.radio.backend import RadioBackend
from hardware.radio.backend_call import BackendCalls
from hardware.radio.errors import BondLostError, RadioError, StaleLayoutError
from hardware.radio.gatt_link import GattLink
from hardware.radio.hecate_service import GREETING, LAYOUT, RX, TX

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.device import BLEDevice

CONNECT_S = 15.0  # with the discovery of services
READ_S, SUBSCRIBE_S, CLOSE_S = 5.0, 5.0, 5.0

# of BlueZ, of HCI (0x05, 0x06, 0x3D), and of ATT (0x05, 0x0F), as backends write them
_BOND_WORDS = (
    "authenticationfailed", "authenticationcanceled", "authentication failed", "key missing",
    "insufficient authentication", "insufficient encryption", "insufficient_encryption",
    "insufficient_authentication", "mic failure", "pin or key",
)  # fmt: skip


class LinkOpener:
    """Opens links on one adapter."""

    def __init__(self, backend: RadioBackend, calls: BackendCalls) -> None:
        self._backend, self._calls = backend, calls

    async def open(
        self, adapter: Adapter, handle: "BLEDevice", known_layout: int
    ) -> tuple[GattLink, int]:
        """Return a link that chunks pass over, and the version of the device's layout.

        Args:
            adapter: the adapter that has heard the device.
            handle: the device, as its scanner has named it.
            known_layout: the version that the device is thought to have; 0 for none.

        Raises:
            StaleLayoutError: the system has to forget the device first.
            BondLostError: the device refuses the system's bond.
            RadioError: the link could not be opened.
        """
        address = handle.address.upper()
        links: list[GattLink] = []

        def on_lost(_: "BleakClient") -> None:
            if links:
                links[0].lose("the device has ended the link, or is out of reach")

        client = self._make_client(handle, adapter, on_lost)
        link = GattLink(client, self._calls, address)
        links.append(link)
        try:
            await self._call(f"connect to {address}", client.connect(), CONNECT_S)
            version = await self._read_layout(client, address, known_layout)
            # the callback is there before the answer: some devices notify first
            subscribe = client.start_notify(TX, lambda _, octets: link.take(bytes(octets)))
            await self._call(f"subscribe to {address}", subscribe, SUBSCRIBE_S)
            # stacks do not report subscribers to a device; it waits for a first write
            await link.send(GREETING)
        except BaseException:
            await self._abandon(client, address)
            raise
        if link.is_lost:
            raise RadioError(f"cannot connect to {address}: the link ended at once")
        return link, version

    def _make_client(
        self, handle: "BLEDevice", adapter: Adapter, on_lost: Callable[["BleakClient"], None]
    ) -> "BleakClient":
        from bleak import BleakClient

        options: dict[str, Any] = {"bluez": {"adapter": adapter.name}, "timeout": CONNECT_S}
        if self._backend.client is not None:
            options["backend"] = self._backend.client
        return BleakClient(handle, on_lost, **options)

    async def _read_layout(self, client: "BleakClient", address: str, known: int) -> int:
        what = f"read the layout of {address}"
        try:
            present = {
                c.uuid.lower(): c for s in client.services for c in s.characteristics
            }  # fmt: skip
        except Exception as exc:
            raise StaleLayoutError(f"cannot {what}: no services known") from exc
        if not {RX, TX, LAYOUT} <= present.keys():
            raise StaleLayoutError(f"cannot {what}: its service is not among those known")
        try:
            octets = bytes(await self._call(what, client.read_gatt_char(LAYOUT), READ_S))
        except BondLostError:
            raise
        except RadioError as exc:
            raise StaleLayoutError(str(exc)) from exc
        if len(octets) != 1 or (known and octets[0] != known):
            raise StaleLayoutError(f"cannot {what}: it has changed")
        return octets[0]

    async def _call(self, what: str, call: Coroutine[Any, Any, Any], limit_s: float) -> Any:
        try:
            return await self._calls.run(what, call, limit_s)
        except RadioError as exc:
            if is_bond_fault(exc):
                raise BondLostError(str(exc)) from exc
            raise

    async def _abandon(self, client: "BleakClient", address: str) -> None:
        with contextlib.suppress(RadioError):  # the next comparison of links closes it
            await self._calls.run(f"close the link to {address}", client.disconnect(), CLOSE_S)


def is_bond_fault(fault: RadioError) -> bool:
    """Return whether a failure comes from a bond that the two ends do not share."""
    texts = [str(fault)]
    if fault.__cause__ is not None:
        texts += [str(fault.__cause__), str(getattr(fault.__cause__, "dbus_error", ""))]
    text = " ".join(texts).lower()
    return any(word in text for word in _BOND_WORDS)
