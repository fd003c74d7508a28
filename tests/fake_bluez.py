"""Stands for bluetoothd on a D-Bus of its own: adapters, and one device with its GATT service."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from dbus_fast import ErrorType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from hardware.radio.hecate_service import LAYOUT, RX, SERVICE, TX
from tests.peers import require

ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
SERVICE_1, CHARACTERISTIC = "org.bluez.GattService1", "org.bluez.GattCharacteristic1"
FLAGS = {RX: ["write-without-response"], TX: ["notify"], LAYOUT: ["read"]}
CONFIG = """<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"""


@contextlib.contextmanager
def bus_daemon(folder: Path) -> Iterator[str]:
    """Run a dbus-daemon; yield its address."""
    program, path = require("dbus-daemon"), folder / "bus"
    config = folder / "bus.conf"
    config.write_text(CONFIG.format(path=path))
    command = [program, f"--config-file={config}", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline(), "dbus-daemon does not start"
            yield f"unix:path={path}"
        finally:
            process.terminate()


class FakeBluez:
    """The daemon, while it runs."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self.objects: dict[str, dict[str, dict[str, Variant]]] = {}
        self.calls: list[str] = []
        self.written: list[bytes] = []
        self.echoes = True  # the device notifies what is written
        self.refusal = ""  # the name of the error that every call gets
        bus.add_message_handler(self._handle)

    def plug(self, name: str, address: str, *, is_powered: bool = True) -> None:
        """Add an adapter."""
        properties = {
            "Address": Variant("s", address),
            "Powered": Variant("b", is_powered),
            "Roles": Variant("as", ["central", "peripheral"]),
        }
        self._add(f"/org/bluez/{name}", {ADAPTER: properties})

    def unplug(self, name: str) -> None:
        """Remove an adapter, with its devices."""
        for path in [p for p in self.objects if f"{p}/".startswith(f"/org/bluez/{name}/")]:
            self._remove(path)

    def hear(self, adapter: str, address: str, data: bytes) -> str:
        """Let an adapter hear a Hecate device; return the path of the device."""
        path = f"/org/bluez/{adapter}/dev_{address.replace(':', '_')}"
        heard = {
            "ServiceData": Variant("a{sv}", {SERVICE: Variant("ay", data)}),
            "RSSI": Variant("n", -61),
        }
        if path in self.objects:
            self.change(path, DEVICE, heard)
            return path
        properties = {
            "Address": Variant("s", address),
            "AddressType": Variant("s", "random"),
            "Alias": Variant("s", address.replace(":", "-")),
            "Adapter": Variant("o", f"/org/bluez/{adapter}"),
            "Connected": Variant("b", False),
            "Paired": Variant("b", False),
            "ServicesResolved": Variant("b", False),
            "UUIDs": Variant("as", []),
            **heard,
        }
        self._add(path, {DEVICE: properties})
        return path

    def change(self, path: str, interface: str, changed: dict[str, Variant]) -> None:
        """Change properties, and tell."""
        self.objects[path][interface].update(changed)
        body = [interface, changed, []]
        self._signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", body)

    def _add(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        self.objects[path] = interfaces
        manager = "org.freedesktop.DBus.ObjectManager"
        self._signal("/", manager, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def _remove(self, path: str) -> None:
        interfaces = list(self.objects.pop(path))
        manager = "org.freedesktop.DBus.ObjectManager"
        self._signal("/", manager, "InterfacesRemoved", "oas", [path, interfaces])

    def _signal(
        self, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> None:
        self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def _handle(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        member, path = str(message.member), str(message.path)
        self.calls.append(member)
        if self.refusal:
            return Message.new_error(message, self.refusal, "refused")
        if path not in self.objects and path != "/":
            return Message.new_error(message, ErrorType.UNKNOWN_OBJECT, path)
        body: tuple[str, list[Any]] = ("", [])
        if act := getattr(self, f"_do_{member}", None):
            body = act(path, message.body)
        return Message.new_method_return(message, *body)

    def _do_GetManagedObjects(self, *_: Any) -> tuple[str, list[Any]]:  # noqa: N802
        return "a{oa{sa{sv}}}", [self.objects]

    def _do_Set(self, path: str, body: list[Any]) -> tuple[str, list[Any]]:  # noqa: N802
        self.change(path, body[0], {body[1]: body[2]})
        return "", []

    def _do_RemoveDevice(self, _: str, body: list[Any]) -> tuple[str, list[Any]]:  # noqa: N802
        for path in [p for p in self.objects if p.startswith(body[0])]:
            self._remove(path)
        return "", []

    def _do_Connect(self, path: str, _: list[Any]) -> tuple[str, list[Any]]:  # noqa: N802
        self.change(path, DEVICE, {"Connected": Variant("b", True)})
        service = f"{path}/service0010"
        properties = {"UUID": Variant("s", SERVICE), "Device": Variant("o", path)}
        self._add(service, {SERVICE_1: properties})
        for handle, (uuid, flags) in enumerate(FLAGS.items(), 0x11):
            described = {
                "UUID": Variant("s", uuid),
                "Service": Variant("o", service),
                "Flags": Variant("as", flags),
                "MTU": Variant("q", 185),
                "Value": Variant("ay", b""),
            }
            self._add(f"{service}/char{handle:04x}", {CHARACTERISTIC: described})
        resolved = {"ServicesResolved": Variant("b", True), "UUIDs": Variant("as", [SERVICE])}
        self.change(path, DEVICE, resolved)
        return "", []

    def _do_Disconnect(self, path: str, _: list[Any]) -> tuple[str, list[Any]]:  # noqa: N802
        self.change(path, DEVICE, {"ServicesResolved": Variant("b", False)})
        self.change(path, DEVICE, {"Connected": Variant("b", False)})
        return "", []

    def _do_ReadValue(self, *_: Any) -> tuple[str, list[Any]]:  # noqa: N802
        return "ay", [b"\x01"]

    def _do_WriteValue(self, path: str, body: list[Any]) -> tuple[str, list[Any]]:  # noqa: N802
        assert body[1]["type"].value == "command"
        value = bytes(body[0])
        self.written.append(value)
        if self.echoes:
            notified = {"Value": Variant("ay", value)}
            self.change(path.replace("char0011", "char0012"), CHARACTERISTIC, notified)
        return "", []


@contextlib.asynccontextmanager
async def fake_bluez(address: str) -> AsyncIterator[FakeBluez]:
    """Run the daemon on a bus."""
    bus = await MessageBus(bus_address=address).connect()
    try:
        bluez = FakeBluez(bus)
        await bus.request_name("org.bluez")
        yield bluez
    finally:
        bus.disconnect()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(bus.wait_for_disconnect(), 5)  # type: ignore[no-untyped-call]
