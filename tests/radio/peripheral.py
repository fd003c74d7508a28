"""Plays the Bluetooth stack of one MicroPython interpreter, whose `bluetooth` module is a shim.

Lines of JSON pass between both. From the shim:

    ["start", address]                                  "F0:…"; always the first line
    ["services", [[uuid, [[uuid, flags, handle]…]]…]]
    ["mtu", most]
    ["set", handle, hex]
    ["notify" or "indicate", connection, handle, hex]
    ["advertise", interval in us or null, hex]
    ["disconnect", connection]

To the shim:

    ["connected" or "disconnected", connection, address in hex]
    ["mtu", connection, mtu]
    ["write", connection, handle, hex]
    ["sent" or "confirmed", connection, handle]

A test speaks to the same port, with ["test", what, address], to make a stack fail:

    "deafen"   it advertises no more, and says nothing; a restart of the stack mends it
    "links"    answers with the number of links that the peripheral has
"""

import asyncio
import json
from collections.abc import Callable

from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

from tests.radio.controllers import RadioController

PROPERTIES = 0x3E  # of the flags: read, write without response, write, notify, indicate
WRITES = 0x0C

Send = Callable[..., None]


class Peripheral:
    """One stack: a controller and a host of bumble in this process."""

    def __init__(self, link: LocalLink, address: str, send: Send) -> None:
        self._controller = RadioController(address, link=link)
        host = Host(self._controller, AsyncPipeSink(self._controller))
        self.device = Device("peripheral", Address(address), host=host)
        self.is_deaf = False
        self.connections: dict[int, Connection] = {}
        self._send = send
        self._values: dict[int, bytes] = {}
        self._characteristics: dict[int, Characteristic[bytes]] = {}
        self.device.on("connection", self._connected)

    async def handle(self, kind: str, *fields: object) -> None:
        """Do what a line of the shim says."""
        await getattr(self, f"_do_{kind}")(*fields)

    def switch_off(self) -> None:
        """Leave the air, as a board does whose power is cut."""
        self._controller.switch_off()

    async def deafen(self) -> None:
        """Advertise no more until the stack is restarted."""
        self.is_deaf = True
        await self.device.stop_advertising()

    def _connected(self, connection: Connection) -> None:
        number, peer = connection.handle, bytes(connection.peer_address)[::-1].hex()
        self.connections[number] = connection
        self._send("connected", number, peer)

        def disconnected(_: object) -> None:
            self.connections.pop(number, None)
            self._send("disconnected", number, peer)

        connection.on("disconnection", disconnected)
        connection.on(
            "connection_att_mtu_update", lambda: self._send("mtu", number, connection.att_mtu)
        )

    async def _do_services(self, services: list[tuple[str, list[tuple[str, int, int]]]]) -> None:
        for service, described in services:
            made = [self._characteristic(*description) for description in described]
            self.device.add_service(Service(service, made))

    def _characteristic(self, uuid: str, flags: int, handle: int) -> Characteristic[bytes]:
        def write(connection: Connection, value: bytes) -> None:
            self._send("write", connection.handle, handle, value.hex())

        value = CharacteristicValue(
            read=lambda _: self._values.get(handle, b""),
            write=write if flags & WRITES else None,
        )
        permissions = Characteristic.READABLE | Characteristic.WRITEABLE
        properties = Characteristic.Properties(flags & PROPERTIES)
        made: Characteristic[bytes] = Characteristic(uuid, properties, permissions, value)
        self._characteristics[handle] = made
        return made

    async def _do_mtu(self, most: int) -> None:
        self.device.gatt_server.max_mtu = most

    async def _do_set(self, handle: int, value: str) -> None:
        self._values[handle] = bytes.fromhex(value)

    async def _do_notify(self, number: int, handle: int, value: str) -> None:
        connection = self.connections.get(number)
        if connection is not None:
            await self.device.notify_subscriber(
                connection, self._characteristics[handle], bytes.fromhex(value)
            )
        self._send("sent", number, handle)

    async def _do_indicate(self, number: int, handle: int, value: str) -> None:
        connection = self.connections.get(number)
        if connection is not None:
            await self.device.indicate_subscriber(
                connection, self._characteristics[handle], bytes.fromhex(value)
            )
            self._send("confirmed", number, handle)

    async def _do_advertise(self, interval_us: int | None, data: str | None) -> None:
        if self.device.is_advertising:
            await self.device.stop_advertising()
        if interval_us is None or self.is_deaf:
            return
        await self.device.start_advertising(
            auto_restart=False,
            advertising_data=bytes.fromhex(data) if data else None,
            advertising_interval_min=interval_us / 1000,
            advertising_interval_max=interval_us / 1000,
        )

    async def _do_disconnect(self, number: int) -> None:
        connection = self.connections.get(number)
        if connection is not None:
            await connection.disconnect()


class Peripherals:
    """Serves the shims of all interpreters, and the tests."""

    def __init__(self, link: LocalLink) -> None:
        self._link = link
        self._peripherals: dict[str, Peripheral] = {}

    async def serve(self) -> asyncio.Server:
        """Accept shims and tests on a free port of this machine."""
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(*message: object) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(message).encode() + b"\n")

        peripheral = None
        try:
            while line := await reader.readline():
                kind, *fields = json.loads(line)
                if kind == "test":
                    send(await self._test(*fields))
                elif kind == "start":
                    peripheral = await self._start(fields[0], send)
                elif peripheral is not None:
                    await peripheral.handle(kind, *fields)
        except ConnectionError:
            pass
        finally:
            if peripheral is not None:
                self._stop(peripheral)
            writer.close()

    async def _start(self, address: str, send: Send) -> Peripheral:
        peripheral = Peripheral(self._link, address, send)
        self._peripherals[address] = peripheral
        await peripheral.device.power_on()
        return peripheral

    def _stop(self, peripheral: Peripheral) -> None:
        peripheral.switch_off()
        for address, known in list(self._peripherals.items()):
            if known is peripheral:
                del self._peripherals[address]

    async def _test(self, what: str, address: str) -> object:
        peripheral = self._peripherals.get(address)
        if peripheral is None:
            return None
        if what == "deafen":
            await peripheral.deafen()
        return len(peripheral.connections)
