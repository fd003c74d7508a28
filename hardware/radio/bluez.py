"""Asks BlueZ, over D-Bus, about adapters, links and bonds: what bleak does not tell.

Each question uses a connection of its own, so that nothing is left of a bus or a daemon that was
restarted. The daemon is bluetoothd; its objects are /org/bluez/hci0 (an adapter) and
/org/bluez/hci0/dev_AA_BB_CC_DD_EE_FF (a device).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from hardware.radio.adapters import Adapter
from hardware.radio.errors import AdapterMissingError, RadioError
from hardware.radio.hecate_service import SERVICE

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

BLUEZ, ROOT = "org.bluez", "/org/bluez"
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
OFF_S = 1.0  # an adapter stays switched off so long
CLOSE_S = 1.0

Objects = Mapping[str, Mapping[str, Mapping[str, Any]]]  # path, interface, property


class BluezSystem:
    """The adapters of Linux, as bluetoothd knows them."""

    async def adapters(self) -> list[Adapter]:
        """Return the adapters that can connect to devices."""
        found = []
        for path, interfaces in (await self._objects()).items():
            known = interfaces.get(ADAPTER)
            # Roles is missing before BlueZ 5.52
            if known is None or "central" not in known.get("Roles", ["central"]):
                continue
            name = path.removeprefix(f"{ROOT}/")
            address = str(known.get("Address", "")).upper()
            found.append(Adapter(address, name, bool(known.get("Powered"))))
        return found

    async def connected(self, adapter: Adapter) -> list[str]:
        """Return the addresses of Hecate devices that the adapter has a link to."""
        return [
            address
            for address, device in (await self._devices(adapter)).items()
            if device.get("Connected") and SERVICE in device.get("UUIDs", ())
        ]

    async def bonded(self, adapter: Adapter) -> list[str]:
        """Return the addresses of the devices that have a bond."""
        devices = await self._devices(adapter)
        # Bonded is missing before BlueZ 5.66
        return [a for a, d in devices.items() if d.get("Bonded", d.get("Paired", False))]

    async def disconnect(self, adapter: Adapter, address: str) -> None:
        """End the link to a device."""
        async with _system_bus() as bus:
            await _call(bus, _device_path(adapter, address), DEVICE, "Disconnect")

    async def forget(self, adapter: Adapter, address: str) -> None:
        """Drop what BlueZ remembers of a device: its services and its bond."""
        path = _device_path(adapter, address)
        async with _system_bus() as bus:
            await _call(bus, f"{ROOT}/{adapter.name}", ADAPTER, "RemoveDevice", "o", [path])

    async def restart(self, adapter: Adapter) -> None:
        """Switch an adapter off and on."""
        async with _system_bus() as bus:
            await _set_powered(bus, adapter, is_on=False)
            await asyncio.sleep(OFF_S)
            await _set_powered(bus, adapter, is_on=True)

    async def _devices(self, adapter: Adapter) -> dict[str, Mapping[str, Any]]:
        prefix = f"{ROOT}/{adapter.name}/"
        return {
            str(interfaces[DEVICE].get("Address", "")).upper(): interfaces[DEVICE]
            for path, interfaces in (await self._objects()).items()
            if path.startswith(prefix) and DEVICE in interfaces
        }

    async def _objects(self) -> Objects:
        from dbus_fast import unpack_variants

        manager = "org.freedesktop.DBus.ObjectManager"
        async with _system_bus() as bus:
            body = await _call(bus, "/", manager, "GetManagedObjects")
        objects: Objects = unpack_variants(body[0])
        return objects


@contextlib.asynccontextmanager
async def _system_bus() -> "AsyncIterator[MessageBus]":
    from dbus_fast import AuthError, BusType
    from dbus_fast.aio import MessageBus

    bus = None
    try:
        bus = MessageBus(bus_type=BusType.SYSTEM)
        await bus.connect()
    except AuthError as exc:
        raise AdapterMissingError("the system's D-Bus refuses this user") from exc
    except (OSError, EOFError, ValueError) as exc:
        if bus is not None:
            bus.disconnect()
        raise AdapterMissingError(
            "no D-Bus, over which BlueZ is reached: start dbus and bluetooth "
            "(`systemctl start bluetooth`); a container needs /run/dbus of its host"
        ) from exc
    try:
        yield bus
    finally:
        bus.disconnect()  # asks only: the loop closes the socket
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def _call(  # the parts of a message
    bus: "MessageBus",
    path: str,
    interface: str,
    member: str,
    signature: str = "",
    body: list[Any] | None = None,
) -> list[Any]:
    from dbus_fast import Message, MessageType

    message = Message(
        destination=BLUEZ,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=body or [],
    )
    reply = await bus.call(message)
    if reply is None:
        raise RadioError(f"{member}: no answer")
    if reply.message_type is MessageType.ERROR:
        raise _error_of(member, str(reply.error_name), reply.body)
    return list(reply.body)


def _error_of(member: str, name: str, body: list[Any]) -> RadioError:
    text = str(body[0]) if body else ""
    if name.endswith((".ServiceUnknown", ".NameHasNoOwner", ".Spawn.ServiceNotFound")):
        return AdapterMissingError(
            "BlueZ does not run: install it and start it, `systemctl start bluetooth`"
        )
    if name.endswith(".AccessDenied"):
        return AdapterMissingError(
            "BlueZ refuses this user: add it to the group bluetooth and start the gateway again"
        )
    return RadioError(f"{member}: {name}: {text}")


async def _set_powered(bus: "MessageBus", adapter: Adapter, *, is_on: bool) -> None:
    from dbus_fast import Variant

    body = [ADAPTER, "Powered", Variant("b", is_on)]
    properties = "org.freedesktop.DBus.Properties"
    await _call(bus, f"{ROOT}/{adapter.name}", properties, "Set", "ssv", body)


def _device_path(adapter: Adapter, address: str) -> str:
    return f"{ROOT}/{adapter.name}/dev_{address.replace(':', '_')}"
