"""Sends each multicast DNS packet of an interface back to it, as a faulty repeater does.

Usage: python -m tests.hosts.mdns_echo INTERFACE; SIGUSR1 prints what was seen, SIGTERM ends it.
"""

import re
import signal
import socket
import struct
import sys

ETHERTYPE_IPV4 = 0x0800
UDP, MDNS_PORT = 17, 5353
GROUP_MAC = b"\x01\x00\x5e\x00\x00\xfb"
NAME = re.compile(rb"8([0-9a-f]{56})(?=[\x00-\x1f\xc0-\xff])")  # a label of 56 characters
RENAMED = re.compile(rb"[0-9a-f]{56}[- ][(]?[0-9]+")  # after a conflict: a number is added
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_MULTICAST = 263, 1, 0  # not in Python's socket


def main() -> None:
    """Echo until SIGTERM."""
    interface = sys.argv[1]
    names: set[str] = set()
    echoed = 0

    def tell(_number: int, _frame: object) -> None:
        sys.stdout.write(f"names: {' '.join(sorted(names))}\nechoed: {echoed}\n")
        sys.stdout.flush()

    def end(_number: int, _frame: object) -> None:
        sys.exit(0)

    signal.signal(signal.SIGUSR1, tell)
    signal.signal(signal.SIGTERM, end)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_IPV4)) as wire:
        wire.bind((interface, ETHERTYPE_IPV4))
        own = wire.getsockname()[4]
        join(wire, interface)
        sys.stdout.write("echoing\n")
        sys.stdout.flush()
        while True:
            packet, address = wire.recvfrom(65536)
            if address[2] == socket.PACKET_OUTGOING or not is_mdns(packet):
                continue
            found = (*NAME.findall(packet), *RENAMED.findall(packet))
            names.update(name.decode() for name in found)
            wire.send(packet[:6] + own + packet[12:])
            echoed += 1


def join(wire: socket.socket, interface: str) -> None:
    """Get what is sent to the group, as a repeater does."""
    index = socket.if_nametoindex(interface)
    group = struct.pack("iHH8s", index, PACKET_MR_MULTICAST, len(GROUP_MAC), GROUP_MAC)
    wire.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, group)


def is_mdns(packet: bytes) -> bool:
    """Return whether an Ethernet frame holds multicast DNS over IPv4."""
    if len(packet) < 42 or packet[:6] != GROUP_MAC or packet[23] != UDP:
        return False
    header = 14 + (packet[14] & 15) * 4
    (port,) = struct.unpack_from("!H", packet, header + 2)
    return bool(port == MDNS_PORT)


if __name__ == "__main__":
    main()
