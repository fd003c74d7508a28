"""Starts boards that have joined, and a broker that follows a script."""

import asyncio
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

from hardware import device_package
from hardware.device_package import find_compiler
from hardware.simulated import (
    BoardLimits,
    DeviceSettings,
    SimulatedBoard,
    write_private,
)

DEVICE_ID = "dev-0123456789ab"
PREFIX = f"devices/{DEVICE_ID}"
HASTE = {
    "keepalive_s": 1,
    "timeout_s": 0.4,
    "retry_first_s": 0.05,
    "retry_cap_s": 0.2,
    "refused_cap_s": 0.2,
}
SMALL_HEAP = "128K"  # 1.48 times the memory of a board with 86 KiB
QUICK_RESTARTS = BoardLimits(restart_first_s=0.05, restart_cap_s=0.2)

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ = 1, 3, 4, 8, 12
CONNACK = b"\x20\x02\x00\x00"
CONNACK_SESSION_PRESENT = b"\x20\x02\x01\x00"
CONNACK_NOT_AUTHORISED = b"\x20\x02\x00\x05"


def settings_for(port: int, interval_s: float = 0.1, **more: object) -> DeviceSettings:
    """Return settings of an impatient device."""
    return DeviceSettings("attic", "simulated", "127.0.0.1", port, None, interval_s, HASTE | more)


def joined_board(
    directory: Path,
    settings: DeviceSettings,
    program: str = "",
    package: Path | None = None,
    heap: str = SMALL_HEAP,
) -> SimulatedBoard:
    """Return a board that has credentials already; program is its main.py, if not the usual one.

    With a compiled package it has the heap of a small board.
    """
    directory.mkdir(exist_ok=True)
    credentials = {
        "device_id": DEVICE_ID,
        "username": DEVICE_ID,
        "password": "secret",
        "prefix": PREFIX,
    }
    write_private(directory / "credentials.json", json.dumps(credentials))
    source = None
    if program:
        source = directory.with_name(f"{directory.name}-program.py")
        source.write_text(program)
    if package is None:
        return SimulatedBoard(directory, settings, source, QUICK_RESTARTS)
    limits = replace(QUICK_RESTARTS, heap=heap)
    return SimulatedBoard(directory, settings, source, limits, package)


def compile_package(directory: Path) -> Path:
    """Compile the package as the gateway does; return its folder."""
    compiler = find_compiler()
    assert compiler is not None
    for name, content in device_package.compile_package(compiler).items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return directory


@dataclass
class Packet:
    """A packet a device sent."""

    kind: int
    flags: int
    body: bytes

    @property
    def topic(self) -> str:
        """The topic of a PUBLISH."""
        return self.body[2 : 2 + int.from_bytes(self.body[:2])].decode()

    @property
    def packet_id(self) -> int:
        """The packet id of a PUBLISH at QoS 1."""
        end = 2 + int.from_bytes(self.body[:2])
        return int.from_bytes(self.body[end : end + 2])

    @property
    def is_dup(self) -> bool:
        """True when the DUP flag is set."""
        return bool(self.flags & 8)


def output(board: SimulatedBoard) -> str:
    """Return what a board has printed; "" before its first line."""
    return board.log_path.read_text() if board.log_path.exists() else ""


class ScriptedBroker:
    """Records what devices send on each connection; answers as its attributes say."""

    def __init__(self, port: int = 0) -> None:
        self.connack = CONNACK
        self.suback = b"\x01"
        self.acknowledges = True
        self.pings = True
        self.tells_time = False  # tell a device the time when it comes online, as the gateway does
        self.after_suback = b""
        self.connections: list[list[Packet]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "ScriptedBroker":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.close()

    def packets(self, connection: int, kind: int) -> list[Packet]:
        """Return the packets of one kind that a connection brought; none while it has not come."""
        known = self.connections[connection] if connection < len(self.connections) else []
        return [packet for packet in known if packet.kind == kind]

    def readings(self, connection: int) -> list[Packet]:
        """Return the readings a connection brought."""
        return [p for p in self.packets(connection, PUBLISH) if "/readings/" in p.topic]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets: list[Packet] = []
        self.connections.append(packets)
        self.writers.append(writer)
        try:
            while True:
                packet = await _read_packet(reader)
                packets.append(packet)
                writer.write(self._answer(packet))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, packet: Packet) -> bytes:
        if packet.kind == CONNECT:
            return self.connack
        if packet.kind == SUBSCRIBE:
            return b"\x90\x03" + packet.body[:2] + self.suback + self.after_suback
        if packet.kind == PUBLISH and self.acknowledges and packet.flags & 2:
            told = time_message() if self.tells_time and packet.topic.endswith("/status") else b""
            return b"\x40\x02" + packet.packet_id.to_bytes(2) + told
        if packet.kind == PINGREQ and self.pings:
            return b"\xd0\x00"
        return b""


def time_message() -> bytes:
    """Return the PUBLISH that tells a device the time."""
    topic = f"{PREFIX}/time".encode()
    body = len(topic).to_bytes(2) + topic + b'{"at": %d}' % time.time()
    return bytes((0x30, len(body))) + body


async def _read_packet(reader: asyncio.StreamReader) -> Packet:
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return Packet(first >> 4, first & 15, await reader.readexactly(length))
