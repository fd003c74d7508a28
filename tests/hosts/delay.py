"""Delays each frame between two TAP devices, as a long cable would.

Usage: python -m tests.hosts.delay NAMESPACE INTERFACE NAMESPACE INTERFACE SECONDS; SIGTERM ends it,
and removes both devices. A TAP device gets whole frames with their checksums, which a socket on a
veth does not.
"""

import ctypes
import fcntl
import heapq
import os
import select
import struct
import sys
import time
from pathlib import Path

from tests.hosts.network import CLONE_NEWNET, NAMESPACES

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
FRAME_BYTES = 65_536
WAITING_LIMIT = 2000  # frames on their way; more are lost, as in a router


def open_tap(namespace: str, interface: str) -> int:
    """Return the descriptor of a new TAP device in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (NAMESPACES / namespace).open() as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", interface.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


def forward(first: int, second: int, delay_s: float) -> None:
    """Pass frames on, in both directions and in their order, for ever."""
    waiting: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        timeout_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([first, second], [], [], timeout_s)
        now = time.monotonic()
        for source in readable:
            frame = os.read(source, FRAME_BYTES)
            count += 1
            if len(waiting) < WAITING_LIMIT:
                sink = second if source == first else first
                heapq.heappush(waiting, (now + delay_s, count, sink, frame))
        while waiting and waiting[0][0] <= now:
            _, _, sink, frame = heapq.heappop(waiting)
            try:
                os.write(sink, frame)
            except OSError:  # the device is down
                continue


def main() -> None:
    """Open both ends, say so, and forward until SIGTERM."""
    inner, inner_name, outer, outer_name, delay_s = sys.argv[1:]
    ends = open_tap(inner, inner_name), open_tap(outer, outer_name)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    forward(*ends, float(delay_s))


if __name__ == "__main__":
    assert Path("/dev/net/tun").exists()
    main()
